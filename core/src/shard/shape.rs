//! What a route changes about messages: where requests belong, and the fields of what passes.

use super::slot::{Role, Server, Slot};
use super::{ConnId, Shard, admit};
use crate::config::{Config, Policy, Shaping};
use crate::conn::Content;
use crate::handler::cors::Cors;
use crate::handler::pages::Page;
use crate::handler::redirect::{Canonical, Verdict};
use crate::handler::template::Facts;
use crate::http1::{Authority, CheckedLines, EncodeError, FieldLines, HeadWriter, RequestHead, StatusCode};
use crate::time::Now;
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;

/// When a client may ask again that comes during maintenance, in seconds. Nobody knows; this is polite.
const MAINTENANCE: FieldLines = FieldLines::new("retry-after: 120\r\n");

/// What is to be said in the answer to the request at hand.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Index into [`Config::policies`].
    policy: Option<usize>,
    /// Lines that depend on the request.
    lines: Option<Box<CheckedLines>>,
}

/// What is changed about a request on its way to a backend.
#[derive(Debug)]
pub(super) struct RequestEdits {
    config: Arc<Config>,
    policy: Option<usize>,
    lines: CheckedLines,
}

impl Shard {
    /// Prepares what the route with policy `number` changes. `false`: the request was answered, because it belongs to
    /// another address, asks for permission only, or comes at a bad time.
    pub(super) fn shape(
        &mut self,
        now: Now,
        conn: ConnId,
        head: &RequestHead<'_>,
        number: usize,
        policy: &Policy,
    ) -> bool {
        let Some(Slot { role: Role::Server(server), .. }) = self.slots.get_mut(conn) else { return false };
        server.shape = Shape { policy: Some(number), lines: None };
        let Some(shaping) = &policy.shaping else { return true };
        let mut lines = CheckedLines::default();
        if shaping.response_fields.is_varying() {
            self.with_facts(conn, head, |facts| shaping.response_fields.render(facts, &mut lines));
        }
        let preflight = shaping.cors.as_ref().filter(|_| Cors::is_preflight(head));
        let is_allowed =
            shaping.cors.as_ref().is_some_and(|cors| cors.allow(&head.fields, preflight.is_some(), &mut lines));
        let verdict = self.judge(conn, head, shaping);
        if let Some(server) = self.server(conn).filter(|_| !lines.is_empty()) {
            server.shape.lines = Some(Box::new(lines));
        }
        match verdict {
            Verdict::Here => {}
            Verdict::There(location) => {
                self.redirect(now, conn, StatusCode::PERMANENT_REDIRECT, &location);
                return false;
            }
            Verdict::Nowhere => {
                let reason = "this needs https, and the request does not say at which host";
                self.refuse(now, conn, StatusCode::BAD_REQUEST, reason);
                return false;
            }
        }
        if preflight.is_some() {
            // Without credentials, as the standard wants it: whoever may send the request itself is asked then.
            if is_allowed {
                self.respond(now, conn, StatusCode::NO_CONTENT, Content::None, |_| ());
                self.finish(now, conn);
            } else {
                self.refuse(now, conn, StatusCode::FORBIDDEN, "this origin may not use what is here");
            }
            return false;
        }
        if let Some(page) = &shaping.maintenance {
            self.send_maintenance(now, conn, page);
            return false;
        }
        true
    }

