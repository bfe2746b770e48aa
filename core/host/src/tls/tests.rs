//! The byte transform between two sessions, over pipes that take and give little at a time.

use super::{Ahead, Client, ClientCertificates, Files, Server, Session, Settings, Tls, Versions, facts};
use crate::args::SelfSigned;
use crate::cert::self_signed;
use crate::transport::Transport;
use brolly_core::driver::Stream;
use brolly_core::rng::{Rng, Seed};
use brolly_core::shard::{Introduction, IoError};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

#[derive(Debug, Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    has_ended: bool,
}

/// One end of a connection; each move is of 1 to `most` bytes, and now and then of none.
#[derive(Debug)]
struct End {
    from: Rc<RefCell<Pipe>>,
    to: Rc<RefCell<Pipe>>,
    rng: Rng,
    most: usize,
    room: usize,
}

fn ends(seed: u64, most: usize, room: usize) -> [End; 2] {
    let (up, down) = (Rc::<RefCell<Pipe>>::default(), Rc::<RefCell<Pipe>>::default());
    let end = |from: &Rc<_>, to: &Rc<_>, number| End {
        from: Rc::clone(from),
        to: Rc::clone(to),
        rng: Rng::new(Seed([9; 32]), seed * 2 + number),
        most,
        room,
    };
    [end(&down, &up, 0), end(&up, &down, 1)]
}

impl End {
    fn size(&mut self, limit: usize) -> Option<usize> {
        let random = usize::try_from(self.rng.next_u64() >> 33).unwrap();
        (limit > 0 && random % 4 > 0).then(|| 1 + random / 4 % self.most.min(limit))
    }
}

impl Stream for End {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, IoError>> {
        let (limit, has_ended) = (self.from.borrow().bytes.len().min(buffer.len()), self.from.borrow().has_ended);
        match self.size(limit) {
            None if limit == 0 && has_ended => Poll::Ready(Ok(0)),
            None => Poll::Pending,
            Some(size) => {
                let bytes: Vec<u8> = self.from.borrow_mut().bytes.drain(..size).collect();
                buffer[..size].copy_from_slice(&bytes);
                Poll::Ready(Ok(size))
            }
        }
    }

    fn poll_write(&mut self, _: &mut Context<'_>, slices: &[&[u8]]) -> Poll<Result<usize, IoError>> {
        assert!(!slices.is_empty() && slices.iter().all(|slice| !slice.is_empty()), "nothing to write");
        let bytes = slices.concat();
        let room = self.room.saturating_sub(self.to.borrow().bytes.len());
        let Some(size) = self.size(bytes.len().min(room)) else { return Poll::Pending };
        self.to.borrow_mut().bytes.extend(&bytes[..size]);
        Poll::Ready(Ok(size))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        self.to.borrow_mut().has_ended = true;
        Poll::Ready(Ok(()))
    }
}

/// A directory with certificates of its own; removed in the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("brolly-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn certificate(&self, names: &[&str]) -> Files {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let stem = names[0].replace(['*', ':'], "_");
        self_signed(&SelfSigned { names, out: self.0.clone() }).unwrap();
        Files { chain: self.0.join(format!("{stem}.pem")), key: self.0.join(format!("{stem}.key")), ocsp: None }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn server(certificates: Vec<Files>) -> Server {
    Server { name: "main".into(), certificates, ..Server::default() }
}

fn client(name: &str, authorities: &Path) -> Client {
    Client { name: name.into(), authorities: Some(authorities.to_owned()), certificate: None }
}

/// What became of it: the server's introduction, or what the client says.
fn shake(
    tls: &Tls,
    [ours, theirs]: [End; 2],
    client: u16,
) -> Result<(Transport<End>, Introduction, Session, Ahead<End>), IoError> {
    let mut accepted = Transport::accepted(ours, false, tls.accept(0));
    let (mut session, mut base) = (tls.connect(client).unwrap(), Ahead::new(theirs));
    let mut cx = Context::from_waker(Waker::noop());
    let (mut introduction, mut is_done) = (None, false);
    for _ in 0..100_000 {
        if introduction.is_none()
            && let Poll::Ready(result) = accepted.poll_introduction(&mut cx)
        {
            introduction = result?;
        }
        if !is_done && let Poll::Ready(result) = session.poll_handshake(&mut base, &mut cx) {
            result.map_err(IoError::from)?;
            is_done = true;
        }
        if is_done && let Some(introduction) = introduction.take() {
            return Ok((accepted, introduction, session, base));
        }
    }
    panic!("the handshake hangs");
}

