//! What clients and backends say. A request to a backend has a tag in its target; its content, and the content of the
//! answer to it, is that tag again and again. So nothing can be mixed up unnoticed.

/// Stands for the tag of a request that has none: a probe, or something raw.
pub(super) const NO_TAG: &str = "no-tag-no-tag-no";

/// The tag of a number: what nobody writes by chance.
pub(super) fn tag(number: u64) -> String {
    format!("{:016x}", number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The tag in a target that goes to a backend, if there is one of [`tag`]'s form.
pub(super) fn tag_of(target: &str) -> Option<&str> {
    let tag = ["/api/", "/buffered/", "/guarded/"].iter().find_map(|prefix| target.strip_prefix(prefix))?;
    (tag.len() == NO_TAG.len() && tag.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(tag)
}

/// Whether `content`, which begins at `offset`, repeats `tag`.
pub(super) fn repeats(tag: &str, offset: usize, content: &[u8]) -> bool {
    let expected = tag.bytes().cycle().skip(offset % tag.len());
    content.iter().zip(expected).all(|(byte, expected)| *byte == expected)
}

const REQUESTS: [&str; 30] = [
    "GET /api/{tag} HTTP/1.1\r\nhost: x\r\n\r\n",
    "GET /api/{tag} HTTP/1.1\r\nhost: x\r\n\r\n",
    "HEAD /api/{tag} HTTP/1.1\r\nhost: x\r\n\r\n",
    "GET /api/{tag} HTTP/1.0\r\n\r\n",
    "GET /api/{tag} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    "POST /api/{tag} HTTP/1.1\r\nhost: x\r\ncontent-length: 32\r\n\r\n{tag}{tag}",
    "POST /api/{tag} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 16\r\n\r\n{tag}",
    "PUT /api/{tag} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{tag}\r\n20;a=b\r\n{tag}{tag}\r\n0\r\nx-t: 1\r\n\r\n",
    "PUT /api/{tag} HTTP/1.1\r\nhost: x\r\ncontent-length: 4000\r\n\r\n{many}",
    "GET /api/{tag} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: raw\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    "GET /a.txt HTTP/1.1\r\nhost: x\r\nrange: bytes=0-3\r\n\r\n",
    "HEAD /b.html HTTP/1.1\r\nhost: x\r\nif-none-match: *\r\n\r\n",
    "GET /c%20d.js HTTP/1.1\r\nhost: x\r\naccept-encoding: gzip, br;q=0.5\r\n\r\n",
    "GET /-/sse?topic=a&topic=b HTTP/1.1\r\nhost: x\r\naccept-encoding: gzip\r\n\r\n",
    "GET /-/sse?topic=a HTTP/1.1\r\nhost: x\r\nlast-event-id: 1-2.3\r\n\r\n",
    "GET /-/poll?topic=a&position=0&wait=1 HTTP/1.1\r\nhost: x\r\n\r\n",
    "POST /-/publish/a HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n\"a\"",
    "POST /-/publish/b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n4\r\ntrue\r\n0\r\n\r\n",
    "GET /-/ws?topic=a HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
     sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET /-/echo HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
     sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
    "CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n",
    "PUT /buffered/{tag} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{tag}\r\n0\r\nx-t: 1\r\n\r\n",
    "POST /buffered/{tag} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 32\r\n\r\n{tag}{tag}",
    "OPTIONS /buffered/{tag} HTTP/1.1\r\nhost: x\r\norigin: http://a\r\naccess-control-request-method: PUT\r\n\r\n",
    "POST /guarded/{tag} HTTP/1.1\r\nhost: x\r\ncontent-length: 16\r\n\r\n{tag}",
    "GET /guarded/{tag} HTTP/1.1\r\nhost: x\r\n\r\n",
    "GET /down/ HTTP/1.1\r\nhost: x\r\n\r\n",
    "GET /other/{tag} HTTP/1.1\r\nhost: x\r\n\r\n",
];

/// `{content:N}` is so many bytes of repeated tags, unless they answer HEAD.
const RESPONSES: [&str; 20] = [
    "HTTP/1.1 200 OK\r\nx-tag: {tag}\r\ncontent-length: 32\r\n\r\n{content:32}",
    "HTTP/1.1 200 OK\r\nx-tag: {tag}\r\ncontent-length: 32\r\n\r\n{content:32}",
    "HTTP/1.1 200 OK\r\nx-tag: {tag}\r\ntransfer-encoding: chunked\r\n\r\n{chunks}",
    "HTTP/1.1 404 No\r\nx-tag: {tag}\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 204 No\r\nx-tag: {tag}\r\n\r\n",
    "HTTP/1.1 304 No\r\nx-tag: {tag}\r\netag: \"a\"\r\n\r\n",
    "HTTP/1.1 200 OK\r\nx-tag: {tag}\r\nconnection: close\r\n\r\n{content:32}",
    "HTTP/1.0 200 OK\r\nx-tag: {tag}\r\n\r\n{content:32}",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nx-tag: {tag}\r\nconnection: upgrade\r\nupgrade: raw\r\n\r\nabc",
    "HTTP/1.1 200 OK\r\nx-tag: {tag}\r\ncontent-length: 4000\r\n\r\n{content:4000}",
    "HTTP/1.1 200 OK\r\nx-tag: {tag}\r\ncontent-length: 64\r\n\r\n{content:32}",
    "HTTP/1.1 503 No\r\nx-tag: {tag}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nx-tag: {tag}\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{content:2}",
    "HTTP/1.1 200 OK\r\nx-tag: {tag}\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "HTTP/1.1 200 OK\r\nx-tag: {tag}\r\nset-cookie: a\x01b\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nx-tag: {tag}\r\ncontent-length: 16\r\n\r\n{content:16}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    "HTTP/2 200\r\n\r\n",
    "HTTP/1.1 407 No\r\nx-tag: {tag}\r\nconnection: x-tag, keep-alive\r\nkeep-alive: 5\r\ncontent-length: 16\r\n\r\n{content:16}",
];

/// A client's request.
pub(super) fn request(which: u8, tag: &str) -> Vec<u8> {
    let text = REQUESTS[usize::from(which) % REQUESTS.len()];
    text.replace("{many}", &tag.repeat(250)).replace("{tag}", tag).into_bytes()
}

/// Whether another answer follows this one.
pub(super) fn is_interim(which: u8) -> bool {
    RESPONSES[usize::from(which) % RESPONSES.len()].starts_with("HTTP/1.1 10")
}

/// A backend's answer to the request with this tag, and whether it was a HEAD.
pub(super) fn response(which: u8, tag: &str, is_head: bool) -> Vec<u8> {
    let mut text = RESPONSES[usize::from(which) % RESPONSES.len()].replace("{tag}", tag);
    for length in [2, 16, 32, 4000] {
        let content = if is_head { String::new() } else { tag.repeat(length / 16 + 1)[..length].into() };
        text = text.replace(&format!("{{content:{length}}}"), &content);
    }
    let chunks =
        if is_head { String::new() } else { format!("10\r\n{tag}\r\n20\r\n{tag}{tag}\r\n0\r\nx-t: 1\r\n\r\n") };
    text.replace("{chunks}", &chunks).into_bytes()
}
