//! `[tls.NAME]` of listeners, and `tls` of upstreams.

use super::source::{Section, boolean, string};
use super::units::parse_duration;
use crate::failure::Failure;
use crate::tls::{Client, ClientCertificates, Files, Mistake, Server, Versions, check, read_authorities};
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::DeValue;

const CERTIFICATES: &str = "must be a list such as [{ chain = \"cert.pem\", key = \"cert.key\" }]";

/// What `[tls.NAME]` says: the names in order, and for each the server and the value of `Strict-Transport-Security`.
#[derive(Debug, Default)]
pub(super) struct Servers {
    pub(super) servers: Vec<Server>,
    pub(super) hsts: Vec<Option<Box<str>>>,
}

/// Reads all `[tls.NAME]`. What can be used but should be known goes to `warnings`.
pub(super) fn servers(
    file: &Section<'_, '_>,
    directory: &Path,
    warnings: &mut Vec<String>,
) -> Result<Servers, Failure> {
    let mut all = Servers::default();
    let Some(section) = file.table("tls", "[tls.NAME]")? else { return Ok(all) };
    for name in section.table.keys() {
        let name = name.get_ref().as_ref();
        let Some(tls) = section.table(name, &format!("[tls.{name}]"))? else { continue };
        tls.only(&["certificates", "client_certificates", "hsts", "versions"], "[tls.NAME]")?;
        all.servers.push(Server {
            name: name.into(),
            certificates: certificates(&tls, directory, warnings)?,
            versions: versions(&tls)?,
            clients: client_certificates(&tls, directory)?,
        });
        all.hsts.push(hsts(&tls)?);
    }
    Ok(all)
}

/// The TLS of upstreams, collected.
#[derive(Debug)]
pub(super) struct Clients<'r> {
    pub(super) all: Vec<Client>,
    directory: &'r Path,
    warnings: &'r mut Vec<String>,
}

impl<'r> Clients<'r> {
    /// None yet; relative paths begin at `directory`.
    pub(super) fn new(directory: &'r Path, warnings: &'r mut Vec<String>) -> Self {
        Self { all: Vec::new(), directory, warnings }
    }

    /// Reads `tls` of an upstream. Without a name in it, it is for servers of any name: see [`index`].
    pub(super) fn read(&mut self, upstream: &Section<'_, '_>) -> Result<Client, Failure> {
        let mut client = Client::default();
        let header = "tls = { authorities = \"ca.pem\", name = \"backend.example.org\" }";
        let Some(tls) = upstream.table("tls", header)? else { return Ok(client) };
        tls.only(&["authorities", "chain", "key", "name"], "`tls` of an upstream")?;
        client.authorities = authorities(&tls, self.directory)?;
        let name = tls.get("name", |value| {
            let name = string(value)?;
            let is_name = rustls::pki_types::ServerName::try_from(name).is_ok();
            if is_name { Ok(name) } else { Err(format!("must be a host name or an IP address, not \"{name}\"")) }
        })?;
        client.name = name.unwrap_or_default().into();
        if tls.table.contains_key("chain") || tls.table.contains_key("key") {
            client.certificate = Some(files(&tls, self.directory, self.warnings)?);
        }
        Ok(client)
    }
}

/// Where the TLS for a server called `host` is among all; added if it is new.
pub(super) fn index(all: &mut Vec<Client>, client: &Client, host: &str) -> Option<u16> {
    let name = if client.name.is_empty() { host.into() } else { client.name.clone() };
    let client = Client { name, ..client.clone() };
    let at = all.iter().position(|known| *known == client).unwrap_or_else(|| {
        all.push(client);
        all.len() - 1
    });
    u16::try_from(at).ok()
}

fn certificates(tls: &Section<'_, '_>, directory: &Path, warnings: &mut Vec<String>) -> Result<Vec<Files>, Failure> {
    let example = "[{ chain = \"cert.pem\", key = \"cert.key\" }]";
    let list = tls.need("certificates", example, |value| match value.as_array() {
        Some(list) if !list.is_empty() => Ok(list),
        Some(_) | None => Err(CERTIFICATES.to_owned()),
    })?;
    let one = |value: &Spanned<DeValue<'_>>| {
        let table = tls.read("certificates", value, |value| value.as_table().ok_or(CERTIFICATES.into()))?;
        let section = Section { source: tls.source, table, span_start: value.span().start };
        section.only(&["chain", "key", "ocsp"], "a certificate")?;
        files(&section, directory, warnings)
    };
    list.iter().map(one).collect()
}

