//! A scenario from its beginning to its end.

use super::actor::{Actor, Side, shown};
use super::backend::{Listener, Running};
use super::message::Fault;
use super::scenario::{Backend, Kind, Scenario, Step, Then};
use super::stage::Stage;
use super::transport::{Identity, Transport};
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

const APP: &str = "[upstreams.app]\nservers = [\"http://127.0.0.1:$app\"]\n\
    [[routes]]\nprefix = \"/\"\nhandler = \"proxy\"\nupstream = \"app\"\n";

const TLS: &str = "[[listeners]]\naddress = \"127.0.0.1:0\"\ntls = \"main\"\n\
    [tls.main]\ncertificates = [{ chain = \"chain.pem\", key = \"key.pem\" }]\n";

/// How clients come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// Over TCP.
    Plain,
    /// Over TLS.
    Tls,
}

/// Plays a scenario with a process of its own of the binary; its configuration is written to `directory`.
///
/// # Errors
/// What was not as it must be, in words.
pub fn play(scenario: &Scenario, way: Way, binary: &Path, directory: &Path) -> Result<(), String> {
    let identity = Identity::get();
    std::fs::create_dir_all(directory).map_err(|error| error.to_string())?;
    let own = scenario.files.iter().map(|(name, content)| (name.as_str(), content.as_str()));
    for (name, content) in own.chain([("chain.pem", identity.chain.as_str()), ("key.pem", &identity.key)]) {
        std::fs::write(directory.join(name), content).map_err(|error| error.to_string())?;
    }
    let scripts: usize = scenario.backends.iter().map(|backend| backend.connections.len()).sum();
    let stage = Arc::new(Stage::new(scripts));
    let mut backends = scenario.backends.clone();
    if !backends.iter().any(|backend| backend.name == "app") {
        backends.push(Backend { name: "app".into(), kind: Kind::Listens, connections: Vec::new() });
    }
    let listeners: Vec<_> = backends.iter().map(|backend| Listener::bind(backend, directory)).collect();
    let name = |backend: &Backend| format!("${}", backend.name);
    let ports: Vec<_> = backends.iter().map(name).zip(listeners.iter().map(Listener::address)).collect();
    let start = |(backend, listener): (&Backend, Listener)| {
        let connections = backend.connections.iter().map(|steps| with_ports(steps, &ports)).collect();
        Running::start(listener, backend, connections, &stage)
    };
    let running: Vec<_> = backends.iter().zip(listeners).map(start).collect();
    let result = converse(scenario, (way, binary, directory), &ports, &running, &stage);
    stage.end();
    running.iter().for_each(Running::wake);
    let mut faults = stage.faults();
    faults.extend(result.err());
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n    ")) }
}

fn converse(
    scenario: &Scenario,
    (way, binary, directory): (Way, &Path, &Path),
    ports: &[(String, String)],
    running: &[Running],
    stage: &Stage,
) -> Result<(), Fault> {
    let gateway = Gateway::start(&config(scenario, way, ports), binary, directory)?;
    let to = (way, gateway.port);
    let clients: Vec<_> = scenario.clients.iter().map(|steps| with_ports(steps, ports)).collect();
    let mut actors = Vec::new();
    thread::scope(|scope| {
        let threads: Vec<_> = clients
            .iter()
            .map(|steps| {
                scope.spawn(move || {
                    let mut actor = connect(to, stage)?;
                    actor.play(steps)?;
                    Ok::<_, Fault>(actor)
                })
            })
            .collect();
        for thread in threads {
            actors.push(thread.join().unwrap_or_else(|_| Err("a client panicked".into()))?);
        }
        Ok::<_, Fault>(())
    })?;
    stage.wait_for_backends()?;
    for backend in running {
        backend.check()?;
    }
    for mut actor in actors {
        if !actor.pending.is_empty() {
            return Err(format!("the client also got {}", shown(&actor.pending)));
        }
        let persists = actor.last.as_ref().map(super::message::Message::persists);
        match persists {
            Some(true) if actor.is_open() => afterwards(scenario.then, &mut actor)?,
            Some(false) if actor.is_open() && actor.last.as_ref().is_some_and(|last| last.status() != Ok(101)) => {
                actor.play(&[Step::SeeEnd])?;
            }
            _ => {}
        }
    }
    afterwards(scenario.then, &mut connect(to, stage)?)?;
    gateway.stop()
}

/// An ordinary request gets its own answer.
fn afterwards(then: Then, client: &mut Actor<'_>) -> Result<(), Fault> {
    let Then::Status(status) = then else { return Ok(()) };
    let mut steps = vec![Step::Send(b"GET /probe HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()), Step::Get(status.to_string())];
    if status == 200 {
        steps.push(Step::Content(b"GET /probe".to_vec()));
    }
    client.play(&steps).map_err(|fault| format!("afterwards: {fault}"))
}

fn connect((way, port): (Way, u16), stage: &Stage) -> Result<Actor<'_>, Fault> {
    let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| format!("cannot connect: {error}"))?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let transport = match way {
        Way::Plain => Transport::Tcp(stream),
        Way::Tls => Transport::tls_client(stream),
    };
    Ok(Actor::new(transport, Side::Client, stage))
}

fn config(scenario: &Scenario, way: Way, ports: &[(String, String)]) -> String {
    let own = if scenario.config.is_empty() { APP } else { &scenario.config };
    let limits = &scenario.limits;
    let listeners = match way {
        _ if own.contains("[[listeners]]") => "",
        Way::Plain => "[[listeners]]\naddress = \"127.0.0.1:0\"\n",
        Way::Tls => TLS,
    };
    let text = format!("threads = 1\nlog = false\n{own}\n{listeners}[limits]\n{limits}");
    ports.iter().fold(text, |text, (name, port)| text.replace(name, port))
}

fn with_ports(steps: &[Step], ports: &[(String, String)]) -> Vec<Step> {
    let fill = |text: &str| ports.iter().fold(text.to_owned(), |text, (name, port)| text.replace(name, port));
    let fill_step = |step: &Step| match step {
        Step::Send(bytes) if bytes.contains(&b'$') => match str::from_utf8(bytes) {
            Ok(text) => Step::Send(fill(text).into_bytes()),
            Err(_) => step.clone(),
        },
        Step::Has(name, Some(value)) => Step::Has(name.clone(), Some(fill(value))),
        step => step.clone(),
    };
    steps.iter().map(fill_step).collect()
}

/// The process under test; it ends with the value.
struct Gateway {
    process: Child,
    port: u16,
}

impl Gateway {
    fn start(config: &str, binary: &Path, directory: &Path) -> Result<Self, Fault> {
        let file = directory.join("brolly.toml");
        std::fs::write(&file, config).map_err(|error| error.to_string())?;
        let mut command = Command::new(binary);
        command.arg("serve").arg("--config").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        let mut process = command.stderr(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
        let mut said = BufReader::new(process.stderr.take().ok_or("no standard error")?);
        let (mut all, mut port) = (String::new(), None);
        while port.is_none() && said.read_line(&mut all).is_ok_and(|length| length > 0) {
            let digits = all.split_once("127.0.0.1:").map(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next());
            port = digits.flatten().and_then(|digits| digits.parse().ok());
        }
        thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let Some(port) = port else {
            let _ = process.kill();
            let _ = process.wait();
            return Err(format!("the binary does not start: {all}"));
        };
        Ok(Self { process, port })
    }

    /// It must be there until it is told to go.
    fn stop(mut self) -> Result<(), Fault> {
        match self.process.try_wait() {
            Ok(None) => Ok(()),
            ended => Err(format!("the process has ended: {ended:?}")),
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
