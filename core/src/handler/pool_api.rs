//! What backends may ask a session pool for: Swindon's interface (facts of the Swindon wire, 4), and a few requests more in the
//! same style.
//!
//! | request | content | what it does |
//! |---|---|---|
//! | `PUT`, `DELETE` `/v1/connection/ID/subscriptions/TOPIC` | none | subscribes a connection, or not |
//! | `PUT`, `DELETE` `/v1/connection/ID/lattices/NAMESPACE` | an update; none | updates, then attaches; detaches |
//! | `PUT`, `DELETE` `/v1/connection/ID/users` | users; none | tells the connection what they do, or no longer |
//! | `PUT` `/v1/user/USER/users` | users | tells connections that are told already about these too |
//! | `POST` `/v1/publish/TOPIC` | JSON | publishes |
//! | `POST` `/v1/publish` | `[{"topic","data"}]`, each also with `"user"` or `"connection"` | publishes all of them, or none |
//! | `POST` `/v1/lattice/NAMESPACE` | an update | updates |
//! | `POST` `/v1/connection/ID/publish/TOPIC`, `/v1/user/USER/publish/TOPIC` | JSON | to one connection, to one user's |
//! | `DELETE` `/v1/connection/ID`, `/v1/user/USER` | `{"code","reason"}` or none | closes it, or all of the user's |
//! | `GET` `/v1/connection/ID/subscriptions` | none | the topics of a connection |
//! | `POST` `/v1/users/status` | users | what they do |
//! | `GET` `/v1/users/status` | none | what all do who have a session |

use crate::http1::Method;
use crate::session::is_user;
use alloc::string::String;

/// A request of a backend. Connections are named as they were written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// See the [module](self), as all others.
    Attach(String, String),
    /// A connection, and a namespace.
    Detach(String, String),
    /// Close a connection.
    DisconnectConnection(String),
    /// Close the connections of a user.
    DisconnectUser(String),
    /// A topic.
    Publish(String),
    /// Several messages.
    PublishAll,
    /// A connection, and a topic.
    PublishToConnection(String, String),
    /// A user, and a topic.
    PublishToUser(String, String),
    /// What users do.
    Status,
    /// What all do who have a session.
    StatusOfAll,
    /// A connection, and a topic.
    Subscribe(String, String),
    /// The topics of a connection.
    Subscriptions(String),
    /// A connection, and a topic.
    Unsubscribe(String, String),
    /// A connection.
    Unwatch(String),
    /// A namespace.
    Update(String),
    /// A connection.
    Watch(String),
    /// A user.
    WatchMore(String),
}

/// Why a request is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// 403: the namespace is not the backend's.
    Reserved,
    /// 404.
    Unknown,
    /// 405: these methods are allowed.
    Method(&'static str),
}

impl Request {
    /// Reads method and path.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn parse(method: Method<'_>, path: &str) -> Result<Self, Refusal> {
        let rest = path.strip_prefix("/v1/").ok_or(Refusal::Unknown)?;
        if rest == "publish" {
            return one(method, Method::Post, "POST", Self::PublishAll);
        }
        let (kind, rest) = rest.split_once('/').ok_or(Refusal::Unknown)?;
        match kind {
            "publish" => one(method, Method::Post, "POST", Self::Publish(topic(rest)?)),
            "lattice" => one(method, Method::Post, "POST", Self::Update(namespace(rest)?)),
            "users" if rest == "status" => match method {
                Method::Get => Ok(Self::StatusOfAll),
                Method::Post => Ok(Self::Status),
                _ => Err(Refusal::Method("GET, POST")),
            },
            "user" => {
                let (user, rest) = rest.split_once('/').unwrap_or((rest, ""));
                if !is_user(user) {
                    return Err(Refusal::Unknown);
                }
                let user = user.into();
                match rest.split_once('/').unwrap_or((rest, "")) {
                    ("", "") => one(method, Method::Delete, "DELETE", Self::DisconnectUser(user)),
                    ("users", _) => one(method, Method::Put, "PUT", Self::WatchMore(user)),
                    ("publish", name) => one(method, Method::Post, "POST", Self::PublishToUser(user, topic(name)?)),
                    _ => Err(Refusal::Unknown),
                }
            }
            "connection" => {
                let (conn, rest) = rest.split_once('/').unwrap_or((rest, ""));
                Self::of_connection(method, conn.into(), rest)
            }
            _ => Err(Refusal::Unknown),
        }
    }

    fn of_connection(method: Method<'_>, conn: String, rest: &str) -> Result<Self, Refusal> {
        match rest.split_once('/').unwrap_or((rest, "")) {
            ("", "") => one(method, Method::Delete, "DELETE", Self::DisconnectConnection(conn)),
            ("subscriptions", "") => one(method, Method::Get, "GET", Self::Subscriptions(conn)),
            ("subscriptions", name) => {
                let name = topic(name)?;
                two(method, Self::Subscribe(conn.clone(), name.clone()), Self::Unsubscribe(conn, name))
            }
            ("lattices", name) => {
                let name = namespace(name)?;
                if name.starts_with("swindon.") {
                    return Err(Refusal::Reserved);
                }
                two(method, Self::Attach(conn.clone(), name.clone()), Self::Detach(conn, name))
            }
            ("users", _) => two(method, Self::Watch(conn.clone()), Self::Unwatch(conn)),
            ("publish", name) => one(method, Method::Post, "POST", Self::PublishToConnection(conn, topic(name)?)),
            _ => Err(Refusal::Unknown),
        }
    }

    /// Whether there has to be content, and it has to be JSON.
    pub const fn needs_json(&self) -> bool {
        match self {
            Self::Attach(..)
            | Self::Publish(_)
            | Self::PublishAll
            | Self::PublishToConnection(..)
            | Self::PublishToUser(..)
            | Self::Status
            | Self::Update(_)
            | Self::Watch(_)
            | Self::WatchMore(_) => true,
            Self::Detach(..)
            | Self::DisconnectConnection(_)
            | Self::DisconnectUser(_)
            | Self::StatusOfAll
            | Self::Subscribe(..)
            | Self::Subscriptions(_)
            | Self::Unsubscribe(..)
            | Self::Unwatch(_) => false,
        }
    }

    /// Whether there must not be content.
    pub const fn forbids_content(&self) -> bool {
        matches!(self, Self::Subscribe(..) | Self::Unsubscribe(..))
    }
}

