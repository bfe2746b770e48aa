//! The client's content on its way to the backend, with back-pressure.

use super::super::slot::{Exchange, Role, Slot};
use super::super::{ConnId, HIGH_WATER, Shard};
use super::call::Stage;
use crate::conn::{Whole, encode_end};
use crate::http1::{Fields, Framing, StatusCode};
use crate::time::Now;
use bytes::Bytes;

impl Shard {
    /// A piece of the content of a proxied request.
    pub(in crate::shard) fn forward_content(&mut self, now: Now, conn: ConnId, data: &[u8]) {
        let Some(call) = self.call(conn) else { return };
        let client_id = match &mut call.stage {
            Stage::Sent(client) => *client,
            // The connection is paused meanwhile.
            Stage::Waiting => return,
            Stage::Buffering { content, limit } => {
                if (content.len() + data.len()) as u64 > *limit {
                    return self.refuse(now, conn, StatusCode::CONTENT_TOO_LARGE, "the content is too large");
                }
                return content.extend_from_slice(data);
            }
        };
        call.has_streamed = true;
        let Self { slots, timeouts, config, .. } = self;
        let Some(Slot { role: Role::Client(client), .. }) = slots.get_mut(client_id) else { return };
        let Some(configured) = config.upstreams.get(client.upstream) else { return };
        client.conn.send_content(data);
        client.conn.sent(now, timeouts, &configured.patience());
        if client.conn.unsent().len() > HIGH_WATER
            && let Some(server) = self.server(conn)
        {
            server.conn.pause();
        }
        self.settle(now, client_id);
    }

    /// The content of a proxied request is complete.
    pub(in crate::shard) fn forward_end(&mut self, now: Now, conn: ConnId, trailers: Option<&Fields<'_>>) {
        let Some(call) = self.call(conn) else { return };
        let is_streaming = call.is_streaming();
        match &mut call.stage {
            Stage::Waiting => {}
            // There is nothing that would have to end.
            Stage::Sent(_) if !is_streaming => {}
            Stage::Sent(client) => {
                let client_id = *client;
                call.has_streamed = true;
                let Self { slots, timeouts, config, .. } = self;
                let Some(Slot { role: Role::Client(client), .. }) = slots.get_mut(client_id) else { return };
                let Some(configured) = config.upstreams.get(client.upstream) else { return };
                client.conn.end(trailers);
                client.conn.sent(now, timeouts, &configured.patience());
                self.settle(now, client_id);
            }
            Stage::Buffering { content, .. } => {
                let data = Bytes::from(core::mem::take(content));
                let is_chunked = call.message.framing == Framing::Chunked;
                let out = &mut self.scratch;
                if is_chunked {
                    encode_end(out, trailers);
                }
                let end = Bytes::copy_from_slice(out.tail());
                out.tail().clear();
                if let Some(call) = self.call(conn) {
                    call.message.content = Some(Whole { data, end });
                }
                self.place(now, conn);
            }
        }
    }

    /// The backend takes request content again.
    pub(in crate::shard) fn resume_downstream(&mut self, now: Now, conn: ConnId) {
        let Self { slots, timeouts, .. } = self;
        // While a question is asked, the content is nobody's yet.
        if let Some(Slot { role: Role::Server(server), .. }) = slots.get_mut(conn)
            && matches!(server.exchange, Exchange::Proxying(_))
        {
            server.conn.resume(now, timeouts);
            self.resume(conn);
            self.settle(now, conn);
        }
    }

    /// The client takes response content again.
    pub(in crate::shard) fn resume_upstream(&mut self, now: Now, client_id: ConnId) {
        let Self { slots, config, .. } = self;
        if let Some(Slot { role: Role::Client(client), .. }) = slots.get_mut(client_id)
            && let Some(configured) = config.upstreams.get(client.upstream)
        {
            client.conn.resume(now, &configured.patience());
            self.resume(client_id);
            self.settle(now, client_id);
        }
    }
}
