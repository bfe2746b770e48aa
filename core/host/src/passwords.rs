//! Users and the hashes of their passwords, from files like those of `htpasswd`: one `user:hash` in a line. Read at the
//! start and again on HUP; verified on threads that may block, because a good hash is slow.

use crate::failure::Failure;
use crate::io::reason;
use argon2::password_hash::phc;
use argon2::{Argon2, PasswordVerifier};
use brolly_core::shard::{Completion, IoError};
use hmac::{Hmac, KeyInit, Mac};
use sha_crypt::ShaCrypt;
use sha2::Sha256;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use std::{fs, iter};

/// How long a password that was verified needs no verification: a page and what belongs to it.
const VERIFIED_FOR: Duration = Duration::from_secs(60);
/// How many of them are remembered. Beyond: all are forgotten, and verified again.
const VERIFIED: usize = 4096;

/// All password files, for all threads. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Passwords(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    files: RwLock<BTreeMap<Arc<str>, Users>>,
    /// For names of verified passwords from which nothing can be learned.
    key: [u8; 32],
    verified: Mutex<HashMap<[u8; 32], Instant>>,
}

/// What stands in one file.
#[derive(Clone, Debug)]
pub(crate) struct Users {
    hashes: BTreeMap<Box<str>, Hash>,
    /// Verified for those who are not there, so that it takes as long.
    decoy: Hash,
}

#[derive(Clone, Debug)]
enum Hash {
    Argon2(Box<str>),
    Bcrypt(Box<str>),
    Sha(Box<str>),
}