/// A handshake message that can never be complete: it was offered to rustls again and again, without end.
#[test]
fn a_handshake_message_without_room_ends_the_connection() {
    let directory = Directory::new("oversize");
    let settings =
        Settings { servers: vec![server(vec![directory.certificate(&["example.org"])])], ..Settings::default() };
    let tls = Tls::load(&settings).unwrap();
    let [ours, theirs] = ends(0, 100_000, 1_000_000);
    let mut hello = vec![1, 0, 0xff, 0xff];
    hello.resize(5 * 16_384, 0);
    for record in hello.chunks(16_384) {
        theirs.to.borrow_mut().bytes.extend([22, 3, 1, 0x40, 0].iter().chain(record));
    }
    let mut accepted = Transport::accepted(ours, false, tls.accept(0));
    let mut cx = Context::from_waker(Waker::noop());
    let result = (0..1000).find_map(|_| match accepted.poll_introduction(&mut cx) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    });
    assert!(matches!(result, Some(Err(_))), "{result:?}");
}

#[test]
fn everything_arrives_however_little_moves_at_a_time() {
    let directory = Directory::new("session");
    let files = directory.certificate(&["example.org"]);
    let clients = vec![client("example.org", &files.chain)];
    let tls = Tls::load(&Settings { servers: vec![server(vec![files])], clients }).unwrap();
    for (seed, (most, room)) in (0..).zip([(1, 10), (7, 40), (5_000, 3_000), (100_000, 64), (100_000, 1_000_000)]) {
        let (mut accepted, _, mut session, mut base) = shake(&tls, ends(seed, most, room), 0).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let sent: Vec<u8> = (0..if most < 100 { 20_000_u32 } else { 300_000 }).map(|n| (n * 7 % 251) as u8).collect();
        let (mut written, mut received, mut buffer) = (0, Vec::new(), vec![0; 64 * 1024]);
        let mut is_shut = false;
        loop {
            while written < sent.len() {
                let (first, second) = sent[written..].split_at((sent.len() - written).div_ceil(3));
                let slices = if second.is_empty() { vec![first] } else { vec![first, second] };
                match accepted.poll_write(&mut cx, &slices) {
                    Poll::Ready(bytes) => written += bytes.unwrap(),
                    Poll::Pending => break,
                }
            }
            if written == sent.len() && !is_shut {
                is_shut = accepted.poll_shutdown(&mut cx).is_ready();
            }
            match session.poll_read(&mut base, &mut cx, &mut buffer) {
                Poll::Ready(Ok(0)) => break,
                Poll::Ready(Ok(bytes)) => received.extend_from_slice(&buffer[..bytes]),
                Poll::Ready(Err(error)) => panic!("{error:?} after {} bytes", received.len()),
                Poll::Pending => {}
            }
        }
        assert!(received == sent && is_shut, "{most} {room}");
        // Back, over the half that is still open, and cut off without close_notify.
        let (mut answers, mut is_cut) = (Vec::new(), false);
        while answers.len() < 2 {
            if !is_cut && session.poll_write(&mut base, &mut cx, &[b"bye"]).is_ready() {
                is_cut = base.poll_shutdown(&mut cx).is_ready();
            }
            if let Poll::Ready(result) = accepted.poll_read(&mut cx, &mut buffer) {
                answers.push(result);
            }
        }
        assert_eq!(answers, [Ok(3), Err(IoError::ConnectionReset)]);
    }
}

#[test]
fn certificates_are_chosen_by_name() {
    let directory = Directory::new("names");
    let lists: [&[&str]; 3] = [&["example.org", "www.example.org"], &["*.example.net"], &["a.example.net"]];
    let files = lists.map(|names| directory.certificate(names));
    let cases = [
        ("www.example.org", 0, true),
        ("WWW.example.org", 0, true),
        ("b.example.net", 1, true),
        ("a.example.net", 2, true),
        ("a.b.example.net", 1, false),
        ("example.net", 1, false),
        ("elsewhere.test", 0, false),
    ];
    let clients = cases.iter().map(|(name, file, _)| client(name, &files[*file].chain)).collect();
    let tls = Tls::load(&Settings { servers: vec![server(files.to_vec())], clients }).unwrap();
    for (number, (name, _, is_known)) in (0..).zip(cases) {
        match shake(&tls, ends(number.into(), 4096, 4096), number) {
            Ok((_, introduction, ..)) => {
                assert!(is_known, "{name}");
                let facts = introduction.tls.unwrap();
                assert_eq!(facts.server_name.as_deref(), Some(&*name.to_lowercase()));
                assert_eq!((facts.version, facts.cipher), ("1.3", "TLS_AES_256_GCM_SHA384"));
            }
            Err(error) => assert_eq!((error, is_known), (IoError::Certificate, false), "{name}"),
        }
    }
}

