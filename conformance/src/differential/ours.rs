//! What brolly's own decoders read.

use super::reading::{Lines, Message, Reading, latin1};
use brolly_core::http1::{Fields, Limits, Method, Part, RequestDecoder, ResponseDecoder};

/// The requests in `input` that a server would answer on this connection, and how many bytes they take.
pub(super) fn requests(input: &[u8]) -> (Reading, usize) {
    let mut decoder = RequestDecoder::new(Limits::default());
    let mut reading = Reading { messages: Vec::new(), end: "more".into(), left: None };
    let (mut at, mut complete, mut persists, mut message) = (0, 0, true, Message::default());
    while persists || !decoder.is_complete() {
        let rest = &input[at..];
        match decoder.decode(rest) {
            Ok((used, part)) => {
                at += used;
                match part {
                    Some(Part::Head(head, _)) => {
                        persists = head.keep_alive() && head.method != Method::Connect;
                        message = Message { fields: lines(&head.fields), ..Message::default() };
                        message.start = start(&rest[..used]);
                        message.host = head.host().map(|host| host.as_str().into());
                    }
                    Some(Part::Content(data)) => message.content += &latin1(data),
                    Some(Part::End(trailers)) => {
                        message.trailers = trailers.as_ref().map(lines).unwrap_or_default();
                        reading.messages.push(std::mem::take(&mut message));
                        complete = at;
                        if persists {
                            decoder.start_next_message();
                        } else {
                            reading.end = "closed".into();
                        }
                    }
                    None => break,
                }
            }
            Err(error) => {
                reading.end = format!("error: {error:?}");
                break;
            }
        }
    }
    (reading, complete)
}

/// The response in `input` to a request with this method, before which there may be interim ones.
pub(super) fn response(input: &[u8], method: Method<'_>) -> Reading {
    let mut decoder = ResponseDecoder::new(Limits::default());
    decoder.expect(method);
    let mut reading = Reading { messages: Vec::new(), end: "more".into(), left: None };
    let (mut at, mut message) = (0, Message::default());
    let mut is_over = false;
    while reading.messages.is_empty() {
        let rest = &input[at..];
        let decoded = if is_over { decoder.decode_eof().map(|part| (0, part)) } else { decoder.decode(rest) };
        match decoded {
            Ok((used, part)) => {
                at += used;
                match part {
                    Some(Part::Head(head, _)) => {
                        message = Message { fields: lines(&head.fields), ..Message::default() };
                        message.start = start(&rest[..used]);
                    }
                    Some(Part::Content(data)) => message.content += &latin1(data),
                    Some(Part::End(trailers)) => {
                        message.trailers = trailers.as_ref().map(lines).unwrap_or_default();
                        reading.messages.push(std::mem::take(&mut message));
                        reading.left = Some(input.len() - at);
                    }
                    None if is_over => break,
                    None => is_over = true,
                }
            }
            Err(brolly_core::http1::ParseError::Truncated) => break,
            Err(error) => {
                reading.end = format!("error: {error:?}");
                break;
            }
        }
    }
    reading
}

/// The words of a first line that was accepted: of a request all three, of a response `status, reason, version`.
fn start(head: &[u8]) -> [String; 3] {
    let text = latin1(head);
    let line = text.trim_start_matches("\r\n").split("\r\n").next().unwrap_or_default();
    let mut words = line.splitn(3, ' ').map(String::from);
    let mut next = || words.next().unwrap_or_default();
    let [first, second, third] = [next(), next(), next()];
    match first.strip_prefix("HTTP/") {
        Some(version) => [second, third, version.into()],
        None => [first, second, third.strip_prefix("HTTP/").unwrap_or(&third).into()],
    }
}

fn lines(fields: &Fields<'_>) -> Lines {
    fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), latin1(value))).collect()
}
