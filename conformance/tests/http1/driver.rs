//! What a connection does with a decoder: offers what was not consumed again, with more behind it.

use brolly_core::http1::{
    Fields, Framing, Limits, Method, ParseError, Part, RequestDecoder, RequestHead, ResponseDecoder, ResponseHead,
    Version,
};

/// A part that owns what it says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Event {
    Request {
        method: String,
        path: String,
        query: Option<String>,
        version: Version,
        fields: Lines,
        framing: Framing,
    },
    Response {
        status: u16,
        version: Version,
        fields: Lines,
        framing: Framing,
    },
    /// Neighbouring pieces joined.
    Content(Vec<u8>),
    End(Option<Lines>),
}

/// Names in lower case, and values.
pub(crate) type Lines = Vec<(String, Vec<u8>)>;

/// What came of an input.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<Event>,
    pub(crate) error: Option<ParseError>,
    /// Bytes that were not consumed; 0 after an error.
    pub(crate) rest: usize,
}

impl Outcome {
    /// The events of each complete message.
    pub(crate) fn messages(&self) -> Vec<Vec<Event>> {
        let mut messages: Vec<_> =
            self.events.split_inclusive(|event| matches!(event, Event::End(_))).map(<[Event]>::to_vec).collect();
        messages.retain(|message| matches!(message.last(), Some(Event::End(_))));
        messages
    }
}

/// How much arrives at once.
#[derive(Clone, Debug)]
pub(crate) enum Cuts {
    None,
    Bytes,
    /// Sizes, again and again.
    Pieces(Vec<usize>),
}

/// The requests in `input`, each started as soon as the one before it is complete.
pub(crate) fn requests(input: &[u8], cuts: &Cuts) -> Outcome {
    requests_within(input, cuts, Limits::default())
}

/// As [`requests`], with other limits.
pub(crate) fn requests_within(input: &[u8], cuts: &Cuts, limits: Limits) -> Outcome {
    let mut decoder = RequestDecoder::new(limits);
    drive(input, cuts, |bytes| {
        let (consumed, part) = decoder.decode(bytes).inspect_err(|error| {
            assert_eq!(decoder.decode(b"GET / HTTP/1.1\r\n").unwrap_err(), *error, "errors stay");
        })?;
        let event = part.map(|part| event(part, request_head));
        if decoder.is_complete() {
            decoder.start_next_message();
        }
        Ok((consumed, event))
    })
}

/// The responses in `input` to requests with the methods `asked`, until the server closes.
pub(crate) fn responses(input: &[u8], asked: &[Method<'_>], cuts: &Cuts) -> Outcome {
    let mut decoder = ResponseDecoder::new(Limits::default());
    let mut asked = asked.iter();
    let mut outcome = drive(input, cuts, |bytes| {
        if decoder.is_between_messages()
            && let Some(&method) = asked.next()
        {
            decoder.expect(method);
        }
        let (consumed, part) = decoder.decode(bytes)?;
        Ok((consumed, part.map(|part| event(part, response_head))))
    });
    if outcome.error.is_none() && !decoder.is_untouched() {
        match decoder.decode_eof() {
            Ok(part) => outcome.events.extend(part.map(|part| event(part, response_head))),
            Err(error) => (outcome.error, outcome.rest) = (Some(error), 0),
        }
    }
    outcome
}

fn drive(
    input: &[u8],
    cuts: &Cuts,
    mut decode: impl FnMut(&[u8]) -> Result<(usize, Option<Event>), ParseError>,
) -> Outcome {
    let mut outcome = Outcome { events: Vec::new(), error: None, rest: 0 };
    let (mut read, mut consumed) = (0, 0);
    let mut sizes = match cuts {
        Cuts::None => vec![input.len().max(1)],
        Cuts::Bytes => vec![1],
        Cuts::Pieces(sizes) => sizes.clone(),
    }
    .into_iter()
    .cycle();
    while read < input.len() {
        read = read.saturating_add(sizes.next().unwrap()).min(input.len());
        loop {
            match decode(&input[consumed..read]) {
                Ok((bytes, event)) => {
                    assert!(bytes <= read - consumed, "consumed more than there was");
                    consumed += bytes;
                    let Some(event) = event else { break };
                    push(&mut outcome.events, event);
                }
                Err(error) => {
                    outcome.error = Some(error);
                    return outcome;
                }
            }
        }
    }
    outcome.rest = input.len() - consumed;
    outcome
}

fn push(events: &mut Vec<Event>, event: Event) {
    match (events.last_mut(), event) {
        (Some(Event::Content(content)), Event::Content(more)) => {
            assert!(!more.is_empty());
            content.extend(more);
        }
        (_, event) => events.push(event),
    }
}

fn event<'i, H>(part: Part<'i, H>, head: impl FnOnce(&H, Framing) -> Event) -> Event {
    match part {
        Part::Head(value, framing) => head(&value, framing),
        Part::Content(content) => Event::Content(content.to_vec()),
        Part::End(trailers) => Event::End(trailers.map(|fields| lines(&fields))),
    }
}

fn request_head(head: &RequestHead<'_>, framing: Framing) -> Event {
    Event::Request {
        method: head.method.as_str().into(),
        path: head.target.path().into(),
        query: head.target.query().map(Into::into),
        version: head.version,
        fields: lines(&head.fields),
        framing,
    }
}

fn response_head(head: &ResponseHead<'_>, framing: Framing) -> Event {
    Event::Response { status: head.status.as_u16(), version: head.version, fields: lines(&head.fields), framing }
}

fn lines(fields: &Fields<'_>) -> Lines {
    fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec())).collect()
}