/// `chain`, `key` and maybe `ocsp`, looked into.
fn files(section: &Section<'_, '_>, directory: &Path, warnings: &mut Vec<String>) -> Result<Files, Failure> {
    let files = Files {
        chain: section.need("chain", "\"cert.pem\"", |value| path(value, directory))?,
        key: section.need("key", "\"cert.key\"", |value| path(value, directory))?,
        ocsp: section.get("ocsp", |value| path(value, directory))?,
    };
    warnings.extend(check(&files).map_err(|mistake| complain(section, &mistake))?);
    Ok(files)
}

fn authorities(section: &Section<'_, '_>, directory: &Path) -> Result<Option<PathBuf>, Failure> {
    let Some(path) = section.get("authorities", |value| path(value, directory))? else { return Ok(None) };
    read_authorities(&path).map_err(|mistake| complain(section, &mistake))?;
    Ok(Some(path))
}

/// At the line of the key whose file is wrong.
fn complain(section: &Section<'_, '_>, mistake: &Mistake) -> Failure {
    let at = section.table.get(mistake.key).map_or(section.span_start, |value| value.span().start);
    section.source.failure(at..at, format!("`{}` is wrong: {mistake}", mistake.key))
}

fn path(value: &DeValue<'_>, directory: &Path) -> Result<PathBuf, String> {
    match string(value)? {
        "" => Err("must be the path of a file".to_owned()),
        path => Ok(directory.join(path)),
    }
}

fn versions(tls: &Section<'_, '_>) -> Result<Versions, Failure> {
    let wrong = "must be [\"1.2\", \"1.3\"], or one of the two";
    let versions = tls.get("versions", |value| {
        let list = value.as_array().ok_or(wrong)?;
        let has = |version| list.iter().any(|value| value.get_ref().as_str() == Some(version));
        match (has("1.2"), has("1.3"), list.len()) {
            (true, true, 2) => Ok(Versions::Both),
            (true, false, 1) => Ok(Versions::Only12),
            (false, true, 1) => Ok(Versions::Only13),
            _ => Err(wrong.to_owned()),
        }
    })?;
    Ok(versions.unwrap_or_default())
}

fn client_certificates(tls: &Section<'_, '_>, directory: &Path) -> Result<Option<ClientCertificates>, Failure> {
    let header = "client_certificates = { authorities = \"clients.pem\", required = true }";
    let Some(section) = tls.table("client_certificates", header)? else { return Ok(None) };
    section.only(&["authorities", "required"], "`client_certificates`")?;
    let Some(authorities) = authorities(&section, directory)? else {
        return Err(section.failure("`authorities` is missing; write authorities = \"clients.pem\""));
    };
    Ok(Some(ClientCertificates { authorities, required: section.get("required", boolean)?.unwrap_or(false) }))
}

/// The value of `Strict-Transport-Security` (RFC 6797 §6.1).
fn hsts(tls: &Section<'_, '_>) -> Result<Option<Box<str>>, Failure> {
    let Some(section) = tls.table("hsts", "hsts = { max_age = \"365d\", subdomains = false, preload = false }")? else {
        return Ok(None);
    };
    section.only(&["max_age", "preload", "subdomains"], "`hsts`")?;
    let max_age = section.need("max_age", "\"365d\"", |value| parse_duration(string(value)?))?;
    let mut value = format!("max-age={}", max_age.as_secs());
    for (key, directive) in [("subdomains", "; includeSubDomains"), ("preload", "; preload")] {
        if section.get(key, boolean)?.unwrap_or(false) {
            value.push_str(directive);
        }
    }
    Ok(Some(value.into()))
}

#[cfg(test)]
mod tests {
    use super::super::file::parse_in;
    use crate::args::SelfSigned;
    use crate::cert::self_signed;
    use std::fs;

