//! What one client of a life has heard.

use crate::exchange::reference::{State, View, merge, parse};
use crate::exchange::wire::{Wire, masked};
use crate::exchange::world::{Fault, World};
use crate::gateway::{frame, shown};
use serde_json::Value as Json;

pub(super) struct Client {
    pub(super) wire: Wire,
    /// What backends call it.
    pub(super) id: String,
    pub(super) view: View,
}

impl Client {
    /// Adds what was said to what it has heard.
    pub(super) fn hear(&mut self, world: &mut dyn World) -> Result<(), Fault> {
        self.wire.fill(world);
        while let Some((frame, used)) = frame(&self.wire.inbox, false)? {
            self.wire.inbox.drain(..used);
            let text = String::from_utf8_lossy(&frame[1..]);
            match frame[0] {
                0x81 => self.note(&text)?,
                0x89 => world.write(self.wire.end, &masked(0x8A, &frame[1..])),
                _ => return Err(format!("the frame {}", shown(&frame))),
            }
        }
        if self.wire.is_open { Ok(()) } else { Err("the connection is gone".into()) }
    }

    fn note(&mut self, text: &str) -> Result<(), Fault> {
        let json: Json = serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))?;
        let meta = &json[1];
        let is_new = match (json[0].as_str(), meta["namespace"].as_str()) {
            (Some("result" | "error"), _) => {
                let number = meta["request_id"].as_u64().ok_or("no request id")?;
                self.view.answers.insert(number, text.into()).is_none()
            }
            (Some("message"), _) => {
                self.view.messages.push(text.into());
                true
            }
            (Some("lattice"), Some("swindon.user")) => {
                for (user, status) in json[2].as_object().ok_or("no object")? {
                    let status = status["status_register"][1].as_str().ok_or("no status")?;
                    self.view.statuses.insert(user.clone(), status.into());
                }
                true
            }
            (Some("lattice"), Some(name)) => {
                let state: State = parse(&json[2]).ok_or_else(|| format!("no state: {text}"))?;
                merge(self.view.lattices.entry(name.into()).or_default(), &state);
                true
            }
            _ => false,
        };
        is_new.then_some(()).ok_or_else(|| format!("nobody expected {text}"))
    }
}
