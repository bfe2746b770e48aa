//! A tiny backend for peers that cannot serve all of the site themselves. It is spoken to by servers that have read the
//! request already, so it believes what it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// More content than this is too much, as in `site.toml` (bytes).
const CONTENT_BYTES: usize = 64 * 1024;

/// Serves until the process ends; the port.
pub(super) fn start() -> std::io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    Ok(port)
}

struct Request {
    method: String,
    path: String,
    host: String,
    persists: bool,
    content: usize,
}

fn serve(stream: TcpStream) -> Option<()> {
    let mut output = stream.try_clone().ok()?;
    let mut input = BufReader::new(stream);
    loop {
        let request = read(&mut input, &mut output)?;
        let (status, field, content) = answer(&request);
        let date = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        let close = if request.persists { "" } else { "connection: close\r\n" };
        let length = format!("content-type: text/plain\r\ncontent-length: {}\r\n", content.len());
        let length = if status.starts_with("204") { "" } else { &length };
        let content = if request.method == "HEAD" { "" } else { content };
        write!(output, "HTTP/1.1 {status}\r\n{date}{field}{close}{length}\r\n{content}").ok()?;
        if !request.persists {
            // Whoever is still sending can read the answer before a reset destroys it (RFC 9112 §9.6).
            output.shutdown(Shutdown::Write).ok()?;
            output.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
            std::io::copy(&mut input, &mut std::io::sink()).ok()?;
            return None;
        }
    }
}

fn answer(request: &Request) -> (&'static str, &'static str, &'static str) {
    const ALL: &str = "allow: GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS\r\n";
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];
    let below =
        |prefix| request.path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    match &request.method[..] {
        method if !known.contains(&method) => ("501 Not Implemented", "", "no\n"),
        _ if request.content > CONTENT_BYTES => ("413 Content Too Large", "", "no\n"),
        "OPTIONS" if request.path == "*" => ("204 No Content", ALL, ""),
        "OPTIONS" if below("/publish") => ("204 No Content", "allow: POST, OPTIONS\r\n", ""),
        "POST" if below("/publish") => ("200 OK", "", "published\n"),
        _ if below("/publish") => ("405 Method Not Allowed", "allow: POST, OPTIONS\r\n", "no\n"),
        _ if below("/empty") => ("204 No Content", "", ""),
        _ if below("/missing") => ("404 Not Found", "", "no\n"),
        _ if below("/moved") => ("308 Permanent Redirect", "location: /\r\n", ""),
        _ if request.host.split(':').next().is_some_and(|host| host.eq_ignore_ascii_case("other.test")) => {
            ("202 Accepted", "", "Accepted\n")
        }
        _ => ("200 OK", "", "OK\n"),
    }
}

fn read(input: &mut BufReader<TcpStream>, output: &mut TcpStream) -> Option<Request> {
    let start = line(input)?;
    let mut words = start.split(' ');
    let (method, target, version) = (words.next()?.to_owned(), words.next()?.to_owned(), words.next()?);
    let mut persists = version != "HTTP/1.0";
    let (mut host, mut length, mut is_chunked, mut expects) = (String::new(), 0, false, false);
    loop {
        let line = line(input)?;
        let Some((name, value)) = line.split_once(':') else { break };
        let value = value.trim();
        match &name.to_ascii_lowercase()[..] {
            "host" => value.clone_into(&mut host),
            "content-length" => length = value.parse().ok()?,
            "transfer-encoding" => is_chunked = true,
            "expect" => expects = value.eq_ignore_ascii_case("100-continue"),
            "connection" if value.eq_ignore_ascii_case("close") => persists = false,
            _ => {}
        }
    }
    let (host, path) = match target.split_once("://").map(|(_, rest)| rest.split_once('/').unwrap_or((rest, ""))) {
        Some((host, "")) if method == "OPTIONS" => (host.to_owned(), "*".to_owned()),
        Some((host, path)) => (host.to_owned(), format!("/{path}")),
        None => (host, target),
    };
    let mut request = Request { method, path, host, persists, content: length };
    // What is too much is not read.
    if length > CONTENT_BYTES {
        request.persists = false;
        return Some(request);
    }
    if expects && (is_chunked || length > 0) {
        output.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    input.read_exact(&mut vec![0; length]).ok()?;
    if is_chunked {
        request.content = chunks(input)?;
        request.persists &= request.content <= CONTENT_BYTES;
    }
    Some(request)
}

/// Reads chunks, as far as they are not too much; how much it was.
fn chunks(input: &mut BufReader<TcpStream>) -> Option<usize> {
    let mut content = 0usize;
    loop {
        let size = usize::from_str_radix(line(input)?.split(';').next()?.trim(), 16).ok()?;
        content = content.saturating_add(size);
        if content > CONTENT_BYTES {
            return Some(content);
        }
        input.read_exact(&mut vec![0; size]).ok()?;
        if size == 0 {
            while !line(input)?.is_empty() {}
            return Some(content);
        }
        line(input)?;
    }
}

fn line(input: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line).ok().filter(|length| *length > 0)?;
    Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
}
