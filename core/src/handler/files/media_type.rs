//! `Content-Type` by the end of a name.

use alloc::format;
use alloc::sync::Arc;

/// The media type for the extension of `path`, in any case.
pub fn media_type(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    TYPES
        .iter()
        .find(|(known, _)| known.split(' ').any(|known| known.eq_ignore_ascii_case(extension)))
        .map_or("application/octet-stream", |(_, media_type)| media_type)
}

/// `Content-Type`: the media type, with the charset if it is text. JSON and SVG say it themselves.
pub fn content_type(media_type: &str, charset: Option<&str>) -> Arc<str> {
    match charset {
        Some(charset) if media_type.starts_with("text/") => format!("{media_type}; charset={charset}").into(),
        Some(_) | None => media_type.into(),
    }
}

/// Whether `media_type` is `pattern`, or of the kind that `text/*` names.
pub fn matches(pattern: &str, media_type: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(kind) => media_type.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind)),
        None => media_type.eq_ignore_ascii_case(pattern),
    }
}

/// Extensions, and their type; what is asked for most comes first.
const TYPES: &[(&str, &str)] = &[
    ("html htm", "text/html"),
    ("js mjs cjs", "text/javascript"),
    ("css", "text/css"),
    ("json map", "application/json"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("jpg jpeg jpe jfif", "image/jpeg"),
    ("woff2", "font/woff2"),
    ("webp", "image/webp"),
    ("gif", "image/gif"),
    ("ico", "image/x-icon"),
    ("avif", "image/avif"),
    ("txt text log conf ini", "text/plain"),
    ("wasm", "application/wasm"),
    ("webmanifest", "application/manifest+json"),
    ("xml xsl", "text/xml"),
    ("xhtml", "application/xhtml+xml"),
    ("csv", "text/csv"),
    ("tsv", "text/tab-separated-values"),
    ("md markdown", "text/markdown"),
    ("vtt", "text/vtt"),
    ("ics", "text/calendar"),
    ("vcf", "text/vcard"),
    ("yaml yml", "application/yaml"),
    ("toml", "application/toml"),
    ("pdf", "application/pdf"),
    ("rtf", "application/rtf"),
    ("jsonld", "application/ld+json"),
    ("geojson", "application/geo+json"),
    ("ndjson jsonl", "application/x-ndjson"),
    ("atom", "application/atom+xml"),
    ("rss", "application/rss+xml"),
    ("woff", "font/woff"),
    ("ttf", "font/ttf"),
    ("otf", "font/otf"),
    ("ttc", "font/collection"),
    ("eot", "application/vnd.ms-fontobject"),
    ("apng", "image/apng"),
    ("bmp", "image/bmp"),
    ("tif tiff", "image/tiff"),
    ("heic", "image/heic"),
    ("jxl", "image/jxl"),
    ("mp4 m4v", "video/mp4"),
    ("webm", "video/webm"),
    ("ogv", "video/ogg"),
    ("mov qt", "video/quicktime"),
    ("avi", "video/x-msvideo"),
    ("mkv", "video/x-matroska"),
    ("mpeg mpg", "video/mpeg"),
    ("ts", "video/mp2t"),
    ("mpd", "application/dash+xml"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("mp3", "audio/mpeg"),
    ("m4a", "audio/mp4"),
    ("aac", "audio/aac"),
    ("ogg oga opus", "audio/ogg"),
    ("flac", "audio/flac"),
    ("wav", "audio/wav"),
    ("weba", "audio/webm"),
    ("mid midi", "audio/midi"),
    ("zip", "application/zip"),
    ("gz tgz", "application/gzip"),
    ("bz2", "application/x-bzip2"),
    ("xz", "application/x-xz"),
    ("zst", "application/zstd"),
    ("7z", "application/x-7z-compressed"),
    ("rar", "application/vnd.rar"),
    ("tar", "application/x-tar"),
    ("jar", "application/java-archive"),
    ("apk", "application/vnd.android.package-archive"),
    ("deb", "application/vnd.debian.binary-package"),
    ("epub", "application/epub+zip"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("odt", "application/vnd.oasis.opendocument.text"),
    ("ods", "application/vnd.oasis.opendocument.spreadsheet"),
    ("glb", "model/gltf-binary"),
    ("gltf", "model/gltf+json"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_follow_the_extension_in_any_case() {
        assert_eq!(media_type("/a/index.HTML"), "text/html");
        assert_eq!(media_type("/x.tar.gz"), "application/gzip");
        for unknown in ["/a.b/file", "", "/", "html", "/a.", "/a.html htm", "/a. "] {
            assert_eq!(media_type(unknown), "application/octet-stream", "{unknown}");
        }
    }

    #[test]
    fn an_extension_has_one_type() {
        let mut known = alloc::collections::BTreeSet::new();
        for (extensions, _) in TYPES {
            assert!(extensions.split(' ').all(|extension| known.insert(extension)), "{extensions}");
        }
    }

    #[test]
    fn text_has_a_charset() {
        assert_eq!(&*content_type("text/css", Some("utf-8")), "text/css; charset=utf-8");
        assert_eq!(&*content_type("text/css", None), "text/css");
        assert_eq!(&*content_type("image/png", Some("utf-8")), "image/png");
    }

    #[test]
    fn patterns_name_a_type_or_a_kind() {
        assert!(matches("text/*", "text/css") && matches("image/SVG+xml", "image/svg+xml"));
        assert!(!matches("text/*", "application/json") && !matches("text/*", "text") && !matches("a/b", "a/bc"));
        assert!(matches("*", "a/b"));
    }
}
