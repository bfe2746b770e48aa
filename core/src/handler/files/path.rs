//! Which paths name nothing, and which could be a page of an application.

use super::coding::weighted;
use crate::http1::Fields;

/// Whether a segment of the decoded `path` begins with a dot. `/.well-known/` is for everybody (RFC 8615 §3).
pub fn is_hidden(path: &str) -> bool {
    let path = path.trim_start_matches('/');
    let path = path.strip_prefix(".well-known/").unwrap_or(path);
    path.split('/').any(|segment| segment.starts_with('.'))
}

/// Whether a request for what is not there may be one for a page that the application makes itself: the client says that
/// it takes HTML, as browsers do when they navigate; or it takes anything, and the name does not look like that of a file.
/// Scripts and images that are missing are missing.
pub fn wants_page(fields: &Fields<'_>, path: &str) -> bool {
    let accepts = |media_type: &[u8]| {
        fields
            .list("accept")
            .filter_map(weighted)
            .any(|(name, weight)| weight > 0 && name.eq_ignore_ascii_case(media_type))
    };
    let looks_like_a_file = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    accepts(b"text/html") || (!looks_like_a_file && (fields.get("accept").is_none() || accepts(b"*/*")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn names_with_a_dot_are_hidden() {
        for path in
            ["/.git/config", "/a/.env", "/.", "/.well-known/.x", "/a/.well-known/x", "/.well-knownx", "/.well-known"]
        {
            assert!(is_hidden(path), "{path}");
        }
        for path in ["", "/", "/a.b", "/a./b", "/.well-known/", "/.well-known/acme-challenge/x"] {
            assert!(!is_hidden(path), "{path}");
        }
    }

    #[test]
    fn pages_are_what_takes_html() {
        let wants = |accept: Option<&str>, path| {
            let accept = accept.map(|accept| format!("accept: {accept}\r\n")).unwrap_or_default();
            let request = format!("GET / HTTP/1.1\r\nhost: x\r\n{accept}\r\n");
            let mut decoder = crate::http1::RequestDecoder::new(crate::http1::Limits::default());
            match decoder.decode(request.as_bytes()).unwrap() {
                (_, Some(crate::http1::Part::Head(head, _))) => wants_page(&head.fields, path),
                other => panic!("{other:?}"),
            }
        };
        let navigation = Some("text/html,application/xhtml+xml,*/*;q=0.8");
        assert!(wants(navigation, "/users/1") && wants(navigation, "/users/jo.do"));
        assert!(wants(Some("*/*"), "/users/1") && wants(None, "/users/1"));
        assert!(!wants(Some("*/*"), "/app.js") && !wants(None, "/app.js"));
        assert!(!wants(Some("application/json"), "/users/1") && !wants(Some("image/*"), "/a"));
        assert!(!wants(Some("text/html;q=0"), "/a"));
    }
}
