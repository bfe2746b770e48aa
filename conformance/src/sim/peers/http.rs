//! The receiving half of an HTTP client.

use brolly_core::http1::{Limits, Method, ParseError, Part, ResponseDecoder};

/// A response that is arriving, or has arrived.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Lower-case names.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) is_complete: bool,
    /// How much of the body was looked at already, by whoever reads it as it comes.
    pub(crate) read: usize,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug)]
pub(crate) struct Reader {
    decoder: ResponseDecoder,
    pub(crate) answer: Option<Answer>,
    pub(crate) interim: usize,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self { decoder: ResponseDecoder::new(Limits::default()), answer: None, interim: 0 }
    }

    /// Reads on; `inbox` loses what was read. A complete answer stays until it is taken.
    pub(crate) fn read(&mut self, inbox: &mut Vec<u8>, method: Method<'_>) -> Result<(), ParseError> {
        if self.answer.as_ref().is_some_and(|answer| answer.is_complete) {
            return Ok(());
        }
        if self.decoder.is_between_messages() {
            self.decoder.expect(method);
        }
        loop {
            let (used, part) = self.decoder.decode(inbox)?;
            let is_part = part.is_some();
            match part {
                Some(Part::Head(head, _)) if head.status.is_informational() && head.status.as_u16() != 101 => {
                    self.interim += 1;
                }
                Some(Part::Head(head, _)) => {
                    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                    let fields = head.fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), text(value)));
                    self.answer =
                        Some(Answer { status: head.status.as_u16(), fields: fields.collect(), ..Answer::default() });
                    if head.status.as_u16() == 101 {
                        inbox.drain(..used);
                        return Ok(());
                    }
                }
                Some(Part::Content(data)) => {
                    if let Some(answer) = &mut self.answer {
                        answer.body.extend_from_slice(data);
                    }
                }
                Some(Part::End(_)) => {
                    if let Some(answer) = &mut self.answer {
                        answer.is_complete = true;
                    }
                }
                None => {}
            }
            inbox.drain(..used);
            if !is_part || self.answer.as_ref().is_some_and(|answer| answer.is_complete) {
                return Ok(());
            }
        }
    }

    /// The server ended its direction.
    pub(crate) fn end(&mut self) -> Result<(), ParseError> {
        if let Some(Part::End(_)) = self.decoder.decode_eof()?
            && let Some(answer) = &mut self.answer
        {
            answer.is_complete = true;
        }
        Ok(())
    }
}
