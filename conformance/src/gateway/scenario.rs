//! Scenarios as they are written.

use crate::table::bytes;
use std::path::Path;
use std::time::Duration;

/// One row of the table.
///
/// ```text
/// == What is shown
/// rfc 9110 7.6.1: the sentence that demands it
/// config                                    # optional: TOML instead of `[[routes]]` and `[upstreams]` to `app`; or
/// file down.html                            # optional: lines of a file beside the configuration
/// limits upstream_timeout = "200ms"         # optional: lines of [limits]
/// pending why                               # optional: it fails until somebody mends that
/// only plain                                # optional: it makes no sense over TLS
/// then 502                                  # optional: what an ordinary request gets afterwards; `none`: none is made
/// client                                    # one section for each connection of a client, all at once
///   > GET / HTTP/1.1
///   > Host: a
///   >
///   gets 200
/// app                                       # one section for each connection to the backend `app`, in order
///   gets GET /
///   > HTTP/1.1 204 No Content
///   >
/// ```
///
/// A backend that has no (more) steps answers every request with its method and target. `app refuses`: nobody listens;
/// `app overflows`: nobody accepts; `app untouched`: no connection may come; `app tls`, `app unix`: how it is reached;
/// `app spare`: no connection has to come. `$app`
/// in any text is the backend's port, or the path of its socket; `chain.pem` is a certificate for `localhost`.
///
/// `$accept` in what a backend sends is the `Sec-WebSocket-Accept` for the key of the request read last.
///
/// Steps, for either side: `> LINE` sends a line and its CRLF, `>> BYTES` just bytes; consecutive ones leave in one piece.
/// `Step` has the others. Bytes are written as in the table of requests ([`crate::table`]): `\r`, `\n`, `\xHH`,
/// `{part*times}`.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    /// What is shown.
    pub name: String,
    /// The sentence behind it.
    pub rfc: String,
    /// The file and the line.
    pub place: String,
    /// Why it fails as yet.
    pub pending: Option<String>,
    /// Whether it makes sense without TLS alone.
    pub is_plain: bool,
    pub(crate) config: String,
    pub(crate) limits: String,
    /// What lies beside the configuration: names and contents.
    pub(crate) files: Vec<(String, String)>,
    pub(crate) then: Then,
    pub(crate) clients: Vec<Vec<Step>>,
    pub(crate) backends: Vec<Backend>,
}

/// What an ordinary request gets after everything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Then {
    Status(u16),
    Nothing,
}

impl Default for Then {
    fn default() -> Self {
        Self::Status(200)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Backend {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) connections: Vec<Vec<Step>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Listens,
    Tls,
    Unix,
    Refuses,
    Overflows,
    Untouched,
}

/// What either side does next.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Sends bytes in one piece.
    Send(Vec<u8>),
    /// `drips BYTES`: sends them one by one.
    Drip(Vec<u8>),
    /// `pauses 10ms`.
    Pause(Duration),
    /// `ends`: ends the outgoing direction.
    End,
    /// `closes`: closes the connection; `resets`: with a reset.
    Close { reset: bool },
    /// `gets 200`, `gets POST /x`: reads a whole message whose start line has this in it.
    Get(String),
    /// `gets-head 200`: only the head; the content is left to other steps. It is all there is in an answer to HEAD.
    GetHead(String),
    /// `has NAME: VALUE`: the message read last has this value of the field; `has NAME`: it has the field.
    Has(String, Option<String>),
    /// `same NAME`: the field says the same as at the last such step.
    Same(String),
    /// `lacks NAME`.
    Lacks(String),
    /// `trailer NAME: VALUE`: in the trailer section; `no-trailers`.
    Trailer(Option<(String, String)>),
    /// `content BYTES`: the message read last has this content.
    Content(Vec<u8>),
    /// `content-is N bytes`.
    ContentLength(usize),
    /// `takes BYTES`: these are the next.
    Take(Vec<u8>),
    /// `takes-frame BYTES`: the next WebSocket frame begins with the first of these; the others are its payload. That of a
    /// client is masked, that of a server is not.
    Frame(Vec<u8>),
    /// `takes-all N bytes`: so many arrive.
    TakeCount(usize),
    /// `sees-end`: nothing more comes, and the connection ends in peace.
    SeeEnd,
    /// `sees-cut`: the message that has begun is never completed, and that shows.
    SeeCut,
    /// `sees-reset`: nothing more comes, and the connection breaks.
    SeeReset,
    /// `sees-break`: the connection breaks; what still came is of no interest.
    SeeBreak,
    /// `sees-gone`: the connection is over, however; what still came is of no interest.
    SeeGone,
    /// `sees-nothing 100ms`: for so long.
    SeeNothing(Duration),
    /// `signals NAME`: for who waits for it.
    Signal(String),
    /// `awaits NAME`.
    Await(String),
    /// `follows NAME`: it was said before.
    Follow(String),
}

/// All rows below a directory, by file name.
///
/// # Panics
/// A file that cannot be read, or has a line that is not understood.
#[must_use]
pub fn scenarios(directory: &Path) -> Vec<Scenario> {
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let parsed = parse(&name, &text);
        all.extend(parsed.unwrap_or_else(|fault| panic!("{}{fault}", directory.display())));
    }
    all
}

/// Where indented lines belong.
enum Part {
    None,
    Config,
    File,
    Client,
    Backend(usize),
}

