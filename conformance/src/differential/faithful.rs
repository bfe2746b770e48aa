//! What is passed on is what came, in brolly's own reading: nothing added, cut off, moved, or finished for the sender.

use super::reading::{Message, Reading};

/// Fields that a gateway has no reason to touch.
const END_TO_END: [&str; 10] =
    ["accept", "cookie", "cache-control", "content-encoding", "range", "set-cookie", "user-agent", "x-a", "x-b", "x_y"];

/// What a backend got that no client asked for.
pub(super) fn requests(came: &Reading, passed_on: &[Reading]) -> Option<String> {
    let mut left: Vec<_> = came.messages.iter().map(essence_of_request).collect();
    for reading in passed_on {
        if let Some(error) = reading.error() {
            return Some(format!("what was passed on is refused: {error}"));
        }
        for message in &reading.messages {
            let essence = essence_of_request(message);
            let Some(at) = left.iter().position(|asked| *asked == essence) else {
                return Some(format!("nobody asked for {essence:?}"));
            };
            left.remove(at);
        }
    }
    None
}

/// What a client got that the backend did not say.
pub(super) fn response(came: &Reading, passed_on: &Reading) -> Option<String> {
    let Some(got) = passed_on.messages.first() else {
        let error = passed_on.error().filter(|_| came.error().is_none());
        let lost = came.messages.first().map(|message| format!("the client does not get {message:?}"));
        return error.map(|error| format!("what was passed on is refused: {error}")).or(lost);
    };
    match came.messages.first() {
        Some(said) if essence(said) == essence(got) && said.start[0] == got.start[0] => None,
        None if got.start[0] == "502" => None,
        // RFC 9110 §15: no such status is defined, nor will be.
        Some(said) if said.start[0].as_str() >= "600" && got.start[0] == "502" => None,
        said => Some(format!("the backend said {said:?}, the client gets {got:?}")),
    }
}

type Essence = (Vec<(String, String)>, String);

fn essence_of_request(message: &Message) -> (String, String, Essence) {
    let [method, target, _] = &message.start;
    // Backends get the origin form; a path that is empty is `/`, and `*` if OPTIONS asks (RFC 9112 §3.2.4).
    let origin = match target.split_once("://").filter(|(scheme, _)| !scheme.contains(['/', '?'])) {
        None => target.clone(),
        Some((_, rest)) => match rest.find(['/', '?']).map(|at| &rest[at..]) {
            None if method == "OPTIONS" => "*".into(),
            None => "/".into(),
            Some(query) if query.starts_with('?') => format!("/{query}"),
            Some(path) => path.into(),
        },
    };
    (method.clone(), origin, essence(message))
}

/// The content, and the fields that are not about one connection only.
fn essence(message: &Message) -> Essence {
    let nominated: Vec<String> = message
        .fields
        .iter()
        .filter(|(name, _)| name == "connection")
        .flat_map(|(_, value)| value.split(','))
        .map(|option| option.trim_matches([' ', '\t']).to_ascii_lowercase())
        .collect();
    let is_kept = |(name, _): &&(String, String)| {
        END_TO_END.contains(&name.as_str()) && (name == "cookie" || !nominated.contains(name))
    };
    (message.fields.iter().filter(is_kept).cloned().collect(), message.content.clone())
}
