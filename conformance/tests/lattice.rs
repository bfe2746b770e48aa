//! Lattices against their laws, exhaustively for small values and at random for large ones, and against a model of what
//! users see.

use brolly_core::lattice::{
    Counter, Delta, Join, Key, Limits, Member, Name, Namespace, Namespaces, Register, Set, Stamp, State, User, Value,
    Variables,
};
use brolly_core::time::Instant;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

fn joined<T: Join>(a: &T, b: &T) -> T {
    let mut join = a.clone();
    join.absorb(b.clone());
    join
}

/// The laws for any three values, and what a delta promises.
fn laws<T: Join + PartialEq + Debug>(a: &T, b: &T, c: &T) {
    assert_eq!(joined(&joined(a, b), c), joined(a, &joined(b, c)), "associative: {a:?} {b:?} {c:?}");
    assert_eq!(joined(a, b), joined(b, a), "commutative: {a:?} {b:?}");
    assert_eq!(joined(a, a), *a, "idempotent: {a:?}");
    let up = joined(a, b);
    assert_eq!(joined(&up, a), up, "monotone: {a:?} {b:?}");
    // a ≤ a ∨ b, so (a ∨ c) ≤ (a ∨ b) ∨ c.
    assert_eq!(joined(&joined(a, c), &joined(&up, c)), joined(&up, c), "joining keeps the order: {a:?} {b:?} {c:?}");

    let (mut state, mut delta, mut bytes) = (a.clone(), b.clone(), a.bytes());
    let is_new = state.join(&mut delta, &mut bytes);
    assert_eq!(state, up);
    assert_eq!(is_new, up != *a, "{a:?} {b:?}");
    assert_eq!(bytes, up.bytes(), "{a:?} {b:?}");
    if is_new {
        assert_eq!(joined(a, &delta), up, "the delta has the effect of the whole: {a:?} {b:?}");
        let (mut again, mut minimal) = (a.clone(), delta.clone());
        again.join(&mut minimal, &mut 0);
        assert_eq!(minimal, delta, "nothing in the delta was known: {a:?} {b:?}");
    }
}

fn all_laws<T: Join + PartialEq + Debug>(values: &[T]) {
    for a in values {
        for b in values {
            for c in values {
                laws(a, b, c);
            }
        }
    }
}

fn register(stamp: f64, value: &str) -> Register {
    Register { stamp: Stamp::new(stamp).unwrap(), value: value.into() }
}

fn small_sets() -> Vec<Set> {
    let members = [Member::Integer(1), Member::Text("1".into()), Member::Text("b".into())];
    let chosen = |bits: usize| (0..3).filter(move |bit| bits >> bit & 1 == 1);
    (0..8).map(|bits| Set(chosen(bits).map(|bit| members[bit].clone()).collect())).collect()
}

fn small_registers() -> Vec<Register> {
    let stamps = [-1.5, 0.0, -0.0, 2.0];
    stamps.iter().flat_map(|stamp| ["1", "\"a\"", "{}"].map(|value| register(*stamp, value))).collect()
}

#[test]
fn every_small_value_obeys_the_laws() {
    let counters = [0, 1, 2, u64::MAX].map(Counter);
    all_laws(&counters);
    all_laws(&small_sets());
    all_laws(&small_registers());
}

/// Every dictionary of up to two keys, each missing, empty, or with a counter, a set, or both.
#[test]
fn every_small_dictionary_obeys_the_laws() {
    let counter = |number| (Box::<str>::from("n_counter"), Value::Counter(Counter(number)));
    let set = |at: usize| (Box::<str>::from("s_set"), Value::Set(small_sets()[at].clone()));
    let entries: Vec<Option<Variables>> = [
        None,
        Some(vec![]),
        Some(vec![counter(1)]),
        Some(vec![counter(2), set(1)]),
        Some(vec![set(1)]),
        Some(vec![set(2)]),
    ]
    .into_iter()
    .map(|entry| entry.map(|values| values.into_iter().map(|(name, value)| (name.into(), value)).collect()))
    .collect();
    let mut states = Vec::new();
    for a in &entries {
        for b in &entries {
            let keys = [("a", a), ("b", b)].into_iter();
            states.push(State(keys.filter_map(|(key, entry)| Some((key.into(), entry.clone()?))).collect()));
        }
    }
    all_laws(&states);
}

