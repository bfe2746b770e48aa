//! The PROXY protocol, versions 1 and 2: a proxy says for whom it has opened a connection, before anything else.
//!
//! The grammar is that of "The PROXY protocol" by Willy Tarreau (haproxy.org, `doc/proxy-protocol.txt`, 2020); sections
//! are its own. Additional fields (TLVs, §2.2) are skipped. What is not a header is an error, never the beginning of
//! something else: whoever expects a header must get one (§2, "the receiver MUST be configured").

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

/// The longest header that is read (bytes), of version 2 with its additional fields. Those in use have below 1 KiB.
pub const MAX_HEADER: usize = 4096;
/// §2.1: "so a 108-byte buffer is always enough", its end included.
const MAX_LINE: usize = 107;
/// §2.2: cannot begin a request of any protocol.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const WORD: &[u8] = b"PROXY ";
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// Where a proxied connection came from, and where it was going to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Endpoints {
    /// The client.
    pub source: SocketAddr,
    /// What it connected to.
    pub destination: SocketAddr,
}

/// A complete header.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Header {
    /// Its length (bytes). What follows belongs to the connection.
    pub len: usize,
    /// `None`: the proxy speaks for itself (`LOCAL`, a health check), or does not know (`UNKNOWN`), or has taken a
    /// connection that is not TCP. The real peer is the client.
    pub endpoints: Option<Endpoints>,
}

/// This is no PROXY header, or a broken one. Close the connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ProxyError {
    /// It does not begin like one.
    Missing,
    /// A version, command, family, or word that does not exist.
    Unknown,
    /// Addresses or ports that cannot be read.
    Addresses,
    /// A line without end, or more than [`MAX_HEADER`].
    TooLong,
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "there is no PROXY header",
            Self::Unknown => "the PROXY header is of an unknown kind",
            Self::Addresses => "the PROXY header has unreadable addresses",
            Self::TooLong => "the PROXY header is too long",
        })
    }
}

impl core::error::Error for ProxyError {}

/// Reads the header that `input`, everything that was received so far, begins with. `None`: more is needed; there is an
/// answer after [`MAX_HEADER`] bytes at the latest.
///
/// # Errors
/// As soon as it cannot become a header any more.
pub fn decode(input: &[u8]) -> Result<Option<Header>, ProxyError> {
    let starts_like = |word: &[u8]| input.iter().zip(word).all(|(a, b)| a == b);
    if starts_like(WORD) {
        decode_line(input)
    } else if starts_like(SIGNATURE) {
        decode_binary(input)
    } else {
        Err(ProxyError::Missing)
    }
}

/// §2.1, the human-readable format.
fn decode_line(input: &[u8]) -> Result<Option<Header>, ProxyError> {
    let Some(end) = input.iter().take(MAX_LINE).position(|byte| *byte == b'\n') else {
        return if input.len() < MAX_LINE { Ok(None) } else { Err(ProxyError::TooLong) };
    };
    let line = input.get(WORD.len()..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(ProxyError::Addresses)?;
    let line = core::str::from_utf8(line).map_err(|_| ProxyError::Addresses)?;
    let mut words = line.split(' ');
    let kind = words.next().unwrap_or_default();
    let endpoints = match kind {
        // "The receiver must ignore anything presented before the CRLF".
        "UNKNOWN" => None,
        "TCP4" => Some(endpoints::<Ipv4Addr>(words)),
        "TCP6" => Some(endpoints::<Ipv6Addr>(words)),
        _ => return Err(ProxyError::Unknown),
    };
    let endpoints = endpoints.map(|found| found.ok_or(ProxyError::Addresses)).transpose()?;
    Ok(Some(Header { len: end + 1, endpoints }))
}

/// Two addresses and two ports, and nothing more.
fn endpoints<'l, A: FromStr + Into<IpAddr>>(mut words: impl Iterator<Item = &'l str>) -> Option<Endpoints> {
    let (source, destination) = (words.next()?, words.next()?);
    let (source_port, destination_port) = (words.next()?, words.next()?);
    let address = |ip: &str, port: &str| {
        // "Heading zeroes are not permitted"; neither is a sign, which `parse` would take.
        let is_decimal = port.bytes().all(|byte| byte.is_ascii_digit()) && (port == "0" || !port.starts_with('0'));
        Some(SocketAddr::new(ip.parse::<A>().ok()?.into(), port.parse().ok().filter(|_| is_decimal)?))
    };
    let endpoints =
        Endpoints { source: address(source, source_port)?, destination: address(destination, destination_port)? };
    words.next().is_none().then_some(endpoints)
}

