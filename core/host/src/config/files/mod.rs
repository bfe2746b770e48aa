//! Routes to files.

mod tables;

use super::source::{Section, boolean, kind, list, string};
use crate::failure::{Failure, did_you_mean};
use brolly_core::config::{Coding, Files, Symlinks};
use std::path::Path;
use std::sync::Arc;
use tables::{cache, compress, versions};
use toml::Spanned;
use toml::de::DeValue;

/// The keys of a directory.
pub(super) const DIRECTORY_KEYS: &[&str] = &[
    "root",
    "by_host",
    "index",
    "listing",
    "fallback",
    "hidden",
    "symlinks",
    "charset",
    "precompressed",
    "compress",
    "cache",
    "versioned",
    "versions",
];
/// The keys of a single file.
pub(super) const FILE_KEYS: &[&str] =
    &["path", "any_path", "content_type", "symlinks", "charset", "precompressed", "compress", "cache"];

const SYMLINKS: [(&str, Symlinks); 3] =
    [("never", Symlinks::Never), ("inside", Symlinks::Inside), ("anywhere", Symlinks::Anywhere)];
const PRECOMPRESSED: [(&str, Coding); 3] = [("br", Coding::Brotli), ("zstd", Coding::Zstd), ("gzip", Coding::Gzip)];

/// Reads a route to a directory; a relative one begins at `directory`.
pub(super) fn files(route: &Section<'_, '_>, directory: &Path) -> Result<Files, Failure> {
    let root = route.need("root", "\"./public\"", |value| root(value, directory))?;
    let mut files = Files::new(&root);
    let index = route.get("index", |value| {
        let names = match value {
            DeValue::Array(_) => list(value, "[\"index.html\", \"index.htm\"]")?,
            one => vec![string(one)?],
        };
        let is_name = |name: &&str| !name.is_empty() && !name.contains(['/', '\\']);
        match names.iter().all(is_name) {
            true => Ok(names.into_iter().map(Into::into).collect()),
            false => Err("must be a file name such as \"index.html\"".to_owned()),
        }
    })?;
    files.index = index.unwrap_or(files.index);
    let by_host = route.get("by_host", |value| match value {
        DeValue::Boolean(by_host) => Ok(by_host.then(Box::default)),
        value => string(value).map(|suffix| Some(suffix.to_ascii_lowercase().into())),
    })?;
    files.by_host = by_host.flatten();
    files.listing = route.get("listing", boolean)?.unwrap_or(false);
    files.fallback = route.get("fallback", |value| below(Path::new(&*root), string(value)?))?;
    files.hidden = route.get("hidden", boolean)?.unwrap_or(false);
    files.versioned = route.get("versioned", |value| {
        let path = string(value)?;
        match path.starts_with('/') && !path.trim_matches('/').is_empty() {
            true => Ok(path.into()),
            false => Err(format!("must be a path below the route such as \"/static/\", not \"{path}\"")),
        }
    })?;
    common(route, &mut files)?;
    files.versions = versions(route, directory, &files)?;
    Ok(files)
}

/// A directory that exists.
fn root(value: &DeValue<'_>, directory: &Path) -> Result<Arc<str>, String> {
    super::directory(&directory.join(string(value)?)).map_err(|text| format!("is wrong: {text}"))
}

/// Reads a route to a single file. Whoever names a file means what its name leads to.
pub(super) fn file(route: &Section<'_, '_>, directory: &Path) -> Result<Files, Failure> {
    let (root, name) = route.need("path", "\"./favicon.ico\"", |value| {
        let path = directory.join(string(value)?);
        let shown = path.display();
        match std::fs::metadata(&path) {
            Ok(found) if found.is_file() => {}
            Ok(_) => return Err(format!("is wrong: {shown} is not a file; handler = \"files\" serves a directory")),
            Err(error) => return Err(format!("is wrong: {shown}: {}", crate::io::reason(&error))),
        }
        let name = path.file_name().and_then(|name| name.to_str());
        match (path.parent(), name) {
            (Some(parent), Some(name)) => {
                Ok((super::directory(parent).map_err(|text| format!("is wrong: {text}"))?, name.to_owned()))
            }
            _ => Err(format!("is wrong: {shown} is not a name in UTF-8; rename it")),
        }
    })?;
    let mut files = Files { only: Some(name.into()), symlinks: Symlinks::Anywhere, ..Files::new(&root) };
    files.is_any_path = route.get("any_path", boolean)?.unwrap_or(false);
    files.content_type = route.get("content_type", |value| match string(value)? {
        text if text.split_once('/').is_some() && text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) => {
            Ok(text.into())
        }
        text => Err(format!("must be a media type such as \"text/html; charset=utf-8\", not \"{text}\"")),
    })?;
    common(route, &mut files)?;
    Ok(files)
}

