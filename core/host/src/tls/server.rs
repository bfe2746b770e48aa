//! TLS of listeners: certificates by the name that the client asks for, resumption, client certificates, reloading.

use super::identity::{self, Files, names, read_authorities};
use super::{ALPN, provider};
use rustls::crypto::ring::Ticketer;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, ServerSessionMemoryCache,
    StoresServerSessions, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Sessions that clients of TLS 1.2 without tickets may resume.
const SESSIONS: usize = 4096;

/// A `[tls.NAME]` of the configuration.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Server {
    /// `NAME`.
    pub name: Box<str>,
    /// At least one; the first is for clients that ask for a name of none.
    pub certificates: Vec<Files>,
    /// Only TLS 1.2, only 1.3, or both.
    pub versions: Versions,
    /// Whether and from whom clients show certificates.
    pub clients: Option<ClientCertificates>,
}

/// Protocol versions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Versions {
    /// 1.2 and 1.3.
    #[default]
    Both,
    /// 1.2 alone.
    Only12,
    /// 1.3 alone.
    Only13,
}

/// Certificates of clients.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientCertificates {
    /// Whose signature counts (PEM).
    pub authorities: PathBuf,
    /// Whether there is no connection without one.
    pub required: bool,
}

/// A server with its files read.
#[derive(Debug)]
pub(super) struct Loaded {
    settings: Server,
    resumption: Resumption,
    current: RwLock<Arc<ServerConfig>>,
    /// What the next reload keeps if it must.
    parts: Mutex<Parts>,
}

#[derive(Clone, Debug)]
struct Parts {
    identities: Vec<Arc<CertifiedKey>>,
    authorities: Option<RootCertStore>,
}

/// Of one server alone: a session of another may have been opened without a certificate that is required here.
#[derive(Debug)]
struct Resumption {
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl Resumption {
    fn new() -> Result<Self, String> {
        let tickets = Ticketer::new().map_err(|error| format!("cannot make keys for session tickets: {error}"))?;
        Ok(Self { tickets, sessions: ServerSessionMemoryCache::new(SESSIONS) })
    }
}

impl Loaded {
    pub(super) fn new(settings: &Server) -> Result<Self, String> {
        let identities = settings.certificates.iter().map(|files| identity::read(files).map(Arc::new));
        let identities = identities.collect::<Result<_, _>>().map_err(|mistake| mistake.to_string())?;
        let authorities = settings.clients.as_ref().map(|clients| read_authorities(&clients.authorities)).transpose();
        let parts = Parts { identities, authorities: authorities.map_err(|mistake| mistake.to_string())? };
        let resumption = Resumption::new()?;
        let current = RwLock::new(build(settings, &parts, &resumption)?);
        Ok(Self { settings: settings.clone(), resumption, current, parts: Mutex::new(parts) })
    }

    /// For the next connection.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again; what cannot be used stays as it was.
    pub(super) fn reload(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let name = &self.settings.name;
        let mut keep = |mistake: String| {
            mistakes.push(format!("[tls.{name}]: {mistake}; kept what was there before"));
        };
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = parts.clone();
        for (identity, files) in next.identities.iter_mut().zip(&self.settings.certificates) {
            match identity::read(files) {
                Ok(read) => *identity = Arc::new(read),
                Err(mistake) => keep(mistake.to_string()),
            }
        }
        if let Some(clients) = &self.settings.clients {
            match read_authorities(&clients.authorities) {
                Ok(read) => next.authorities = Some(read),
                Err(mistake) => keep(mistake.to_string()),
            }
        }
        match build(&self.settings, &next, &self.resumption) {
            Ok(config) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
                *parts = next;
            }
            Err(text) => keep(text),
        }
        mistakes
    }
}

fn build(settings: &Server, parts: &Parts, resumption: &Resumption) -> Result<Arc<ServerConfig>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("[tls.{}] cannot be used: {error}", settings.name);
    let versions: &[&SupportedProtocolVersion] = match settings.versions {
        Versions::Both => &[&TLS13, &TLS12],
        Versions::Only12 => &[&TLS12],
        Versions::Only13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions);
    let builder = builder.map_err(|error| failed(&error))?;
    let builder = match (&settings.clients, &parts.authorities) {
        (Some(clients), Some(authorities)) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities.clone()), provider());
            let verifier = if clients.required { verifier } else { verifier.allow_unauthenticated() };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| failed(&error))?)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByName::new(&parts.identities)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    if settings.clients.is_some() {
        // A resumed session would keep a certificate alive that has expired, or whose authority was taken away.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = Arc::clone(&resumption.tickets);
        config.session_storage = Arc::clone(&resumption.sessions);
    }
    Ok(Arc::new(config))
}

/// Certificates by the names in them. Several may have the same name, with keys of different types: the first that the
/// client can check is used.
#[derive(Debug)]
struct ByName {
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// Without the `*.`, which stands for one label (RFC 6125 §6.4.3).
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
    default: Option<Arc<CertifiedKey>>,
}

impl ByName {
    fn new(identities: &[Arc<CertifiedKey>]) -> Self {
        let (mut exact, mut wildcard) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for identity in identities {
            let Some(Ok((_, certificate))) = identity.cert.first().map(|der| X509Certificate::from_der(der)) else {
                continue;
            };
            for name in names(&certificate) {
                match name.strip_prefix("*.") {
                    Some(suffix) => wildcard.entry(suffix.to_owned()).or_default().push(Arc::clone(identity)),
                    None => exact.entry(name).or_default().push(Arc::clone(identity)),
                }
            }
        }
        Self { exact, wildcard, default: identities.first().cloned() }
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let found = name.as_ref().and_then(|name| {
            let suffix = || self.wildcard.get(name.split_once('.')?.1);
            self.exact.get(name).or_else(suffix)
        });
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        found.and_then(|keys| keys.iter().find(fits).or(keys.first())).or(self.default.as_ref()).cloned()
    }
}
