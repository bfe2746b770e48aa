//! What the `main` of both binaries is: arguments, commands, sockets, threads, signals.

use crate::args::{self, CertCommand, Command, Open, Stop};
use crate::cert;
use crate::client::{self, Network};
use crate::clock::Clock;
use crate::config::{self, Settings, defaults};
use crate::door::Door;
use crate::failure::Failure;
use crate::files::Files;
use crate::import;
use crate::io::reason;
use crate::listen::{self, Bound, Local, Sockets, systemd};
use crate::log::{Format, Log, say};
use crate::passwords::Passwords;
use crate::reload::{Reload, password_files};
use crate::signals;
use crate::tls::Tls;
use brolly_core::config::Handler;
use brolly_core::driver::{Parts, fleet};
use brolly_core::rng::Seed;
use brolly_core::route::HostPattern;
use brolly_core::session::NodeId;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::{env, thread};

/// What one shard's thread is started with.
#[derive(Debug)]
pub struct Seat {
    /// For the driver.
    pub parts: Parts,
    /// For the runtime.
    pub equipment: Equipment,
}

/// What the runtimes have in common.
#[derive(Debug)]
pub struct Equipment {
    /// This thread's listening sockets, with the numbers of their listeners.
    pub listeners: Vec<(u16, Bound)>,
    /// From sockets to connections.
    pub door: Door,
    /// The time.
    pub clock: Clock,
    /// The files that are open, for all threads.
    pub files: Files,
    /// Who may log in.
    pub passwords: Passwords,
    /// The access log.
    pub log: Log,
}

/// The `main` of the binary called `name`. `drive` is called on one thread for each shard; it drives the shard until it
/// is done. `network` is for commands that are clients.
pub fn main(name: &'static str, drive: fn(Seat), network: &impl Network) -> ExitCode {
    match args::parse(name, env::args_os()) {
        Ok(command) => match run(name, command, drive, network) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                say(&format!("{name}: {failure}"));
                ExitCode::FAILURE
            }
        },
        Err(Stop::Help(error)) => {
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
        Err(Stop::Wrong(sentence)) => {
            say(&format!("{name}: {sentence}"));
            ExitCode::from(2)
        }
    }
}

fn run(name: &str, command: Command, drive: fn(Seat), network: &impl Network) -> Result<(), Failure> {
    match command {
        Command::Cert(CertCommand::SelfSigned(wanted)) => print(&cert::self_signed(&wanted)?),
        Command::Check(check) => print(&match &check.config {
            Some(path) => config::load(path)?.report(),
            None => defaults(),
        }),
        Command::Demo(open) => {
            let server = Server::open(Settings::demo(&open), None, &another(&open))?;
            server.welcome(&format!("{name} demo"));
            server.run(drive, Format::readable())
        }
        Command::Dev(dev) => {
            let server = Server::open(Settings::dev(&dev)?, None, &another(&dev.open))?;
            server.welcome(&format!("{name} dev"));
            server.run(drive, Format::readable())
        }
        Command::Import(wanted) => {
            let imported = import::swindon(&wanted.file)?;
            imported.notes.iter().for_each(|note| say(&format!("{name} import: {note}")));
            print(&imported.toml)
        }
        Command::Publish(publish) => print(&client::publish(&publish)?),
        Command::Serve(serve) => {
            let settings = config::load(&serve.config)?;
            settings.warnings.iter().for_each(|warning| say(&format!("{name}: {warning}")));
            let instead = format!("change `listen` in {}", serve.config.display());
            let server = Server::open(settings, Some(serve.config), &instead)?;
            say(&format!("{name} serve: {}", server.urls().join(" ")));
            server.run(drive, Format::Json)
        }
        Command::Tail(tail) => client::tail(&tail, network, &mut std::io::stdout().lock()),
    }
}

