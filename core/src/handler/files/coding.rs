//! Which content coding a client gets (RFC 9110 §8.4.1, §12.5.3).

use crate::http1::Fields;

/// A content coding (RFC 9110 §8.4.1).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Coding {
    /// None: the file as it is.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Brotli,
}

impl Coding {
    /// All but [`Identity`](Self::Identity).
    pub const COMPRESSED: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// As in `Content-Encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Brotli => "br",
        }
    }

    /// What the name of a file compressed so ends in.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Identity => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
            Self::Brotli => ".br",
        }
    }

    /// RFC 9110 §8.4.1: in any case; `x-gzip` is an old name of gzip.
    fn parse(name: &[u8]) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let known = [Self::Identity, Self::Gzip, Self::Zstd, Self::Brotli].into_iter().find(|coding| is(coding.name()));
        known.or_else(|| is("x-gzip").then_some(Self::Gzip))
    }
}

/// A set of codings other than identity.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Codings(u8);

impl Codings {
    /// Adds one.
    pub fn insert(&mut self, coding: Coding) {
        self.0 |= 1 << coding as u8;
    }

    /// Whether it is among them.
    pub const fn contains(self, coding: Coding) -> bool {
        self.0 & (1 << coding as u8) != 0
    }

    /// Whether there are none: all clients get the same.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What a client takes: a weight in thousandths for each coding.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct AcceptEncoding {
    /// What is asked for explicitly; 0 otherwise: anything that is accepted is liked better.
    identity: u16,
    gzip: u16,
    zstd: u16,
    brotli: u16,
}

impl AcceptEncoding {
    /// Reads `Accept-Encoding`. Without it, only the file as it is.
    pub fn new(fields: &Fields<'_>) -> Self {
        let (mut named, mut others) = ([None; 4], None);
        for member in fields.list("accept-encoding") {
            let Some((name, weight)) = weighted(member) else { continue };
            let slot = match Coding::parse(name) {
                Some(coding) => named.get_mut(coding as usize),
                None if name == b"*" => Some(&mut others),
                None => None,
            };
            if let Some(slot) = slot {
                *slot = Some(weight);
            }
        }
        let [identity, gzip, zstd, brotli] = named;
        // §12.5.3: `*` is every coding that is not named.
        let weight = |named: Option<u16>| named.or(others).unwrap_or(0);
        Self { identity: identity.unwrap_or(0), gzip: weight(gzip), zstd: weight(zstd), brotli: weight(brotli) }
    }

    /// The coding that is liked best of those that are available; of equals, the first in `order`. Identity if none is
    /// acceptable, even if identity is not: an answer is better than 406, and §12.5.3 leaves it to the server.
    pub fn choose(self, available: Codings, order: impl Iterator<Item = Coding>) -> Coding {
        let mut best = (Coding::Identity, self.identity.saturating_sub(1));
        for coding in order.filter(|coding| available.contains(*coding)) {
            if self.weight(coding) > best.1 {
                best = (coding, self.weight(coding));
            }
        }
        best.0
    }

    const fn weight(self, coding: Coding) -> u16 {
        match coding {
            Coding::Identity => self.identity,
            Coding::Gzip => self.gzip,
            Coding::Zstd => self.zstd,
            Coding::Brotli => self.brotli,
        }
    }
}

/// A member of a list, and its weight in thousandths (RFC 9110 §12.4.2): 1000 unless it says otherwise. `None` if the
/// weight is malformed.
pub(super) fn weighted(member: &[u8]) -> Option<(&[u8], u16)> {
    let mut pieces = member.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let name = pieces.next()?;
    let weight = pieces.find_map(|piece| {
        let (key, value) = piece.split_at_checked(2)?;
        key.eq_ignore_ascii_case(b"q=").then_some(value)
    });
    Some((name, weight.map_or(Some(1000), thousandths)?))
}

/// `0`, `0.5`, `1.000`: at most three decimals, at most one.
fn thousandths(text: &[u8]) -> Option<u16> {
    let (whole, decimals) = match text {
        [whole] | [whole, b'.'] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let digits = [Some(whole), decimals.first(), decimals.get(1), decimals.get(2)];
    let value = digits.into_iter().try_fold(0, |value, digit| {
        let digit = digit.unwrap_or(&b'0');
        digit.is_ascii_digit().then(|| value * 10 + u16::from(digit - b'0'))
    })?;
    (value <= 1000).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn accepted(value: &str) -> AcceptEncoding {
        let request = format!("GET / HTTP/1.1\r\nhost: x\r\naccept-encoding: {value}\r\n\r\n");
        let mut decoder = crate::http1::RequestDecoder::new(crate::http1::Limits::default());
        match decoder.decode(request.as_bytes()).unwrap() {
            (_, Some(crate::http1::Part::Head(head, _))) => AcceptEncoding::new(&head.fields),
            other => panic!("{other:?}"),
        }
    }

    fn all() -> Codings {
        let mut all = Codings::default();
        Coding::COMPRESSED.into_iter().for_each(|coding| all.insert(coding));
        all
    }

    #[test]
    fn the_client_chooses_and_the_server_where_the_client_does_not_care() {
        for (value, expected) in [
            ("gzip, deflate, br, zstd", Coding::Brotli),
            ("gzip, deflate", Coding::Gzip),
            ("gzip;q=0.5, zstd;q=0.8, br;q=0.1", Coding::Zstd),
            ("GZIP;Q=1", Coding::Gzip),
            ("x-gzip", Coding::Gzip),
            ("*", Coding::Brotli),
            ("*;q=0.5, br;q=0", Coding::Zstd),
            ("gzip;q=0", Coding::Identity),
            ("identity", Coding::Identity),
            ("", Coding::Identity),
            ("identity;q=0.9, gzip;q=0.5", Coding::Identity),
            ("identity;q=0.5, gzip;q=0.5", Coding::Gzip),
            ("identity;q=0.5, gzip;q=0.9", Coding::Gzip),
            ("identity;q=0", Coding::Identity),
            ("*;q=0", Coding::Identity),
            ("identity;q=0, gzip;q=0.001", Coding::Gzip),
            ("gzip ; q=0.5 , br;q=0.4", Coding::Gzip),
            ("gzip;q=2, zstd;q=x, br;q=0.0001", Coding::Identity),
            ("deflate, compress", Coding::Identity),
        ] {
            assert_eq!(accepted(value).choose(all(), Coding::COMPRESSED.into_iter()), expected, "{value}");
        }
        let mut gzip = Codings::default();
        gzip.insert(Coding::Gzip);
        let browser = accepted("gzip, deflate, br, zstd");
        assert_eq!(browser.choose(gzip, Coding::COMPRESSED.into_iter()), Coding::Gzip);
        assert_eq!(browser.choose(Codings::default(), Coding::COMPRESSED.into_iter()), Coding::Identity);
    }

    #[test]
    fn weights_are_thousandths() {
        for (text, expected) in
            [("0", Some(0)), ("0.", Some(0)), ("0.5", Some(500)), ("0.125", Some(125)), ("1.000", Some(1000))]
        {
            assert_eq!(thousandths(text.as_bytes()), expected, "{text}");
        }
        for text in ["", ".5", "1.001", "2", "-1", "0.1234", "0,5", "1.0a"] {
            assert_eq!(thousandths(text.as_bytes()), None, "{text}");
        }
    }
}