/// The keys that both have.
fn common(route: &Section<'_, '_>, files: &mut Files) -> Result<(), Failure> {
    files.symlinks = route.get("symlinks", |value| choice(value, &SYMLINKS))?.unwrap_or(files.symlinks);
    let charset = route.get("charset", |value| match value {
        DeValue::Boolean(false) => Ok(None),
        value => match string(value)? {
            name if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:+".contains(c)) => {
                Ok(Some(name.into()))
            }
            _ => Err(format!("must be the name of a charset such as \"utf-8\", or false, not {}", kind(value))),
        },
    })?;
    files.charset = charset.unwrap_or(files.charset.take());
    files.precompressed = choices(route, "precompressed", &PRECOMPRESSED)?.unwrap_or_default();
    files.compress = compress(route)?;
    files.cache = cache(route)?;
    Ok(())
}

/// A file below `root`, without a leading slash.
fn below(root: &Path, name: &str) -> Result<Box<str>, String> {
    let name = name.trim_start_matches('/');
    match std::fs::metadata(root.join(name)) {
        Ok(found) if found.is_file() && !name.split('/').any(|part| matches!(part, "" | "." | "..")) => Ok(name.into()),
        Ok(_) => Err(format!("must be a file in `root` such as \"index.html\", not \"{name}\"")),
        Err(error) => Err(format!("is wrong: {}: {}", root.join(name).display(), crate::io::reason(&error))),
    }
}

/// One of a few names.
fn choice<T: Copy>(value: &DeValue<'_>, known: &[(&str, T)]) -> Result<T, String> {
    let written = string(value)?;
    let found = known.iter().find(|(name, _)| *name == written).map(|(_, choice)| *choice);
    let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
    found.ok_or_else(|| format!("is not \"{written}\"{}", did_you_mean(written, &names)))
}

/// A list of a few names.
fn choices<T: Copy>(section: &Section<'_, '_>, key: &str, known: &[(&str, T)]) -> Result<Option<Vec<T>>, Failure> {
    let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
    let list = section
        .get(key, |value| value.as_array().ok_or_else(|| format!("must be a list of names such as {names:?}")))?;
    let read = |value: &'_ Spanned<DeValue<'_>>| section.read(key, value, |value| choice(value, known));
    list.map(|list| list.iter().map(read).collect()).transpose()
}

