//! The little of URLs that brolly needs: `http://host:port/path`, and `https`, `ws`, `wss`.

use std::fmt;

/// A host, a port, and maybe a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Url {
    /// Whether it begins with `https://` or `wss://`.
    pub is_tls: bool,
    /// Whether it begins with `ws://` or `wss://`.
    pub is_websocket: bool,
    /// A name, or an IP address without brackets.
    pub host: Box<str>,
    /// TCP port; 80, or 443 with TLS, unless given.
    pub port: u16,
    /// Begins with `/`; `None` if the URL ended before.
    pub path: Option<Box<str>>,
}

impl Url {
    /// Reads `http://host:port/path`; `http://`, `:port` and `/path` may be missing.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            Some(("http" | "https", _)) | None => Self::parse_any(text),
            Some((scheme, rest)) => Err(format!("`{scheme}` is not supported; write `http://{rest}`")),
        }
    }

    /// As [`parse`](Self::parse), or `ws://` or `wss://`.
    ///
    /// # Errors
    /// As with `parse`.
    pub fn parse_any(text: &str) -> Result<Self, String> {
        let (is_tls, is_websocket, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, false, rest),
            Some(("https", rest)) => (true, false, rest),
            Some(("ws", rest)) => (false, true, rest),
            Some(("wss", rest)) => (true, true, rest),
            Some((scheme, rest)) => return Err(format!("`{scheme}` is not supported; write `http://{rest}`")),
            None => (false, false, text),
        };
        if let Some(extra) = rest.find(['?', '#', '\\']).or_else(|| rest.find(|c: char| c.is_control() || c == ' ')) {
            return Err(format!("`{text}` must end before the `{}`", rest[extra..].chars().next().unwrap_or_default()));
        }
        let (authority, path) = match rest.find('/') {
            Some(slash) => (&rest[..slash], Some(&rest[slash..])),
            None => (rest, None),
        };
        if authority.contains('@') {
            return Err(format!("`{text}` must not have a user name or password"));
        }
        let (host, port) = split_port(authority);
        let port = match port {
            None => default_port(is_tls),
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
                format!(
                    "`{port}` in `{text}` is not a port; write a number from 1 to 65535, as in `http://{host}:8080`"
                )
            })?,
        };
        let host = match host.strip_prefix('[').map(|host| host.strip_suffix(']')) {
            Some(Some(address)) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
            Some(_) => return Err(format!("`{host}` in `{text}` is not an IPv6 address; write it as in `[::1]`")),
            None => host,
        };
        if host.is_empty() {
            return Err(format!("`{text}` has no host; write it as in `http://localhost:8080`"));
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if !authority.starts_with('[')
            && let Some(wrong) = host.chars().find(|c| !is_name(*c))
        {
            return Err(format!("`{text}` has a `{wrong}` in its host; write it as in `http://localhost:8080`"));
        }
        Ok(Self { is_tls, is_websocket, host: host.into(), port, path: path.map(Into::into) })
    }

    /// Reads a URL of a server that is spoken to without TLS.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); `https` is one.
    pub fn parse_plain(text: &str) -> Result<Self, String> {
        match Self::parse(text)? {
            url if url.is_tls => {
                Err(format!("`{text}` needs TLS, which this command does not speak; write `http://...`"))
            }
            url => Ok(url),
        }
    }

    /// Reads what `tail` can follow.
    ///
    /// # Errors
    /// As [`parse_any`](Self::parse_any); `https` is one.
    pub fn parse_followed(text: &str) -> Result<Self, String> {
        match Self::parse_any(text)? {
            url if url.is_tls && !url.is_websocket => {
                let rest = text.trim_start_matches("https");
                Err(format!(
                    "`{text}` is an event stream over TLS, which this command does not speak; write `wss{rest}`"
                ))
            }
            url => Ok(url),
        }
    }

    /// What belongs into `Host`: brackets around IPv6, the port unless it is the default.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.to_string() };
        if self.port == default_port(self.is_tls) { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.is_websocket, self.is_tls) {
            (false, false) => "http",
            (false, true) => "https",
            (true, false) => "ws",
            (true, true) => "wss",
        };
        write!(f, "{scheme}://{}{}", self.authority(), self.path.as_deref().unwrap_or_default())
    }
}

fn default_port(is_tls: bool) -> u16 {
    if is_tls { 443 } else { 80 }
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    let after_bracket = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    match authority[after_bracket..].rfind(':') {
        Some(colon) => (&authority[..after_bracket + colon], Some(&authority[after_bracket + colon + 1..])),
        None => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_in_all_their_shapes() {
        let parse = |text| Url::parse(text).map(|url| (url.host.to_string(), url.port, url.path.map(String::from)));
        let url = |host: &str, port, path: Option<&str>| Ok((host.to_owned(), port, path.map(String::from)));
        assert_eq!(parse("http://localhost:8111"), url("localhost", 8111, None));
        assert_eq!(parse("localhost:8111"), url("localhost", 8111, None));
        assert_eq!(parse("http://example.org"), url("example.org", 80, None));
        assert_eq!(parse("http://example.org/"), url("example.org", 80, Some("/")));
        assert_eq!(parse("http://[::1]:8111/v2/"), url("::1", 8111, Some("/v2/")));
        assert_eq!(parse("[::1]"), url("::1", 80, None));
        assert_eq!(parse("https://a/b"), url("a", 443, Some("/b")));
        for text in ["http://[::1]:8111/v2/", "http://a.b/c", "http://a:81", "https://a", "https://a:80/"] {
            assert_eq!(Url::parse(text).unwrap().to_string(), text);
            let websocket = text.replace("http", "ws");
            assert_eq!(Url::parse_any(&websocket).unwrap().to_string(), websocket);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, message) in [
            ("ws://a", "`ws` is not supported; write `http://a`"),
            ("http://", "`http://` has no host; write it as in `http://localhost:8080`"),
            ("http://:80", "`http://:80` has no host; write it as in `http://localhost:8080`"),
            ("http://a:b", "`b` in `http://a:b` is not a port; write a number from 1 to 65535, as in `http://a:8080`"),
            ("a:0", "`0` in `a:0` is not a port; write a number from 1 to 65535, as in `http://a:8080`"),
            ("a:65536", "`65536` in `a:65536` is not a port; write a number from 1 to 65535, as in `http://a:8080`"),
            ("http://[x]", "`[x]` in `http://[x]` is not an IPv6 address; write it as in `[::1]`"),
            ("http://u:p@a/", "`http://u:p@a/` must not have a user name or password"),
            ("http://a/?b", "`http://a/?b` must end before the `?`"),
            ("http://a b", "`http://a b` must end before the ` `"),
            ("::1", "`::1` has a `:` in its host; write it as in `http://localhost:8080`"),
            ("http://a\"b", "`http://a\"b` has a `\"` in its host; write it as in `http://localhost:8080`"),
        ] {
            assert_eq!(Url::parse(text), Err(message.to_owned()));
        }
    }
}
