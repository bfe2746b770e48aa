//! Rows as they are written.

use super::world::Route;
use crate::table::bytes;
use brolly_core::config::Config;
use brolly_core::text::duration;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One row of the table.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// What is shown.
    pub name: String,
    /// The statement that it stands for.
    pub fact: String,
    /// The file and the line.
    pub place: String,
    /// Whether it can be played only where time costs nothing.
    pub is_for_shards: bool,
    /// How many shards it needs.
    pub shards: Option<u16>,
    settings: Vec<(String, String)>,
    pub(crate) steps: Vec<(usize, Step)>,
}

/// What happens next. The first word of most is who.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Opens(String, String, Lines),
    /// A client or an API connection gets an answer.
    Answered(String, Expected),
    NotAnswered(String),
    Says(String, String),
    Hears(String, String),
    HearsNothing(String),
    Sends(String, Vec<u8>),
    Closes(String, u16, String),
    IsClosed(String, u16, String),
    Leaves(String),
    SeesEnd(String),
    /// A backend gets a request.
    Asked(String, Expected),
    NotAsked(String),
    Answers(String, u16, String, Lines),
    Api(String, String, String, Lines),
    Wait(Duration),
    ShutDown,
    Hold(Option<Route>),
}

/// Field lines: names in lower case, values.
pub(crate) type Lines = Vec<(String, String)>;

/// What a message must be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    /// The status, or method and path.
    pub(crate) start: String,
    pub(crate) fields: Lines,
    pub(crate) missing: Vec<String>,
    pub(crate) content: Option<String>,
}

pub(crate) const UPSTREAMS: [&str; 3] = ["app", "other", "dead"];

impl Row {
    /// The configuration; `addresses` are those of the web listener, of the API, and of the upstreams.
    pub(crate) fn config(&self, threads: u16, addresses: &[String; 5]) -> String {
        let [web, api, upstreams @ ..] = addresses;
        let section = |wanted: &str| -> String {
            let lines = self.settings.iter().filter(|(section, _)| section == wanted);
            lines.map(|(_, line)| format!("{line}\n")).collect()
        };
        let mut text = format!("threads = {threads}\nlog = false\n");
        for (name, address) in UPSTREAMS.iter().zip(upstreams) {
            let own = if *name == "app" { section("upstream") } else { String::new() };
            text += &format!("[upstreams.{name}]\nservers = [\"http://{address}\"]\nhost = \"sw.internal\"\n{own}");
        }
        let (pool, mut route) = (section("pool"), section("route"));
        if !route.contains("calls =") {
            route += "calls = { \"*\" = \"app\" }\n";
        }
        text += &format!("[session_pools.chat]\n{pool}[session_pools.empty]\n");
        text += &format!("[[listeners]]\naddress = \"{web}\"\n");
        text += &format!("[[listeners]]\naddress = \"{api}\"\nsession_pool = \"chat\"\n");
        text += &format!("[[routes]]\nprefix = \"/ws\"\nhandler = \"sessions\"\npool = \"chat\"\n{route}");
        text + "[limits]\n" + &section("limits")
    }
}

impl Row {
    /// The configuration, as the binaries read it.
    ///
    /// # Panics
    /// It is not understood.
    pub fn load(&self, threads: u16, addresses: &[String; 5], directory: &Path) -> Config {
        std::fs::create_dir_all(directory).unwrap();
        let file = directory.join(format!("{}.toml", self.place.replace([':', '.'], "-")));
        std::fs::write(&file, self.config(threads, addresses)).unwrap();
        brolly_host::config::load(&file).unwrap_or_else(|failure| panic!("{}: {failure}", self.place)).config
    }
}

/// All rows below a directory, by file name.
///
/// # Panics
/// A file that cannot be read, or has a line that is not understood.
#[must_use]
pub fn rows(directory: &Path) -> Vec<Row> {
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        rows_of(&name, &std::fs::read_to_string(file).unwrap())
    };
    files.iter().flat_map(read).collect()
}

/// The rows of one file.
///
/// # Panics
/// It has a line that is not understood.
#[must_use]
pub fn rows_of(file: &str, text: &str) -> Vec<Row> {
    let mut all = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        add(&mut all, file, number, line).unwrap_or_else(|why| panic!("{file}:{number}: {why}: {line}"));
    }
    all
}

