//! Who may: networks.

use super::source::{Section, string};
use crate::failure::{Failure, did_you_mean};
use brolly_core::config::{AccessRules, Config, Policy};
use brolly_core::route::{Forwarding, IpNet};
use std::net::IpAddr;

const FORWARDING: [(&str, Forwarding); 4] = [
    ("x-forwarded", Forwarding::XForwarded),
    ("forwarded", Forwarding::Standard),
    ("both", Forwarding::Both),
    ("off", Forwarding::Off),
];

/// The keys of routes that are read here.
pub(super) const KEYS: &[&str] = &["access"];

/// Reads the keys of a route into its policy.
pub(super) fn read(route: &Section<'_, '_>, policy: &mut Policy) -> Result<(), Failure> {
    policy.access = access(route)?.map(Box::new);
    Ok(())
}

/// Whose word is taken for the client's address.
pub(super) fn trust(file: &Section<'_, '_>, config: &mut Config) -> Result<(), Failure> {
    each(file, "trusted", |text| {
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
    section.only(&["allow", "deny"], "`access`")?;
    let mut rules = AccessRules::default();
    for (key, verdict) in [("allow", true), ("deny", false)] {
        each(&section, key, |text| match rules.networks.insert(network(text)?, verdict) {
            Some(before) if before != verdict => Err(format!("`{text}` is in `allow` too; remove one")),
            _ => Ok(()),
        })?;
    }
    match (section.table.contains_key("allow"), section.table.contains_key("deny")) {
        (false, false) => {
            Err(section.failure("`access` has neither `allow` nor `deny`; write allow = [\"10.0.0.0/8\"]"))
        }
        // Whoever only says who may not lets everybody else.
        (has_allow, _) => Ok(Some(AccessRules { others: !has_allow, ..rules })),
    }
}

/// Hands over each string of the list called `key`. The error of `take` says what is wrong with it.
fn each(section: &Section<'_, '_>, key: &str, mut take: impl FnMut(&str) -> Result<(), String>) -> Result<(), Failure> {
    let example = "must be a list of networks such as [\"10.0.0.0/8\", \"::1\"]";
    let list = section.get(key, |value| value.as_array().ok_or_else(|| example.to_owned()))?;
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