/// What to write if the address cannot be had.
fn another(open: &Open) -> String {
    let port = open.listen.port().checked_add(1).filter(|port| *port > 1024).unwrap_or(8080);
    format!("choose another, as in --listen {}", SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// To standard output; whoever stopped reading has read enough.
fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot write: {}", reason(&error))))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Sockets that are open, and what will be served there.
struct Server {
    settings: Settings,
    /// Where they were read from.
    path: Option<PathBuf>,
    passwords: Passwords,
    sockets: Sockets,
    tls: Tls,
}

impl Server {
    fn open(settings: Settings, path: Option<PathBuf>, instead: &str) -> Result<Self, Failure> {
        listen::raise_file_limit();
        let tls = Tls::load(&settings.tls)?;
        let cores = || thread::available_parallelism().ok().and_then(|cores| u16::try_from(cores.get()).ok());
        let threads = settings.threads.map(Into::into).or_else(cores).unwrap_or(1).min(args::MAX_THREADS);
        let passwords = Passwords::open(&password_files(&settings.config))?;
        let sockets = listen::open(&settings.listeners, threads, instead)?;
        Ok(Self { settings, path, passwords, sockets, tls })
    }

    /// Where it listens.
    fn urls(&self) -> Vec<String> {
        let url = |(number, local): &(u16, Local)| match local {
            Local::Unix(_) => local.to_string(),
            Local::Tcp(address) => {
                let is_tls =
                    self.settings.listeners.get(usize::from(*number)).is_some_and(|listener| listener.tls.is_some());
                format!("{}://{address}/", if is_tls { "https" } else { "http" })
            }
        };
        self.sockets.addresses.iter().map(url).collect()
    }

    /// Says where to point the browser, and who may do what.
    fn welcome(&self, what: &str) {
        let address = match self.sockets.addresses.first() {
            Some((_, Local::Tcp(address))) => *address,
            Some((_, Local::Unix(_))) | None => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        };
        let local = if address.ip().is_unspecified() { (Ipv4Addr::LOCALHOST, address.port()).into() } else { address };
        let who = match address.ip().is_loopback() {
            true => "everyone on this machine".to_owned(),
            false => format!("EVERYONE WHO REACHES {address}"),
        };
        let mut rows = Vec::new();
        for route in self.settings.config.routes.iter() {
            let to = match self.settings.config.handlers.get(route.to.handler) {
                Some(Handler::Files(files)) => files.root.to_string(),
                Some(Handler::Proxy(proxy)) => match self.settings.config.upstreams.get(proxy.upstream) {
                    Some(upstream) => {
                        let path = proxy.replace_prefix.as_deref().unwrap_or_default();
                        upstream.servers.first().map(|of| format!("{}{path}", config::shown(of))).unwrap_or_default()
                    }
                    None => continue,
                },
                Some(_) | None => continue,
            };
            let host = match &route.host {
                HostPattern::Exact(host) => &**host,
                HostPattern::Suffix(_) | HostPattern::Any => "",
            };
            rows.push((format!("{host}{}/", route.prefix), to));
        }
        rows.push(("/-/".into(), "ws, sse, poll, publish/TOPIC, echo".into()));
        let width = rows.iter().map(|(prefix, _)| prefix.chars().count()).max().unwrap_or(0);
        let mut text = format!("{what}: open http://{local}/ in a browser\n");
        for (prefix, to) in rows {
            text.push_str(&format!("  {prefix:width$}  {to}\n"));
        }
        text.push_str(&format!("Open to {who}: all may read, publish and subscribe. Ctrl-C stops it."));
        say(&text);
    }

    /// Serves until a signal says stop and everything has ended.
    fn run(self, drive: fn(Seat), format: Format) -> Result<(), Failure> {
        let failed = |what: &'static str| {
            move |error: std::io::Error| Failure::new(format!("cannot {what}: {}", reason(&error)))
        };
        let (mut seed, mut name) = ([0; 32], [0; 18]);
        for random in [&mut seed[..], &mut name] {
            getrandom::fill(random).map_err(|error| Failure::new(format!("cannot get random numbers: {error}")))?;
        }
        let (mut settings, clock) = (self.settings, Clock::start());
        settings.config.sends_files = true;
        settings.config.node = NodeId::new(clock.now().unix, name);
        let door = Door::new(&settings.config, &settings.listeners, self.tls.clone());
        let Sockets { shards, paths, .. } = self.sockets;
        let config = Arc::new(settings.config.clone());
        let (fleet, control) = fleet(&config, Seed(seed), u16::try_from(shards.len()).unwrap_or(u16::MAX));
        let passwords = self.passwords;
        let reload = Reload {
            path: self.path,
            settings,
            control: control.clone(),
            door: door.clone(),
            tls: self.tls,
            passwords: passwords.clone(),
            is_stopping: Arc::default(),
        };
        signals::handle(control, reload, paths.clone()).map_err(failed("handle signals"))?;
        let (log, log_thread) = Log::start(format).map_err(failed("start the log"))?;
        let files = Files::default();
        let mut threads = Vec::new();
        for (number, (parts, listeners)) in fleet.into_iter().zip(shards).enumerate() {
            let (door, passwords) = (door.clone(), passwords.clone());
            let (clock, files, log) = (clock.clone(), files.clone(), log.clone());
            let seat = Seat { parts, equipment: Equipment { listeners, door, clock, files, passwords, log } };
            let thread = thread::Builder::new().name(format!("shard-{number}")).spawn(move || {
                let _end = EndWithAll;
                drive(seat);
            });
            threads.push(thread.map_err(failed("start a thread"))?);
        }
        systemd::ready();
        // What is left open here would keep the log alive.
        drop(log);
        for thread in threads.into_iter().chain([log_thread]) {
            // A thread that panicked has ended the process already.
            let _ = thread.join();
        }
        paths.remove();
        Ok(())
    }
}

/// Topics that live on a shard that is gone would be silent for ever: better to be started anew as a whole.
struct EndWithAll;

impl Drop for EndWithAll {
    fn drop(&mut self) {
        if thread::panicking() {
            process::exit(101);
        }
    }
}