fn add(all: &mut Vec<Row>, file: &str, number: usize, line: &str) -> Result<(), String> {
    if let Some(name) = line.strip_prefix("== ") {
        all.push(Row { name: name.into(), place: format!("{file}:{number}"), ..Row::default() });
        return Ok(());
    }
    if line.is_empty() || line.starts_with('#') {
        return Ok(());
    }
    let row = all.last_mut().ok_or("a line before the first row")?;
    if let Some(line) = line.strip_prefix("  ") {
        let (_, step) = row.steps.last_mut().ok_or("below nothing")?;
        return add_below(step, line);
    }
    let (who, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (verb, what) = rest.split_once(' ').unwrap_or((rest, ""));
    let (name, text) = (who.to_owned(), what.to_owned());
    let mut push = |step| row.steps.push((number, step));
    match (who, verb, what) {
        ("facts" | "new" | "new:", ..) => row.fact = line.into(),
        ("only", count, _) => {
            row.is_for_shards = true;
            row.shards = match count {
                "shards" => None,
                "one" => Some(1),
                "three" => Some(3),
                _ => return Err("not understood".into()),
            };
        }
        ("pool" | "route" | "upstream" | "limits", ..) => row.settings.push((name, rest.into())),
        ("user", user, "") => welcome(user).into_iter().for_each(push),
        ("wait", time, "") => push(Step::Wait(duration::parse(time).ok_or("no time")?)),
        ("shutdown", ..) => push(Step::ShutDown),
        ("hold", from, to) => push(Step::Hold(Some((from.parse().ok(), to.parse().ok())))),
        ("release", ..) => push(Step::Hold(None)),
        (upstream, "gets", "nothing") if UPSTREAMS.contains(&upstream) => push(Step::NotAsked(name)),
        (upstream, "gets", _) if UPSTREAMS.contains(&upstream) => push(Step::Asked(name, expected(what))),
        (_, "gets", "nothing") => push(Step::NotAnswered(name)),
        (_, "gets", _) => push(Step::Answered(name, expected(what))),
        (_, "answers", _) => {
            let (status, json) = what.split_once(' ').unwrap_or((what, ""));
            push(Step::Answers(name, status.parse().map_err(|_| "no status")?, json.into(), Vec::new()));
        }
        (api, method, _) if api.starts_with("api") && method.bytes().all(|byte| byte.is_ascii_uppercase()) => {
            let (request, answer) =
                what.split_once(" -> ").map_or((what, None), |(request, answer)| (request, Some(answer)));
            let (path, json) = request.split_once(' ').unwrap_or((request, ""));
            push(Step::Api(name.clone(), format!("{method} {path}"), json.into(), Vec::new()));
            if let Some(answer) = answer {
                let (status, content) =
                    answer.split_once(' ').map_or((answer, None), |(status, content)| (status, Some(content)));
                push(Step::Answered(name, Expected { content: content.map(Into::into), ..expected(status) }));
            }
        }
        (_, "opens", _) => push(Step::Opens(name, text, Vec::new())),
        (_, "says", _) => push(Step::Says(name, text)),
        (_, "hears", "nothing") => push(Step::HearsNothing(name)),
        (_, "hears", _) => push(Step::Hears(name, text)),
        (_, "sends", _) => push(Step::Sends(name, bytes(what)?)),
        (_, "closes", _) => push(close(what).map(|(code, reason)| Step::Closes(name, code, reason))?),
        (_, "is", what) => {
            let what = what.strip_prefix("closed ").ok_or("not understood")?;
            push(close(what).map(|(code, reason)| Step::IsClosed(name, code, reason))?);
        }
        (_, "leaves", "") => push(Step::Leaves(name)),
        (_, "sees", "the end") => push(Step::SeesEnd(name)),
        _ => return Err("not understood".into()),
    }
    Ok(())
}

/// A line below a step.
fn add_below(step: &mut Step, line: &str) -> Result<(), String> {
    let field = || {
        let (name, value) = line.split_once(':').ok_or("a field without a value")?;
        Ok::<_, String>((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    match step {
        Step::Answered(_, expected) | Step::Asked(_, expected) => {
            if let Some(content) = line.strip_prefix("= ").or_else(|| (line == "=").then_some("")) {
                expected.content = Some(content.into());
            } else if let Some(name) = line.strip_prefix('!') {
                expected.missing.push(name.into());
            } else {
                expected.fields.push(field()?);
            }
        }
        Step::Opens(_, _, lines) | Step::Answers(_, _, _, lines) | Step::Api(_, _, _, lines) => lines.push(field()?),
        _ => return Err("nothing can be below that".into()),
    }
    Ok(())
}

fn expected(start: &str) -> Expected {
    Expected { start: start.into(), ..Expected::default() }
}

fn close(text: &str) -> Result<(u16, String), String> {
    let (code, reason) = text.split_once(' ').unwrap_or((text, ""));
    Ok((code.parse().map_err(|_| "no close code")?, reason.into()))
}

/// A user is let in.
fn welcome(user: &str) -> [Step; 5] {
    let hello = format!("{{\"user_id\":\"{user}\"}}");
    let content = Some(format!(
        "[{{\"connection_id\":\"${user}\"}},[],{{\"http_cookie\":null,\"http_authorization\":null,\"url_querystring\":\"\"}}]"
    ));
    [
        Step::Opens(user.into(), "/ws".into(), Vec::new()),
        Step::Asked("app".into(), Expected { content, ..expected("POST /swindon/authorize_connection") }),
        Step::Answers("app".into(), 200, hello.clone(), Vec::new()),
        Step::Answered(user.into(), expected("101")),
        Step::Hears(user.into(), format!("[\"hello\",{{}},{hello}]")),
    ]
}
