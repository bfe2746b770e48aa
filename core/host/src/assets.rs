//! What browsers get, inside the binary: the chat room, and brolly.js.

use brolly_core::config::Asset;
use bytes::Bytes;
use std::sync::Arc;

type Files = [(&'static str, &'static [u8])];

const DEMO: &Files = &include!(concat!(env!("OUT_DIR"), "/demo.rs"));
const SCRIPT: &Files = &include!(concat!(env!("OUT_DIR"), "/script.rs"));

/// The files of `core/host/demo`; `index.html` is the route itself.
pub(crate) fn demo() -> Arc<[Asset]> {
    let index = DEMO.iter().filter(|(name, _)| *name == "index.html").map(|&(name, content)| asset("", name, content));
    index.chain(files(DEMO)).collect()
}

/// The files of `core/host/script`: brolly.js, what it loads, and its types.
pub(crate) fn script() -> Arc<[Asset]> {
    files(SCRIPT).collect()
}

fn files(files: &'static Files) -> impl Iterator<Item = Asset> {
    files.iter().map(|&(name, content)| asset(name, name, content))
}

fn asset(path: &str, name: &str, content: &'static [u8]) -> Asset {
    Asset::new(path, content_type(name), Bytes::from_static(content))
}

/// By the end of the name; there are no other kinds.
fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("ts") => "text/plain; charset=utf-8",
        Some(_) | None => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_inside_and_has_a_type() {
        assert!(demo().iter().any(|asset| asset.path.is_empty() && asset.content_type.starts_with("text/html")));
        assert!(script().iter().any(|asset| &*asset.path == "brolly.js"));
        for asset in demo().iter().chain(&*script()) {
            assert!(!asset.content.is_empty() && &*asset.content_type != "application/octet-stream", "{}", asset.path);
        }
    }
}
