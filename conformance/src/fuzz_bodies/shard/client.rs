//! A client as the outside sees it: what it has asked, and whether what it gets are the answers.

use super::dictionary::{NO_TAG, repeats, tag_of};
use brolly_core::http1::{Framing, Limits, Method, Part, RequestDecoder, ResponseDecoder, ResponseHead};
use std::collections::{BTreeSet, VecDeque};

#[derive(Debug)]
pub(super) struct Client {
    asking: RequestDecoder,
    unread: Vec<u8>,
    asked: VecDeque<Asked>,
    /// Something that is no request was sent: nothing behind it is one.
    is_garbled: bool,
    answers: ResponseDecoder,
    got: Vec<u8>,
    /// What is being answered; nothing if the answer came unasked.
    current: Option<Option<Asked>>,
    /// The tag that the answer claims, and how much of its content was seen.
    claim: (Option<String>, usize),
    state: State,
    is_stream: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Http,
    /// The answer that is arriving is the last one.
    Last,
    /// Nothing more may come.
    Over,
    /// No longer HTTP, or nobody's answer.
    Switched,
}

#[derive(Debug)]
struct Asked {
    tag: Option<String>,
    is_head: bool,
}

impl Client {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            asking: RequestDecoder::new(limits),
            unread: Vec::new(),
            asked: VecDeque::new(),
            is_garbled: false,
            answers: ResponseDecoder::new(Limits::default()),
            got: Vec::new(),
            current: None,
            claim: (None, 0),
            state: State::Http,
            is_stream: false,
        }
    }

    /// Whether it listens to a stream that has no end.
    pub(super) fn is_stream(&self) -> bool {
        self.is_stream
    }

    /// These bytes reached the shard. Calls `accepted` with the tag of each request among them.
    pub(super) fn sent(&mut self, bytes: &[u8], mut accepted: impl FnMut(&str)) {
        self.unread.extend_from_slice(bytes);
        let mut at = 0;
        while !self.is_garbled {
            match self.asking.decode(&self.unread[at..]) {
                Ok((used, part)) => {
                    at += used;
                    match part {
                        Some(Part::Head(head, _)) => {
                            let tag = tag_of(head.target.path()).map(String::from);
                            tag.iter().for_each(|tag| accepted(tag));
                            self.asked.push_back(Asked { tag, is_head: head.method == Method::Head });
                        }
                        Some(Part::Content(_)) => {}
                        Some(Part::End(_)) => self.asking.start_next_message(),
                        None => break,
                    }
                }
                Err(_) => self.is_garbled = true,
            }
        }
        self.unread.drain(..at);
    }

    /// These bytes came from the shard; of the answers with `garbled` tags nobody knows what is in them.
    pub(super) fn took(&mut self, bytes: &[u8], garbled: &BTreeSet<String>) {
        self.got.extend_from_slice(bytes);
        let got = std::mem::take(&mut self.got);
        let mut at = 0;
        while self.state != State::Switched {
            let rest = &got[at..];
            if self.current.is_none() {
                if rest.is_empty() {
                    break;
                }
                assert!(self.state != State::Over, "after the last answer: {:?}", rest.escape_ascii().to_string());
                let asked = self.asked.pop_front();
                let is_head = asked.as_ref().is_some_and(|asked| asked.is_head);
                self.answers.expect(if is_head { Method::Head } else { Method::Get });
                (self.current, self.claim) = (Some(asked), (None, 0));
            }
            match self.answers.decode(rest) {
                Ok((used, part)) => {
                    at += used;
                    match part {
                        Some(Part::Head(head, framing)) => self.begin(&head, framing),
                        Some(Part::Content(data)) => {
                            let (tag, seen) = &mut self.claim;
                            let known = tag.as_ref().filter(|tag| !garbled.contains(*tag));
                            let is_right = known.is_none_or(|tag| repeats(tag, *seen, data));
                            assert!(is_right, "the content of another answer: {:?}", data.escape_ascii().to_string());
                            *seen += data.len();
                        }
                        Some(Part::End(_)) => {
                            self.current = None;
                            self.state = if self.state == State::Last { State::Over } else { self.state };
                        }
                        None => break,
                    }
                }
                Err(error) => panic!("an answer that cannot be read ({error}): {:?}", got.escape_ascii().to_string()),
            }
        }
        self.got = got[at..].to_vec();
    }

    fn begin(&mut self, head: &ResponseHead<'_>, framing: Framing) {
        let status = head.status.as_u16();
        let tag = head.fields.get("x-tag").filter(|tag| *tag != NO_TAG.as_bytes());
        let tag = tag.map(|tag| String::from_utf8_lossy(tag).into_owned());
        self.is_stream |= head.fields.get("content-type") == Some(b"text/event-stream");
        match &self.current {
            Some(Some(asked)) => assert!(tag.is_none() || tag == asked.tag, "{tag:?} answers {:?}", asked.tag),
            // A head that cannot be read or does not come is answered once, and is the end.
            _ => assert!(status >= 400 && !head.keep_alive(), "nobody asked for {head:?}"),
        }
        self.claim.0 = tag;
        // What is on its way before the end of a HEAD is answered has content; nobody reads on after it.
        let came_early = status == 408 && matches!(&self.current, Some(Some(asked)) if asked.is_head);
        if status == 101 || came_early {
            self.state = State::Switched;
        } else if status >= 200 && (!head.keep_alive() || framing == Framing::UntilClose) {
            self.state = State::Last;
        }
    }
}
