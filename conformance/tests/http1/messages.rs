//! Messages to write and read, and damage to do to them.

use crate::driver::{Event, Lines};
use brolly_core::http1::{Framing, HeadWriter, StatusCode, Version, chunk, chunk_shared, last_chunk};
use brolly_core::outbox::Outbox;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// A message as its sender means it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    start: Start,
    fields: Lines,
    content: Content,
}

#[derive(Clone, Debug)]
enum Start {
    Request { method: String, path: String, query: Option<String> },
    Response(u16),
}

#[derive(Clone, Debug)]
enum Content {
    None,
    Length(Vec<u8>),
    Chunked(Vec<Vec<u8>>, Lines),
}

impl Message {
    /// What the library writes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Outbox::new();
        let mut head = match &self.start {
            Start::Request { method, path, query } => {
                let query = query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
                HeadWriter::request(&mut out, method, &format!("{path}{query}")).unwrap()
            }
            Start::Response(status) => HeadWriter::response(&mut out, StatusCode::new(*status).unwrap()),
        };
        for (name, value) in &self.fields {
            head.field(name, value).unwrap();
        }
        match &self.content {
            Content::None => {}
            Content::Length(content) => {
                head.content_length(content.len() as u64).unwrap();
            }
            Content::Chunked(..) => {
                head.chunked().unwrap();
            }
        }
        head.finish();
        match &self.content {
            Content::None => {}
            Content::Length(content) => out.extend(content),
            Content::Chunked(pieces, trailers) => {
                for (index, piece) in pieces.iter().enumerate() {
                    if index % 2 == 0 {
                        chunk(&mut out, piece);
                    } else {
                        chunk_shared(&mut out, Bytes::copy_from_slice(piece));
                    }
                }
                last_chunk(&mut out, trailers.iter().map(|(name, value)| (&name[..], &value[..]))).unwrap();
            }
        }
        unsent(&out)
    }

    /// What a reader must see.
    pub(crate) fn events(&self) -> Vec<Event> {
        let (line, content, framing, trailers) = match &self.content {
            Content::None => (None, Vec::new(), Framing::Empty, None),
            Content::Length(content) => {
                let length = content.len();
                let line = ("content-length".to_string(), length.to_string().into_bytes());
                (Some(line), content.clone(), Framing::Length(length as u64), None)
            }
            Content::Chunked(pieces, trailers) => {
                let line = ("transfer-encoding".to_string(), b"chunked".to_vec());
                let trailers = Some(trailers.clone()).filter(|trailers| !trailers.is_empty());
                (Some(line), pieces.concat(), Framing::Chunked, trailers)
            }
        };
        let fields = self.fields.iter().cloned().chain(line).collect();
        let version = Version::Http11;
        let head = match self.start.clone() {
            Start::Request { method, path, query } => Event::Request { method, path, query, version, fields, framing },
            Start::Response(status) => Event::Response { status, version, fields, framing },
        };
        let content = Some(Event::Content(content)).filter(|event| *event != Event::Content(Vec::new()));
        // An interim response has no end of its own.
        let end = (!matches!(self.start, Start::Response(100..200))).then_some(Event::End(trailers));
        [head].into_iter().chain(content).chain(end).collect()
    }
}

/// A request that was read, as the library writes it: in origin form, as HTTP/1.1. `None` for `CONNECT`.
pub(crate) fn written(message: &[Event]) -> Option<Vec<u8>> {
    let [Event::Request { method, path, query, fields, framing, .. }, rest @ ..] = message else { return None };
    let query = query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    let mut out = Outbox::new();
    let mut head = HeadWriter::request(&mut out, method, &format!("{path}{query}")).ok()?;
    if !fields.iter().any(|(name, _)| name == "host") {
        head.field("host", b"a").unwrap();
    }
    for (name, value) in fields.iter().filter(|(name, _)| !FRAMING.contains(&name.as_str())) {
        head.field(name, value).unwrap();
    }
    match framing {
        Framing::Length(length) => _ = head.content_length(*length).unwrap(),
        Framing::Chunked => _ = head.chunked().unwrap(),
        Framing::Empty | Framing::UntilClose => {}
    }
    head.finish();
    for event in rest {
        match event {
            Event::Content(data) if *framing == Framing::Chunked => chunk(&mut out, data),
            Event::Content(data) => out.extend(data),
            Event::End(trailers) if *framing == Framing::Chunked => {
                let trailers = trailers.iter().flatten();
                last_chunk(&mut out, trailers.map(|(name, value)| (&name[..], &value[..]))).unwrap();
            }
            _ => {}
        }
    }
    Some(unsent(&out))
}

/// What is left of a request when it is passed on: neither who it is for in HTTP/1.0, nor where its framing stood.
pub(crate) fn essence(message: &[Event]) -> Vec<Event> {
    let mut message = message.to_vec();
    if let Some(Event::Request { version, fields, .. }) = message.first_mut() {
        *version = Version::Http11;
        fields.retain(|(name, _)| name != "host" && !FRAMING.contains(&name.as_str()));
    }
    message
}

