//! What messages look like: fields, redirects, other origins, error pages.

use super::source::{Section, boolean, kind, list, number, string};
use super::units::parse_duration;
use crate::failure::{Failure, did_you_mean};
use brolly_core::config::{Config, Policy, Shaping};
use brolly_core::handler::cors::{Cors, CorsError, Wishes};
use brolly_core::handler::edits::{EditError, Edits};
use brolly_core::handler::files::media_type::{content_type, media_type};
use brolly_core::handler::pages::{Page, Pages, Which};
use brolly_core::handler::redirect::{Https, Www};
use brolly_core::handler::template::{UnknownVariable, VARIABLES};
use brolly_core::http1::{CheckedLines, EncodeError, StatusCode};
use std::path::Path;
use toml::de::DeValue;

/// The keys of routes that are read here.
pub(super) const KEYS: &[&str] =
    &["cors", "errors", "https", "intercept", "maintenance", "request_fields", "response_fields", "www"];
/// The largest page (bytes): it is held in memory, and somebody who meets an error should not wait for it.
const PAGE: u64 = 1024 * 1024;
/// What `Server` says if nothing else is wanted.
const SERVER: &str = "brolly";

/// The line of `Server` that is the default.
pub(super) fn default_server() -> CheckedLines {
    let mut lines = CheckedLines::default();
    let _ = lines.push("server", SERVER.as_bytes());
    lines
}

/// Reads the keys of the whole file.
pub(super) fn read_file(file: &Section<'_, '_>, config: &mut Config, directory: &Path) -> Result<(), Failure> {
    let server = file.get("server", |value| {
        let mut lines = CheckedLines::default();
        match value {
            DeValue::Boolean(false) => return Ok(lines),
            DeValue::Boolean(true) => return Ok(default_server()),
            _ => {}
        }
        let text = value.as_str().filter(|text| !text.trim().is_empty());
        text.and_then(|text| lines.push("server", text.as_bytes()).ok())
            .map(|()| lines)
            .ok_or_else(|| format!("must be a text such as \"{SERVER}\", or false, not {}", kind(value)))
    })?;
    config.server = server.unwrap_or_else(default_server);
    config.errors = errors(file, directory)?;
    Ok(())
}

/// Reads the keys of a route into its policy.
pub(super) fn read(route: &Section<'_, '_>, policy: &mut Policy, directory: &Path) -> Result<(), Failure> {
    let mut shaping = Shaping {
        cors: cors(route)?,
        errors: errors(route, directory)?,
        intercept: route.get("intercept", boolean)?.unwrap_or_default(),
        maintenance: route.get("maintenance", |value| page(string(value)?, directory))?,
        request_fields: edits(route, "request_fields")?,
        response_fields: edits(route, "response_fields")?,
        ..Shaping::default()
    };
    shaping.canonical.https = route.get("https", https)?.flatten();
    shaping.canonical.www = route.get("www", |value| match string(value)? {
        "add" => Ok(Www::Add),
        "remove" => Ok(Www::Remove),
        other => Err(format!("is not \"{other}\"{}", did_you_mean(other, &["add", "remove"]))),
    })?;
    let otherwise = route.table.get("otherwise").and_then(|other| other.get_ref().as_table()?.get("handler"));
    let mut handlers = route.table.get("handler").into_iter().chain(otherwise);
    let is_proxy = handlers.any(|handler| handler.get_ref().as_str() == Some("proxy"));
    let surplus = ["intercept", "request_fields"].into_iter().find(|key| !is_proxy && route.table.contains_key(*key));
    if let Some(key) = surplus {
        return Err(route.wrong(key, "is for `proxy` routes; remove it"));
    }
    policy.shaping = (shaping != Shaping::default()).then(|| Box::new(shaping));
    Ok(())
}

fn https(value: &DeValue<'_>) -> Result<Option<Https>, String> {
    match value {
        DeValue::Boolean(wanted) => Ok(wanted.then_some(Https::Ours)),
        value => match number(value).ok().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0) {
            Some(port) => Ok(Some(Https::Port(port))),
            None => Err(format!("must be true, false or the port that clients see, not {}", kind(value))),
        },
    }
}

