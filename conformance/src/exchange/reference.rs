//! What a session pool is, written to be understood: one thing after the other, on one thread, looking at everything each time.

use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long users count as active after a connection was opened. Its deadlines never fall together with others.
pub(crate) const CONNECTED: Duration = Duration::from_millis(5300);
/// How long private data of absent users is kept, and that of entries which say so themselves.
pub(crate) const EXPIRY: Duration = Duration::from_millis(4600);
pub(crate) const EXPIRES_IN: Duration = Duration::from_millis(2600);

/// A value that can only grow.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Value {
    Counter(u64),
    Set(BTreeSet<String>),
    /// Of the same stamp is the same value.
    Register(u64),
}

pub(crate) type Variables = BTreeMap<String, Value>;
/// By key.
pub(crate) type State = BTreeMap<String, Variables>;

/// What a client has heard, or has to have heard.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct View {
    /// By request.
    pub(crate) answers: BTreeMap<u64, String>,
    /// Since they were compared last, sorted.
    pub(crate) messages: Vec<String>,
    /// By namespace.
    pub(crate) lattices: BTreeMap<String, State>,
    pub(crate) statuses: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
pub(crate) struct Reference {
    pub(crate) now: Duration,
    pub(crate) clients: BTreeMap<usize, Client>,
    sessions: BTreeMap<String, Session>,
    lattices: BTreeMap<String, Lattice>,
    /// Users whose inactivity the backend has not heard of.
    pub(crate) owed: BTreeSet<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Client {
    pub(crate) user: String,
    pub(crate) topics: BTreeSet<String>,
    pub(crate) is_told: bool,
    /// Without the lattices: those follow from the rest.
    pub(crate) view: View,
}

#[derive(Debug, Default)]
struct Session {
    active_until: Option<Duration>,
    watched: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Lattice {
    shared: State,
    private: BTreeMap<String, Private>,
    /// Keys of somebody's private part.
    was_seen: BTreeSet<String>,
}

/// What one user has in a lattice.
#[derive(Debug, Default)]
struct Private {
    entries: BTreeMap<String, Entry>,
    attached: BTreeSet<usize>,
    /// The lattice will hear of the end of the session.
    is_known: bool,
}

#[derive(Debug, Default)]
struct Entry {
    variables: Variables,
    expires_in: Option<Duration>,
    expires: Option<Duration>,
}

/// An update.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delta {
    pub(crate) shared: State,
    /// By user and key: the variables, and whether they say `expires_in`.
    pub(crate) private: BTreeMap<String, BTreeMap<String, (Variables, bool)>>,
}

impl Reference {
    pub(crate) fn connect(&mut self, client: usize, user: &str) {
        self.clients.insert(client, Client { user: user.into(), ..Client::default() });
        self.sessions.entry(user.into()).or_default();
        self.keep_active(user, CONNECTED);
    }

    /// It only extends.
    pub(crate) fn keep_active(&mut self, user: &str, time: Duration) {
        let until = self.now + time;
        let Some(session) = self.sessions.get_mut(user) else { return };
        let was_active = session.active_until.is_some();
        session.active_until = session.active_until.max(Some(until));
        if !was_active {
            self.owed.remove(user);
            self.tell_status(user);
        }
    }

    pub(crate) fn disconnect(&mut self, client: usize) {
        let Some(Client { user, .. }) = self.clients.remove(&client) else { return };
        self.lattices.values_mut().flat_map(|lattice| lattice.private.get_mut(&user)).for_each(|private| {
            private.attached.remove(&client);
        });
        if self.status(&user) == "inactive" && !self.is_connected(&user) {
            self.end(&user);
        }
    }

    /// Lets time pass, from one thing that happens to the next.
    pub(crate) fn advance(&mut self, to: Duration) {
        loop {
            let deadlines =
                self.sessions.iter().filter_map(|(user, session)| Some((session.active_until?, user.clone())));
            let expiries = self.lattices.iter().flat_map(|(name, lattice)| {
                let of_user = |(user, private): (&String, &Private)| {
                    let first = private.entries.values().filter_map(|entry| entry.expires).min()?;
                    Some((first, user.clone(), name.clone()))
                };
                lattice.private.iter().filter_map(of_user).collect::<Vec<_>>()
            });
            let (deadline, expiry) = (deadlines.min(), expiries.min());
            let is_deadline = match (&deadline, &expiry) {
                (Some(deadline), Some(expiry)) => deadline.0 <= expiry.0,
                (deadline, _) => deadline.is_some(),
            };
            match (deadline, expiry) {
                (Some((at, user)), _) if is_deadline && at <= to => {
                    self.now = at;
                    self.fall_asleep(&user);
                }
                (_, Some((at, user, name))) if !is_deadline && at <= to => {
                    self.now = at;
                    self.expire(&name, &user);
                }
                _ => break,
            }
        }
        self.now = to;
    }