const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];

/// Everything in an outbox.
pub(crate) fn unsent(out: &Outbox) -> Vec<u8> {
    let mut slices: [&[u8]; 64] = [&[]; 64];
    let filled = out.slices(&mut slices);
    assert_eq!(slices[..filled].iter().map(|slice| slice.len()).sum::<usize>(), out.len());
    slices[..filled].concat()
}

pub(crate) fn method() -> impl Strategy<Value = String> {
    prop_oneof![select(&["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS"][..]).prop_map(String::from), "[A-Z!#]{1,8}"]
        .prop_filter("CONNECT has another target", |method| method != "CONNECT")
}

pub(crate) fn request() -> impl Strategy<Value = Message> {
    let query = proptest::option::of("[a-z=&%?/|]{0,12}");
    let host = "([a-z]{1,5}\\.)?[a-z0-9]{1,3}(:[0-9]{1,4})?";
    (method(), "/[a-z/.%*]{0,20}", query, host, lines(), content()).prop_map(
        |(method, path, query, host, mut fields, content)| {
            fields.insert(fields.len() / 2, ("host".into(), host.into()));
            Message { start: Start::Request { method, path, query }, fields, content }
        },
    )
}

pub(crate) fn response() -> impl Strategy<Value = Message> {
    let empty = (select(&[100, 102, 103, 199, 204, 304][..]), lines()).prop_map(|(status, fields)| Message {
        start: Start::Response(status),
        fields,
        content: Content::None,
    });
    prop_oneof![4 => final_response(), 1 => empty]
}

/// A response with content that ends before the connection does.
pub(crate) fn final_response() -> impl Strategy<Value = Message> {
    let delimited = content().prop_filter("not delimited", |content| !matches!(content, Content::None));
    let status = prop_oneof![Just(200), (200..600u16).prop_filter("no content", |status| !matches!(status, 204 | 304))];
    (status, lines(), delimited).prop_map(|(status, fields, content)| Message {
        start: Start::Response(status),
        fields,
        content,
    })
}

pub(crate) fn pipeline<S: Strategy<Value = Message>>(message: S) -> impl Strategy<Value = Vec<Message>> {
    vec(message, 1..6)
}

fn content() -> impl Strategy<Value = Content> {
    let bytes = |most| prop_oneof![vec(any::<u8>(), 0..most), vec(select(&b"\r\n0GET:"[..]), 0..most)];
    let long = vec(any::<u8>(), 1024..3000);
    prop_oneof![
        Just(Content::None),
        bytes(100).prop_map(Content::Length),
        (vec(prop_oneof![8 => bytes(40).boxed(), 1 => long.boxed()], 0..5), trailers())
            .prop_map(|(pieces, trailers)| Content::Chunked(pieces, trailers)),
    ]
}

fn lines() -> impl Strategy<Value = Lines> {
    let name = prop_oneof![
        "x-[a-z!#$%&'*+.^_`|~0-9]{1,10}",
        select(&["accept", "connection", "cookie", "expect", "upgrade", "te"][..]).prop_map(String::from)
    ];
    vec((name, value()), 0..30)
}

fn trailers() -> impl Strategy<Value = Lines> {
    vec(("x-[a-z]{1,5}", value()), 0..3)
}

/// No white space around it.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let inner = prop_oneof![4 => 0x21..0x7fu8, 1 => 0x80..=0xffu8, 1 => select(&b" \t,"[..])];
    vec(inner, 0..20).prop_map(|value| value.trim_ascii().to_vec())
}

/// Some messages, with nothing or a few bytes wrong.
pub(crate) fn damaged<S: Strategy<Value = Message>>(message: S) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => select(&[
            "\r\n", "\n", "\r", " ", "\t", ":", ",", ";", "\0", "0", "1", "f", "%", "/", "?", "#", "HTTP/1.0",
            "HTTP/1.2", "HTTP/2.0", "\r\n\r\n", "\r\n ", "0\r\n\r\n", "5\r\nhello\r\n", ";a=\"b\"",
            "GET / HTTP/1.1\r\n", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n", "Host: b\r\n", "X: y\r\n", "http://a",
        ][..]).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 1..3),
    ];
    let damage = (any::<prop::sample::Index>(), 0usize..4, prop::option::of(piece));
    (vec(message, 1..4), vec(damage, 0..4)).prop_map(|(messages, damages)| {
        let mut bytes: Vec<u8> = messages.iter().flat_map(Message::encode).collect();
        for (index, removed, inserted) in damages {
            let start = index.index(bytes.len() + 1);
            let end = (start + removed).min(bytes.len());
            bytes.splice(start..end, inserted.unwrap_or_default());
        }
        bytes
    })
}
