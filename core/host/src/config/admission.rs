//! Who may, and how much: networks, logins, limits.

use super::routes::upstream;
use super::source::{Section, boolean, kind, number, string};
use super::units::{format_duration, format_size, parse_size};
use crate::args::check_prefix;
use crate::failure::{Failure, did_you_mean};
use crate::passwords::Users;
use brolly_core::config::{AccessRules, Authorize, BasicAuth, Config, Policy};
use brolly_core::route::{Forwarding, IpNet};
use brolly_core::throttle::{Allowance, Rate};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;
use toml::de::DeValue;

const NETWORKS: &str = "networks such as [\"10.0.0.0/8\", \"::1\"]";
/// Fields about the message itself or the connection, or ours.
const UNSETTABLE: [&str; 7] =
    ["connection", "content-length", "host", "te", "transfer-encoding", "upgrade", "x-barium"];

const FORWARDING: [(&str, Forwarding); 4] = [
    ("x-forwarded", Forwarding::XForwarded),
    ("forwarded", Forwarding::Standard),
    ("both", Forwarding::Both),
    ("off", Forwarding::Off),
];

/// The keys of routes that are read here.
pub(super) const KEYS: &[&str] = &["access", "authorize", "basic_auth", "content_bytes", "limits"];

/// Reads the keys of a route into its policy.
pub(super) fn read(
    route: &Section<'_, '_>,
    policy: &mut Policy,
    upstreams: &BTreeMap<&str, usize>,
    directory: &Path,
) -> Result<(), Failure> {
    policy.access = access(route)?.map(Box::new);
    policy.limits = limits(route)?.map(Box::new);
    policy.content_bytes = route.get("content_bytes", size)?;
    policy.basic_auth = basic_auth(route, directory)?.map(Box::new);
    policy.authorize = authorize(route, upstreams)?.map(Box::new);
    Ok(())
}

/// What a policy asks for, in a few words each.
pub(super) fn describe(policy: &Policy) -> impl Iterator<Item = String> {
    let Policy { access, limits, content_bytes, basic_auth, authorize, .. } = policy;
    let networks = access.as_deref().map(describe_access);
    let limits = limits.as_deref().map(describe_limits);
    let content = content_bytes.map(|bytes| format!("content up to {}", format_size(bytes)));
    let login = basic_auth.as_ref().map(|login| format!("login by {}", login.file));
    let asked = authorize.as_ref().map(|authorize| format!("a backend is asked for {} first", authorize.path));
    [networks, limits, content, login, asked].into_iter().flatten()
}

fn describe_access(access: &AccessRules) -> String {
    let others = if access.networks.is_empty() { "everybody" } else { "others" };
    let list = |verdict: bool| {
        let networks = access.networks.iter().filter(move |(_, is_allowed)| **is_allowed == verdict);
        networks.map(|(network, _)| network.to_string()).chain((access.others == verdict).then(|| others.into()))
    };
    let [allowed, denied] = [true, false].map(|verdict| list(verdict).collect::<Vec<_>>().join(", "));
    let certificate = if access.certificate { "with a certificate, " } else { "" };
    let denied = if denied.is_empty() { denied } else { format!(", not for {denied}") };
    format!("{certificate}for {allowed}{denied}")
}

fn describe_limits(limits: &Allowance) -> String {
    let per = |rate: &Rate, units: String| format!("{units} in {}", format_duration(rate.period));
    let requests = limits
        .requests
        .as_ref()
        .map(|rate| format!("{}, {} at once", per(rate, format!("{} requests", rate.units)), rate.burst));
    let connections = limits.connections.map(|connections| format!("{connections} at the same time"));
    let bandwidth = limits.bandwidth.as_ref().map(|rate| per(rate, format_size(rate.units)));
    let parts: Vec<_> = [requests, connections, bandwidth].into_iter().flatten().collect();
    format!("of each client: {}", parts.join("; "))
}

/// Whose word is taken for the client's address.
pub(super) fn trust(file: &Section<'_, '_>, config: &mut Config) -> Result<(), Failure> {
    each(file, "trusted", NETWORKS, |text| {
        if text == "unix" {
            config.trusts_unix = true;
        } else {
            config.trusted.insert(network(text)?, ());
        }
        Ok(())
    })?;
    let forwarding = file.get("forwarded", |value| {
        let written = string(value)?;
        let found = FORWARDING.into_iter().find(|(name, _)| *name == written);
        let names = FORWARDING.map(|(name, _)| name);
        found
            .map(|(_, forwarding)| forwarding)
            .ok_or_else(|| format!("is not \"{written}\"{}", did_you_mean(written, &names)))
    })?;
    config.forwarding = forwarding.unwrap_or_default();
    Ok(())
}

