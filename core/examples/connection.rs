//! The middle level: one HTTP connection on a blocking socket, with deadlines, keep-alive, pipelining and refusals.
//! It answers every request with what it was.
//!
//! `cargo run -p brolly-core --example connection`, then `curl -d hello http://127.0.0.1:8081/any/path`

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::std_instead_of_alloc, clippy::std_instead_of_core)]

use brolly_core::config;
use brolly_core::conn::{Content, ServerConn, ServerEvent};
use brolly_core::http1::StatusCode;
use brolly_core::time::{Instant, Now, UnixTime};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:8081")?;
    println!("listening on http://{}", listener.local_addr()?);
    for stream in listener.incoming() {
        std::thread::spawn(|| stream.and_then(serve));
    }
    Ok(())
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    let began = std::time::Instant::now();
    let now = || Now { instant: Instant::from_nanos(began.elapsed().as_nanos() as u64), unix: UnixTime::default() };
    let limits = config::Limits::default();
    let timeouts = limits.timeouts();
    let mut conn = ServerConn::new(now(), limits.http, &timeouts);
    // What was read and not used yet; the answer that is being put together.
    let (mut unread, mut buffer, mut answer) = (Vec::new(), [0; 16 * 1024], String::new());
    loop {
        let (used, event) = conn.receive(now(), &timeouts, &unread);
        let is_event = event.is_some();
        let mut status = None;
        match event {
            Some(ServerEvent::Request(head, framing)) => {
                answer = format!("{} {}, {framing:?}\n", head.method.as_str(), head.target.path());
                let is_complete = framing == brolly_core::http1::Framing::Empty;
                conn.send_continue(now(), &timeouts);
                status = is_complete.then_some(StatusCode::OK);
            }
            Some(ServerEvent::Content(data)) => answer += &format!("{} bytes\n", data.len()),
            Some(ServerEvent::End(_)) => status = Some(StatusCode::OK),
            Some(ServerEvent::Refused(error, _)) => {
                answer = format!("{error}\n");
                status = Some(error.status());
            }
            None => {}
        }
        if let Some(status) = status {
            let content = Content::Full(answer.as_bytes());
            conn.respond(now(), &timeouts, status, content, |_| Ok(())).map_err(io::Error::other)?;
        }
        unread.drain(..used);
        while conn.interest().write {
            let mut slices: [&[u8]; 1] = [&[]];
            conn.unsent().slices(&mut slices);
            let written = stream.write(slices[0])?;
            conn.outbox().advance(written);
            conn.wrote(now(), &timeouts);
        }
        let want = conn.interest();
        if want.close {
            return Ok(());
        }
        if want.shutdown {
            stream.shutdown(Shutdown::Write)?;
            conn.handle_shutdown();
        } else if !is_event && want.read {
            let wait =
                conn.deadline().map(|at| at.duration_since(now().instant).max(core::time::Duration::from_millis(1)));
            stream.set_read_timeout(wait)?;
            match stream.read(&mut buffer) {
                Ok(0) => conn.handle_eof(),
                Ok(bytes) => unread.extend_from_slice(&buffer[..bytes]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    if conn.handle_timeout(now()) {
                        conn.respond(
                            now(),
                            &timeouts,
                            StatusCode::REQUEST_TIMEOUT,
                            Content::Full(b"too slow\n"),
                            |_| Ok(()),
                        )
                        .map_err(io::Error::other)?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}
