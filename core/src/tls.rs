//! What is known of a TLS connection: plain data that the host gathers when the handshake is done.

use alloc::boxed::Box;
use alloc::sync::Arc;

/// The outcome of a handshake with a client.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct TlsFacts {
    /// The name that the client asked for (RFC 6066 §3), in lower case.
    pub server_name: Option<Box<str>>,
    /// The protocol version as people write it: `1.2` or `1.3`.
    pub version: &'static str,
    /// The cipher suite by its IANA name.
    pub cipher: &'static str,
    /// The client's certificate, if it has shown one. It was verified: otherwise there is no connection.
    pub certificate: Option<Arc<ClientCertificate>>,
}

/// The end-entity certificate of a client (RFC 5280), whose chain leads to an authority of the listener.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ClientCertificate {
    /// The subject as text, the most specific attribute first (RFC 4514).
    pub subject: Box<str>,
    /// Who has signed it, in the same form.
    pub issuer: Box<str>,
    /// The serial number in hexadecimal, lower case.
    pub serial: Box<str>,
    /// SHA-256 of the certificate in hexadecimal, lower case.
    pub fingerprint: Box<str>,
    /// The alternative names: DNS names, mail addresses, URIs, IP addresses.
    pub names: Box<[Box<str>]>,
    /// The certificate itself (DER).
    pub der: Box<[u8]>,
}
