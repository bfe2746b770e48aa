//! Everything that threads share, in every interleaving that loom can find: mailboxes, wake-ups, shutdown.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p brolly-conformance --release --test loom`; `LOOM_MAX_PREEMPTIONS` (3 unless
//! set) bounds how often a thread is interrupted. Each model has broken twins that differ in one order or one strength,
//! and must fail: a model that passes them too would prove nothing.
#![cfg(loom)]

fn holds(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(3);
    builder.check(model);
}

/// A test that passes if a model fails, and in the expected way. In a process of its own: loom may not survive it.
macro_rules! broken {
    ($name:ident, $how:expr, $model:expr) => {
        #[test]
        fn $name() {
            if std::env::var_os("BROLLY_LOOM_TWIN").is_some() {
                return $crate::holds($model);
            }
            let (_, test) = concat!(module_path!(), "::", stringify!($name)).split_once("::").unwrap();
            let this = std::env::current_exe().unwrap();
            let run = std::process::Command::new(this)
                .args(["--exact", test, "--nocapture"])
                .env("BROLLY_LOOM_TWIN", "1")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&run.stderr);
            assert!(!run.status.success(), "the broken twin passes the model");
            assert!(said.contains($how), "it failed in another way: {said}");
        }
    };
}

mod bitmap;
mod driver;
mod mailbox;
mod room;
mod shutdown;

const DEADLOCK: &str = "deadlock; threads =";
const RACE: &str = "Causality violation";
