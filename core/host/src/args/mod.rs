//! The command line, the same for both binaries but for the name.

mod values;

pub use values::{Behind, Mount};
pub(crate) use values::{check_prefix, parse_listen};

use crate::failure::did_you_mean;
use crate::url::Url;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::error::Error;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;
use values::{parse_mount, parse_threads, parse_topic};

pub(crate) const DEFAULT_LISTEN: &str = "127.0.0.1:8080";
/// Far beyond any machine; shards are numbered with 16 bits.
pub(crate) const MAX_THREADS: u16 = 1024;

#[derive(Debug, Parser)]
#[command(version, about = ABOUT, propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const ABOUT: &str = "A realtime HTTP edge: files, proxy, WebSockets, Server-Sent Events, long-poll";

/// What to do.
#[derive(Clone, Debug, Eq, PartialEq, Subcommand)]
pub enum Command {
    /// Serve a chat room, to see what it is about
    Demo(Open),
    /// Serve a directory, proxy to backends, and push to browsers: for development, open to everyone
    Dev(Dev),
    /// Serve what a configuration file says
    Serve(Serve),
    /// Read a configuration file and say what it means, without serving it
    Check(Check),
    /// Turn the configuration of another server into one of ours, on standard output
    Import(Import),
    /// Make certificates for development
    #[command(subcommand)]
    Cert(CertCommand),
    /// Publish one message and print the receipt
    Publish(Publish),
    /// Print the messages of topics as they come; reconnects and resumes
    Tail(Tail),
}

/// Where an open server listens, and with how many threads.
#[derive(Args, Clone, Debug, Eq, PartialEq)]
pub struct Open {
    /// Where to listen: IP:PORT, or a PORT of this machine alone
    #[arg(long, value_name = "ADDR", default_value = DEFAULT_LISTEN, value_parser = parse_listen)]
    pub listen: SocketAddr,
    /// How many shards, each on a thread of its own [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    pub threads: Option<NonZeroU16>,
    /// Listen on an address that others can reach, although everything is open to everyone
    #[arg(long)]
    pub allow_remote: bool,
}

/// `dev`.
#[derive(Args, Clone, Debug, Eq, PartialEq)]
pub struct Dev {
    /// Where and how.
    #[command(flatten)]
    pub open: Open,
    /// The directory to serve
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Backends: /api/=http://localhost:8111 keeps the path, /api/=http://localhost:8111/v2/ replaces the prefix.
    /// Directories: /docs/=./build. Both also for a host alone: app.localhost/=./app
    #[arg(value_name = "[HOST]PREFIX=URL|DIR", value_parser = parse_mount)]
    pub mounts: Vec<Mount>,
}

