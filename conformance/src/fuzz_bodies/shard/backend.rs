//! A connection of a backend as the backend sees it: only requests that were accepted, each of them whole.

use super::dictionary::{NO_TAG, repeats, tag_of};
use brolly_core::http1::{Limits, Method, Part, RequestDecoder};
use std::collections::{BTreeSet, VecDeque};

#[derive(Debug)]
pub(super) struct Backend {
    decoder: RequestDecoder,
    got: Vec<u8>,
    /// The tag of the request that is arriving, and how much of its content was seen.
    current: (Option<String>, usize),
    /// Tags of requests, and whether they are HEAD.
    unanswered: VecDeque<(String, bool)>,
    /// It has said 101: what follows may be another protocol.
    is_switched: bool,
}

impl Backend {
    pub(super) fn new() -> Self {
        Self {
            decoder: RequestDecoder::new(Limits::default()),
            got: Vec::new(),
            current: (None, 0),
            unanswered: VecDeque::new(),
            is_switched: false,
        }
    }

    /// The request that is to be answered next; for the last time, unless `stays`.
    pub(super) fn question(&mut self, stays: bool) -> Option<(String, bool)> {
        if stays { self.unanswered.front().cloned() } else { self.unanswered.pop_front() }
    }

    /// The tag of the request that came last.
    pub(super) fn last(&self) -> Option<&str> {
        self.current.0.as_deref()
    }

    pub(super) fn is_asked(&self) -> bool {
        !self.unanswered.is_empty()
    }

    /// These bytes reached the shard.
    pub(super) fn said(&mut self, bytes: &[u8]) {
        // Cut anywhere: the digits alone are enough.
        self.is_switched |= bytes.windows(2).any(|pair| pair == b"10" || pair == b"01");
    }

    /// These bytes came from the shard; `accepted` are the tags of requests that it has accepted.
    pub(super) fn took(&mut self, bytes: &[u8], accepted: &BTreeSet<String>) {
        self.got.extend_from_slice(bytes);
        let got = std::mem::take(&mut self.got);
        let mut at = 0;
        while !self.is_switched {
            let (used, part) = match self.decoder.decode(&got[at..]) {
                Ok(decoded) => decoded,
                Err(error) => panic!("the backend cannot read ({error}) {:?}", got.escape_ascii().to_string()),
            };
            at += used;
            match part {
                Some(Part::Head(head, _)) => {
                    let tag = tag_of(head.target.path());
                    if let Some(tag) = tag {
                        assert!(accepted.contains(tag), "{tag} was not accepted");
                    }
                    self.current = (tag.map(String::from), 0);
                    self.unanswered.push_back((tag.unwrap_or(NO_TAG).into(), head.method == Method::Head));
                }
                Some(Part::Content(data)) => {
                    let (tag, seen) = &mut self.current;
                    let is_right = tag.as_ref().is_none_or(|tag| repeats(tag, *seen, data));
                    assert!(is_right, "the content of another request: {:?}", data.escape_ascii().to_string());
                    *seen += data.len();
                }
                Some(Part::End(_)) => self.decoder.start_next_message(),
                None => break,
            }
        }
        self.got = got[at..].to_vec();
    }
}