fn parse(file: &str, text: &str) -> Result<Vec<Scenario>, String> {
    let (mut all, mut part) = (Vec::<Scenario>::new(), Part::None);
    for (number, line) in text.lines().enumerate() {
        let place = format!("{file}:{}", number + 1);
        let wrong = |why: &str| format!("/{place}: {why}: {line}");
        if let Some(name) = line.strip_prefix("== ") {
            all.push(Scenario { name: name.to_owned(), place, ..Scenario::default() });
            part = Part::None;
            continue;
        }
        let Some(scenario) = all.last_mut() else {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            return Err(wrong("a line before the first scenario"));
        };
        if let Some(line) = line.strip_prefix("  ") {
            let text = match part {
                Part::Config => Some(&mut scenario.config),
                Part::File => scenario.files.last_mut().map(|(_, content)| content),
                Part::None | Part::Client | Part::Backend(_) => None,
            };
            if let Some(text) = text {
                text.push_str(line);
                text.push('\n');
                continue;
            }
            let steps = match part {
                Part::None | Part::Config | Part::File => None,
                Part::Client => scenario.clients.last_mut(),
                Part::Backend(at) => scenario.backends.get_mut(at).and_then(|backend| backend.connections.last_mut()),
            };
            add(steps.ok_or_else(|| wrong("a step of nobody"))?, line).map_err(|why| wrong(&why))?;
            continue;
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "" | "#" => {}
            "rfc" => rest.clone_into(&mut scenario.rfc),
            "only" if rest == "plain" => scenario.is_plain = true,
            "pending" => scenario.pending = Some(rest.to_owned()),
            "config" => part = Part::Config,
            "file" => {
                scenario.files.push((rest.to_owned(), String::new()));
                part = Part::File;
            }
            "limits" => scenario.limits += &format!("{rest}\n"),
            "then" if rest == "none" => scenario.then = Then::Nothing,
            "then" => scenario.then = Then::Status(rest.parse().map_err(|_| wrong("not a status"))?),
            "client" => {
                scenario.clients.push(Vec::new());
                part = Part::Client;
            }
            name => {
                let known = scenario.backends.iter().position(|backend| backend.name == name);
                let at = known.unwrap_or(scenario.backends.len());
                if known.is_none() {
                    let kind = match rest {
                        "" | "spare" => Kind::Listens,
                        "tls" => Kind::Tls,
                        "unix" => Kind::Unix,
                        "refuses" => Kind::Refuses,
                        "overflows" => Kind::Overflows,
                        "untouched" => Kind::Untouched,
                        _ => return Err(wrong("not understood")),
                    };
                    scenario.backends.push(Backend { name: name.to_owned(), kind, connections: Vec::new() });
                }
                if rest != "spare" && matches!(scenario.backends[at].kind, Kind::Listens | Kind::Tls | Kind::Unix) {
                    scenario.backends[at].connections.push(Vec::new());
                }
                part = Part::Backend(at);
            }
        }
    }
    Ok(all)
}

fn add(steps: &mut Vec<Step>, line: &str) -> Result<(), String> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let mut send = |bytes: &[u8]| match steps.last_mut() {
        Some(Step::Send(last)) => last.extend_from_slice(bytes),
        _ => steps.push(Step::Send(bytes.to_vec())),
    };
    match word {
        "" | "#" => return Ok(()),
        ">" => {
            send(&[&bytes(rest)?[..], b"\r\n"].concat());
            return Ok(());
        }
        ">>" => {
            send(&bytes(rest)?);
            return Ok(());
        }
        _ => {}
    }
    let pair = |text: &str| {
        let (name, value) = text.split_once(':').ok_or("a field without a value")?;
        Ok::<_, String>((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let count = || rest.trim_end_matches(" bytes").parse::<usize>().map_err(|_| "not a number of bytes");
    steps.push(match word {
        "drips" => Step::Drip(bytes(rest)?),
        "pauses" => Step::Pause(milliseconds(rest)?),
        "ends" => Step::End,
        "closes" => Step::Close { reset: false },
        "resets" => Step::Close { reset: true },
        "gets" => Step::Get(rest.to_owned()),
        "gets-head" => Step::GetHead(rest.to_owned()),
        "has" if rest.contains(':') => pair(rest).map(|(name, value)| Step::Has(name, Some(value)))?,
        "has" => Step::Has(rest.to_ascii_lowercase(), None),
        "same" => Step::Same(rest.to_ascii_lowercase()),
        "lacks" => Step::Lacks(rest.to_ascii_lowercase()),
        "trailer" => Step::Trailer(Some(pair(rest)?)),
        "no-trailers" => Step::Trailer(None),
        "content" => Step::Content(bytes(rest)?),
        "content-is" => Step::ContentLength(count()?),
        "takes" => Step::Take(bytes(rest)?),
        "takes-frame" => Step::Frame(bytes(rest)?),
        "takes-all" => Step::TakeCount(count()?),
        "sees-end" => Step::SeeEnd,
        "sees-cut" => Step::SeeCut,
        "sees-reset" => Step::SeeReset,
        "sees-break" => Step::SeeBreak,
        "sees-gone" => Step::SeeGone,
        "sees-nothing" => Step::SeeNothing(milliseconds(rest)?),
        "signals" => Step::Signal(rest.to_owned()),
        "follows" => Step::Follow(rest.to_owned()),
        "awaits" => Step::Await(rest.to_owned()),
        _ => return Err("not understood".into()),
    });
    Ok(())
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix("ms").and_then(|number| number.parse().ok());
    number.map(Duration::from_millis).ok_or_else(|| "a time is written 100ms".into())
}