#[test]
fn clients_show_certificates_and_their_facts_are_known() {
    let directory = Directory::new("clients");
    let (files, mine, other) = (
        directory.certificate(&["example.org"]),
        directory.certificate(&["alice.example.org", "10.0.0.1"]),
        directory.certificate(&["mallory.test"]),
    );
    for (required, versions) in [(true, Versions::Only13), (false, Versions::Only12)] {
        let showing = |certificate: Option<&Files>| Client {
            certificate: certificate.cloned(),
            ..client("example.org", &files.chain)
        };
        let clients = vec![showing(Some(&mine)), showing(None), showing(Some(&other))];
        let server = Server {
            clients: Some(ClientCertificates { authorities: mine.chain.clone(), required }),
            versions,
            ..server(vec![files.clone()])
        };
        let tls = Tls::load(&Settings { servers: vec![server], clients }).unwrap();
        let (_, introduction, session, _) = shake(&tls, ends(1, 4096, 9000), 0).unwrap();
        let certificate = introduction.tls.as_ref().unwrap().certificate.clone().unwrap();
        assert_eq!((&*certificate.subject, &*certificate.issuer), ("CN=alice.example.org", "CN=alice.example.org"));
        assert_eq!(certificate.names.iter().map(|name| &**name).collect::<Vec<_>>(), ["alice.example.org", "10.0.0.1"]);
        assert_eq!((certificate.fingerprint.len(), certificate.serial.is_empty()), (64, false));
        assert_eq!(facts(session.connection()).version, if required { "1.3" } else { "1.2" });
        if !required {
            let (_, introduction, ..) = shake(&tls, ends(2, 4096, 9000), 1).unwrap();
            assert_eq!(introduction.tls.unwrap().certificate, None);
            assert_eq!(shake(&tls, ends(3, 4096, 9000), 2).err(), Some(IoError::Certificate));
        }
    }
}

#[test]
fn a_reload_takes_what_can_be_used_and_keeps_the_rest() {
    let directory = Directory::new("reload");
    let lists = [&["example.org"], &["example.net"]];
    let files = lists.map(|names| directory.certificate(names));
    let tls = Tls::load(&Settings { servers: vec![server(files.to_vec())], clients: Vec::new() }).unwrap();
    assert_eq!(tls.reload(), [""; 0]);
    std::fs::write(&files[1].chain, "nothing").unwrap();
    std::fs::remove_file(&files[0].key).unwrap();
    assert_eq!(
        tls.reload(),
        [
            format!(
                "[tls.main]: {}: there is no such file or directory; kept what was there before",
                files[0].key.display()
            ),
            format!(
                "[tls.main]: {}: there is no certificate in it; PEM begins with -----BEGIN CERTIFICATE-----; kept what was \
                 there before",
                files[1].chain.display()
            ),
        ]
    );
    assert!(tls.accept(0).is_some());
}

#[test]
fn plain_http_is_told_to_speak_tls() {
    let directory = Directory::new("plain");
    let tls = Tls::load(&Settings { servers: vec![server(vec![directory.certificate(&["a"])])], clients: Vec::new() })
        .unwrap();
    let [ours, theirs] = ends(1, 4096, 4096);
    theirs.to.borrow_mut().bytes.extend(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut accepted = Transport::accepted(ours, false, tls.accept(0));
    let mut cx = Context::from_waker(Waker::noop());
    while !theirs.from.borrow().has_ended {
        assert!(accepted.poll_introduction(&mut cx).is_pending());
    }
    let answer: Vec<u8> = theirs.from.borrow_mut().bytes.drain(..).collect();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("https://\n"), "{answer}");
    theirs.to.borrow_mut().has_ended = true;
    loop {
        if let Poll::Ready(result) = accepted.poll_introduction(&mut cx) {
            break assert_eq!(result, Err(IoError::ConnectionReset));
        }
    }
}
