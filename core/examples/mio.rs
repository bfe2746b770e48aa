//! The chat room of `brolly demo` on plain `mio`: the whole loop of an embedder who wants no runtime of ours.
//!
//! `cargo run --release -p brolly-core --example mio`, then open <http://127.0.0.1:8080>.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::std_instead_of_alloc, clippy::std_instead_of_core)]

use brolly_core::config::{Asset, Config, Handler, WebSocket};
use brolly_core::rng::Seed;
use brolly_core::route::{HostPattern, Route};
use brolly_core::shard::{ConnId, Effect, IoError, Shard};
use brolly_core::time::{Instant, Now, UnixTime};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::collections::HashMap;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

const LISTENER: Token = Token(usize::MAX);

type Sockets = HashMap<usize, (ConnId, TcpStream)>;

fn main() -> io::Result<()> {
    let mut seed = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    let listener = TcpListener::bind(([127, 0, 0, 1], 8080).into())?;
    println!("open http://{}", listener.local_addr()?);
    serve(Shard::new(Arc::new(demo()), 0, 1, Seed(seed)), listener)
}

fn serve(mut shard: Shard, mut listener: TcpListener) -> io::Result<()> {
    let clock = Clock(std::time::Instant::now());
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
    let (mut sockets, mut buffer) = (Sockets::new(), vec![0; 64 * 1024]);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    while !shard.is_drained() {
        let wait = shard.poll_timeout().map(|at| at.duration_since(clock.now().instant));
        poll.poll(&mut events, wait)?;
        shard.handle_timeout(clock.now());
        for event in &events {
            if event.token() != LISTENER {
                let conn = sockets.get(&event.token().0).map(|(conn, _)| *conn);
                conn.into_iter().for_each(|conn| pump(&mut shard, conn, &mut sockets, &mut buffer, &clock));
                continue;
            }
            while let Ok((mut stream, peer)) = listener.accept() {
                let Some(conn) = shard.handle_accept(clock.now(), peer.into()) else { continue };
                let token = Token(conn.index());
                poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
                sockets.insert(conn.index(), (conn, stream));
            }
        }
        loop {
            while let Some(effect) = shard.poll_effect() {
                // This embedder has one shard, no backends, no files and no log.
                if let Effect::ListDirectory { op, .. }
                | Effect::OpenFile { op, .. }
                | Effect::ReadFile { op, .. }
                | Effect::Resolve { op, .. } = effect
                {
                    shard.handle_completion(clock.now(), op, Err(IoError::NotFound));
                }
            }
            let Some(conn) = shard.poll_changed() else { break };
            pump(&mut shard, conn, &mut sockets, &mut buffer, &clock);
        }
    }
    Ok(())
}

/// Does what the connection wants until its socket has had enough.
fn pump(shard: &mut Shard, conn: ConnId, sockets: &mut Sockets, buffer: &mut [u8], clock: &Clock) {
    let Some((_, stream)) = sockets.get_mut(&conn.index()).filter(|(of, _)| *of == conn) else { return };
    loop {
        let want = shard.interest(conn);
        let mut moved = false;
        let mut broken = want.close;
        if want.write {
            let mut slices: [&[u8]; 16] = [&[]; 16];
            let filled = shard.outgoing(conn, &mut slices);
            match stream.write_vectored(&slices[..filled].iter().map(|slice| IoSlice::new(slice)).collect::<Vec<_>>()) {
                Ok(bytes) => {
                    shard.handle_write(clock.now(), conn, bytes);
                    moved = true;
                }
                Err(error) => broken |= error.kind() != ErrorKind::WouldBlock,
            }
        } else if want.shutdown {
            broken |= stream.shutdown(Shutdown::Write).is_err();
            shard.handle_shutdown_done(clock.now(), conn);
            moved = true;
        }
        if want.read {
            match stream.read(buffer) {
                Ok(bytes) => {
                    match bytes {
                        0 => shard.handle_eof(clock.now(), conn),
                        _ => shard.handle_read(clock.now(), conn, &mut buffer[..bytes]),
                    }
                    moved = true;
                }
                Err(error) => broken |= error.kind() != ErrorKind::WouldBlock,
            }
        }
        if broken {
            sockets.remove(&conn.index());
            return shard.handle_closed(clock.now(), conn, None);
        }
        if !moved {
            return;
        }
    }
}

struct Clock(std::time::Instant);

impl Clock {
    fn now(&self) -> Now {
        let unix = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64);
        Now { instant: Instant::from_nanos(self.0.elapsed().as_nanos() as u64), unix: UnixTime::from_millis(unix) }
    }
}

/// The page at `/`, the realtime endpoints under `/-/`.
fn demo() -> Config {
    let asset = |path, content_type, content| Asset::new(path, content_type, bytes::Bytes::from_static(content));
    let (html, css, js) = ("text/html; charset=utf-8", "text/css; charset=utf-8", "text/javascript; charset=utf-8");
    let page = Handler::Memory(Arc::new([
        asset("", html, include_bytes!("../host/demo/index.html")),
        asset("chat.css", css, include_bytes!("../host/demo/chat.css")),
        asset("chat.js", js, include_bytes!("../host/demo/chat.js")),
        asset("log.js", js, include_bytes!("../host/demo/log.js")),
        asset("people.js", js, include_bytes!("../host/demo/people.js")),
        asset("favicon.svg", "image/svg+xml", include_bytes!("../host/demo/favicon.svg")),
    ]));
    let script = Handler::Memory(Arc::new([
        asset("brolly.js", js, include_bytes!("../host/script/brolly.js")),
        asset("brolly-hub.js", js, include_bytes!("../host/script/brolly-hub.js")),
        asset("brolly-machine.js", js, include_bytes!("../host/script/brolly-machine.js")),
        asset("brolly-position.js", js, include_bytes!("../host/script/brolly-position.js")),
        asset("brolly-topics.js", js, include_bytes!("../host/script/brolly-topics.js")),
        asset("brolly-wires.js", js, include_bytes!("../host/script/brolly-wires.js")),
        asset("brolly-worker.js", js, include_bytes!("../host/script/brolly-worker.js")),
    ]));
    let mut config = Config::default();
    for (prefix, handler) in [
        ("/", page),
        ("/-", script),
        ("/-/sse", Handler::EventStream { compress: false }),
        ("/-/poll", Handler::LongPoll),
        ("/-/ws", Handler::WebSocket(WebSocket::default())),
        ("/-/publish", Handler::Publish),
        ("/-/echo", Handler::Echo(None)),
    ] {
        let route = Route { host: HostPattern::Any, prefix: prefix.into(), to: config.handlers.len().into() };
        config.routes.add(route).expect("each prefix is there once");
        config.handlers.push(handler);
    }
    config
}
