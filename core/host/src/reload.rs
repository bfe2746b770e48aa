//! HUP: whatever is read from files is read again, while all connections go on.
//!
//! The configuration counts as a whole, or not at all: a mistake anywhere leaves everything as it was. What hangs on sockets and threads
//! that are there already takes effect when the process is started anew.

use crate::config::{self, Settings};
use crate::door::Door;
use crate::failure::Failure;
use crate::listen::systemd;
use crate::log::say;
use crate::passwords::Passwords;
use crate::tls::Tls;
use brolly_core::config::{Config, Server};
use brolly_core::driver::Control;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Why something stays as it is.
const LATER: &str = "that takes effect when brolly is started anew";
/// How often a shard is given the configuration whose mailbox is full, every ten milliseconds: for ten seconds.
const ATTEMPTS: usize = 1000;

/// What the process goes by, and who has to know when it changes.
#[derive(Debug)]
pub(crate) struct Reload {
    /// The configuration file; none for `demo` and `dev`.
    pub(crate) path: Option<PathBuf>,
    /// As it was read last, but with the numbers of what is in use.
    pub(crate) settings: Settings,
    pub(crate) control: Control,
    pub(crate) door: Door,
    pub(crate) tls: Tls,
    pub(crate) passwords: Passwords,
    /// The process was told to stop: that does not wait for shards to take another configuration.
    pub(crate) is_stopping: Arc<AtomicBool>,
}

impl Reload {
    /// Reads all files again, and says what came of it.
    pub(crate) fn run(&mut self) {
        systemd::reloading();
        let mut mistakes = Vec::new();
        let what = match &self.path {
            None => "certificates",
            Some(path) => {
                match config::load(path).and_then(|settings| self.adopt(settings)) {
                    Ok(notes) => notes.iter().for_each(|note| say(note)),
                    Err(failure) => mistakes.push(format!("{failure}; the configuration stays as it was")),
                }
                "configuration, the certificates"
            }
        };
        mistakes.extend(self.tls.reload());
        mistakes.extend(self.passwords.reload());
        mistakes.iter().for_each(|mistake| say(mistake));
        if mistakes.is_empty() {
            say(&format!("read the {what} and passwords again"));
        }
        systemd::ready();
    }

