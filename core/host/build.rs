//! Lists the files of the demo, so that the binary has them inside.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

fn main() {
    let demo = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("set by cargo")).join("demo");
    println!("cargo::rerun-if-changed={}", demo.display());
    let mut names: Vec<_> = fs::read_dir(&demo)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| demo.join(name).is_file() && !name.starts_with('.') && !name.ends_with(".md"))
        .collect();
    names.sort();
    let mut list = String::from("[\n");
    for name in names {
        writeln!(list, "    ({name:?}, include_bytes!({:?})),", demo.join(&name)).expect("to a string");
    }
    list.push_str("]\n");
    let out = Path::new(&env::var("OUT_DIR").expect("set by cargo")).join("demo.rs");
    fs::write(out, list).expect("cannot write the list of files");
}
