//! What caches may do with a file (RFC 9111 §5.2.2).

use super::Files;

/// Browsers ask again before they use their copy: a file may change at any time.
const REVALIDATE: &str = "no-cache";
/// The name would be another one if the content was.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// `Cache-Control` of the file at `path`, relative to the root. What is said about paths is said about those below the route.
pub fn cache_control<'f>(files: &'f Files, path: &str) -> &'f str {
    let path = below_route(files, path);
    let is_versioned =
        |prefix: &str| path.strip_prefix(prefix.trim_matches('/')).is_some_and(|rest| rest.starts_with('/'));
    if files.versioned.as_deref().is_some_and(is_versioned) {
        return IMMUTABLE;
    }
    let rule = files.cache.iter().find(|rule| matches(rule.pattern.trim_start_matches('/'), path));
    rule.map_or(REVALIDATE, |rule| &rule.control)
}

/// Without the directory of a host. What stands for pages that are not there does so for all hosts.
fn below_route<'p>(files: &Files, path: &'p str) -> &'p str {
    match path.split_once('/') {
        Some((_, below)) if files.by_host.is_some() && files.fallback.as_deref() != Some(path) => below,
        Some(_) | None => path,
    }
}

/// Whether `pattern` is `path`, where `*` stands for any characters, slashes too. In time |pattern| * |path| at most: only
/// the last star is ever tried anew, because whatever an earlier one could take, the last one can take as well.
pub fn matches(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.as_bytes(), path.as_bytes());
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern, path) {
            ([b'*', after @ ..], _) => {
                star = Some((after, path));
                pattern = after;
            }
            ([one, after @ ..], [other, rest @ ..]) if one == other => (pattern, path) = (after, rest),
            ([], []) => return true,
            _ => match star {
                Some((after, [_, rest @ ..])) => {
                    star = Some((after, rest));
                    (pattern, path) = (after, rest);
                }
                Some((_, [])) | None => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::CacheRule;
    use super::*;
    use alloc::string::String;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rule = |pattern: &str, control: &str| CacheRule { pattern: pattern.into(), control: control.into() };
        let files = Files {
            cache: vec![rule("*.html", "no-store"), rule("/assets/*", "max-age=60"), rule("/a.txt", "private")],
            versioned: Some("/static/".into()),
            ..Files::new("/")
        };
        for (path, control) in [
            ("index.html", "no-store"),
            ("assets/index.html", "no-store"),
            ("assets/x/y.css", "max-age=60"),
            ("xassets/y.css", REVALIDATE),
            ("a.txt", "private"),
            ("static/a.txt", IMMUTABLE),
            ("static/index.html", IMMUTABLE),
            ("static", REVALIDATE),
            ("statics/x", REVALIDATE),
        ] {
            assert_eq!(cache_control(&files, path), control, "{path}");
        }
    }

    #[test]
    fn rules_hold_below_the_directory_of_each_host() {
        let rule = |pattern: &str, control: &str| CacheRule { pattern: pattern.into(), control: control.into() };
        let files = Files {
            by_host: Some("".into()),
            fallback: Some("pages/app.html".into()),
            cache: vec![rule("/pages/app.html", "no-store"), rule("/private/*", "private")],
            versioned: Some("/static/".into()),
            ..Files::new("/")
        };
        for (path, control) in [
            ("a.example/static/a.js", IMMUTABLE),
            ("static/a.js", REVALIDATE),
            ("a.example/private/x", "private"),
            ("private/x", REVALIDATE),
            ("a.example/pages/app.html", "no-store"),
            ("pages/app.html", "no-store"),
        ] {
            assert_eq!(cache_control(&files, path), control, "{path}");
        }
    }

    /// All patterns and paths over a small alphabet, against the definition.
    #[test]
    fn a_star_is_any_characters() {
        fn by_definition(pattern: &[u8], path: &[u8]) -> bool {
            match pattern {
                [] => path.is_empty(),
                [b'*', rest @ ..] => (0..=path.len()).any(|taken| by_definition(rest, &path[taken..])),
                [one, rest @ ..] => path.first() == Some(one) && by_definition(rest, &path[1..]),
            }
        }
        fn words(alphabet: &str, length: usize) -> Vec<String> {
            let mut all = vec![String::new()];
            let mut from = 0;
            for _ in 0..length {
                let to = all.len();
                for at in from..to {
                    all.extend(
                        alphabet.chars().map(|letter| all[at].clone() + &String::from(letter)).collect::<Vec<_>>(),
                    );
                }
                from = to;
            }
            all
        }
        for pattern in words("ab*", 5) {
            for path in words("ab", 5) {
                assert_eq!(
                    matches(&pattern, &path),
                    by_definition(pattern.as_bytes(), path.as_bytes()),
                    "{pattern} {path}"
                );
            }
        }
    }
}