impl Passwords {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them cannot be read, or has a mistake in it.
    pub fn open<'p>(paths: impl IntoIterator<Item = &'p Arc<str>>) -> Result<Self, Failure> {
        let users = |path: &Arc<str>| Ok((path.clone(), Users::read(path)?));
        let files = paths.into_iter().map(users).collect::<Result<_, String>>().map_err(Failure::new)?;
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| Failure::new(format!("the system has no random bytes: {error}")))?;
        Ok(Self(Arc::new(Shared { files: RwLock::new(files), key, verified: Mutex::default() })))
    }

    /// Goes on with these files: reads those that are new, forgets all others.
    ///
    /// # Errors
    /// See [`open`](Self::open); nothing is changed then.
    pub(crate) fn keep(&self, paths: &[Arc<str>]) -> Result<(), Failure> {
        let known = self.0.files.read().unwrap_or_else(PoisonError::into_inner).clone();
        let users = |path: &Arc<str>| match known.get(path) {
            Some(users) => Ok((Arc::clone(path), users.clone())),
            None => Ok((Arc::clone(path), Users::read(path)?)),
        };
        let files = paths.iter().map(users).collect::<Result<_, String>>().map_err(Failure::new)?;
        *self.0.files.write().unwrap_or_else(PoisonError::into_inner) = files;
        Ok(())
    }

    /// Reads the files again; says what is wrong. A file with a mistake leaves what was known.
    pub fn reload(&self) -> Vec<String> {
        let paths: Vec<_> = self.0.files.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        let mut mistakes = Vec::new();
        for path in paths {
            match Users::read(&path) {
                Ok(users) => {
                    self.0.files.write().unwrap_or_else(PoisonError::into_inner).insert(path, users);
                }
                Err(mistake) => mistakes.push(mistake),
            }
        }
        mistakes
    }

    /// Whether this is the password of this user. Blocking.
    ///
    /// # Errors
    /// There is no such file.
    pub(crate) fn verify(&self, file: &str, user: &str, password: &str) -> Result<Completion, IoError> {
        let (hash, is_known) = {
            let files = self.0.files.read().unwrap_or_else(PoisonError::into_inner);
            let users = files.get(file).ok_or(IoError::NotFound)?;
            users.hashes.get(user).map_or_else(|| (users.decoy.clone(), false), |hash| (hash.clone(), true))
        };
        let name = self.name(hash.text(), password);
        if is_known && self.verified().get(&name).is_some_and(|at| at.elapsed() < VERIFIED_FOR) {
            return Ok(Completion::Verified(true));
        }
        let is_right = hash.verify(password) && is_known;
        if is_right {
            let mut verified = self.verified();
            if verified.len() >= VERIFIED {
                verified.clear();
            }
            verified.insert(name, Instant::now());
        }
        Ok(Completion::Verified(is_right))
    }

    /// Names a password and the hash that it fits: another hash, another name.
    fn name(&self, hash: &str, password: &str) -> [u8; 32] {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0.key) else { return [0; 32] };
        mac.update(hash.as_bytes());
        mac.update(&[0]);
        mac.update(password.as_bytes());
        mac.finalize().into_bytes().into()
    }

    fn verified(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Instant>> {
        self.0.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Users {
    /// Reads a file. The error names it, and the line.
    pub(crate) fn read(path: &str) -> Result<Self, String> {
        let text = fs::read_to_string(Path::new(path)).map_err(|error| format!("{path}: {}", reason(&error)))?;
        let mut hashes = BTreeMap::new();
        for (line, text) in iter::zip(1.., text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let wrong = |what: &str| format!("{path}:{line}: {what}");
            let (user, hash) = text.split_once(':').ok_or_else(|| wrong("write `user:hash`"))?;
            let hash = Hash::parse(hash).map_err(|what| wrong(&what))?;
            if user.is_empty() || user.contains(char::is_control) {
                return Err(wrong("the name of the user is empty or has control characters"));
            }
            if hashes.insert(user.into(), hash).is_some() {
                return Err(wrong(&format!("`{user}` is there twice; remove one")));
            }
        }
        let decoy = hashes.values().next().cloned();
        let decoy = decoy.ok_or_else(|| format!("{path} has no users; add one with `htpasswd -B {path} USER`"))?;
        Ok(Self { hashes, decoy })
    }
}

impl Hash {
    fn parse(text: &str) -> Result<Self, String> {
        let kind = |name: &str| text.starts_with(name);
        let anew = "make it anew with `htpasswd -B`";
        if kind("$2y$") || kind("$2b$") || kind("$2a$") {
            let is_right = text.parse::<bcrypt::HashParts>().is_ok();
            return is_right
                .then(|| Self::Bcrypt(text.into()))
                .ok_or_else(|| format!("not a whole bcrypt hash; {anew}"));
        }
        if kind("$5$") || kind("$6$") {
            let length = if kind("$5$") { 43 } else { 86 };
            let is_whole = text.rsplit('$').next().is_some_and(|hash| hash.len() == length);
            let is_right = is_whole && sha_crypt::PasswordHash::new(text).is_ok();
            return is_right
                .then(|| Self::Sha(text.into()))
                .ok_or_else(|| format!("not a whole SHA-crypt hash; {anew}"));
        }
        if kind("$argon2id$") {
            let is_right = phc::PasswordHash::new(text).is_ok_and(|hash| hash.hash.is_some());
            return is_right
                .then(|| Self::Argon2(text.into()))
                .ok_or_else(|| format!("not a whole Argon2 hash; {anew}"));
        }
        let what = match text {
            "" => "there is no hash",
            _ if kind("$apr1$") || kind("$1$") => "this is an MD5 hash: too fast, so that passwords can be guessed",
            _ if kind("{SHA}") => "this is a SHA-1 hash without salt: too fast, so that passwords can be guessed",
            _ => "this is a password in plain text, or a hash of a kind that is not known",
        };
        Err(format!("{what}; {anew} (bcrypt), or use SHA-crypt ($5$, $6$) or Argon2 ($argon2id$)"))
    }

    fn text(&self) -> &str {
        match self {
            Self::Argon2(text) | Self::Bcrypt(text) | Self::Sha(text) => text,
        }
    }

    /// The comparison takes the same time whatever differs.
    fn verify(&self, password: &str) -> bool {
        match self {
            Self::Argon2(text) => Argon2::default().verify_password(password.as_bytes(), &**text).is_ok(),
            Self::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
            Self::Sha(text) => ShaCrypt::default().verify_password(password.as_bytes(), &**text).is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA_512: &str =
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
    const SHA_256: &str = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";

    struct Scratch(std::path::PathBuf);

    impl Scratch {
        fn new(name: &str, text: &str) -> Self {
            let path = std::env::temp_dir().join(format!("brolly-{}-{name}", std::process::id()));
            fs::write(&path, text).unwrap();
            Self(path)
        }

        fn path(&self) -> Arc<str> {
            self.0.to_str().unwrap().into()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn bcrypt(password: &str) -> String {
        bcrypt::hash_with_result(password, 4).unwrap().format_for_version(bcrypt::Version::TwoY)
    }

    fn argon2(password: &str) -> String {
        use argon2::{Algorithm, Params, PasswordHasher, Version};
        let quick = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap());
        quick.hash_password(password.as_bytes()).unwrap().to_string()
    }

    #[test]
    fn every_kind_of_hash_is_verified_and_remembered() {
        let text = format!(
            "# users\n\nann:{}\nbob:{}\ncid:{SHA_512}\ndan:{SHA_256}\n",
            bcrypt("open sesame"),
            argon2("geheim")
        );
        let file = Scratch::new("users", &text);
        let passwords = Passwords::open([&file.path()]).unwrap();
        let verify = |user: &str, password: &str| passwords.verify(&file.path(), user, password);
        for (user, password) in
            [("ann", "open sesame"), ("bob", "geheim"), ("cid", "Hello world!"), ("dan", "Hello world!")]
        {
            // The second time from memory.
            for _ in 0..2 {
                assert_eq!(verify(user, password), Ok(Completion::Verified(true)), "{user}");
            }
            assert_eq!(verify(user, &format!("{password} ")), Ok(Completion::Verified(false)), "{user}");
            assert_eq!(verify("nobody", password), Ok(Completion::Verified(false)));
        }
        assert_eq!(passwords.verified().len(), 4);
        assert_eq!(passwords.verify("/other", "ann", ""), Err(IoError::NotFound));
        // A new password at once, a mistake not at all.
        fs::write(&file.0, format!("ann:{}\n", bcrypt("new"))).unwrap();
        assert_eq!(passwords.reload(), [""; 0]);
        assert_eq!(verify("ann", "open sesame"), Ok(Completion::Verified(false)));
        assert_eq!(verify("ann", "new"), Ok(Completion::Verified(true)));
        fs::write(&file.0, "ann:new\n").unwrap();
        assert_eq!(passwords.reload().len(), 1);
        assert_eq!(verify("ann", "new"), Ok(Completion::Verified(true)));
    }

    #[test]
    fn weak_hashes_and_mistakes_have_a_line_and_say_what_to_do() {
        let kinds = "make it anew with `htpasswd -B` (bcrypt), or use SHA-crypt ($5$, $6$) or Argon2 ($argon2id$)";
        for (text, message) in [
            ("a:$apr1$x$y", format!(":1: this is an MD5 hash: too fast, so that passwords can be guessed; {kinds}")),
            (
                "\na:{SHA}x",
                format!(":2: this is a SHA-1 hash without salt: too fast, so that passwords can be guessed; {kinds}"),
            ),
            ("a:b", format!(":1: this is a password in plain text, or a hash of a kind that is not known; {kinds}")),
            ("a:", format!(":1: there is no hash; {kinds}")),
            ("a", ":1: write `user:hash`".into()),
            ("a:$2y$10$x", ":1: not a whole bcrypt hash; make it anew with `htpasswd -B`".into()),
            ("a:$6$salt$x", ":1: not a whole SHA-crypt hash; make it anew with `htpasswd -B`".into()),
            ("a:$argon2id$x", ":1: not a whole Argon2 hash; make it anew with `htpasswd -B`".into()),
            (&format!("a:{SHA_256}\na:{SHA_256}"), ":2: `a` is there twice; remove one".into()),
        ] {
            let file = Scratch::new("wrong", text);
            assert_eq!(Users::read(&file.path()).unwrap_err(), format!("{}{message}", file.path()));
        }
        let file = Scratch::new("wrong", "# nobody\n");
        let message = format!("{0} has no users; add one with `htpasswd -B {0} USER`", file.path());
        assert_eq!(Passwords::open([&file.path()]).unwrap_err().to_string(), message);
    }
}
