//! The limits by name: one table for reading them, printing them, and explaining them.

use super::units::{format_duration, format_size, parse_duration, parse_size};
use brolly_core::config::Limits;
use brolly_core::{http1, pubsub, ws};
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// One field of [`Limits`].
#[derive(Debug)]
pub(super) struct Entry<'l> {
    pub(super) key: &'static str,
    pub(super) field: Field<'l>,
    /// What happens there, in half a line.
    pub(super) note: &'static str,
    /// What makes sense: bytes, a count, or milliseconds.
    range: RangeInclusive<u64>,
}

#[derive(Debug)]
pub(super) enum Field<'l> {
    Bytes(&'l mut usize),
    Bytes64(&'l mut u64),
    Count(&'l mut usize),
    Rate(&'l mut u64),
    Small(&'l mut u8),
    Time(&'l mut Duration),
}

/// A value as the file has it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Written<'w> {
    Number(u64),
    Text(&'w str),
}

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl Entry<'_> {
    /// Sets the field. The error is the rest of a sentence that begins with the key.
    pub(super) fn set(&mut self, written: Written<'_>) -> Result<(), String> {
        let value = match (&self.field, written) {
            (Field::Bytes(_) | Field::Bytes64(_), written) => parse_size(&written.to_string())?,
            (Field::Time(_), written) => {
                u64::try_from(parse_duration(&written.to_string())?.as_millis()).unwrap_or(u64::MAX)
            }
            (Field::Count(_) | Field::Rate(_) | Field::Small(_), Written::Number(number)) => number,
            (Field::Count(_) | Field::Rate(_) | Field::Small(_), Written::Text(text)) => {
                return Err(format!("must be a whole number such as 1000, without quotes, not \"{text}\""));
            }
        };
        if !self.range.contains(&value) {
            let (least, most) = (self.format(*self.range.start()), self.format(*self.range.end()));
            return Err(match self.range.end() {
                &u64::MAX => format!("must be at least {least}"),
                _ => format!("must be from {least} to {most}"),
            });
        }
        let size = usize::try_from(value).unwrap_or(usize::MAX);
        match &mut self.field {
            Field::Bytes(field) | Field::Count(field) => **field = size,
            Field::Bytes64(field) | Field::Rate(field) => **field = value,
            Field::Small(field) => **field = u8::try_from(value).unwrap_or(u8::MAX),
            Field::Time(field) => **field = Duration::from_millis(value),
        }
        Ok(())
    }

    /// The field in TOML.
    pub(super) fn value(&self) -> String {
        self.format(match &self.field {
            Field::Bytes(field) | Field::Count(field) => **field as u64,
            Field::Bytes64(field) | Field::Rate(field) => **field,
            Field::Small(field) => u64::from(**field),
            Field::Time(field) => u64::try_from(field.as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn format(&self, value: u64) -> String {
        match &self.field {
            Field::Bytes(_) | Field::Bytes64(_) => format!("\"{}\"", format_size(value)),
            Field::Count(_) | Field::Rate(_) | Field::Small(_) => value.to_string(),
            Field::Time(_) => format!("\"{}\"", format_duration(Duration::from_millis(value))),
        }
    }
}

/// All fields. The patterns are exhaustive, so that no limit can be forgotten here.
#[rustfmt::skip]
pub(super) fn entries(limits: &mut Limits) -> Vec<Entry<'_>> {
    use Field::{Bytes, Bytes64, Count, Rate, Small, Time};
    let Limits {
        http: http1::Limits { head_bytes, target_bytes, field_lines, chunk_line_bytes, trailer_bytes },
        websocket: ws::Limits { message_bytes, message_fragments, control_frames_per_second },
        pubsub: pubsub::Limits { history_messages, history_bytes, history_age, total_bytes, topics, linger },
        connections, content_bytes, outbox_bytes, pipelined_bytes, subscriptions, calls, limited_clients, verifications, mailbox_messages,
        poll_messages,
        head_timeout, content_timeout, content_bytes_per_second, idle_timeout, write_timeout, linger_timeout,
        heartbeat, ping_interval, pong_timeout, poll_wait, authorize_timeout,
        connect_timeout, upstream_timeout, tunnel_timeout, upstream_connections, upstream_queue, upstream_queue_timeout,
        upstream_retries, upstream_idle, upstream_idle_timeout, upstream_fresh, resolve_ttl,
        file_cache_bytes, file_cache_file_bytes, file_cache_age, file_listing_entries,
    } = limits;
    let (some, any, head) = (1..=u64::MAX, 0..=u64::MAX, 1..=65_535);
    let entry = |key, field, range: &RangeInclusive<u64>, note| Entry { key, field, note, range: range.clone() };
    vec![
        entry("connections", Count(connections), &some, "per shard; beyond: accepting stops"),
        entry("content_bytes", Bytes64(content_bytes), &some, "of a published message; beyond: 413"),
        entry("outbox_bytes", Bytes(outbox_bytes), &some, "queued for a slow reader; beyond: closed with a position"),
        entry("pipelined_bytes", Bytes(pipelined_bytes), &some, "of following requests; beyond: reading stops"),
        entry("subscriptions", Count(subscriptions), &some, "topics of one connection; beyond: 400"),
        entry("calls", Count(calls), &some, "of one WebSocket that wait for an answer; beyond: an error"),
        entry("limited_clients", Count(limited_clients), &some, "per shard; beyond: those idle longest are forgotten"),
        entry("verifications", Count(verifications), &some, "passwords at a time, per shard; beyond: 503"),
        entry("mailbox_messages", Count(mailbox_messages), &some, "between two shards; beyond: 503"),
        entry("poll_messages", Count(poll_messages), &some, "in one long-poll answer; the rest comes with the next"),

        entry("head_timeout", Time(head_timeout), &some, "for a request's head; then 408"),
        entry("content_timeout", Time(content_timeout), &some, "grace for request content; then 408"),
        entry("content_bytes_per_second", Rate(content_bytes_per_second), &some, "on average, after the grace; slower: 408"),
        entry("idle_timeout", Time(idle_timeout), &some, "between two requests; then close"),
        entry("write_timeout", Time(write_timeout), &some, "without progress towards the peer; then drop"),
        entry("linger_timeout", Time(linger_timeout), &some, "for a refused sender to read the refusal; then close"),
        entry("heartbeat", Time(heartbeat), &some, "silence on an event stream; then a comment"),
        entry("ping_interval", Time(ping_interval), &some, "silence on a WebSocket; then a ping"),
        entry("pong_timeout", Time(pong_timeout), &some, "after a ping or our close frame; then drop"),
        entry("poll_wait", Time(poll_wait), &any, "the longest wait of a long-poll; longer wishes are cut"),

        entry("authorize_timeout", Time(authorize_timeout), &some, "for the backend that says who may; then 504"),
        entry("connect_timeout", Time(connect_timeout), &some, "to reach a backend, name look-up included; then the next server, or 504"),
        entry("upstream_timeout", Time(upstream_timeout), &some, "without a byte of a backend's answer; then 504"),
        entry("tunnel_timeout", Time(tunnel_timeout), &some, "without a byte through an upgraded connection; then drop"),
        entry("upstream_connections", Count(upstream_connections), &some, "per server and shard; beyond: the queue"),
        entry("upstream_queue", Count(upstream_queue), &any, "requests that wait for a connection; beyond: 503"),
        entry("upstream_queue_timeout", Time(upstream_queue_timeout), &some, "for a connection; then 503"),
        entry("upstream_retries", Small(upstream_retries), &(0..=16), "where nothing can have happened yet; then 502"),
        entry("upstream_idle", Count(upstream_idle), &any, "idle connections kept per server; beyond: the oldest goes"),
        entry("upstream_idle_timeout", Time(upstream_idle_timeout), &any, "then an idle connection to a backend is closed"),
        entry("upstream_fresh", Time(upstream_fresh), &any, "idle for longer: not for what cannot be sent twice"),
        entry("resolve_ttl", Time(resolve_ttl), &any, "then a backend's name is looked up again"),
        entry("file_cache_bytes", Bytes(file_cache_bytes), &any, "small files kept per shard; beyond: the longest unused goes"),
        entry("file_cache_file_bytes", Bytes(file_cache_file_bytes), &(0..=65_536), "larger files are not kept"),
        entry("file_cache_age", Time(file_cache_age), &any, "then a kept file is compared with the disk"),
        entry("file_listing_entries", Count(file_listing_entries), &some, "in the page of a directory; beyond: it says so"),

        entry("http_head_bytes", Bytes(head_bytes), &head, "beyond: 431"),
        entry("http_target_bytes", Bytes(target_bytes), &head, "beyond: 414"),
        entry("http_field_lines", Count(field_lines), &(1..=128), "beyond: 431"),
        entry("http_chunk_line_bytes", Bytes(chunk_line_bytes), &head, "beyond: 400"),
        entry("http_trailer_bytes", Bytes(trailer_bytes), &head, "beyond: 431"),
        entry("websocket_message_bytes", Bytes(message_bytes), &some, "beyond: close code 1009"),
        entry("websocket_message_fragments", Count(message_fragments), &some, "frames of one message; beyond: close code 1008"),
        entry("websocket_control_frames_per_second", Rate(control_frames_per_second), &some, "pings and pongs; beyond: close code 1008"),
        entry("pubsub_history_messages", Count(history_messages), &any, "kept per topic; beyond: the oldest goes"),
        entry("pubsub_history_bytes", Bytes(history_bytes), &any, "kept per topic; beyond: the oldest goes"),
        entry("pubsub_history_age", Time(history_age), &any, "then a message is forgotten"),
        entry("pubsub_total_bytes", Bytes(total_bytes), &any, "history of a shard; beyond: the oldest of all go"),
        entry("pubsub_topics", Count(topics), &some, "per shard; beyond: new ones are refused"),
        entry("pubsub_linger", Time(linger), &any, "then a topic nobody uses is forgotten"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_reads_what_it_writes() {
        let (defaults, mut read) = (Limits::default(), Limits::default());
        for entry in entries(&mut read) {
            match entry.field {
                Field::Bytes(field) | Field::Count(field) => *field = 77,
                Field::Bytes64(field) | Field::Rate(field) => *field = 77,
                Field::Small(field) => *field = 7,
                Field::Time(field) => *field = Duration::from_millis(77),
            }
        }
        let written: Vec<_> = entries(&mut defaults.clone()).iter().map(Entry::value).collect();
        for (entry, written) in entries(&mut read).iter_mut().zip(&written) {
            let value = match written.strip_prefix('"') {
                Some(text) => Written::Text(text.trim_end_matches('"')),
                None => Written::Number(written.parse().unwrap()),
            };
            entry.set(value).unwrap();
        }
        assert_eq!(read, defaults);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut limits = Limits::default();
        let mut set = |key, written| {
            let mut entries = entries(&mut limits);
            entries.iter_mut().find(|entry| entry.key == key).unwrap().set(written).unwrap_err()
        };
        assert_eq!(set("connections", Written::Number(0)), "must be at least 1");
        assert_eq!(
            set("connections", Written::Text("9")),
            "must be a whole number such as 1000, without quotes, not \"9\""
        );
        assert_eq!(set("http_head_bytes", Written::Text("64KiB")), r#"must be from "1B" to "65535B""#);
        assert_eq!(set("http_field_lines", Written::Number(129)), "must be from 1 to 128");
        assert_eq!(set("idle_timeout", Written::Text("0s")), r#"must be at least "1ms""#);
        assert_eq!(
            set("idle_timeout", Written::Number(75)),
            r#"must be a duration such as "500ms", "30s" or "1m30s", not "75""#
        );
        assert_eq!(
            set("content_bytes", Written::Number(75)),
            r#"must be a size such as "512B", "64KiB" or "1MiB", not "75""#
        );
    }
}
