//! The access log: one line for each request, written by a thread of its own, so that a slow reader stops no shard.

use crate::config::rough_size;
use brolly_core::shard::{Access, Notice};
use brolly_core::time::UnixTime;
use brolly_core::upstream::State;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Requests that may wait to be written. Then lines are left out, and their number is written instead.
const QUEUE: usize = 8192;
/// How much is written at a time (bytes).
const BATCH: usize = 64 * 1024;

/// How a request is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// For people, with colours.
    Coloured,
    /// For programs: a JSON object.
    Json,
    /// For people.
    Plain,
}

impl Format {
    /// For people, with colours if standard output is a terminal and nobody objects.
    pub fn readable() -> Self {
        let is_wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        if is_wanted && io::stdout().is_terminal() { Self::Coloured } else { Self::Plain }
    }
}

/// What is written.
#[derive(Debug)]
enum Entry {
    Access(Access),
    Notice(Notice),
}

/// Where requests are handed over. Cheap to clone; nothing blocks.
#[derive(Clone, Debug)]
pub struct Log {
    queue: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

impl Log {
    /// Starts the thread that writes to standard output until all copies of the log are gone.
    ///
    /// # Errors
    /// There is no room for another thread.
    pub fn start(format: Format) -> io::Result<(Self, JoinHandle<()>)> {
        let (queue, entries) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let log = Self { queue, lost: lost.clone() };
        let thread = thread::Builder::new().name("log".into()).spawn(move || write_all(&entries, &lost, format))?;
        Ok((log, thread))
    }

    /// Hands a request over, if there is room.
    pub fn write(&self, access: &Access) {
        self.hand_over(Entry::Access(access.clone()));
    }

    /// Hands over that a backend is up, or not.
    pub fn notice(&self, notice: &Notice) {
        self.hand_over(Entry::Notice(notice.clone()));
    }