fn value() -> impl Strategy<Value = (&'static str, Value)> {
    let member = prop_oneof![
        (-3..3_i128).prop_map(Member::Integer),
        "[a-c\"\\\\é]{0,2}".prop_map(|text| Member::Text(text.into())),
    ];
    prop_oneof![
        (0..4_u64).prop_map(|number| ("n_counter", Value::Counter(Counter(number)))),
        prop::collection::btree_set(member, 0..4).prop_map(|set| ("s_set", Value::Set(Set(set)))),
        (-2..3_i32, "[0-9]|\"[a-b]\"")
            .prop_map(|(stamp, value)| ("x_register", Value::Register(register(f64::from(stamp) / 2.0, &value)))),
    ]
}

fn state() -> impl Strategy<Value = State> {
    let variables = prop::collection::vec(value(), 0..4)
        .prop_map(|values| values.into_iter().map(|(name, value)| (name.into(), value)).collect::<Variables>());
    prop::collection::btree_map(key(), variables, 0..4).prop_map(State)
}

fn key() -> impl Strategy<Value = Key> {
    prop::sample::select(vec!["r1", "r2", "r3", "r4"]).prop_map(Key::from)
}

fn user() -> impl Strategy<Value = User> {
    prop::sample::select(vec!["u1", "u2", "u3"]).prop_map(User::from)
}

/// A delta as a backend writes it.
fn delta() -> impl Strategy<Value = (State, BTreeMap<User, (State, Option<u8>)>)> {
    (state(), prop::collection::btree_map(user(), (state(), prop::option::weighted(0.3, 1..20_u8)), 0..3))
}

fn json(delta: &(State, BTreeMap<User, (State, Option<u8>)>)) -> String {
    let private = delta.1.iter().map(|(user, (state, expires_in))| {
        let mut state: serde_json::Value = serde_json::from_str(&state.to_string()).unwrap();
        for (_, entry) in state.as_object_mut().unwrap().iter_mut() {
            if let Some(seconds) = expires_in {
                entry["expires_in"] = format!("{seconds}s").into();
            }
        }
        format!("\"{user}\":{state}")
    });
    format!("{{\"shared\":{},\"private\":{{{}}}}}", delta.0, private.collect::<Vec<_>>().join(","))
}

proptest! {
    #[test]
    fn large_dictionaries_obey_the_laws(a in state(), b in state(), c in state()) {
        laws(&a, &b, &c);
    }

    #[test]
    fn what_is_written_is_read((shared, private) in delta()) {
        let delta = Delta::parse(json(&(shared.clone(), private.clone())).as_bytes()).unwrap();
        prop_assert_eq!(delta.shared, shared);
        let read: BTreeMap<_, _> = delta.private.into_iter().map(|(user, part)| (user, part.state)).collect();
        prop_assert_eq!(read, private.into_iter().map(|(user, (state, _))| (user, state)).collect());
    }

    #[test]
    fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = Delta::parse(&bytes);
    }
}