/// `serve`.
#[derive(Args, Clone, Debug, Eq, PartialEq)]
pub struct Serve {
    /// The TOML file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// `check`.
#[derive(Args, Clone, Debug, Eq, PartialEq)]
#[group(required = true, multiple = false)]
pub struct Check {
    /// The TOML file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print all defaults as a configuration file
    #[arg(long)]
    pub defaults: bool,
}

/// `import`.
#[derive(Args, Clone, Debug, Eq, PartialEq)]
pub struct Import {
    /// Swindon's main configuration file, in YAML
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `cert`.
#[derive(Clone, Debug, Eq, PartialEq, Subcommand)]
pub enum CertCommand {
    /// Make a certificate that nobody else has signed, and its key
    SelfSigned(SelfSigned),
}

/// `cert self-signed`.
#[derive(Args, Clone, Debug, Eq, PartialEq)]
pub struct SelfSigned {
    /// A host name or IP address that it is for, as often as needed [default: localhost, 127.0.0.1, ::1]
    #[arg(long = "name", value_name = "NAME")]
    pub names: Vec<String>,
    /// The directory for the two files
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
}

/// `publish`.
#[derive(Args, Clone, Debug, Eq, PartialEq)]
pub struct Publish {
    /// Where brolly is, such as http://localhost:8080
    #[arg(value_name = "URL", value_parser = Url::parse_plain)]
    pub url: Url,
    /// The topic
    #[arg(value_name = "TOPIC", value_parser = parse_topic)]
    pub topic: String,
    /// The message, JSON or text; - or nothing: read it from standard input
    #[arg(value_name = "DATA", allow_hyphen_values = true)]
    pub data: Option<String>,
}

/// `tail`.
#[derive(Args, Clone, Debug, Eq, PartialEq)]
pub struct Tail {
    /// Where brolly is: http://localhost:8080 follows an event stream, ws:// or wss:// a WebSocket
    #[arg(value_name = "URL", value_parser = Url::parse_followed)]
    pub url: Url,
    /// Whose signature counts with wss:// [default: the authorities of the system]
    #[arg(long, value_name = "FILE")]
    pub authorities: Option<PathBuf>,
    /// The topics
    #[arg(value_name = "TOPIC", required = true, value_parser = parse_topic)]
    pub topics: Vec<String>,
}

/// Why there is no [`Command`].
#[derive(Debug)]
pub enum Stop {
    /// `--help`, `--version`, or nothing at all was given.
    Help(clap::Error),
    /// A sentence for stderr; exit code 2.
    Wrong(String),
}

/// Reads the command line of the binary called `name`.
///
/// # Errors
/// It asks for help, or it is wrong.
pub fn parse(name: &'static str, args: impl IntoIterator<Item = OsString>) -> Result<Command, Stop> {
    let args: Vec<_> = args.into_iter().collect();
    let mut cli = Cli::command().name(name).bin_name(name);
    cli.try_get_matches_from_mut(&args)
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            | ErrorKind::DisplayVersion => Stop::Help(error),
            _ => Stop::Wrong(explain(&error, &example(name, args.get(1)))),
        })
        .and_then(|cli| check(name, cli.command).map_err(Stop::Wrong))
}

/// What clap cannot know.
fn check(name: &str, command: Command) -> Result<Command, String> {
    let open = match &command {
        Command::Demo(open) => ("demo", open),
        Command::Dev(dev) => {
            let dir = dev.dir.to_string_lossy();
            if dir.starts_with('/') && dir.contains("=http") {
                return Err(format!("the directory is missing before `{dir}`; write `{name} dev . {dir}`"));
            }
            ("dev", &dev.open)
        }
        Command::Cert(_)
        | Command::Import(_)
        | Command::Serve(_)
        | Command::Check(_)
        | Command::Publish(_)
        | Command::Tail(_) => {
            return Ok(command);
        }
    };
    let (verb, Open { listen, allow_remote, .. }) = open;
    if !listen.ip().is_loopback() && !allow_remote {
        return Err(format!(
            "with `{name} {verb}` everyone who reaches {listen} can read, publish and subscribe; write --allow-remote if \
             that is wanted, or --listen {}",
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listen.port())
        ));
    }
    Ok(command)
}

/// clap's findings as one sentence that says what to write instead.
fn explain(error: &clap::Error, example: &str) -> String {
    let all = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        Some(_) | None => Vec::new(),
    };
    let first = |kind| all(kind).into_iter().next();
    let argument = plain(&first(ContextKind::InvalidArg).unwrap_or_default());
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let written = first(ContextKind::InvalidSubcommand).unwrap_or_default();
            let cli = Cli::command();
            let known: Vec<_> = cli.get_subcommands().map(clap::Command::get_name).collect();
            format!("`{written}` is not a command{}", did_you_mean(&written, &known))
        }
        ErrorKind::MissingRequiredArgument => {
            let missing: Vec<_> = all(ContextKind::InvalidArg).iter().map(|name| plain(name)).collect();
            format!("missing: {}; write `{example}`", missing.join(" and "))
        }
        ErrorKind::UnknownArgument => match first(ContextKind::SuggestedArg) {
            Some(meant) => format!("`{argument}` is not an option here; did you mean `{meant}`?"),
            None if argument.starts_with('-') => format!("`{argument}` is not an option here; write `{example}`"),
            None => format!("`{argument}` is one argument too many; write `{example}`"),
        },
        ErrorKind::InvalidValue => format!("`{argument}` needs a value; write `{example}`"),
        ErrorKind::ValueValidation => error.source().map_or_else(|| error.to_string(), ToString::to_string),
        ErrorKind::ArgumentConflict => match first(ContextKind::PriorArg) {
            Some(other) if plain(&other) != argument => {
                format!("`{argument}` and `{}` exclude each other; write one of them", plain(&other))
            }
            Some(_) | None => format!("`{argument}` is there twice; write it once"),
        },
        ErrorKind::TooManyValues => format!("`{argument}` takes no value; write it alone"),
        _ => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    }
}