/// What a route to files does, for the report of `check`.
pub(super) fn describe(files: &Files) -> String {
    let mut text = match &files.only {
        Some(name) if files.is_any_path => format!("file {}/{name} for all paths", files.root),
        Some(name) => format!("file {}/{name}", files.root),
        None if files.index.is_empty() => format!("files in {}, no index", files.root),
        None => format!("files in {}, index {}", files.root, files.index.join(" or ")),
    };
    let mut add = |what: String| {
        text.push_str(", ");
        text.push_str(&what);
    };
    let names = |codings: &[Coding]| codings.iter().map(|coding| coding.name()).collect::<Vec<_>>().join(" ");
    if files.by_host.is_some() {
        add("a directory for each host".into());
    }
    if let Some(versions) = &files.versions {
        add(format!("versions by `{}` in {}", versions.parameter, versions.files.root));
    }
    if files.listing {
        add("or a listing".into());
    }
    if let Some(fallback) = &files.fallback {
        add(format!("fallback {fallback}"));
    }
    if files.hidden {
        add("hidden ones too".into());
    }
    match files.symlinks {
        Symlinks::Never => add("no symbolic links".into()),
        Symlinks::Anywhere if files.only.is_none() => add("SYMBOLIC LINKS LEAD ANYWHERE".into()),
        Symlinks::Anywhere | Symlinks::Inside => {}
    }
    if !files.precompressed.is_empty() {
        add(format!("precompressed {}", names(&files.precompressed)));
    }
    if let Some(compress) = &files.compress {
        add(format!("compressed {}", names(&compress.codings)));
    }
    if let Some(versioned) = &files.versioned {
        add(format!("immutable below {versioned}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::file::parse;
    use super::*;
    use brolly_core::config::{CacheRule, Compress, Fallback, Handler, Versions};

    fn only(text: &str) -> Arc<Files> {
        let settings = parse(text).unwrap();
        match settings.config.handlers.as_slice() {
            [Handler::Files(files)] => Arc::clone(files),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_key_is_read() {
        let files = only(
            r#"
            [[routes]]
            handler = "files"
            root = "src"
            index = "i.html"
            listing = true
            fallback = "/config/mod.rs"
            hidden = true
            symlinks = "never"
            charset = "iso-8859-1"
            precompressed = ["br", "gzip"]
            compress = { types = ["text/*"], from = "2KiB", to = "3KiB", codings = ["gzip"] }
            cache = [{ match = "*.html", control = "no-store" }]
            versioned = "/static/"
            by_host = ".Example.org"
            versions = { root = "examples", parameter = "r", split = [2, 6], fallback = "no-file" }
            "#,
        );
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        let mut expected = Files {
            index: vec!["i.html".into()],
            only: None,
            is_any_path: false,
            by_host: Some(".example.org".into()),
            content_type: None,
            listing: true,
            fallback: Some("config/mod.rs".into()),
            hidden: true,
            symlinks: Symlinks::Never,
            charset: Some("iso-8859-1".into()),
            precompressed: vec![Coding::Brotli, Coding::Gzip],
            compress: Some(Compress {
                types: vec!["text/*".into()],
                from: 2048,
                to: 3072,
                codings: vec![Coding::Gzip],
            }),
            cache: vec![CacheRule { pattern: "*.html".into(), control: "no-store".into() }],
            versioned: Some("/static/".into()),
            versions: None,
            root: root.into(),
        };
        let cache = vec![CacheRule { pattern: "*".into(), control: "public, max-age=31536000, immutable".into() }];
        let hashed = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
        let of = Files { by_host: None, versioned: None, cache, ..expected.clone() };
        let of = Files { root: hashed.into(), fallback: None, listing: false, ..of };
        let (parameter, split) = ("r".into(), vec![2, 6]);
        expected.versions = Some(Versions { files: of.into(), parameter, split, fallback: Fallback::NoFile });
        assert_eq!(*files, expected);
        assert_eq!(
            describe(&files),
            format!(
                "files in {root}, index i.html, a directory for each host, versions by `r` in {hashed}, or a listing, fallback config/mod.rs, hidden ones too, no symbolic \
                 links, precompressed br gzip, compressed gzip, immutable below /static/"
            )
        );
        let plain = only("[[routes]]\nhandler='files'\nroot='src'\ncharset=false\ncompress={types=['text/*']}");
        let compress = plain.compress.clone().unwrap();
        assert_eq!((compress.from, compress.to, compress.codings.len()), (1024, 1024 * 1024, 2));
        assert_eq!(*plain, Files { charset: None, compress: plain.compress.clone(), ..Files::new(root) });
        let file = only("[[routes]]\nhandler='file'\npath='src/url.rs'");
        let expected = Files { only: Some("url.rs".into()), symlinks: Symlinks::Anywhere, ..Files::new(root) };
        assert_eq!(*file, expected);
        assert_eq!(describe(&file), format!("file {root}/url.rs"));
    }

    #[test]
    fn mistakes_say_what_to_write_instead() {
        for (keys, message) in [
            ("index=['']", "`index` must be a file name such as \"index.html\""),
            (
                "versions={root='src', parameter='v', split=[0]}",
                "`split` must be a list of lengths from 1 to 64 such as [2, 6]",
            ),
            (
                "versions={root='src', parameter='v', split=[2], fallback='no_file'}",
                "`fallback` is not \"no_file\"; did you mean `no-file`?",
            ),
            ("listing='yes'", "`listing` must be true or false, not \"yes\""),
            (
                "fallback='nowhere.html'",
                concat!(
                    "`fallback` is wrong: ",
                    env!("CARGO_MANIFEST_DIR"),
                    "/src/nowhere.html: there is no such file or directory"
                ),
            ),
            (
                "fallback='../Cargo.toml'",
                "`fallback` must be a file in `root` such as \"index.html\", not \"../Cargo.toml\"",
            ),
            ("fallback='config'", "`fallback` must be a file in `root` such as \"index.html\", not \"config\""),
            ("symlinks='insde'", "`symlinks` is not \"insde\"; did you mean `inside`?"),
            ("charset='utf 8'", "`charset` must be the name of a charset such as \"utf-8\", or false, not \"utf 8\""),
            ("precompressed='br'", "`precompressed` must be a list of names such as [\"br\", \"zstd\", \"gzip\"]"),
            ("precompressed=['brotli']", "`precompressed` is not \"brotli\"; did you mean `br`?"),
            ("precompressed=['gz']", "`precompressed` is not \"gz\"; did you mean `gzip`?"),
            ("compress=true", "`compress` must be written compress = { types = [\"text/*\"], from = \"1KiB\" }"),
            ("compress={}", "`types` is missing; write types = [\"text/*\", \"application/json\"]"),
            (
                "compress={types=['html']}",
                "`types` must be a list of media types such as [\"text/*\", \"application/json\"], not \"html\"",
            ),
            (
                "compress={types=['text/*'], from=1000}",
                "`from` must be a size such as \"512B\", \"64KiB\" or \"1MiB\", not \"1000\"",
            ),
            (
                "compress={types=['text/*'], from='2MiB'}",
                "`compress` has a `from` that is larger than its `to`: nothing would be compressed",
            ),
            ("compress={types=['text/*'], codings=['br']}", "`codings` is not \"br\"; there is `zstd` and `gzip`"),
            ("compress={type=['text/*']}", "`type` is not a key of `compress`; did you mean `types`?"),
            ("cache='no-store'", "`cache` must be written cache = [{ match = \"*.html\", control = \"no-cache\" }]"),
            ("cache=[{match='*.html'}]", "`control` is missing; write control = \"public, max-age=3600\""),
            (
                "cache=[{match='.html', control='no-store'}]",
                "`match` must begin with a slash or a star; write \"/.html\" or \"*.html\"",
            ),
            (
                "cache=[{match='*', control=\"a\\nb\"}]",
                "`control` must be a value of Cache-Control such as \"no-store\", not \"a\nb\"",
            ),
            ("versioned='static'", "`versioned` must be a path below the route such as \"/static/\", not \"static\""),
            ("versioned='/'", "`versioned` must be a path below the route such as \"/static/\", not \"/\""),
            ("fallbck='x'", "`fallbck` is not a key of `files` routes; did you mean `fallback`?"),
        ] {
            let text = format!("[[routes]]\nhandler='files'\nroot='src'\n{keys}");
            let failure = parse(&text).unwrap_err().to_string();
            let line = failure.strip_prefix("brolly.toml:").and_then(|rest| rest.split_once(": ")).unwrap();
            assert_eq!(line.1, message, "{keys}");
            assert_eq!(line.0, "4", "{keys}");
        }
        for (keys, message) in [
            ("", "1: `path` is missing; write path = \"./favicon.ico\""),
            (
                "\npath='src'",
                concat!(
                    "3: `path` is wrong: ",
                    env!("CARGO_MANIFEST_DIR"),
                    "/src is not a file; handler = \"files\" serves a directory"
                ),
            ),
            (
                "\npath='x.ico'",
                concat!(
                    "3: `path` is wrong: ",
                    env!("CARGO_MANIFEST_DIR"),
                    "/x.ico: there is no such file or directory"
                ),
            ),
            (
                "\npath='Cargo.toml'\nsymlink='never'",
                "4: `symlink` is not a key of `file` routes; did you mean `symlinks`?",
            ),
        ] {
            let failure = parse(&format!("[[routes]]\nhandler='file'{keys}")).unwrap_err();
            assert_eq!(failure.to_string(), format!("brolly.toml:{message}"));
        }
    }
}