fn edits(route: &Section<'_, '_>, key: &str) -> Result<Edits, Failure> {
    let mut edits = Edits::default();
    let header = format!("{key} = {{ set = {{ X-Edge = \"brolly\" }} }}");
    let Some(section) = route.table(key, &header)? else { return Ok(edits) };
    section.only(&["add", "remove", "set"], &format!("`{key}`"))?;
    for verb in ["set", "add"] {
        let header = format!("{verb} = {{ X-Edge = \"brolly\" }}");
        let Some(fields) = section.table(verb, &header)? else { continue };
        for name in in_order(&fields) {
            fields.get(name, |value| match (verb, value) {
                ("set", value) => edits.set(name, string(value)?).map_err(|error| edit_error(&error)),
                (_, DeValue::Array(values)) => values.iter().try_for_each(|value| {
                    edits.add(name, string(value.get_ref())?).map_err(|error| edit_error(&error))
                }),
                (_, value) => edits.add(name, string(value)?).map_err(|error| edit_error(&error)),
            })?;
        }
    }
    section.get("remove", |value| {
        list(value, "[\"X-Powered-By\"]")?.into_iter().try_for_each(|name| {
            edits.remove(name).map_err(|error| format!("names \"{name}\", but this {}", edit_error(&error)))
        })
    })?;
    Ok(edits)
}

/// The keys of a table in the order in which they stand there.
fn in_order<'t>(section: &Section<'t, '_>) -> Vec<&'t str> {
    let mut keys: Vec<_> = section.table.keys().collect();
    keys.sort_by_key(|key| key.span().start);
    keys.into_iter().map(|key| key.get_ref().as_ref()).collect()
}

/// The rest of a sentence that begins with the name of the field.
fn edit_error(error: &EditError) -> String {
    match error {
        EditError::Ours => "cannot be edited: it belongs to the connection; remove it here".into(),
        EditError::Encode(EncodeError::InvalidValue) => "must be one line of text, without control characters".into(),
        EditError::Encode(_) => "is not the name of a field; write it like `X-Edge`".into(),
        EditError::Variable(UnknownVariable(name)) => {
            let known = VARIABLES.map(|(known, _)| known);
            format!("has a variable `{{{name}}}`, which there is not{}", did_you_mean(name, &known))
        }
    }
}

fn cors(route: &Section<'_, '_>) -> Result<Option<Cors>, Failure> {
    let Some(section) = route.table("cors", "cors = { origins = [\"https://app.example.org\"] }")? else {
        return Ok(None);
    };
    section.only(&["credentials", "expose", "fields", "max_age", "methods", "origins"], "`cors`")?;
    let origins = section.need("origins", "[\"https://app.example.org\"]", |value| {
        list(value, "[\"https://app.example.org\"]").and_then(|list| match list.is_empty() {
            true => Err("must not be empty; write [\"https://app.example.org\"]".to_owned()),
            false => Ok(list),
        })
    })?;
    let names = |key, example: &str| section.get(key, |value| list(value, example)).map(Option::unwrap_or_default);
    let (methods, fields) = (names("methods", "[\"PUT\"]")?, names("fields", "[\"Content-Type\"]")?);
    let expose = names("expose", "[\"X-Total\"]")?;
    let wishes = Wishes {
        origins: &origins,
        methods: &methods,
        fields: &fields,
        expose: &expose,
        credentials: section.get("credentials", boolean)?.unwrap_or_default(),
        max_age: section.get("max_age", |value| parse_duration(string(value)?))?,
    };
    Cors::new(&wishes).map(Some).map_err(|error| match error {
        CorsError::Everybody(key) => {
            section.wrong(key, "must not be \"*\" with credentials: every site could act for the user; list them")
        }
        CorsError::Null => section.wrong("origins", "must not have \"null\": every sandboxed page calls itself that"),
        CorsError::Origin(origin) => section.wrong(
            "origins",
            format!(
                "has \"{origin}\", which browsers never send; write \"https://app.example.org\", \"https://*.example.org\" or \
                 \"http://localhost:3000\""
            ),
        ),
        CorsError::Surplus => section.wrong("origins", "has \"*\" and others; write [\"*\"] or leave \"*\" out"),
        CorsError::Token(key, wrong) => section.wrong(key, format!("has \"{wrong}\", which is no name; write one name each")),
    })
}

fn errors(section: &Section<'_, '_>, directory: &Path) -> Result<Pages, Failure> {
    let mut pages = Pages::default();
    let Some(errors) = section.table("errors", "errors = { 404 = \"404.html\" }")? else { return Ok(pages) };
    for key in in_order(&errors) {
        errors.get(key, |value| {
            let which = which(key).ok_or("is no error; write a status from 400 to 599, `4xx` or `5xx`")?;
            pages.add(which, page(string(value)?, directory)?);
            Ok(())
        })?;
    }
    Ok(pages)
}