fn access(route: &Section<'_, '_>) -> Result<Option<AccessRules>, Failure> {
    let Some(section) = route.table("access", "access = { allow = [\"10.0.0.0/8\"], deny = [] }")? else {
        return Ok(None);
    };
    section.only(&["allow", "certificate", "deny"], "`access`")?;
    let certificate = section.get("certificate", boolean)?.unwrap_or(false);
    let mut rules = AccessRules { certificate, ..AccessRules::default() };
    for (key, verdict) in [("allow", true), ("deny", false)] {
        each(&section, key, NETWORKS, |text| match rules.networks.insert(network(text)?, verdict) {
            Some(before) if before != verdict => Err(format!("`{text}` is in `allow` too; remove one")),
            _ => Ok(()),
        })?;
    }
    match (section.table.contains_key("allow"), section.table.contains_key("deny")) {
        (false, false) if !certificate => {
            Err(section.failure("`access` has neither `allow` nor `deny`; write allow = [\"10.0.0.0/8\"]"))
        }
        // Whoever only says who may not lets everybody else.
        (has_allow, _) => Ok(Some(AccessRules { others: !has_allow, ..rules })),
    }
}

fn limits(route: &Section<'_, '_>) -> Result<Option<Allowance>, Failure> {
    let Some(section) = route.table("limits", "limits = { requests = \"100/s\" }")? else { return Ok(None) };
    section.only(&["bandwidth", "burst", "connections", "requests"], "`limits`")?;
    let mut requests = section.get("requests", |value| rate(value, "100/s", |text| text.parse().ok()))?;
    let burst = section.get("burst", |value| at_least_one(number(value)?))?;
    match (&mut requests, burst) {
        (Some(rate), Some(burst)) => rate.burst = burst,
        (None, Some(_)) => return Err(section.failure("`burst` needs `requests`; write requests = \"100/s\"")),
        (_, None) => {}
    }
    let connections = section.get("connections", |value| {
        let connections = at_least_one(number(value)?)?;
        u32::try_from(connections).map_err(|_| "must be below 4294967296".to_owned())
    })?;
    let mut bandwidth = section.get("bandwidth", |value| rate(value, "1MiB/s", |text| parse_size(text).ok()))?;
    if let Some(rate) = &mut bandwidth {
        // A quarter of a second at once, or a few packets: more and the rate is not even, less and it takes many timers.
        let second = u128::from(rate.units) * 1000 / rate.period.as_millis().max(1);
        rate.burst = u64::try_from(second / 4).unwrap_or(u64::MAX).max(4096);
    }
    if requests.is_none() && connections.is_none() && bandwidth.is_none() {
        return Err(section.failure("`limits` limits nothing; write requests = \"100/s\""));
    }
    Ok(Some(Allowance { requests, connections, bandwidth }))
}

/// `100/s`: so much, read by `units`, per second, minute or hour. A client may have it all at once.
fn rate(value: &DeValue<'_>, example: &str, units: impl Fn(&str) -> Option<u64>) -> Result<Rate, String> {
    let periods = [("s", 1), ("m", 60), ("h", 3600)];
    let read = |text: &str| {
        let (amount, period) = text.split_once('/')?;
        let seconds = periods.into_iter().find(|(name, _)| *name == period.trim())?.1;
        let units = units(amount.trim()).filter(|units| *units > 0)?;
        Some(Rate { units, period: Duration::from_secs(seconds), burst: units })
    };
    value.as_str().and_then(read).ok_or_else(|| {
        let minute = example.replace("/s", "/m");
        format!("must be a rate such as \"{example}\" or \"{minute}\", not {}", kind(value))
    })
}

fn at_least_one(number: u64) -> Result<u64, String> {
    if number > 0 { Ok(number) } else { Err("must be at least 1".into()) }
}

fn size(value: &DeValue<'_>) -> Result<u64, String> {
    parse_size(value.as_str().unwrap_or(&kind(value)))
}

