//! A message, encoded once for every wire.

use alloc::vec::Vec;
use bytes::Bytes;

use super::position::TokenWriter;
use super::{Body, Position, Topic};
use crate::ws::{self, Fin, Opcode};

/// The longest header of an unmasked frame (RFC 6455 §5.2).
const FRAME_HEADER_BYTES: usize = 10;
/// What a message is on the wires besides its topic and data, about.
const FRAMING_BYTES: usize = 160;
/// What a retained message costs besides itself and its encoding: reference counts, and its places in the history.
const RECORD_BYTES: usize = 128;

/// How a message was written.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// A JSON value.
    Json,
    /// UTF-8.
    Text,
}

/// A message with its number, ready for every wire. The forms share one allocation; meant to live in an `Arc`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// Where it was published.
    pub topic: Topic,
    /// Its number.
    pub position: Position,
    /// How it was written.
    pub kind: Kind,
    /// A whole unmasked text frame (RFC 6455 §5.2): `["message",{"topic":…,"position":<token>},<json>]`,
    /// in session pools without a position.
    pub ws: Bytes,
    /// A whole event (WHATWG HTML §9.2) with the token of this topic as its id: for subscribers of this topic only.
    pub sse: Bytes,
    /// The event without its id line, for subscribers of several topics, whose id covers all of them.
    pub sse_data: Bytes,
    /// The data as JSON: verbatim, or the text as a string.
    pub json: Bytes,
    held: usize,
}

impl Message {
    /// Encodes `body` as the message at `position` of `topic`.
    pub fn new(topic: &Topic, position: Position, body: &Body) -> Self {
        let data = body.bytes();
        let mut out = Vec::with_capacity(FRAMING_BYTES + topic.as_str().len() + 2 * data.len());

        out.resize(FRAME_HEADER_BYTES, 0);
        out.extend_from_slice(b"[\"message\",{\"topic\":");
        let (label, is_in_pool) = topic.label();
        write_json_string(label.as_bytes(), &mut out);
        // Clients of session pools know no positions.
        if !is_in_pool {
            out.extend_from_slice(b",\"position\":\"");
            write_token(topic, position, &mut out);
            out.push(b'"');
        }
        out.extend_from_slice(b"},");
        let json_start = out.len();
        let kind = match body {
            Body::Json(json) => {
                out.extend_from_slice(json);
                Kind::Json
            }
            Body::Text(text) => {
                write_json_string(text, &mut out);
                Kind::Text
            }
        };
        let json_end = out.len();
        out.push(b']');
        let sse_start = out.len();
        let ws_start = write_frame_header(sse_start - FRAME_HEADER_BYTES, &mut out);

        out.extend_from_slice(b"id: ");
        write_token(topic, position, &mut out);
        out.push(b'\n');
        let sse_data_start = out.len();
        write_data_lines(data, &mut out);
        out.push(b'\n');

        let held = out.capacity() + size_of::<Self>() + RECORD_BYTES;
        let wires = Bytes::from(out);
        Self {
            topic: topic.clone(),
            position,
            kind,
            ws: wires.slice(ws_start..sse_start),
            sse: wires.slice(sse_start..),
            sse_data: wires.slice(sse_data_start..),
            json: wires.slice(json_start..json_end),
            held,
        }
    }

    /// Appends an event whose data is the text of [`ws`](Self::ws): for streams of several topics that have to tell which.
    pub(crate) fn write_text_event(&self, out: &mut Vec<u8>) {
        // RFC 6455 §5.2: the length is in the second byte, or behind it.
        let header = match self.ws.get(1) {
            Some(126) => 4,
            Some(127) => FRAME_HEADER_BYTES,
            Some(_) | None => 2,
        };
        write_data_lines(self.ws.get(header..).unwrap_or_default(), out);
        out.push(b'\n');
    }

    /// The memory that a history needs to keep it (bytes), bookkeeping included.
    pub const fn held_bytes(&self) -> usize {
        self.held
    }
}

fn write_token(topic: &Topic, position: Position, out: &mut Vec<u8>) {
    TokenWriter::new(out).push(topic.fingerprint(), position);
}

/// Writes the header of a text frame of `length` bytes into the end of the room before them; returns where it begins.
fn write_frame_header(length: usize, out: &mut [u8]) -> usize {
    let (header, size) = ws::frame_header(Opcode::Text, Fin::Final, length as u64, None);
    let start = FRAME_HEADER_BYTES - size;
    for (slot, byte) in out.iter_mut().skip(start).zip(header.iter().take(size)) {
        *slot = *byte;
    }
    start
}