    fn fall_asleep(&mut self, user: &str) {
        if let Some(session) = self.sessions.get_mut(user) {
            session.active_until = None;
        }
        self.owed.insert(user.into());
        if self.is_connected(user) {
            self.tell_status(user);
        } else {
            self.end(user);
        }
    }

    fn end(&mut self, user: &str) {
        self.sessions.remove(user);
        self.tell_status(user);
        let now = self.now;
        for lattice in self.lattices.values_mut() {
            let Some(private) = lattice.private.get_mut(user).filter(|private| private.is_known) else { continue };
            private.is_known = false;
            private.entries.retain(|_, entry| entry.expires_in.is_some());
            private.entries.values_mut().for_each(|entry| entry.expires = entry.expires_in.map(|time| now + time));
            lattice.tidy();
        }
    }

    /// What is overdue goes, unless its user has come meanwhile.
    fn expire(&mut self, name: &str, user: &str) {
        let (now, has_session) = (self.now, self.sessions.contains_key(user));
        let Some(lattice) = self.lattices.get_mut(name) else { return };
        let Some(private) = lattice.private.get_mut(user) else { return };
        if has_session {
            private.know();
        } else {
            private.entries.retain(|_, entry| entry.expires.is_none_or(|at| at > now));
        }
        lattice.tidy();
    }

    pub(crate) fn status(&self, user: &str) -> &'static str {
        match self.sessions.get(user) {
            Some(Session { active_until: Some(_), .. }) => "active",
            Some(_) => "inactive",
            None => "offline",
        }
    }

    fn is_connected(&self, user: &str) -> bool {
        self.clients.values().any(|client| client.user == user)
    }

    fn tell_status(&mut self, of: &str) {
        let status = self.status(of);
        for client in self.clients.values_mut().filter(|client| client.is_told) {
            if self.sessions.get(&client.user).is_some_and(|session| session.watched.contains(of)) {
                client.view.statuses.insert(of.into(), status.into());
            }
        }
    }

    pub(crate) fn watch(&mut self, client: usize, users: &[&str]) {
        let statuses: Vec<_> = users.iter().map(|user| ((*user).to_owned(), self.status(user).to_owned())).collect();
        let Some(client) = self.clients.get_mut(&client) else { return };
        client.is_told = true;
        client.view.statuses.extend(statuses);
        let session = self.sessions.entry(client.user.clone()).or_default();
        session.watched.extend(users.iter().map(|user| (*user).to_owned()));
    }

    pub(crate) fn unwatch(&mut self, client: usize) {
        let Some(client) = self.clients.get_mut(&client) else { return };
        client.is_told = false;
        self.sessions.entry(client.user.clone()).or_default().watched.clear();
    }

    /// A message for those who are concerned.
    pub(crate) fn tell(&mut self, topic: &str, data: &str, concerns: impl Fn(usize, &Client) -> bool) {
        for (number, client) in &mut self.clients {
            if concerns(*number, client) {
                client.view.messages.push(format!("[\"message\",{{\"topic\":\"{topic}\"}},{data}]"));
            }
        }
    }

    pub(crate) fn update(&mut self, name: &str, delta: &Delta) {
        let lattice = self.lattices.entry(name.into()).or_default();
        merge(&mut lattice.shared, &delta.shared);
        for (user, keys) in &delta.private {
            let has_session = self.sessions.contains_key(user);
            let private = lattice.private.entry(user.clone()).or_default();
            for (key, (variables, says_expiry)) in keys {
                let entry = private.entries.entry(key.clone()).or_default();
                merge_variables(&mut entry.variables, variables);
                entry.expires_in = if *says_expiry { Some(EXPIRES_IN) } else { entry.expires_in };
                entry.expires = Some(self.now + entry.expires_in.unwrap_or(EXPIRY));
            }
            if has_session || private.is_known {
                private.know();
            }
        }
        lattice.tidy();
    }

    pub(crate) fn attach(&mut self, client: usize, name: &str, delta: &Delta) {
        self.update(name, delta);
        let user = self.clients.get(&client).map(|client| client.user.clone()).unwrap_or_default();
        let private = self.lattices.entry(name.into()).or_default().private.entry(user).or_default();
        private.attached.insert(client);
        private.know();
    }