fn which(key: &str) -> Option<Which> {
    match key {
        "4xx" => Some(Which::Class(4)),
        "5xx" => Some(Which::Class(5)),
        code => {
            let code = code.parse().ok().filter(|code| (400..600).contains(code)).and_then(StatusCode::new);
            code.map(Which::Status)
        }
    }
}

/// Reads a page. The error is the rest of a sentence that begins with the key.
fn page(name: &str, directory: &Path) -> Result<Page, String> {
    let path = directory.join(name);
    let wrong = |error: std::io::Error| format!("is wrong: {}: {}", path.display(), crate::io::reason(&error));
    let found = std::fs::metadata(&path).map_err(wrong)?;
    if !found.is_file() {
        return Err(format!("is wrong: {} is not a file; name one such as \"404.html\"", path.display()));
    }
    if found.len() > PAGE {
        return Err(format!(
            "is wrong: {} is larger than {}; make it smaller",
            path.display(),
            super::rough_size(PAGE)
        ));
    }
    Ok(Page::new(&content_type(media_type(name), Some("utf-8")), &std::fs::read(&path).map_err(wrong)?.into()))
}

/// What `check` says about a route.
pub(super) fn describe(shaping: &Shaping) -> Vec<String> {
    let Shaping { canonical, cors, request_fields, response_fields, errors, intercept, maintenance } = shaping;
    let mut lines = Vec::new();
    let mut say = |is_so: bool, line: String| lines.extend(is_so.then_some(line));
    say(maintenance.is_some(), "maintenance: everything is a 503".into());
    match canonical.https {
        Some(Https::Ours) => say(true, "plain HTTP is sent to https".into()),
        Some(Https::Port(port)) => say(true, format!("plain HTTP is sent to https, port {port}")),
        None => {}
    }
    match canonical.www {
        Some(Www::Add) => say(true, "names get www.".into()),
        Some(Www::Remove) => say(true, "www. is removed from names".into()),
        None => {}
    }
    if let Some(cors) = cors {
        say(true, format!("other origins: {cors}"));
    }
    say(!request_fields.is_empty(), format!("request fields: {request_fields}"));
    say(!response_fields.is_empty(), format!("response fields: {response_fields}"));
    let pages: Vec<_> = errors.iter().map(|which| which.to_string()).collect();
    let of_backends = if *intercept { ", also for errors of the backend" } else { "" };
    say(!errors.is_empty(), format!("pages for {}{of_backends}", pages.join(", ")));
    lines
}

#[cfg(test)]
mod tests {
    use super::super::file::parse;
    use super::*;
    use brolly_core::config::Handler;

    const ROUTE: &str = "[[routes]]\nhandler='echo'\n";

    fn shaping(keys: &str) -> Shaping {
        let config = parse(&format!("{ROUTE}{keys}")).unwrap().config;
        *config.policies.into_iter().next().unwrap().shaping.unwrap()
    }

    #[test]
    fn a_route_that_shapes_everything() {
        let shaping = shaping(
            "https = true\nwww = 'remove'\nmaintenance = 'Cargo.toml'\n\
             errors = { 404 = 'Cargo.toml', 5xx = 'Cargo.toml' }\n\
             cors = { origins = ['https://a.example'], methods = ['PUT'], credentials = true, max_age = '10m' }\n\
             response_fields = { set = { X-A = '{client}' }, add = { Link = ['a', 'b'] }, remove = ['X-B'] }",
        );
        assert_eq!(
            describe(&shaping),
            [
                "maintenance: everything is a 503",
                "plain HTTP is sent to https",
                "www. is removed from names",
                "other origins: https://a.example, with credentials",
                "response fields: -x-b, +Link: a, +Link: b, =X-A: {client}",
                "pages for 404, 5xx",
            ]
        );
    }

    #[test]
    fn server_is_a_text_or_nothing() {
        let server = |text: &str| parse(text).unwrap().config.server;
        assert_eq!(server(""), default_server());
        assert_eq!(server("server = true"), default_server());
        assert!(server("server = false").is_empty());
        assert_ne!(server("server = 'x'"), default_server());
    }

    #[test]
    fn both_names_of_a_site_have_its_route() {
        let text =
            |www: &str| format!("{ROUTE}host='example.org'\nwww='{www}'\n[[routes]]\nhandler='status'\nstatus=404\n");
        for (text, host) in [(text("add"), "www.example.org"), (text("remove"), "www.example.org")] {
            let config = parse(&text).unwrap().config;
            let to = |host| config.handlers[config.routes.find(host, "/").unwrap().to.handler].clone();
            assert_eq!((to("example.org"), to(host)), (Handler::Echo(None), Handler::Echo(None)));
            assert!(matches!(to("a.example.org"), Handler::Status(_)));
        }
        let own = format!("{}[[routes]]\nhandler='websocket'\nhost='www.example.org'", text("remove"));
        let config = parse(&own).unwrap().config;
        let handler = &config.handlers[config.routes.find("www.example.org", "/").unwrap().to.handler];
        assert!(matches!(handler, Handler::WebSocket(_)));
    }