fn one(method: Method<'_>, wanted: Method<'_>, allow: &'static str, request: Request) -> Result<Request, Refusal> {
    if method == wanted { Ok(request) } else { Err(Refusal::Method(allow)) }
}

fn two(method: Method<'_>, put: Request, delete: Request) -> Result<Request, Refusal> {
    match method {
        Method::Put => Ok(put),
        Method::Delete => Ok(delete),
        _ => Err(Refusal::Method("PUT, DELETE")),
    }
}

/// Whether this is a topic, as clients read them: one or more of `[A-Za-z0-9_.:-]`.
pub fn is_topic(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte == b'.' || is_in_topic(byte))
}

/// A topic: slashes stand for dots.
fn topic(path: &str) -> Result<String, Refusal> {
    dotted(path, is_in_topic)
}

fn is_in_topic(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'-')
}

fn namespace(path: &str) -> Result<String, Refusal> {
    dotted(path, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn dotted(path: &str, is_allowed: impl Fn(u8) -> bool) -> Result<String, Refusal> {
    let is_name = !path.is_empty() && path.bytes().all(|byte| byte == b'/' || is_allowed(byte));
    if is_name { Ok(path.replace('/', ".")) } else { Err(Refusal::Unknown) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn requests_are_read_by_method_and_path() {
        let (id, topic) = ("X-1".to_string(), "a.b".to_string());
        for (method, path, expected) in [
            (Method::Put, "/v1/connection/X-1/subscriptions/a/b", Ok(Request::Subscribe(id.clone(), topic.clone()))),
            (
                Method::Delete,
                "/v1/connection/X-1/subscriptions/a/b",
                Ok(Request::Unsubscribe(id.clone(), topic.clone())),
            ),
            (Method::Get, "/v1/connection/X-1/subscriptions", Ok(Request::Subscriptions(id.clone()))),
            (Method::Post, "/v1/publish/a/b", Ok(Request::Publish(topic.clone()))),
            (Method::Post, "/v1/publish/a/", Ok(Request::Publish("a.".into()))),
            (Method::Post, "/v1/publish/a.b", Err(Refusal::Unknown)),
            (Method::Post, "/v1/publish/", Err(Refusal::Unknown)),
            (Method::Put, "/v1/publish/a", Err(Refusal::Method("POST"))),
            (Method::Put, "/v1/connection/X-1/lattices/a:b", Err(Refusal::Unknown)),
            (Method::Put, "/v1/connection/X-1/lattices/swindon/user", Err(Refusal::Reserved)),
            (Method::Put, "/v1/connection/X-1/lattices/swindon", Ok(Request::Attach(id.clone(), "swindon".into()))),
            (Method::Post, "/v1/lattice/a/b", Ok(Request::Update(topic.clone()))),
            (Method::Put, "/v1/connection/X-1/users", Ok(Request::Watch(id.clone()))),
            (Method::Put, "/v1/connection/X-1/users/ignored", Ok(Request::Watch(id.clone()))),
            (Method::Put, "/v1/user/u:1/users", Ok(Request::WatchMore("u:1".into()))),
            (Method::Delete, "/v1/user/u1", Ok(Request::DisconnectUser("u1".into()))),
            (Method::Post, "/v1/user/u1/publish/a/b", Ok(Request::PublishToUser("u1".into(), topic))),
            (Method::Delete, "/v1/connection/X-1", Ok(Request::DisconnectConnection(id))),
            (Method::Post, "/v1/users/status", Ok(Request::Status)),
            (Method::Get, "/v1/users/status", Ok(Request::StatusOfAll)),
            (Method::Put, "/v1/users/status", Err(Refusal::Method("GET, POST"))),
            (Method::Post, "/v1/publish", Ok(Request::PublishAll)),
            (Method::Get, "/v1/publish", Err(Refusal::Method("POST"))),
            (Method::Get, "/v2/users/status", Err(Refusal::Unknown)),
            (Method::Get, "/v1", Err(Refusal::Unknown)),
        ] {
            assert_eq!(Request::parse(method, path), expected, "{path}");
        }
    }
}