    /// Puts new settings in the place of the old ones; says what has to wait.
    fn adopt(&mut self, mut new: Settings) -> Result<Vec<String>, Failure> {
        let mut notes = std::mem::take(&mut new.warnings);
        let old = &self.settings;
        let has_same_sockets = has_same_sockets(old, &new);
        if !has_same_sockets {
            notes.push(format!("the listeners, or the names under [tls], have changed: {LATER}"));
            keep_sockets(old, &mut new);
        }
        let is_other = |what: &str| format!("{what} has changed: {LATER}");
        if old.threads != new.threads {
            notes.push(is_other("`threads`"));
            new.threads = old.threads;
        }
        if old.config.limits.connections != new.config.limits.connections {
            notes.push(is_other("`limits.connections`"));
        }
        if old.config.limits.mailbox_messages != new.config.limits.mailbox_messages {
            notes.push(is_other("`limits.mailbox_messages`"));
        }
        if !old.config.wants_local_addresses && new.config.wants_local_addresses {
            notes.push(format!("`proxy_protocol` tells backends no local address yet: {LATER}"));
        }
        number_clients(old, &mut new)?;
        let tls = Tls::load(&new.tls)?;
        let next = old.config.succeeded_by(new.config);
        let mut next = next.map_err(|_| too_much())?;
        if !has_same_sockets {
            // Pools keep their numbers; one that has gone is stopped, and its listener serves nobody until it is back.
            next.listeners.clone_from(&old.config.listeners);
        }
        self.passwords.keep(&password_files(&next))?;
        self.tls.adopt(&tls, old.tls.servers != new.tls.servers);
        self.door.adopt(&next);
        let config = Arc::new(next);
        let mut attempts = 0..ATTEMPTS;
        while !self.is_stopping.load(Ordering::Relaxed) && !self.control.configure(&config) {
            if attempts.next().is_none() {
                notes.push("a thread is too busy to be told of it, and all wait for that: send HUP again".into());
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        new.config = Arc::unwrap_or_clone(config);
        self.settings = new;
        Ok(notes)
    }
}

fn too_much() -> Failure {
    Failure::new(format!("too much has changed since the start: {LATER}"))
}

/// The files of passwords that some route names. Not those of routes that have gone: they may have gone, too.
pub(crate) fn password_files(config: &Config) -> Vec<Arc<str>> {
    let policies = config.routes.iter().filter_map(|route| config.policies.get(route.to.policy?));
    let logins = policies.filter_map(|policy| policy.basic_auth.as_ref());
    logins.map(|login| Arc::clone(&login.file)).collect()
}

/// Whether the sockets that are open are those that are wanted, and mean the same.
fn has_same_sockets(old: &Settings, new: &Settings) -> bool {
    let listeners = |settings: &Settings| {
        let pool = |number: usize| settings.config.pools.get(number).map(|pool| pool.name.clone());
        let pools = settings.config.listeners.iter().map(|listener| (listener.is_tls, listener.pool.and_then(pool)));
        let names = settings.tls.servers.iter().map(|server| server.name.clone());
        (settings.listeners.clone(), pools.collect::<Vec<_>>(), names.collect::<Vec<_>>())
    };
    listeners(old) == listeners(new)
}

/// Goes on with the sockets, and what is spoken there, as they are.
fn keep_sockets(old: &Settings, new: &mut Settings) {
    new.listeners = old.listeners.clone();
    new.tls.servers = old.tls.servers.clone();
    new.config.https_port = old.config.https_port;
}

/// Gives the TLS towards backends the numbers that connections under way know.
fn number_clients(old: &Settings, new: &mut Settings) -> Result<(), Failure> {
    let mut clients = old.tls.clients.clone();
    let numbers: Vec<_> = new
        .tls
        .clients
        .drain(..)
        .map(|client| {
            clients.iter().position(|of| *of == client).unwrap_or_else(|| {
                clients.push(client);
                clients.len() - 1
            })
        })
        .collect();
    for upstream in &mut new.config.upstreams {
        for server in upstream.servers.iter_mut().chain(&mut upstream.fallbacks) {
            if let Server::Tcp { tls: Some(tls), .. } = server {
                let number = numbers.get(usize::from(*tls)).and_then(|number| u16::try_from(*number).ok());
                *tls = number.ok_or_else(too_much)?;
            }
        }
    }
    new.tls.clients = clients;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use brolly_core::driver::fleet;
    use brolly_core::rng::Seed;
    use std::fs;
    use std::path::Path;

    const LISTEN: &str = "[[listeners]]\naddress = \"127.0.0.1:8080\"\n";
    const POOL: &str = "[[listeners]]\naddress = \"127.0.0.1:8081\"\nsession_pool = \"chat\"\n[session_pools.chat]\n";

    fn with_file<T>(name: &str, then: impl FnOnce(&dyn Fn(&str) -> Settings, &Path) -> T) -> T {
        let folder = std::env::temp_dir().join(format!("brolly-reload-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let settings = |text: &str| {
            fs::write(folder.join("a.toml"), text).unwrap();
            config::load(&folder.join("a.toml")).unwrap()
        };
        let result = then(&settings, &folder);
        fs::remove_dir_all(&folder).unwrap();
        result
    }

    fn reload(settings: Settings) -> Reload {
        let tls = Tls::load(&settings.tls).unwrap();
        let (_, control) = fleet(&Arc::new(settings.config.clone()), Seed([0; 32]), 1);
        let door = Door::new(&settings.config, &settings.listeners, tls.clone());
        let passwords = Passwords::open(&password_files(&settings.config)).unwrap();
        Reload { path: None, settings, control, door, tls, passwords, is_stopping: Arc::default() }
    }

    #[test]
    fn whoever_is_told_to_stop_waits_for_no_shard() {
        with_file("stop", |settings, _| {
            let settings = || settings(&format!("{LISTEN}[limits]\nmailbox_messages = 1\n"));
            let mut reload = reload(settings());
            // A shard that reads no mail.
            let (parts, control) = fleet(&Arc::new(settings().config), Seed([0; 32]), 1);
            reload.control = control;
            assert_eq!(reload.adopt(settings()).unwrap(), Vec::<String>::new());
            let (is_stopping, new) = (Arc::clone(&reload.is_stopping), settings());
            let waits = thread::spawn(move || reload.adopt(new).unwrap());
            thread::sleep(Duration::from_millis(50));
            is_stopping.store(true, Ordering::Relaxed);
            // All attempts in vain would be a note.
            assert_eq!(waits.join().unwrap(), Vec::<String>::new());
            drop(parts);
        });
    }

    /// Or it would serve what is for the public.
    #[test]
    fn a_listener_whose_pool_has_gone_serves_nobody_until_it_is_back() {
        with_file("pool", |settings, _| {
            let with_pool = [LISTEN, POOL].concat();
            let mut reload = reload(settings(&with_pool));
            for (text, is_stopped, has_notes) in
                [(LISTEN, true, true), (LISTEN, true, true), (&with_pool, false, false), (LISTEN, true, true)]
            {
                assert_eq!(!reload.adopt(settings(text)).unwrap().is_empty(), has_notes);
                let config = &reload.settings.config;
                let pool = config.listeners[1].pool.and_then(|number| config.pools.get(number)).unwrap();
                assert_eq!((&*pool.name, pool.is_stopped), ("chat", is_stopped));
                assert_eq!(config.listeners[0].pool, None);
            }
        });
    }

    #[test]
    fn passwords_of_a_route_that_has_gone_are_not_asked_for_again() {
        with_file("passwords", |settings, folder| {
            let users = folder.join("users");
            let hash = "$5$rounds=1000$saltsaltsaltsalt$6JG2pT4dwkds3RjqH0K9RfPbS8JlhlSRGw9PqEKkw.8";
            fs::write(&users, format!("ann:{hash}\n")).unwrap();
            let route = format!(
                "[[routes]]\nhandler = \"echo\"\nbasic_auth = {{ file = \"{}\", realm = \"a\" }}\n",
                users.display()
            );
            let mut reload = reload(settings(&[LISTEN, &route].concat()));
            fs::remove_file(&users).unwrap();
            assert_eq!(reload.passwords.reload().len(), 1);
            reload.adopt(settings(LISTEN)).unwrap();
            assert_eq!(reload.passwords.reload(), Vec::<String>::new());
        });
    }
}
