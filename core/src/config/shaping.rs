//! What a route changes about the messages that pass.

use crate::handler::cors::Cors;
use crate::handler::edits::Edits;
use crate::handler::pages::{Page, Pages};
use crate::handler::redirect::Canonical;

/// All of it is optional; the default changes nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Shaping {
    /// Where requests are sent that came to another address of the site.
    pub canonical: Canonical,
    /// Which other origins may use the route. Preflights are answered here, before anybody asks who the client is.
    pub cors: Option<Cors>,
    /// Edits of requests, on their way to a backend.
    pub request_fields: Edits,
    /// Edits of all answers: of handlers, of backends, of errors.
    pub response_fields: Edits,
    /// What errors look like.
    pub errors: Pages,
    /// Whether the errors of backends look like that too.
    pub intercept: bool,
    /// Answered to everything, with a 503.
    pub maintenance: Option<Page>,
}
