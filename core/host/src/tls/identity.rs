//! Certificates, keys and authorities from PEM files (RFC 7468), and what can be wrong with them.

use crate::io::reason;
use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The files of one certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Files {
    /// The certificate and those that lead to its authority, in this order.
    pub chain: PathBuf,
    /// The private key of the first.
    pub key: PathBuf,
    /// An answer of the authority that the certificate is not revoked (DER), handed to clients (RFC 6066 §8).
    pub ocsp: Option<PathBuf>,
}

/// What is wrong with a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Mistake {
    /// The key of the configuration that names it.
    pub(crate) key: &'static str,
    /// Begins with the path.
    pub(crate) text: String,
}

impl Mistake {
    fn new(key: &'static str, path: &Path, text: impl fmt::Display) -> Self {
        Self { key, text: format!("{}: {text}", path.display()) }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Reads a certificate and its key.
pub(super) fn read(files: &Files) -> Result<CertifiedKey, Mistake> {
    let chain = certificates("chain", &files.chain)?;
    let key = private_key(&files.key)?;
    let wrong = |text: String| Mistake::new("key", &files.key, text);
    let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|_| {
        wrong(
            "the key is of no supported type; use ECDSA with P-256 or P-384, Ed25519, or RSA of 2048 bits or more"
                .into(),
        )
    })?;
    let mut certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|_| wrong(format!("this is not the key of {}", files.chain.display())))?;
    if let Some(path) = &files.ocsp {
        let answer = fs::read(path).map_err(|error| Mistake::new("ocsp", path, reason(&error)))?;
        // An OCSPResponse is a SEQUENCE (RFC 6960 §4.2.1).
        if answer.first() != Some(&0x30) {
            return Err(Mistake::new(
                "ocsp",
                path,
                "this is no OCSP answer; it must be DER, as `openssl ocsp -respout` writes it",
            ));
        }
        certified.ocsp = Some(answer);
    }
    Ok(certified)
}

/// Looks at a certificate and its key; says what a person should know although it can be used.
pub(crate) fn check(files: &Files) -> Result<Vec<String>, Mistake> {
    let certified = read(files)?;
    let mut warnings = Vec::new();
    if let Some(Ok((_, certificate))) = certified.cert.first().map(|der| X509Certificate::from_der(der)) {
        let (path, validity) = (files.chain.display(), certificate.validity());
        if !validity.is_valid() {
            let now = x509_parser::time::ASN1Time::now();
            warnings.push(if now < validity.not_before {
                format!("{path}: the certificate is not valid before {}", validity.not_before)
            } else {
                format!("{path}: the certificate has expired on {}", validity.not_after)
            });
        }
        if names(&certificate).is_empty() {
            warnings.push(format!("{path}: the certificate names no hosts (subjectAltName); browsers refuse it"));
        }
    }
    Ok(warnings)
}

/// The DNS names of a certificate (RFC 6125 §6.4.4: only those of the extension), in lower case.
pub(super) fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    names.collect()
}

/// Reads the certificates of those who are believed.
pub(crate) fn read_authorities(path: &Path) -> Result<RootCertStore, Mistake> {
    let mut store = RootCertStore::empty();
    for certificate in certificates("authorities", path)? {
        let added = store.add(certificate);
        added.map_err(|error| {
            Mistake::new("authorities", path, format!("one of the certificates cannot be used: {error}"))
        })?;
    }
    Ok(store)
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Mistake> {
    let text = fs::read(path).map_err(|error| Mistake::new(key, path, reason(&error)))?;
    let found = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| Mistake::new(key, path, format!("this is not PEM: {error}")))?;
    if found.is_empty() {
        let what = match PrivateKeyDer::from_pem_slice(&text) {
            Ok(_) => "there is a private key and no certificate in it; name the file with the certificate",
            Err(_) => "there is no certificate in it; PEM begins with -----BEGIN CERTIFICATE-----",
        };
        return Err(Mistake::new(key, path, what));
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Mistake> {
    let text = fs::read(path).map_err(|error| Mistake::new("key", path, reason(&error)))?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        let has = |what: &str| text.windows(what.len()).any(|window| window == what.as_bytes());
        let what = if has("-----BEGIN ENCRYPTED PRIVATE KEY-----") || has("Proc-Type: 4,ENCRYPTED") {
            "the private key is encrypted; decrypt it with `openssl pkey`".to_owned()
        } else if has("-----BEGIN CERTIFICATE-----") {
            "there is a certificate and no private key in it; name the file with the key".to_owned()
        } else if matches!(error, pem::Error::NoItemsFound) {
            "there is no private key in it; PEM begins with -----BEGIN PRIVATE KEY-----".to_owned()
        } else {
            format!("this is not PEM: {error}")
        };
        Mistake::new("key", path, what)
    })
}