    #[test]
    fn mistakes_have_a_line_and_say_what_to_write_instead() {
        let mistakes = [
            ("https = 'yes'", "`https` must be true, false or the port that clients see, not \"yes\""),
            ("https = 70000", "`https` must be true, false or the port that clients see, not 70000"),
            ("www = 'remvoe'", "`www` is not \"remvoe\"; did you mean `remove`?"),
            ("intercept = true", "`intercept` is for `proxy` routes; remove it"),
            ("request_fields = { set = { X-A = 'b' } }", "`request_fields` is for `proxy` routes; remove it"),
            (
                "response_fields = 'a'",
                "`response_fields` must be written response_fields = { set = { X-Edge = \"brolly\" } }",
            ),
            ("response_fields = { sett = {} }", "`sett` is not a key of `response_fields`; did you mean `set`?"),
            (
                "response_fields = { set = { Connection = 'close' } }",
                "`Connection` cannot be edited: it belongs to the connection; remove it here",
            ),
            (
                "response_fields = { remove = ['Date'] }",
                "`remove` names \"Date\", but this cannot be edited: it belongs to the connection; remove it here",
            ),
            (
                "response_fields = { add = { X-A = \"a\\nb\" } }",
                "`X-A` must be one line of text, without control characters",
            ),
            ("response_fields = { add = { 'X A' = 'b' } }", "`X A` is not the name of a field; write it like `X-Edge`"),
            (
                "response_fields = { set = { X-A = '{clint}' } }",
                "`X-A` has a variable `{clint}`, which there is not; did you mean `client`?",
            ),
            ("response_fields = { remove = 'X-A' }", "`remove` must be a list such as [\"X-Powered-By\"], not \"X-A\""),
            ("cors = { methods = ['PUT'] }", "`origins` is missing; write origins = [\"https://app.example.org\"]"),
            ("cors = { origins = [] }", "`origins` must not be empty; write [\"https://app.example.org\"]"),
            (
                "cors = { origins = ['*'], credentials = true }",
                "`origins` must not be \"*\" with credentials: every site could act for the user; list them",
            ),
            (
                "cors = { origins = ['https://a'], fields = ['*'], credentials = true }",
                "`fields` must not be \"*\" with credentials: every site could act for the user; list them",
            ),
            (
                "cors = { origins = ['example.org'] }",
                "`origins` has \"example.org\", which browsers never send; write \"https://app.example.org\", \
                 \"https://*.example.org\" or \"http://localhost:3000\"",
            ),
            (
                "cors = { origins = ['*', 'https://a'] }",
                "`origins` has \"*\" and others; write [\"*\"] or leave \"*\" out",
            ),
            (
                "cors = { origins = ['https://a'], methods = ['PUT, DELETE'] }",
                "`methods` has \"PUT, DELETE\", which is no name; write one name each",
            ),
            ("cors = { origin = ['https://a'] }", "`origin` is not a key of `cors`; did you mean `origins`?"),
            ("errors = { 200 = 'a' }", "`200` is no error; write a status from 400 to 599, `4xx` or `5xx`"),
            ("errors = { 404 = '/no/such' }", "`404` is wrong: /no/such: there is no such file or directory"),
            ("errors = { 404 = '/' }", "`404` is wrong: / is not a file; name one such as \"404.html\""),
            ("maintenance = true", "`maintenance` must be a string in quotes, not true"),
        ];
        for (key, message) in mistakes {
            let failure = parse(&format!("{ROUTE}{key}")).unwrap_err().to_string();
            assert_eq!(failure, format!("brolly.toml:3: {message}"));
        }
        for (text, message) in [
            ("server = 5", "`server` must be a text such as \"brolly\", or false, not 5"),
            ("server = \"a\\nb\"", "`server` must be a text such as \"brolly\", or false, not \"a\nb\""),
            ("errors = { 404 = 'none' }", "`404` is wrong: "),
        ] {
            let failure = parse(text).unwrap_err().to_string();
            assert!(failure.starts_with(&format!("brolly.toml:1: {message}")), "{failure}");
        }
    }
}