/// §2.2, the binary format.
fn decode_binary(input: &[u8]) -> Result<Option<Header>, ProxyError> {
    let Some((fixed, rest)) = input.split_first_chunk::<16>() else { return Ok(None) };
    let [.., command, family, high, low] = *fixed;
    let len = usize::from(u16::from_be_bytes([high, low]));
    if fixed.len() + len > MAX_HEADER {
        return Err(ProxyError::TooLong);
    }
    let Some(block) = rest.get(..len) else { return Ok(None) };
    let endpoints = match (command, family) {
        // LOCAL: "the receiver must accept this connection as valid and must use the real connection endpoints".
        (0x20, _) => None,
        (0x21, TCP4) => {
            Some(binary_endpoints(block, |bytes: [u8; 4]| Ipv4Addr::from(bytes).into()).ok_or(ProxyError::Addresses)?)
        }
        (0x21, TCP6) => {
            Some(binary_endpoints(block, |bytes: [u8; 16]| Ipv6Addr::from(bytes).into()).ok_or(ProxyError::Addresses)?)
        }
        // Unspecified, datagrams, Unix sockets: "the receiver is free to use the real endpoint addresses".
        (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => None,
        _ => return Err(ProxyError::Unknown),
    };
    Ok(Some(Header { len: fixed.len() + len, endpoints }))
}

/// Two addresses of `N` bytes, two ports; what follows are additional fields.
fn binary_endpoints<const N: usize>(block: &[u8], ip: impl Fn([u8; N]) -> IpAddr) -> Option<Endpoints> {
    let (source, block) = block.split_first_chunk::<N>()?;
    let (destination, block) = block.split_first_chunk::<N>()?;
    let (source_port, block) = block.split_first_chunk::<2>()?;
    let (destination_port, _) = block.split_first_chunk::<2>()?;
    let address = |bytes: &[u8; N], port: &[u8; 2]| SocketAddr::new(ip(*bytes), u16::from_be_bytes(*port));
    Some(Endpoints { source: address(source, source_port), destination: address(destination, destination_port) })
}

/// A header of version 2. Without endpoints it says that the connection is the sender's own (`LOCAL`). An IPv4 address
/// beside an IPv6 one is written as the mapped address (RFC 4291 §2.5.5.2).
pub fn encode(endpoints: Option<&Endpoints>) -> Vec<u8> {
    let mut out = SIGNATURE.to_vec();
    let Some(Endpoints { source, destination }) = endpoints else {
        out.extend_from_slice(&[0x20, 0, 0, 0]);
        return out;
    };
    out.push(0x21);
    match (source.ip().to_canonical(), destination.ip().to_canonical()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            out.extend_from_slice(&[TCP4, 0, 12]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&destination.octets());
        }
        (source, destination) => {
            let octets = |ip| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            out.extend_from_slice(&[TCP6, 0, 36]);
            out.extend_from_slice(&octets(source));
            out.extend_from_slice(&octets(destination));
        }
    }
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, vec};

    fn known(source: &str, destination: &str) -> Option<Endpoints> {
        Some(Endpoints { source: source.parse().unwrap(), destination: destination.parse().unwrap() })
    }

    /// Every proper prefix of a good header needs more; what follows it is left alone.
    fn check(header: &[u8], endpoints: Option<Endpoints>) {
        for cut in 0..header.len() {
            assert_eq!(decode(&header[..cut]), Ok(None), "{header:?} up to {cut}");
        }
        for rest in ["", "G", "PROXY ", "GET / HTTP/1.1\r\n"] {
            let input = [header, rest.as_bytes()].concat();
            assert_eq!(decode(&input), Ok(Some(Header { len: header.len(), endpoints })), "{header:?}");
        }
    }

    #[test]
    fn lines_are_read_at_any_cut() {
        check(b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", known("192.0.2.1:56324", "192.0.2.2:443"));
        check(
            b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 0\r\n",
            known("255.255.255.255:65535", "255.255.255.255:0"),
        );
        check(b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", known("[2001:db8::1]:1", "[::1]:2"));
        let longest = format!("PROXY TCP6 {0} {0} 65535 65535\r\n", ["ffff"; 8].join(":"));
        check(
            longest.as_bytes(),
            known(&format!("[{}]:65535", ["ffff"; 8].join(":")), &format!("[{}]:65535", ["ffff"; 8].join(":"))),
        );
        check(b"PROXY UNKNOWN\r\n", None);
        check(b"PROXY UNKNOWN ffff:f...f:ffff whatever 65535\r\n", None);
    }

    #[test]
    fn broken_lines_are_refused() {
        use ProxyError::{Addresses, Missing, TooLong, Unknown};
        for (line, error) in [
            ("GET / HTTP/1.1\r\n", Missing),
            ("PROXY\tTCP4 ", Missing),
            ("proxy TCP4 ", Missing),
            ("PROXX", Missing),
            ("\r\n\r\nG", Missing),
            ("PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n", Unknown),
            ("PROXY tcp4 1.1.1.1 2.2.2.2 1 2\r\n", Unknown),
            ("PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n", Unknown),
            ("PROXY \r\n", Unknown),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n", Addresses),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", Addresses),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n", Addresses),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n", Addresses),
            ("PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n", Addresses),
            ("PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n", Addresses),
            ("PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n", Addresses),
            ("PROXY TCP4 ::1 2.2.2.2 1 2\r\n", Addresses),
            ("PROXY TCP6 1.1.1.1 ::1 1 2\r\n", Addresses),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n", Addresses),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n", Addresses),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n", Addresses),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n", Addresses),
            ("PROXY TCP4 é 2.2.2.2 1 2\r\n", Addresses),
        ] {
            assert_eq!(decode(line.as_bytes()), Err(error), "{line:?}");
        }
        let endless = ["PROXY UNKNOWN ", &"x".repeat(MAX_LINE)].concat();
        assert_eq!(decode(&endless.as_bytes()[..MAX_LINE - 1]), Ok(None));
        assert_eq!(decode(endless.as_bytes()), Err(TooLong));
        assert_eq!(decode(&[b'P'; 1]), Ok(None));
    }

    fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let len = u16::try_from(block.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &[command, family], &len, block].concat()
    }

    #[test]
    fn binary_headers_are_read_at_any_cut() {
        let four = [192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 4, 1, 0xbb];
        let endpoints = known("192.0.2.1:56324", "192.0.2.2:443");
        check(&binary(0x21, TCP4, &four), endpoints);
        // An ALPN and a NOOP.
        check(&binary(0x21, TCP4, &[four.as_slice(), b"\x01\0\x02h2\x04\0\0"].concat()), endpoints);
        for family in [0, TCP4, TCP6, 0x31, 0xff] {
            check(&binary(0x20, family, b""), None);
            check(&binary(0x20, family, b"anything"), None);
        }
        for family in [0x00, 0x12, 0x22, 0x31, 0x32] {
            check(&binary(0x21, family, &[7; 216]), None);
        }
    }

    #[test]
    fn broken_binary_headers_are_refused() {
        use ProxyError::{Addresses, Missing, TooLong, Unknown};
        for (header, error) in [
            (binary(0x11, TCP4, &[0; 12]), Unknown),
            (binary(0x22, TCP4, &[0; 12]), Unknown),
            (binary(0x21, 0x13, &[0; 12]), Unknown),
            (binary(0x21, 0x41, &[0; 12]), Unknown),
            (binary(0x21, TCP4, &[0; 11]), Addresses),
            (binary(0x21, TCP6, &[0; 35]), Addresses),
            (binary(0x21, TCP4, &vec![0; MAX_HEADER - 15]), TooLong),
            (b"\r\n\r\n\0\r\nQUIT\r".to_vec(), Missing),
        ] {
            assert_eq!(decode(&header), Err(error), "{header:?}");
        }
        assert!(matches!(decode(&binary(0x21, TCP4, &vec![0; MAX_HEADER - 16])), Ok(Some(_))));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let addresses = ["1.2.3.4:5", "255.0.0.1:65535", "[2001:db8::9]:1", "[::1]:0"];
        for (source, destination) in addresses.iter().flat_map(|a| addresses.iter().map(move |b| (*a, *b))) {
            let endpoints = known(source, destination).unwrap();
            let written = encode(Some(&endpoints));
            let Ok(Some(Header { len, endpoints: Some(read) })) = decode(&written) else { panic!("{written:?}") };
            assert_eq!(len, written.len());
            let canonical = |address: SocketAddr| (address.ip().to_canonical(), address.port());
            assert_eq!(canonical(read.source), canonical(endpoints.source));
            assert_eq!(canonical(read.destination), canonical(endpoints.destination));
            check(&written, Some(read));
        }
        check(&encode(None), None);
    }
}