    pub(crate) fn detach(&mut self, client: usize, name: &str) {
        let user = self.clients.get(&client).map(|client| client.user.clone()).unwrap_or_default();
        let Some(lattice) = self.lattices.get_mut(name) else { return };
        if let Some(private) = lattice.private.get_mut(&user)
            && private.attached.remove(&client)
            && private.attached.is_empty()
        {
            lattice.private.remove(&user);
        }
        lattice.tidy_keys();
    }

    /// What a client has to have heard.
    pub(crate) fn view(&self, number: usize) -> View {
        let Some(client) = self.clients.get(&number) else { return View::default() };
        let mut view = client.view.clone();
        view.messages.sort();
        for (name, lattice) in &self.lattices {
            let Some(private) = lattice.private.get(&client.user) else { continue };
            if private.attached.contains(&number) {
                let mut state: State =
                    private.entries.iter().map(|(key, entry)| (key.clone(), entry.variables.clone())).collect();
                for (key, variables) in &mut state {
                    merge_variables(variables, lattice.shared.get(key).unwrap_or(&Variables::new()));
                }
                view.lattices.insert(name.clone(), state);
            }
        }
        view
    }
}

impl Private {
    fn know(&mut self) {
        self.is_known = true;
        self.entries.values_mut().for_each(|entry| entry.expires = None);
    }
}

impl Lattice {
    /// Nobody is remembered of whom there is nothing.
    fn tidy(&mut self) {
        self.private.retain(|_, of| !of.entries.is_empty() || !of.attached.is_empty() || of.is_known);
        self.tidy_keys();
    }

    /// The shared part of a key goes with the last who sees it; who never was seen stays.
    fn tidy_keys(&mut self) {
        let seen: BTreeSet<String> =
            self.private.values().flat_map(|private| private.entries.keys().cloned()).collect();
        let gone: Vec<String> = self.was_seen.difference(&seen).cloned().collect();
        gone.iter().for_each(|key| drop(self.shared.remove(key)));
        self.was_seen = seen;
    }
}

pub(crate) fn merge(to: &mut State, from: &State) {
    for (key, variables) in from {
        merge_variables(to.entry(key.clone()).or_default(), variables);
    }
}

fn merge_variables(to: &mut Variables, from: &Variables) {
    for (name, value) in from {
        match (to.get_mut(name), value) {
            (Some(Value::Counter(old)), Value::Counter(new)) => *old = (*old).max(*new),
            (Some(Value::Register(old)), Value::Register(new)) => *old = (*old).max(*new),
            (Some(Value::Set(old)), Value::Set(new)) => old.extend(new.iter().cloned()),
            _ => _ = to.insert(name.clone(), value.clone()),
        }
    }
}

impl Delta {
    pub(crate) fn json(&self) -> String {
        let private = self.private.iter().map(|(user, keys)| {
            let keys = keys.iter().map(|(key, (variables, says_expiry))| {
                let mut json = variables_json(variables);
                if *says_expiry {
                    json.insert("expires_in".into(), format!("{}ms", EXPIRES_IN.as_millis()).into());
                }
                (key.clone(), Json::Object(json))
            });
            (user.clone(), Json::Object(keys.collect()))
        });
        let shared = self.shared.iter().map(|(key, variables)| (key.clone(), Json::Object(variables_json(variables))));
        json!({ "shared": shared.collect::<Map<_, _>>(), "private": private.collect::<Map<_, _>>() }).to_string()
    }
}

fn variables_json(variables: &Variables) -> Map<String, Json> {
    let value = |value: &Value| match value {
        Value::Counter(number) => json!(number),
        Value::Set(members) => json!(members),
        Value::Register(stamp) => json!([stamp, format!("of {stamp}")]),
    };
    variables.iter().map(|(name, of)| (name.clone(), value(of))).collect()
}

/// What a client is told about a lattice.
pub(crate) fn parse(json: &Json) -> Option<State> {
    let variable = |(name, json): (&String, &Json)| {
        let value = match name.rsplit_once('_')?.1 {
            "counter" => Value::Counter(json.as_u64()?),
            "set" => {
                Value::Set(json.as_array()?.iter().filter_map(|member| Some(member.as_str()?.to_owned())).collect())
            }
            _ => {
                let stamp = json.get(0)?.as_f64()? as u64;
                (json.get(1)? == &json!(format!("of {stamp}"))).then_some(Value::Register(stamp))?
            }
        };
        Some((name.clone(), value))
    };
    let key = |(key, json): (&String, &Json)| {
        Some((key.clone(), json.as_object()?.iter().map(variable).collect::<Option<_>>()?))
    };
    json.as_object()?.iter().map(key).collect()
}