#[test]
fn a_bad_update_is_refused_with_a_reason() {
    for (json, reason) in [
        ("", "EOF while parsing"),
        ("[]", "an update is an object"),
        ("null", "an update is an object"),
        (r#"{"shared":1}"#, "shared is an object"),
        (r#"{"shared":{"a b":{}}}"#, "\"a b\" is no name"),
        (r#"{"shared":{"":{}}}"#, "\"\" is no name"),
        (r#"{"shared":{"a":1}}"#, "a is an object"),
        (r#"{"shared":{"a":{"_counter":1}}}"#, "a._counter: neither"),
        (r#"{"shared":{"a":{"1x_counter":1}}}"#, "a.1x_counter: neither"),
        (r#"{"shared":{"a":{"x_counter":-1}}}"#, "a.x_counter: neither"),
        (r#"{"shared":{"a":{"x_counter":1.0}}}"#, "a.x_counter: neither"),
        (r#"{"shared":{"a":{"x_set":[1.5]}}}"#, "a.x_set: neither"),
        (r#"{"shared":{"a":{"x_register":[1]}}}"#, "a.x_register: neither"),
        (r#"{"shared":{"a":{"x_register":["1",2]}}}"#, "a.x_register: neither"),
        (r#"{"shared":{"a":{"x":1}}}"#, "a.x: neither"),
        (r#"{"private":{"u":{"a":{"expires_in":"soon"}}}}"#, "a.expires_in is a duration"),
        (r#"{"private":{"u/1":{}}}"#, "\"u/1\" is no name"),
    ] {
        let error = Delta::parse(json.as_bytes()).expect_err(json).to_string();
        assert!(error.starts_with(reason), "{json}: {error}");
    }
    for json in ["{}", r#"{"shared":null,"private":null,"more":1}"#, r#"{"private":{"u:1":{"a.b":{}}}}"#] {
        Delta::parse(json.as_bytes()).unwrap_or_else(|error| panic!("{json}: {error}"));
    }
}

#[test]
fn values_are_written_as_swindon_writes_them() {
    let text = r#"{"shared":{"r1":{"m_counter":5,"s_set":["b","a",3,"b"],"x_register":[1,{"k":2.50,"a":1}]}}}"#;
    let delta = Delta::parse(text.as_bytes()).unwrap();
    let expected = r#"{"r1":{"m_counter":5,"s_set":[3,"a","b"],"x_register":[1.0,{"a":1,"k":2.5}]}}"#;
    assert_eq!(delta.shared.to_string(), expected);
}

/// What happens to a namespace.
#[derive(Clone, Debug)]
enum Op {
    Apply((State, BTreeMap<User, (State, Option<u8>)>)),
    Attach(User, u8),
    Detach(User, u8),
    Close(User, u8),
    EndSession(User),
    Wait(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => delta().prop_map(Op::Apply),
        3 => (user(), 0..2_u8).prop_map(|(user, number)| Op::Attach(user, number)),
        1 => (user(), 0..2_u8).prop_map(|(user, number)| Op::Detach(user, number)),
        1 => (user(), 0..2_u8).prop_map(|(user, number)| Op::Close(user, number)),
        1 => user().prop_map(Op::EndSession),
        2 => (0..40_u8).prop_map(Op::Wait),
    ]
}

/// A user, as slowly and plainly as it can be written down.
#[derive(Clone, Debug, Default)]
struct ModelUser {
    private: BTreeMap<Key, (Variables, Option<Duration>, Option<Instant>)>,
    is_present: bool,
    /// What each connection has been told, joined.
    conns: BTreeMap<u8, State>,
}

#[derive(Debug, Default)]
struct Model {
    shared: State,
    users: BTreeMap<User, ModelUser>,
}

impl Model {
    fn visible(&self, user: &User) -> State {
        let mut state = State::new();
        for (key, (variables, ..)) in self.users.get(user).map(|user| &user.private).into_iter().flatten() {
            let shared = self.shared.0.get(key).cloned().unwrap_or_default();
            state.0.insert(key.clone(), joined(variables, &shared));
        }
        state
    }

    fn drop_keys(&mut self, user: &User, which: impl Fn(&Key) -> bool) {
        let Some(owner) = self.users.get_mut(user) else { return };
        let gone: Vec<Key> = owner.private.keys().filter(|key| which(key)).cloned().collect();
        for key in gone {
            self.users.get_mut(user).unwrap().private.remove(&key);
            if !self.users.values().any(|user| user.private.contains_key(&key)) {
                self.shared.0.remove(&key);
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        for user in self.users.keys().cloned().collect::<Vec<_>>() {
            let private = self.users[&user].private.clone();
            self.drop_keys(&user, |key| private[key].2.is_some_and(|at| at <= now));
        }
    }

    fn bytes(&self) -> usize {
        let entry = |(key, (variables, ..)): (&Key, &(Variables, _, _))| key.len() + variables.bytes();
        self.shared.bytes() + self.users.values().flat_map(|user| &user.private).map(entry).sum::<usize>()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Every connection that joins what it is told always has exactly what its user sees, and nothing else.
    #[test]
    fn users_see_what_the_model_says(ops in prop::collection::vec(op(), 1..40)) {
        let limits = Limits { absent: Duration::from_secs(10), ..Limits::default() };
        let mut namespace = Namespace::<(&str, u8)>::new();
        let mut model = Model::default();
        let mut now = Instant::default();
        let names: BTreeMap<User, &'static str> = ["u1", "u2", "u3"].map(|name| (name.into(), name)).into();
        for op in ops {
            match op {
                Op::Apply(delta) => {
                    let (shared, users) = (model.shared.clone(), model.users.clone());
                    let updates = namespace.apply(now, Delta::parse(json(&delta).as_bytes()).unwrap(), &limits).unwrap();
                    model.shared.absorb(delta.0.clone());
                    for (user, (state, expires_in)) in &delta.1 {
                        let owner = model.users.entry(user.clone()).or_default();
                        let expires_in = expires_in.map(|seconds| Duration::from_secs(seconds.into()));
                        for (key, variables) in &state.0 {
                            let entry = owner.private.entry(key.clone()).or_default();
                            entry.0.absorb(variables.clone());
                            entry.1 = expires_in.or(entry.1);
                            entry.2 = (!owner.is_present).then(|| now + entry.1.unwrap_or(limits.absent));
                        }
                    }
                    let mut told = BTreeSet::new();
                    for update in updates {
                        prop_assert!(!update.to.is_empty());
                        for (user, number) in update.to {
                            prop_assert!(told.insert((user, number)), "told twice");
                            let visible = model.visible(&user.into());
                            let view = model.users.get_mut(user).and_then(|user| user.conns.get_mut(&number)).unwrap();
                            for (key, variables) in &update.state.0 {
                                prop_assert!(visible.0.contains_key(key), "{key} leaks to {user}");
                                // New to what is shared, or to what is the user's: not by chance known through the other.
                                let private = users.get(user).and_then(|user| user.private.get(key)).map(|entry| &entry.0);
                                let adds = |to: Option<&Variables>| to.is_none_or(|to| joined(to, variables) != *to);
                                let is_news = adds(private) || adds(shared.0.get(key));
                                prop_assert!(is_news, "{user} knew {key} {variables:?}");
                            }
                            view.absorb(update.state.clone());
                        }
                    }
                }
                Op::Attach(user, number) => {
                    let state = namespace.attach((names[&user], number), &user);
                    let owner = model.users.entry(user.clone()).or_default();
                    owner.is_present = true;
                    owner.private.values_mut().for_each(|entry| entry.2 = None);
                    owner.conns.insert(number, state.clone());
                    prop_assert_eq!(&state, &model.visible(&user));
                }
                Op::Detach(user, number) => {
                    namespace.detach((names[&user], number), &user);
                    let owner = model.users.entry(user.clone()).or_default();
                    if owner.conns.remove(&number).is_some() && owner.conns.is_empty() {
                        owner.is_present = false;
                        model.drop_keys(&user, |_| true);
                    }
                }
                Op::Close(user, number) => {
                    namespace.close((names[&user], number), &user);
                    model.users.entry(user).or_default().conns.remove(&number);
                }
                Op::EndSession(user) => {
                    namespace.end_session(now, &user);
                    let owner = model.users.entry(user).or_default();
                    owner.is_present = false;
                    owner.conns.clear();
                    owner.private.values_mut().for_each(|entry| entry.2 = Some(now + entry.1.unwrap_or_default()));
                    model.expire(now);
                }
                Op::Wait(seconds) => {
                    now = now + Duration::from_secs(seconds.into());
                    namespace.handle_timeout(now);
                    // Whoever has a session is never asked about: everything of theirs stays.
                    while let Some(user) = namespace.poll_unknown() {
                        namespace.find(&user, false);
                    }
                    model.expire(now);
                    prop_assert!(namespace.poll_timeout().is_none_or(|at| at > now));
                }
            }
            for (user, owner) in &model.users {
                let visible = model.visible(user);
                prop_assert_eq!(&namespace.visible(user), &visible);
                for view in owner.conns.values() {
                    prop_assert_eq!(view, &visible, "the view of {}", user);
                }
            }
            prop_assert_eq!(namespace.bytes(), model.bytes());
        }
    }
}

#[test]
fn a_full_namespace_refuses_and_keeps_what_it_has() {
    let limits = Limits { namespace_bytes: 1000, namespaces: 1, ..Limits::default() };
    let mut all = Namespaces::<u8>::new(limits);
    let (a, b) = (Name::new("a").unwrap(), Name::new("b").unwrap());
    let delta = |text: &str| Delta::parse(text.as_bytes()).unwrap();
    let text = r#"{"shared":{"k":{"s_set":["0123456789"]}},"private":{"u":{"k":{}}}}"#;
    all.attach(Instant::default(), &a, delta(text), 1, &"u".into()).unwrap();
    let large = format!(r#"{{"shared":{{"k":{{"x_register":[1,"{}"]}}}}}}"#, "x".repeat(1000));
    assert_eq!(all.apply(Instant::default(), &a, delta(&large)).unwrap_err().status(), 507);
    assert_eq!(all.apply(Instant::default(), &b, delta("{}")).unwrap_err().to_string(), "there are too many lattices");
    assert_eq!(all.get("a").unwrap().visible("u").to_string(), r#"{"k":{"s_set":["0123456789"]}}"#);
    all.detach(&a, 1, &"u".into());
    assert!(all.get("a").is_none(), "an empty lattice is not kept");
    all.apply(Instant::default(), &b, delta("{}")).unwrap();
}

#[test]
fn names_of_namespaces_have_no_colon() {
    for name in ["", "a:b", "a/b", "ä"] {
        assert_eq!(Name::new(name), None);
    }
    assert!(Name::new("swindon.user").unwrap().is_reserved());
    assert!(!Name::new("swindon").unwrap().is_reserved());
}

#[test]
fn an_empty_part_of_somebody_absent_leaves_nothing() {
    let mut all = Namespaces::<u8>::new(Limits::default());
    let name = Name::new("a").unwrap();
    let delta = Delta::parse(br#"{"private":{"u":{}}}"#).unwrap();
    all.apply(Instant::default(), &name, delta).unwrap();
    assert!(all.get("a").is_none_or(|namespace| namespace.is_empty()));
}