fn basic_auth(route: &Section<'_, '_>, directory: &Path) -> Result<Option<BasicAuth>, Failure> {
    let example = "basic_auth = { file = \"users.htpasswd\", realm = \"Administration\" }";
    let Some(section) = route.table("basic_auth", example)? else { return Ok(None) };
    section.only(&["file", "forward", "realm"], "`basic_auth`")?;
    let file = section.need("file", "\"users.htpasswd\"", |value| {
        let path = directory.join(string(value)?);
        let path = path.to_str().ok_or("is not valid UTF-8; rename it")?;
        Users::read(path).map_err(|text| format!("is wrong: {text}"))?;
        Ok(path.into())
    })?;
    let realm = section.get("realm", |value| match string(value)? {
        realm if realm.is_empty() || !realm.chars().all(|c| matches!(c, ' '..='~') && c != '"' && c != '\\') => {
            Err("must be a name in ASCII, without quotes".to_owned())
        }
        realm => Ok(realm),
    })?;
    let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", realm.unwrap_or("brolly")).into();
    Ok(Some(BasicAuth { file, challenge, forward: section.get("forward", boolean)?.unwrap_or(false) }))
}

fn authorize(route: &Section<'_, '_>, upstreams: &BTreeMap<&str, usize>) -> Result<Option<Authorize>, Failure> {
    let example = "authorize = { upstream = \"NAME\", path = \"/check\" }";
    let Some(section) = route.table("authorize", example)? else { return Ok(None) };
    section.only(&["copy", "path", "upstream"], "`authorize`")?;
    let upstream = section.need("upstream", "\"NAME\"", |value| upstream(value, upstreams))?;
    let path = section.get("path", |value| {
        let path = string(value)?;
        check_prefix(path).map(|()| path).map_err(|text| format!("is wrong: {text}"))
    })?;
    let mut copy = Vec::new();
    each(&section, "copy", "fields such as [\"X-User\"]", |name| {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(is_token) {
            return Err(format!("`{name}` is not the name of a field"));
        }
        let lower = name.to_ascii_lowercase();
        if UNSETTABLE.contains(&&*lower) {
            return Err(format!("`{name}` cannot be set by a backend; remove it"));
        }
        copy.push(lower.into());
        Ok(())
    })?;
    Ok(Some(Authorize { upstream, path: path.unwrap_or("/").into(), copy: copy.into() }))
}

/// Hands over each string of the list called `key`. The error of `take` says what is wrong with it.
fn each(
    section: &Section<'_, '_>,
    key: &str,
    what: &str,
    mut take: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), Failure> {
    let list = section.get(key, |value| value.as_array().ok_or_else(|| format!("must be a list of {what}")))?;
    list.into_iter().flatten().try_for_each(|value| {
        section.read(key, value, |value| take(string(value)?).map_err(|text| format!("is wrong: {text}")))
    })
}

