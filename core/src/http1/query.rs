//! Queries as forms write them (WHATWG URL §5.1).

use super::StatusCode;
use super::path::{Plus, decode};
use alloc::borrow::Cow;
use alloc::string::String;
use core::error::Error;
use core::fmt;
use core::str;

/// Why a query cannot be read.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum QueryError {
    /// A `%` without two hex digits after it.
    BadEscape,
    /// What was decoded is not UTF-8.
    NotUtf8,
}

impl QueryError {
    /// What to answer.
    pub const fn status(self) -> StatusCode {
        StatusCode::BAD_REQUEST
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadEscape => "malformed percent-encoding in query",
            Self::NotUtf8 => "query is not UTF-8",
        })
    }
}

impl Error for QueryError {}

/// The names and values of `a=b&c=d`, decoded: `+` is a space. A pair without `=` has an empty value; empty pairs are
/// left out.
pub fn query_pairs(query: &str) -> impl Iterator<Item = Result<(Cow<'_, str>, Cow<'_, str>), QueryError>> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((text(name)?, text(value)?))
    })
}

fn text(encoded: &str) -> Result<Cow<'_, str>, QueryError> {
    match decode(encoded.as_bytes(), Plus::Space).ok_or(QueryError::BadEscape)? {
        Cow::Borrowed(_) => Ok(Cow::Borrowed(encoded)),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| QueryError::NotUtf8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn pairs_are_decoded() {
        let pairs: Vec<_> = query_pairs("a=b&&c&=d&e=%C3%A4+%2B%26=f&").map(Result::unwrap).collect();
        let expected = [("a", "b"), ("c", ""), ("", "d"), ("e", "ä +&=f")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(query_pairs("").count(), 0);
    }

    #[test]
    fn malformed_pairs_are_errors() {
        let results: Vec<_> = query_pairs("a=%&%4=b&c=%ff&ok=1").collect();
        assert_eq!(results[..3], [Err(QueryError::BadEscape), Err(QueryError::BadEscape), Err(QueryError::NotUtf8)]);
        assert!(results[3].is_ok());
    }
}