/// clap's name of an argument without its punctuation.
fn plain(argument: &str) -> String {
    argument.replace("...", "").replace(['<', '>'], "").replace('|', " or ")
}

/// A command line that would do, like the one that did not.
fn example(name: &str, command: Option<&OsString>) -> String {
    match command.and_then(|command| command.to_str()).unwrap_or_default() {
        "demo" => format!("{name} demo --listen 127.0.0.1:8080 --threads 2"),
        "dev" => format!("{name} dev --listen 127.0.0.1:8080 ./public /api/=http://localhost:8111"),
        "serve" => format!("{name} serve --config brolly.toml"),
        "check" => format!("{name} check --config brolly.toml` or `{name} check --defaults"),
        "cert" => format!("{name} cert self-signed --name localhost --out ."),
        "publish" => format!("{name} publish http://localhost:8080 TOPIC DATA"),
        "tail" => format!("{name} tail http://localhost:8080 TOPIC"),
        _ => format!("{name} --help"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Result<Command, Stop> {
        parse("brolly", line.split_whitespace().map(OsString::from))
    }

    fn wrong(line: &str) -> String {
        match run(line) {
            Err(Stop::Wrong(sentence)) => sentence,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn open(listen: &str, threads: Option<u16>) -> Open {
        let threads = threads.and_then(NonZeroU16::new);
        Open { listen: listen.parse().unwrap(), threads, allow_remote: false }
    }

    #[test]
    fn every_command_is_read() {
        assert_eq!(run("brolly demo").unwrap(), Command::Demo(open("127.0.0.1:8080", None)));
        assert_eq!(run("brolly demo --listen 9000").unwrap(), Command::Demo(open("127.0.0.1:9000", None)));
        assert_eq!(run("brolly demo --listen :0 --threads 3").unwrap(), Command::Demo(open("127.0.0.1:0", Some(3))));
        assert_eq!(run("brolly demo --listen [::1]:81").unwrap(), Command::Demo(open("[::1]:81", None)));
        let Command::Dev(dev) =
            run("brolly dev --listen localhost:81 ./public /api/=http://a:82/v2/ /=b:83 A.localhost=../c a.b/d=/e")
                .unwrap()
        else {
            panic!("not dev");
        };
        assert_eq!((dev.open, dev.dir), (open("127.0.0.1:81", None), "./public".into()));
        let mounts = dev.mounts.iter().map(|mount| match &mount.behind {
            Behind::Backend(url) => format!("{:?} {} {url}", mount.host, mount.prefix),
            Behind::Directory(path) => format!("{:?} {} {}", mount.host, mount.prefix, path.display()),
        });
        let expected =
            ["None /api/ http://a:82/v2/", "None / http://b:83", "Some(\"a.localhost\") / ../c", "Some(\"a.b\") /d /e"];
        assert_eq!(mounts.collect::<Vec<_>>(), expected);
        let Command::Publish(publish) = run("brolly publish localhost:8080 a/b -").unwrap() else {
            panic!("not publish");
        };
        assert_eq!((publish.topic.as_str(), publish.data.as_deref()), ("a/b", Some("-")));
        assert!(matches!(run("brolly publish localhost:8080 a -1"), Ok(Command::Publish(_))));
        assert!(matches!(run("brolly tail localhost:8080 a b"), Ok(Command::Tail(tail)) if tail.topics == ["a", "b"]));
        let Command::Tail(tail) = run("brolly tail wss://localhost --authorities a.pem a").unwrap() else {
            panic!("not tail");
        };
        assert_eq!((tail.url.to_string(), tail.authorities), ("wss://localhost".into(), Some("a.pem".into())));
        assert!(matches!(run("brolly check --defaults"), Ok(Command::Check(check)) if check.defaults));
        assert!(matches!(run("brolly serve --config a.toml"), Ok(Command::Serve(_))));
        assert!(matches!(run("brolly demo --listen 0.0.0.0:80 --allow-remote"), Ok(Command::Demo(_))));
    }

    #[test]
    fn help_and_version_are_everywhere() {
        for command in ["", "demo", "dev", "serve", "check", "cert", "cert self-signed", "publish", "tail"] {
            for flag in ["--help", "--version"] {
                let Err(Stop::Help(error)) = run(&format!("brolly {command} {flag}")) else {
                    panic!("{command} {flag}");
                };
                assert_eq!(error.exit_code(), 0);
            }
        }
        let Err(Stop::Help(error)) = run("brolly") else { panic!("no arguments") };
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn wrong_arguments_say_what_to_write_instead() {
        for (line, sentence) in [
            ("srve", "`srve` is not a command; did you mean `serve`?"),
            (
                "xyzzy",
                "`xyzzy` is not a command; there is `demo`, `dev`, `serve`, `check`, `import`, `cert`, `publish` and `tail`",
            ),
            ("demo --lisen 80", "`--lisen` is not an option here; did you mean `--listen`?"),
            ("demo --foo", "`--foo` is not an option here; write `brolly demo --listen 127.0.0.1:8080 --threads 2`"),
            ("demo x", "`x` is one argument too many; write `brolly demo --listen 127.0.0.1:8080 --threads 2`"),
            ("demo --allow-remote=yes", "`--allow-remote` takes no value; write it alone"),
            ("demo --threads 0", "`0` is not a number of threads; write a number from 1 to 1024"),
            ("demo --threads 1 --threads 2", "`--threads N` is there twice; write it once"),
            (
                "demo --listen foo",
                "`foo` is not an address to listen on; write an IP address and a port such as `127.0.0.1:8080` or \
                 `[::1]:8080`",
            ),
            ("demo --listen 127.0.0.1", "`127.0.0.1` is not an address to listen on; write `127.0.0.1:8080`"),
            ("demo --listen ::1", "`::1` is not an address to listen on; write `[::1]:8080`"),
            (
                "demo --listen 0.0.0.0:80",
                "with `brolly demo` everyone who reaches 0.0.0.0:80 can read, publish and subscribe; write \
                 --allow-remote if that is wanted, or --listen 127.0.0.1:80",
            ),
            ("dev", "missing: DIR; write `brolly dev --listen 127.0.0.1:8080 ./public /api/=http://localhost:8111`"),
            (
                "dev --threads",
                "`--threads N` needs a value; write `brolly dev --listen 127.0.0.1:8080 ./public \
                 /api/=http://localhost:8111`",
            ),
            (
                "dev . /api/ http://a",
                "`/api/` is not a path and what is behind it; write PREFIX=URL without spaces, as in \
                 `/api/=http://localhost:8111`",
            ),
            ("dev . a_b.localhost=http://a", "`a_b.localhost` is not a host; write a name such as `app.localhost`"),
            (
                "dev /api/=http://a",
                "the directory is missing before `/api/=http://a`; write `brolly dev . /api/=http://a`",
            ),
            ("dev . api=http://a", "the prefix `api` must begin with a slash; write `/api`"),
            (
                "dev . /a//b=http://a",
                "the prefix `/a//b` must not have empty or dotted segments; write it as in `/api/`",
            ),
            (
                "tail https://a b",
                "`https://a` is an event stream over TLS, which this command does not speak; write `wss://a`",
            ),
            ("serve", "missing: --config FILE; write `brolly serve --config brolly.toml`"),
            (
                "check",
                "missing: --config FILE or --defaults; write `brolly check --config brolly.toml` or `brolly check \
                 --defaults`",
            ),
            ("check --defaults --config a", "`--defaults` and `--config FILE` exclude each other; write one of them"),
            ("tail localhost", "missing: TOPIC; write `brolly tail http://localhost:8080 TOPIC`"),
            ("tail", "missing: URL and TOPIC; write `brolly tail http://localhost:8080 TOPIC`"),
            (
                "publish a b c d",
                "`d` is one argument too many; write `brolly publish http://localhost:8080 TOPIC DATA`",
            ),
        ] {
            assert_eq!(wrong(&format!("brolly {line}")), sentence);
        }
    }
}
