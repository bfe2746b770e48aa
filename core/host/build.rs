//! Lists the files of the demo and of the script, so that the binary has them inside.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

fn main() {
    for name in ["demo", "script"] {
        list(name);
    }
}

/// Writes the expression of an array of names and contents: the files in the directory `of`.
fn list(of: &str) {
    let directory = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("set by cargo")).join(of);
    println!("cargo::rerun-if-changed={}", directory.display());
    let is_served = |name: &str| !name.starts_with('.') && !name.ends_with(".md") && !name.ends_with(".json");
    let mut names: Vec<_> = fs::read_dir(&directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| directory.join(name).is_file() && is_served(name))
        .collect();
    names.sort();
    let mut list = String::from("[\n");
    for name in names {
        writeln!(list, "    ({name:?}, include_bytes!({:?})),", directory.join(&name)).expect("to a string");
    }
    list.push_str("]\n");
    let out = Path::new(&env::var("OUT_DIR").expect("set by cargo")).join(of).with_extension("rs");
    fs::write(out, list).expect("cannot write the list of files");
}