    /// Where the client has asked: what a peer that is believed says of it, or the request itself.
    pub(super) fn asked_host<'h>(&self, conn: ConnId, head: &RequestHead<'h>) -> Option<Authority<'h>> {
        let client = self.slots.get(conn).and_then(|slot| admit::client(&self.config, slot, head).ok());
        client.and_then(|client| client.host).or(head.host())
    }

    /// Whether the client has asked at the right address.
    fn judge(&self, conn: ConnId, head: &RequestHead<'_>, shaping: &Shaping) -> Verdict {
        if shaping.canonical == Canonical::default() {
            return Verdict::Here;
        }
        match self.slots.get(conn).map(|slot| admit::client(&self.config, slot, head)) {
            Some(Ok(client)) => {
                let (host, ours) = (client.host.or(head.host()), self.config.https_port);
                shaping.canonical.judge(host, &head.target, client.is_secure, ours)
            }
            // A request whose client cannot be read has been refused already.
            Some(Err(_)) | None => Verdict::Here,
        }
    }

    fn send_maintenance(&mut self, now: Now, conn: ConnId, page: &Page) {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let Some(server) = self.server(conn) else { return };
        if let Some(line) = &mut server.line {
            line.reason = Some("maintenance".into());
        }
        let content = Content::Shared(page.render(status, &server.id.to_string()));
        self.respond(now, conn, status, content, |head| {
            head.lines(MAINTENANCE).lines(FieldLines::new("cache-control: no-store\r\n"));
            let _ = head.field("content-type", page.content_type.as_bytes());
        });
        self.finish(now, conn);
    }

    /// What is to be changed about the request at hand before a backend gets it.
    pub(super) fn request_edits(&self, conn: ConnId, head: &RequestHead<'_>) -> RequestEdits {
        let policy = match self.slots.get(conn) {
            Some(Slot { role: Role::Server(server), .. }) => server.shape.policy,
            _ => None,
        };
        let (config, mut lines) = (Arc::clone(&self.config), CheckedLines::default());
        if let Some(shaping) = shaping(&config, policy).filter(|shaping| shaping.request_fields.is_varying()) {
            self.with_facts(conn, head, |facts| shaping.request_fields.render(facts, &mut lines));
        }
        RequestEdits { config, policy, lines }
    }

    pub(super) fn with_facts(&self, conn: ConnId, head: &RequestHead<'_>, then: impl FnOnce(&Facts<'_>)) {
        let Some(slot @ Slot { role: Role::Server(Server { id, .. }), .. }) = self.slots.get(conn) else { return };
        let Ok(client) = admit::client(&self.config, slot, head) else { return };
        let tls = slot.tls();
        let certificate = tls.and_then(|tls| tls.certificate.as_deref());
        let [tls_fingerprint, tls_issuer, tls_serial, tls_subject] = certificate.map_or([""; 4], |known| {
            [&known.fingerprint, &known.issuer, &known.serial, &known.subject].map(|text| &**text)
        });
        then(&Facts {
            client: client.address,
            host: client.host.or(head.host()).map_or("", |host| host.as_str()),
            id: &id.to_string(),
            is_secure: client.is_secure,
            tls_fingerprint,
            tls_issuer,
            tls_serial,
            tls_subject,
            tls_version: tls.map_or("", |tls| tls.version),
        });
    }
}

impl Shape {
    /// The last word about the fields of an answer: of a handler, of a backend, of an error.
    #[inline]
    pub(super) fn apply(&self, config: &Config, listener: u16, head: &mut HeadWriter<'_>) {
        if let Some(shaping) = shaping(config, self.policy) {
            shaping.response_fields.apply(head);
            if let Some(cors) = &shaping.cors {
                cors.apply(head);
            }
            if let Some(lines) = &self.lines {
                head.checked(lines);
            }
        }
        // RFC 6797 §7.2: over TLS only. §8.1: the first line counts, so a backend's must not stand before it.
        if let Some(hsts) = config.listeners.get(usize::from(listener)).and_then(|listener| listener.hsts.as_deref()) {
            let name = "strict-transport-security";
            let _ = head.retain(|known| !known.eq_ignore_ascii_case(name)).field(name, hsts.as_bytes());
        }
    }

    /// Who else may use the route.
    pub(super) fn cors<'c>(&self, config: &'c Config) -> Option<&'c Cors> {
        shaping(config, self.policy)?.cors.as_ref()
    }

    /// What an error of the route looks like.
    pub(super) fn page<'c>(&self, config: &'c Config, status: StatusCode) -> Option<&'c Page> {
        let own = shaping(config, self.policy).and_then(|shaping| shaping.errors.find(status));
        own.or_else(|| config.errors.find(status))
    }

    /// Whether the errors of backends look like that, too.
    pub(super) fn intercepts(&self, config: &Config, status: StatusCode) -> bool {
        status.as_u16() >= 400
            && shaping(config, self.policy).is_some_and(|shaping| shaping.intercept)
            && self.page(config, status).is_some()
    }
}

impl RequestEdits {
    /// Edits the head that a backend gets.
    ///
    /// # Errors
    /// None; so that it can be the last step of those that have some.
    pub(super) fn apply(&self, head: &mut HeadWriter<'_>) -> Result<(), EncodeError> {
        if let Some(shaping) = shaping(&self.config, self.policy) {
            shaping.request_fields.apply(head);
            head.checked(&self.lines);
        }
        Ok(())
    }
}

fn shaping(config: &Config, policy: Option<usize>) -> Option<&Shaping> {
    config.policies.get(policy?)?.shaping.as_deref()
}
