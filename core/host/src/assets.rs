//! The chat room, inside the binary.

use brolly_core::config::Asset;
use bytes::Bytes;
use std::sync::Arc;

const FILES: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/demo.rs"));

/// The files of `core/host/demo`; `index.html` is the route itself.
pub(crate) fn demo() -> Arc<[Asset]> {
    let asset = |path, name, content| Asset::new(path, content_type(name), Bytes::from_static(content));
    FILES
        .iter()
        .flat_map(|&(name, content)| {
            let index = (name == "index.html").then(|| asset("", name, content));
            index.into_iter().chain([asset(name, name, content)])
        })
        .collect()
}

/// By the end of the name; the demo has no other kinds.
fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some(_) | None => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_inside_and_has_a_type() {
        let assets = demo();
        assert!(assets.iter().any(|asset| asset.path.is_empty() && asset.content_type.starts_with("text/html")));
        for asset in assets.iter() {
            assert!(!asset.content.is_empty() && &*asset.content_type != "application/octet-stream", "{}", asset.path);
        }
    }
}