/// Reads an address or a network, `10.0.0.0/8`.
fn network(text: &str) -> Result<IpNet, String> {
    let Some((address, length)) = text.split_once('/') else {
        let address = text.parse::<IpAddr>().map_err(|_| {
            format!("`{text}` is neither an address nor a network; write one such as `192.0.2.1`, `10.0.0.0/8` or `fd00::/8`")
        })?;
        return Ok(address.into());
    };
    let address = address.parse::<IpAddr>().map_err(|_| format!("`{address}` is not an IP address"))?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = length.parse().ok().filter(|length| *length <= longest);
    let length = length.ok_or_else(|| format!("the prefix length of `{text}` must be from 0 to {longest}"))?;
    let network = IpNet::new(address, length).map_err(|_| format!("the prefix length of `{text}` is too long"))?;
    match network.trunc() {
        first if first == network => Ok(network),
        first => {
            Err(format!("`{text}` has bits behind its prefix; write `{first}`, or `{address}` for this address alone"))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::file::parse;
    use brolly_core::route::Forwarding;

    #[test]
    fn networks_and_who_may() {
        let settings = parse(
            "trusted = ['127.0.0.0/8', '::1', 'unix']
            forwarded = 'both'
            [[routes]]
            handler = 'echo'
            access = { allow = ['10.0.0.0/8', 'fd00::/8'], deny = ['10.66.0.0/16'] }
            [[routes]]
            handler = 'echo'
            prefix = '/open'
            access = { deny = ['10.66.0.0/16'] }",
        );
        let config = settings.unwrap().config;
        let ip = |text: &str| text.parse().unwrap();
        assert_eq!((config.trusts_unix, config.forwarding), (true, Forwarding::Both));
        assert!(config.trusted.contains(ip("::1")) && config.trusted.contains(ip("127.9.9.9")));
        let allowed =
            |policy: usize, client: &str| config.policies[policy].access.as_ref().unwrap().allow(Some(ip(client)));
        assert!(allowed(0, "10.1.1.1") && allowed(0, "fd00::1"));
        assert!(!allowed(0, "10.66.1.1") && !allowed(0, "192.0.2.1") && !allowed(0, "::1"));
        assert!(allowed(1, "192.0.2.1") && !allowed(1, "10.66.1.1"));
    }

    #[test]
    fn mistakes_have_a_line_and_say_what_to_write_instead() {
        let route = "[[routes]]\nhandler = 'echo'\n";
        for (text, message) in [
            ("trusted = '::1'".to_owned(), "1: `trusted` must be a list of networks such as [\"10.0.0.0/8\", \"::1\"]"),
            (
                "trusted = [\n'10.0.0.0/8',\n'10.0.0.1/8']".to_owned(),
                "3: `trusted` is wrong: `10.0.0.1/8` has bits behind its prefix; write `10.0.0.0/8`, or `10.0.0.1` for \
                 this address alone",
            ),
            (
                "trusted = ['10.0.0.0/33']".to_owned(),
                "1: `trusted` is wrong: the prefix length of `10.0.0.0/33` must be from 0 to 32",
            ),
            (
                "trusted = ['localhost']".to_owned(),
                "1: `trusted` is wrong: `localhost` is neither an address nor a network; write one such as `192.0.2.1`, \
                 `10.0.0.0/8` or `fd00::/8`",
            ),
            (
                format!("{route}limits = {{ requests = 100 }}"),
                "3: `requests` must be a rate such as \"100/s\" or \"100/m\", not 100",
            ),
            (
                format!("{route}limits = {{ requests = '0/s' }}"),
                "3: `requests` must be a rate such as \"100/s\" or \"100/m\", not \"0/s\"",
            ),
            (
                format!("{route}limits = {{ bandwidth = '1MB/s' }}"),
                "3: `bandwidth` must be a rate such as \"1MiB/s\" or \"1MiB/m\", not \"1MB/s\"",
            ),
            (format!("{route}limits = {{ connections = 0 }}"), "3: `connections` must be at least 1"),
            (format!("{route}limits = {{ burst = 5 }}"), "3: `burst` needs `requests`; write requests = \"100/s\""),
            (format!("{route}limits = {{}}"), "3: `limits` limits nothing; write requests = \"100/s\""),
            (
                format!("{route}content_bytes = 5"),
                "3: `content_bytes` must be a size such as \"512B\", \"64KiB\" or \"1MiB\", not \"5\"",
            ),
            (format!("{route}basic_auth = {{ }}"), "3: `file` is missing; write file = \"users.htpasswd\""),
            (
                format!("{route}basic_auth = {{ file = '/no/users' }}"),
                "3: `file` is wrong: /no/users: there is no such file or directory",
            ),
            (
                format!("{route}authorize = {{ upstream = 'auth' }}"),
                "3: `upstream` names \"auth\", but there is no [upstreams.auth]; add it with url = \"http://localhost:8111\"",
            ),
            (
                format!("upstreams.a.url = 'http://a'\n{route}authorize = {{ upstream = 'a', copy = ['X User'] }}"),
                "4: `copy` is wrong: `X User` is not the name of a field",
            ),
            (
                format!("{route}access = []"),
                "3: `access` must be written access = { allow = [\"10.0.0.0/8\"], deny = [] }",
            ),
            (format!("{route}access = {{ alow = [] }}"), "3: `alow` is not a key of `access`; did you mean `allow`?"),
            (
                format!("{route}access = {{}}"),
                "3: `access` has neither `allow` nor `deny`; write allow = [\"10.0.0.0/8\"]",
            ),
            (
                format!("{route}access = {{ allow = ['::/0'], deny = ['::/0'] }}"),
                "3: `deny` is wrong: `::/0` is in `allow` too; remove one",
            ),
        ] {
            assert_eq!(parse(&text).unwrap_err().to_string(), format!("brolly.toml:{message}"));
        }
    }
}