    #[test]
    fn mistakes_have_a_line_and_say_what_to_write_instead() {
        let directory = std::env::temp_dir().join(format!("brolly-config-tls-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        for name in ["a", "b"] {
            self_signed(&SelfSigned { names: vec![name.into()], out: directory.clone() }).unwrap();
        }
        fs::write(directory.join("empty"), "").unwrap();
        fs::write(
            directory.join("secret"),
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n",
        )
        .unwrap();
        let good = "[tls.main]\ncertificates = [{ chain = 'a.pem', key = 'a.key' }]\n";
        let settings = parse_in(
            &format!(
                "{good}hsts = {{ max_age = '1d', preload = true }}\n[[listeners]]\naddress = '[::]:8443'\ntls = 'main'"
            ),
            &directory,
        )
        .unwrap();
        assert_eq!(settings.config.listeners[0].hsts.as_deref(), Some("max-age=86400; preload"));
        assert!(
            settings.report().contains("listen:  [::]:8443 with TLS (main: 1 certificate)\n"),
            "{}",
            settings.report()
        );
        let tls = |rest: &str| format!("{good}{rest}");
        let pair =
            |chain: &str, key: &str| format!("[tls.main]\ncertificates = [\n{{ chain = '{chain}',\nkey = '{key}' }}]");
        let at = |file: &str| directory.join(file).display().to_string();
        for (text, message) in [
            ("[tls.main]".to_owned(), "1: `certificates` is missing; write certificates = [{ chain = \"cert.pem\", key = \"cert.key\" }]".to_owned()),
            ("[tls.main]\ncertificates = 'a.pem'".into(), "2: `certificates` must be a list such as [{ chain = \"cert.pem\", key = \"cert.key\" }]".into()),
            ("[tls.main]\ncertificates = [{ chain = 'a.pem' }]".into(), "2: `key` is missing; write key = \"cert.key\"".into()),
            ("[tls.main]\ncertificates = [{ cert = 'a.pem' }]".into(), "2: `cert` is not a key of a certificate; there is `chain`, `key` and `ocsp`".into()),
            (tls("hsts = true"), "3: `hsts` must be written hsts = { max_age = \"365d\", subdomains = false, preload = false }".into()),
            (tls("hsts = { max_age = 5 }"), "3: `max_age` must be a string in quotes, not 5".into()),
            (tls("versions = ['1.1']"), "3: `versions` must be [\"1.2\", \"1.3\"], or one of the two".into()),
            (tls("verions = []"), "3: `verions` is not a key of [tls.NAME]; did you mean `versions`?".into()),
            (tls("client_certificates = {}"), "3: `authorities` is missing; write authorities = \"clients.pem\"".into()),
            (tls("client_certificates = { authorities = 'no' }"), format!("3: `authorities` is wrong: {}: there is no such file or directory", at("no"))),
            (pair("no.pem", "a.key"), format!("3: `chain` is wrong: {}: there is no such file or directory", at("no.pem"))),
            (pair("a.pem", "no.key"), format!("4: `key` is wrong: {}: there is no such file or directory", at("no.key"))),
            (pair("a.key", "a.key"), format!("3: `chain` is wrong: {}: there is a private key and no certificate in it; name the file with the certificate", at("a.key"))),
            (pair("a.pem", "a.pem"), format!("4: `key` is wrong: {}: there is a certificate and no private key in it; name the file with the key", at("a.pem"))),
            (pair("empty", "a.key"), format!("3: `chain` is wrong: {}: there is no certificate in it; PEM begins with -----BEGIN CERTIFICATE-----", at("empty"))),
            (pair("a.pem", "empty"), format!("4: `key` is wrong: {}: there is no private key in it; PEM begins with -----BEGIN PRIVATE KEY-----", at("empty"))),
            (pair("a.pem", "secret"), format!("4: `key` is wrong: {}: the private key is encrypted; decrypt it with `openssl pkey`", at("secret"))),
            (pair("a.pem", "b.key"), format!("4: `key` is wrong: {}: this is not the key of {}", at("b.key"), at("a.pem"))),
            ("[[listeners]]\naddress = ':1'\ntls = 'main'".into(), "3: `tls` names \"main\", but there is no [tls.main]; add it with certificates = [{ chain = \"cert.pem\", key = \"cert.key\" }]".into()),
            (tls("[[listeners]]\naddress = ':1'\ntls = 'mian'"), "5: `tls` names \"mian\", but there is no [tls.mian]; did you mean `main`?".into()),
            ("[[listeners]]\ntls = 'main'".into(), "1: `address` is missing; write address = \"127.0.0.1:8080\"".into()),
            ("[[listeners]]\naddress = 'unix:'".into(), "2: `address` must name a path, as in \"unix:/run/brolly.sock\"".into()),
            ("[[listeners]]\naddress = 'unix:a'\nmode = '999'".into(), "3: `mode` must be three octal digits such as \"660\", not \"999\"".into()),
            ("[[listeners]]\naddress = '127.0.0.1:1'\nmode = '660'".into(), "1: `mode` is for Unix sockets, which 127.0.0.1:1 is not; remove it".into()),
            ("[[listeners]]\naddress = '127.0.0.1:1'\nproxy_protocol = true".into(), "1: `proxy_protocol` needs to know whose word counts; write trusted = [\"10.0.0.0/8\"] at the top of the file".into()),
            ("listen = ['127.0.0.1:1']\n[[listeners]]\naddress = '127.0.0.1:1'".into(), "2: there is another listener on 127.0.0.1:1; remove one".into()),
            ("[[listeners]]\naddress = '127.0.0.1'".into(), "2: `address` is wrong: `127.0.0.1` is not an address to listen on; write `127.0.0.1:8080`".into()),
        ] {
            assert_eq!(parse_in(&text, &directory).unwrap_err().to_string(), format!("brolly.toml:{message}"), "{text}");
        }
        fs::remove_dir_all(&directory).unwrap();
    }
}