/// A JSON string (RFC 8259 §7): escapes what must be, leaves the rest.
fn write_json_string(mut text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    while let Some(at) = text.iter().position(|&byte| byte < b' ' || byte == b'"' || byte == b'\\')
        && let Some((plain, [special, rest @ ..])) = text.split_at_checked(at)
    {
        out.extend_from_slice(plain);
        match special {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *special]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => {
                let low = control & 0xf;
                let digit = if low < 10 { b'0' + low } else { b'a' + low - 10 };
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (control >> 4), digit]);
            }
        }
        text = rest;
    }
    out.extend_from_slice(text);
    out.push(b'"');
}

/// One `data` line for each line: a carriage return, a line feed, or both end one (WHATWG HTML §9.2.5).
fn write_data_lines(mut text: &[u8], out: &mut Vec<u8>) {
    loop {
        out.extend_from_slice(b"data: ");
        let end = memchr::memchr2(b'\r', b'\n', text).unwrap_or(text.len());
        let (line, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
        out.extend_from_slice(line);
        out.push(b'\n');
        text = match rest {
            [] => return,
            [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pubsub::Epoch;
    use alloc::string::String;

    fn message(topic: &str, body: &Body) -> Message {
        Message::new(&Topic::new(topic).unwrap(), Position { epoch: Epoch(0xe), offset: 0x2a }, body)
    }

    fn text(text: &str) -> Body {
        Body::Text(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn json_stands_in_every_wire_form_verbatim() {
        let message = message("a", &Body::Json(Bytes::from_static(b"{\"x\": 1}")));
        assert_eq!(message.json, &b"{\"x\": 1}"[..]);
        let payload = b"[\"message\",{\"topic\":\"a\",\"position\":\"e-e40c292c.2a\"},{\"x\": 1}]";
        assert_eq!(message.ws, [&[0x81, payload.len() as u8], &payload[..]].concat());
        assert_eq!(message.sse, &b"id: e-e40c292c.2a\ndata: {\"x\": 1}\n\n"[..]);
        assert_eq!(message.sse_data, &b"data: {\"x\": 1}\n\n"[..]);
        let mut event = Vec::new();
        message.write_text_event(&mut event);
        assert_eq!(event, [b"data: ", &payload[..], b"\n\n"].concat());
        assert_eq!(message.kind, Kind::Json);
    }

    #[test]
    fn text_is_a_json_string_and_several_data_lines() {
        let lines = " a\r\nb\rc\n\n\"\\\u{1}\u{1f}\t☂\u{7f}\n";
        let message = message("\"\\", &text(lines));
        assert_eq!(message.sse_data, "data:  a\ndata: b\ndata: c\ndata: \ndata: \"\\\u{1}\u{1f}\t☂\u{7f}\ndata: \n\n");
        assert_eq!(serde_json::from_slice::<String>(&message.json).unwrap(), lines);
        let payload: (String, Header, String) = serde_json::from_slice(&message.ws[2..]).unwrap();
        assert_eq!((payload.0.as_str(), payload.2.as_str()), ("message", lines));
        assert_eq!((payload.1.topic.as_str(), payload.1.position.as_str()), ("\"\\", "e-71cb5dfb.2a"));
        assert_eq!(message.kind, Kind::Text);
    }

    #[derive(serde::Deserialize)]
    struct Header {
        topic: String,
        position: String,
    }

    #[test]
    fn empty_text_is_an_event_too() {
        assert_eq!(message("a", &text("")).sse_data, &b"data: \n\n"[..]);
        assert_eq!(message("a", &text("")).json, &b"\"\""[..]);
    }

    #[test]
    fn every_character_survives_a_json_string() {
        let all: String = (0..0x300).filter_map(char::from_u32).collect();
        assert_eq!(serde_json::from_slice::<String>(&message("a", &text(&all)).json).unwrap(), all);
    }

    #[test]
    fn the_length_takes_the_shortest_form() {
        for (length, header) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (255, &[0x81, 126, 0, 255]),
            (256, &[0x81, 126, 1, 0]),
            (65_535, &[0x81, 126, 0xff, 0xff]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = [0; FRAME_HEADER_BYTES];
            let start = write_frame_header(length, &mut out);
            assert_eq!(&out[start..], header, "{length}");
        }
        let long = message("a", &text(&"x".repeat(70_000)));
        assert_eq!(long.ws[..2], [0x81, 127]);
        assert_eq!(u64::from_be_bytes(long.ws[2..10].try_into().unwrap()), long.ws.len() as u64 - 10);
        assert!(long.held_bytes() > 140_000 && long.held_bytes() < 142_000);
    }
}
