//! What a handshake has shown, as the core knows it.

use brolly_core::tls::{ClientCertificate, TlsFacts};
use rustls::{Connection, ProtocolVersion};
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};

/// What is known once the handshake is done.
pub(crate) fn facts(connection: &Connection) -> TlsFacts {
    let server_name = match connection {
        Connection::Server(server) => server.server_name().map(|name| name.to_ascii_lowercase().into()),
        Connection::Client(_) => None,
    };
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "1.2",
        Some(ProtocolVersion::TLSv1_3) => "1.3",
        _ => "",
    };
    let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default();
    // rustls writes the version into the names of 1.3, IANA does not.
    let cipher = match suite {
        "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
        "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
        "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
        suite => suite,
    };
    let certificate = connection.peer_certificates().and_then(<[_]>::first).and_then(|der| certificate(der));
    TlsFacts { server_name, version, cipher, certificate: certificate.map(Arc::new) }
}

fn certificate(der: &[u8]) -> Option<ClientCertificate> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let alternative = parsed.subject_alternative_name().ok().flatten();
    let names = alternative.iter().flat_map(|extension| &extension.value.general_names);
    Some(ClientCertificate {
        subject: distinguished_name(parsed.subject()).into(),
        issuer: distinguished_name(parsed.issuer()).into(),
        serial: hex(parsed.raw_serial()).into(),
        fingerprint: hex(ring::digest::digest(&ring::digest::SHA256, der).as_ref()).into(),
        names: names.filter_map(alternative_name).collect(),
        der: der.into(),
    })
}

/// RFC 4514 §2: the last attribute first, special characters escaped, and everything that is not ASCII as well.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    for relative in name.iter_rdn().collect::<Vec<_>>().into_iter().rev() {
        for (at, attribute) in relative.iter().enumerate() {
            if !text.is_empty() {
                text.push(if at == 0 { ',' } else { '+' });
            }
            match oid2abbrev(attribute.attr_type(), oid_registry()) {
                Ok(short) => text.push_str(short),
                Err(_) => text.push_str(&attribute.attr_type().to_id_string()),
            }
            text.push('=');
            escape(attribute.as_str().unwrap_or_default(), &mut text);
        }
    }
    text
}

fn escape(value: &str, text: &mut String) {
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' | b'=' => text.extend(['\\', byte.into()]),
            b'#' if at == 0 => text.push_str("\\#"),
            b' ' if at == 0 || at == last => text.push_str("\\ "),
            b' '..=b'~' => text.push(byte.into()),
            _ => _ = write!(text, "\\{byte:02x}"),
        }
    }
}

/// In ASCII without spaces and commas, so that they can be listed.
fn alternative_name(name: &GeneralName<'_>) -> Option<Box<str>> {
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => {
            is_plain(text).then(|| (*text).into())
        }
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok()?;
            Some(address.to_string().into())
        }
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
