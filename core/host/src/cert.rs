//! `cert`: certificates for development.

use crate::args::SelfSigned;
use crate::failure::Failure;
use crate::io::reason;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;
use time::{Duration, OffsetDateTime};

/// How long it is valid: browsers refuse what is valid for longer than 398 days.
const DAYS: i64 = 397;

/// Makes a certificate and its key, and says what to do with them.
///
/// # Errors
/// A name that is none, files that are there already or cannot be written.
pub(crate) fn self_signed(wanted: &SelfSigned) -> Result<String, Failure> {
    let names = match wanted.names.as_slice() {
        [] => ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec(),
        names => names.to_vec(),
    };
    let failed =
        |error: rcgen::Error| Failure::new(format!("cannot make a certificate for {}: {error}", names.join(", ")));
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params(&names).and_then(|params| params.self_signed(&key)).map_err(failed)?;
    let stem = names[0].replace(['*', ':', '/'], "_");
    let (chain, secret) = (wanted.out.join(format!("{stem}.pem")), wanted.out.join(format!("{stem}.key")));
    fs::create_dir_all(&wanted.out)
        .map_err(|error| Failure::new(format!("cannot make {}: {}", wanted.out.display(), reason(&error))))?;
    write(&secret, &key.serialize_pem(), 0o600)?;
    write(&chain, &certificate.pem(), 0o644)?;
    let (chain, secret) = (chain.display(), secret.display());
    Ok(format!(
        "For {}, valid for {DAYS} days. Nobody believes it but those who are told to: for development alone.\n\n\
         [tls.main]\n\
         certificates = [{{ chain = \"{chain}\", key = \"{secret}\" }}]\n\n\
         [[listeners]]\n\
         address = \"127.0.0.1:8443\"\n\
         tls = \"main\"\n\n\
         curl --cacert {chain} https://localhost:8443/\n",
        names.join(", ")
    ))
}

fn params(names: &[String]) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    let now = OffsetDateTime::from(SystemTime::now());
    // Clocks differ.
    (params.not_before, params.not_after) = (now - Duration::days(1), now + Duration::days(DAYS - 1));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, names[0].as_str());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

/// A file that was not there before.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::new(format!(
            "{} is there already; remove it, or choose another directory with --out",
            path.display()
        )),
        _ => Failure::new(format!("cannot write {}: {}", path.display(), reason(&error))),
    })
}
