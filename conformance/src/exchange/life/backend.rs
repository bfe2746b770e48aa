//! The backend of a life: it does what was planned for each request, and hears of inactivity.

use super::{Life, USERS};
use crate::exchange::wire::{Wire, response};
use crate::exchange::world::Fault;
use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::Value as Json;

/// What the backend does about a request.
pub(super) enum Plan {
    /// Status, content type, content.
    Answer(u16, &'static str, String),
    HangUp,
}

impl Life<'_> {
    /// The backend does what is planned about all requests that are there; the id of a connection that wanted to be let in.
    pub(super) fn serve(&mut self) -> Result<Option<String>, Fault> {
        let mut id = None;
        loop {
            while let Some(end) = self.world.accept("app") {
                self.backends.push(Wire::new(end));
            }
            let mut asked = None;
            for (at, wire) in self.backends.iter_mut().enumerate() {
                wire.fill(self.world);
                if let Some(message) = wire.message(true)? {
                    asked = Some((at, message));
                    break;
                }
            }
            let Some((at, message)) = asked else {
                self.backends.retain(|wire| wire.is_open);
                match self.world.accept("app") {
                    Some(end) => self.backends.push(Wire::new(end)),
                    None => return Ok(id),
                }
                continue;
            };
            let path = message.start.split(' ').nth(1).unwrap_or_default();
            let plan = match path {
                "/swindon/authorize_connection" => {
                    let content: Json = serde_json::from_slice(&message.content).map_err(|error| error.to_string())?;
                    id = content[0]["connection_id"].as_str().map(Into::into);
                    self.planned.remove(&0)
                }
                "/swindon/session_inactive" => {
                    Some(self.hear_of_inactivity(message.get("authorization").unwrap_or_default())?)
                }
                path => path.strip_prefix("/m/").and_then(|number| self.planned.remove(&number.parse().ok()?)),
            };
            match plan.ok_or_else(|| format!("nobody has to ask {message:?}"))? {
                Plan::HangUp => {
                    self.summary.failures += 1;
                    self.backends[at].is_open = false;
                    self.world.close(self.backends[at].end);
                }
                Plan::Answer(status, kind, content) => {
                    self.world.write(self.backends[at].end, &response(status, kind, &content));
                }
            }
        }
    }

    /// Only of those who have become inactive, once, unless the backend has failed to hear it.
    fn hear_of_inactivity(&mut self, authorization: &str) -> Result<Plan, Fault> {
        let user = USERS.into_iter().find(|user| {
            authorization == format!("Swindon+json {}", BASE64_STANDARD.encode(format!("{{\"user_id\":\"{user}\"}}")))
        });
        let user = user.ok_or_else(|| format!("{authorization} is nobody"))?;
        self.summary.tellings += 1;
        if !self.reference.owed.contains(user) {
            return Err(format!("the backend was told of {user} for nothing"));
        }
        if self.can_fail && self.random.chance(30) {
            return Ok(if self.random.chance(50) {
                Plan::HangUp
            } else {
                Plan::Answer(503, "text/plain", "later".into())
            });
        }
        self.reference.owed.remove(user);
        Ok(Plan::Answer(200, "application/json", "{}".into()))
    }
}