    fn hand_over(&self, entry: Entry) {
        if self.queue.try_send(entry).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Says something to whoever watches, on standard error. If nobody does, that is all right.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn write_all(entries: &Receiver<Entry>, lost: &AtomicU64, format: Format) {
    let mut lines = String::new();
    let write = |entry, lines: &mut String| match entry {
        Entry::Access(access) => line(&access, format, lines),
        Entry::Notice(notice) => notice_line(&notice, format, lines),
    };
    while let Ok(entry) = entries.recv() {
        lines.clear();
        write(entry, &mut lines);
        while lines.len() < BATCH
            && let Ok(entry) = entries.try_recv()
        {
            write(entry, &mut lines);
        }
        match (lost.swap(0, Ordering::Relaxed), format) {
            (0, _) => {}
            (lost, Format::Json) => lines.push_str(&format!("{{\"lost\":{lost}}}\n")),
            (lost, Format::Coloured | Format::Plain) => lines.push_str(&format!("... and {lost} more\n")),
        }
        // Nobody reads: that is no reason to stop serving.
        let _ = io::stdout().write_all(lines.as_bytes());
    }
}

fn line(access: &Access, format: Format, out: &mut String) {
    use std::fmt::Write;
    let (begin, end) = match (format, access.status) {
        (Format::Json, _) => return json_line(access, out),
        (Format::Plain, _) => ("", ""),
        (Format::Coloured, 0 | 500..) => ("\x1b[31m", "\x1b[0m"),
        (Format::Coloured, 400..) => ("\x1b[33m", "\x1b[0m"),
        (Format::Coloured, 300..) => ("\x1b[36m", "\x1b[0m"),
        (Format::Coloured, _) => ("\x1b[32m", "\x1b[0m"),
    };
    let status = if access.status == 0 { "---".into() } else { access.status.to_string() };
    let time = &date_and_time(access.at.unix)[11..19];
    let (size, took) = (rough_size(access.bytes), rough_duration(access.took));
    let _ = write!(out, "{time} {begin}{status}{end} ");
    // What a client sent must not steer the terminal.
    out.extend(access.request.chars().flat_map(|c| match c.is_control() {
        true => c.escape_default().collect::<Vec<_>>(),
        false => vec![c],
    }));
    let reason = access.reason.as_deref().map(|reason| format!("  ({})", reason.escape_debug())).unwrap_or_default();
    let _ = writeln!(out, "  {size}  {took}  {}{reason}", access.id);
}

#[derive(Serialize)]
struct Record<'a> {
    time: &'a str,
    peer: &'a str,
    /// Whom the peer speaks for, or the peer itself.
    client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    request: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    bytes: u64,
    microseconds: u64,
    /// The backend that was asked last, and how long it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_microseconds: Option<u64>,
    id: &'a str,
}

fn json_line(access: &Access, out: &mut String) {
    let client = access.client.map(|client| client.to_string());
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let server = access.server.as_ref().map(|(server, _)| server.to_string());
    let record = Record {
        time: &date_and_time(access.at.unix),
        peer: &access.peer.map_or("unix".into(), |peer| peer.to_string()),
        client: client.as_deref(),
        user: access.user.as_deref(),
        request: &access.request,
        status: access.status,
        reason: access.reason.as_deref(),
        bytes: access.bytes,
        microseconds: micros(access.took),
        server: server.as_deref(),
        server_microseconds: access.server.as_ref().map(|(_, took)| micros(*took)),
        id: &access.id.to_string(),
    };
    out.push_str(&serde_json::to_string(&record).unwrap_or_default());
    out.push('\n');
}

#[derive(Serialize)]
struct Change<'a> {
    time: &'a str,
    upstream: &'a str,
    server: &'a str,
    state: &'a str,
}

fn notice_line(notice: &Notice, format: Format, out: &mut String) {
    let state = match notice.state {
        State::Up => "up",
        State::Resting => "resting",
        State::Down => "down",
        State::Leaving => "leaving",
    };
    let (time, server) = (date_and_time(notice.at.unix), notice.server.to_string());
    if format == Format::Json {
        let record = Change { time: &time, upstream: &notice.upstream, server: &server, state };
        out.push_str(&serde_json::to_string(&record).unwrap_or_default());
        out.push('\n');
    } else {
        out.push_str(&format!("{} {}: {server} is {state}\n", &time[11..19], notice.upstream));
    }
}

fn rough_duration(duration: Duration) -> String {
    match duration.as_micros() {
        micros @ 0..10_000 => format!("{}.{} ms", micros / 1000, micros % 1000 / 100),
        micros @ 0..1_000_000 => format!("{} ms", micros / 1000),
        micros => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}

/// RFC 3339, UTC, in milliseconds.
fn date_and_time(time: UnixTime) -> String {
    let (days, seconds) = (time.as_secs() / 86_400, time.as_secs() % 86_400);
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": years that begin in March, eras of 400 of them.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day + 2) / 153;
    let day = day - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let millis = time.as_millis() % 1000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use brolly_core::rng::{Rng, Seed};
    use brolly_core::time::Now;

    fn access(request: &str, status: u16) -> Access {
        Access {
            at: Now { unix: UnixTime::from_millis(1_795_306_062_123), ..Now::default() },
            took: Duration::from_micros(1_234),
            peer: "127.0.0.1:5000".parse().ok(),
            client: "127.0.0.1".parse().ok(),
            user: None,
            id: Rng::new(Seed([0; 32]), 0).next_uuid(),
            request: request.into(),
            reason: None,
            status,
            bytes: 1536,
            server: None,
        }
    }

    fn written(access: &Access, format: Format) -> String {
        let mut out = String::new();
        line(access, format, &mut out);
        out
    }

    #[test]
    fn a_request_is_one_line_whatever_it_contains() {
        let mut one = access("GET /a\x1b[2J\n\u{85}é", 200);
        let id = one.id;
        assert_eq!(
            written(&one, Format::Plain),
            format!("00:07:42 200 GET /a\\u{{1b}}[2J\\n\\u{{85}}é  1.5 KiB  1.2 ms  {id}\n")
        );
        assert_eq!(
            written(&one, Format::Json),
            format!(
                "{{\"time\":\"2026-11-22T00:07:42.123Z\",\"peer\":\"127.0.0.1:5000\",\"client\":\"127.0.0.1\",\"request\":\"GET /a\\u001b[2J\\n\u{85}é\",\
                 \"status\":200,\"bytes\":1536,\"microseconds\":1234,\"id\":\"{id}\"}}\n"
            )
        );
        (one.status, one.reason) = (400, Some("malformed \"field\" line".into()));
        assert!(written(&one, Format::Plain).ends_with(&format!("  {id}  (malformed \\\"field\\\" line)\n")));
        assert!(
            written(&one, Format::Json)
                .contains("\"status\":400,\"reason\":\"malformed \\\"field\\\" line\",\"bytes\"")
        );
        one.status = 0;
        assert!(written(&one, Format::Plain).starts_with("00:07:42 --- GET"));
        assert!(written(&one, Format::Coloured).starts_with("00:07:42 \x1b[31m---\x1b[0m GET"));
        assert!(written(&access("GET /", 404), Format::Coloured).contains("\x1b[33m404\x1b[0m"));
    }

    #[test]
    fn a_backend_that_changes_is_one_line() {
        let at = Now { unix: UnixTime::from_millis(1_795_306_062_123), ..Now::default() };
        let server = brolly_core::shard::Address::Tcp("10.0.0.1:80".parse().unwrap());
        let notice = Notice { at, upstream: "app".into(), server, state: State::Down };
        let mut out = String::new();
        notice_line(&notice, Format::Plain, &mut out);
        notice_line(&notice, Format::Json, &mut out);
        let json = "{\"time\":\"2026-11-22T00:07:42.123Z\",\"upstream\":\"app\",\"server\":\"10.0.0.1:80\",\"state\":\"down\"}";
        assert_eq!(out, format!("00:07:42 app: 10.0.0.1:80 is down\n{json}\n"));
    }

    #[test]
    fn dates_and_durations() {
        let date = |seconds: u64| date_and_time(UnixTime::from_millis(seconds * 1000));
        assert_eq!(date(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(date(951_782_400), "2000-02-29T00:00:00.000Z");
        assert_eq!(date(1_735_689_599), "2024-12-31T23:59:59.000Z");
        assert_eq!(date(4_107_542_399), "2100-02-28T23:59:59.000Z");
        assert_eq!(date(4_107_542_400), "2100-03-01T00:00:00.000Z");
        assert_eq!(rough_duration(Duration::from_micros(90)), "0.0 ms");
        assert_eq!(rough_duration(Duration::from_micros(9_999)), "9.9 ms");
        assert_eq!(rough_duration(Duration::from_millis(250)), "250 ms");
        assert_eq!(rough_duration(Duration::from_millis(25_060)), "25.0 s");
    }
}
