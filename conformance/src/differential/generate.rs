//! Messages: by the grammar, mostly usual, sometimes odd in one place; then sometimes damaged.

use super::pieces::{
    CODINGS, COLONS, DAMAGE, HOSTS, LENGTHS, LINE_ENDS, METHODS, NAMES, SIZES, STATUSES, TARGETS, VALUES, VERSIONS,
};
use brolly_conformance::sim::random::Random;

/// Some requests on one connection.
pub(super) fn requests(random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..random.between(1, 3) {
        let mut writer = Writer { oddity: random.pick(&[0, 0, 3, 8, 20]), random, out: &mut out };
        writer.request();
    }
    damage(random, out)
}

/// A response, perhaps with interim ones before it and something behind it; and whether it answers HEAD.
pub(super) fn response(random: &mut Random) -> (Vec<u8>, bool) {
    let (mut out, is_head) = (Vec::new(), random.chance(15));
    let oddity = random.pick(&[0, 0, 3, 8, 20]);
    while random.chance(10) {
        out.extend_from_slice(random.pick(&[
            &b"HTTP/1.1 100 Continue\r\n\r\n"[..],
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
            b"HTTP/1.1 102 Processing\r\nContent-Length: 0\r\n\r\n",
        ]));
    }
    Writer { oddity, random, out: &mut out }.response();
    if random.chance(10) {
        out.extend_from_slice(random.pick(&[&b"x"[..], b"\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]));
    }
    (damage(random, out), is_head)
}

/// A few bytes changed, cut out, doubled, inserted: in a third of the messages.
pub(super) fn damage(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    if random.chance(67) {
        return bytes;
    }
    for _ in 0..random.between(1, 3) {
        let at = random.index(bytes.len() + 1);
        let end = (at + random.index(4)).min(bytes.len());
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 if at < bytes.len() => bytes[at] = random.number() as u8,
            3 => {
                let end = (at + random.index(60)).min(bytes.len());
                let (piece, to) = (bytes[at..end].to_vec(), random.index(bytes.len() + 1));
                bytes.splice(to..to, piece);
            }
            _ => drop(bytes.splice(at..end, random.pick(&DAMAGE).iter().copied())),
        }
    }
    bytes
}

struct Writer<'a> {
    /// Of a hundred choices, so many are odd.
    oddity: u64,
    random: &'a mut Random,
    out: &'a mut Vec<u8>,
}

impl Writer<'_> {
    fn pick(&mut self, [usual, odd]: &[&[&'static str]; 2]) -> &'static str {
        let from = if self.random.chance(self.oddity) { odd } else { usual };
        self.random.pick(from)
    }

    fn write(&mut self, text: &str) {
        // Characters up to 255 are bytes: the tables hold bytes that are no UTF-8.
        self.out.extend(text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')));
    }

    fn write_one(&mut self, from: &[&[&'static str]; 2]) {
        let text = self.pick(from);
        self.write(text);
    }

    fn odd(&mut self) -> bool {
        self.random.chance(self.oddity)
    }

    fn request(&mut self) {
        if self.odd() {
            self.write_one(&LINE_ENDS);
        }
        self.write_one(&METHODS);
        let space = if self.odd() { self.random.pick(&["  ", "\t", ""]) } else { " " };
        self.write(space);
        self.write_one(&TARGETS);
        self.write(" ");
        self.write_one(&VERSIONS);
        self.write_one(&LINE_ENDS);
        if !self.odd() {
            self.line("Host", &HOSTS);
        }
        self.rest(30);
    }

    fn response(&mut self) {
        self.write_one(&VERSIONS);
        self.write(" ");
        self.write_one(&STATUSES);
        self.write_one(&LINE_ENDS);
        self.rest(90);
    }

    /// The fields and, with this likelihood, content.
    fn rest(&mut self, likelihood: u64) {
        self.lines();
        let content = self.content();
        let is_chunked = match (self.random.chance(likelihood), self.random.below(100)) {
            (false, _) => return self.write_one(&LINE_ENDS),
            (true, 0..45) => false,
            (true, 45..90) => true,
            (true, _) => {
                // Both, none, or one of them twice.
                for _ in 0..self.random.below(3) {
                    let (name, values) = if self.random.chance(50) {
                        ("Content-Length", &LENGTHS)
                    } else {
                        ("Transfer-Encoding", &CODINGS)
                    };
                    self.framing(name, values, content.len());
                }
                self.random.chance(50)
            }
        };
        match is_chunked {
            false => self.framing("Content-Length", &LENGTHS, content.len()),
            true => self.framing("Transfer-Encoding", &CODINGS, 0),
        }
        if self.odd() {
            self.lines();
        }
        self.write_one(&LINE_ENDS);
        if is_chunked {
            self.chunks(&content);
        } else {
            self.out.extend_from_slice(&content);
        }
    }

    fn chunks(&mut self, content: &[u8]) {
        let mut rest = content;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(self.random.between(1, rest.len() as u64) as usize);
            let size = self.pick(&SIZES).replace('%', &format!("{:x}", piece.len()));
            self.write(&size);
            self.write_one(&LINE_ENDS);
            self.out.extend_from_slice(piece);
            self.write_one(&LINE_ENDS);
            rest = after;
        }
        let size = self.pick(&SIZES).replace('%', "0");
        self.write(&size);
        self.write_one(&LINE_ENDS);
        if self.random.chance(20) {
            self.lines();
        }
        self.write_one(&LINE_ENDS);
    }

    fn framing(&mut self, name: &str, values: &[&[&'static str]; 2], length: usize) {
        let value = self.pick(values).replace('%', &length.to_string());
        let name = if self.odd() { name.to_lowercase() } else { name.into() };
        self.write(&name);
        self.write_one(&COLONS);
        self.write(&value);
        self.write_one(&LINE_ENDS);
    }

    fn lines(&mut self) {
        for _ in 0..self.random.below(4) {
            let name = self.pick(&NAMES);
            self.line(name, &VALUES);
        }
    }

    fn line(&mut self, name: &str, values: &[&[&'static str]; 2]) {
        self.write(name);
        self.write_one(&COLONS);
        self.write_one(values);
        self.write_one(&LINE_ENDS);
    }

    fn content(&mut self) -> Vec<u8> {
        let length = self.random.pick(&[0, 1, 3, 10, 100, 1000]);
        if self.random.chance(30) {
            return b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
        }
        (0..length).map(|_| if self.random.chance(80) { b'a' } else { self.random.number() as u8 }).collect()
    }
}
