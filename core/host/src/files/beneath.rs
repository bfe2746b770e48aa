//! Opening a path below a directory that is not left.

use brolly_core::config::Symlinks;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use std::path::{Component, Path};

/// Without O_NONBLOCK, opening a FIFO would wait for a writer.
const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// A directory, as the starting point of paths.
#[derive(Debug)]
pub(super) struct Root(OwnedFd);

impl Root {
    pub(super) fn open(path: &str) -> Result<Self, Errno> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        #[cfg(target_os = "linux")]
        let flags = flags | OFlags::PATH;
        openat(CWD, path, flags, Mode::empty()).map(Self)
    }

    /// Opens `path`, whose components are normal, for reading. What would lead out is an error.
    pub(super) fn open_beneath(&self, path: &str, symlinks: Symlinks) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { "." } else { path };
        if symlinks == Symlinks::Anywhere {
            return match is_normal(path) {
                true => openat(&self.0, path, FLAGS, Mode::empty()),
                false => Err(Errno::XDEV),
            };
        }
        #[cfg(target_os = "linux")]
        match by_kernel(&self.0, path, symlinks) {
            // An old kernel, or a sandbox that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => {}
            opened => return opened,
        }
        by_component(&self.0, path)
    }
}

/// Whether all components are names.
fn is_normal(path: &str) -> bool {
    Path::new(path).components().all(|component| matches!(component, Component::Normal(_) | Component::CurDir))
}

/// Symbolic links are followed as long as they stay below `root`, or not at all.
#[cfg(target_os = "linux")]
fn by_kernel(root: &OwnedFd, path: &str, symlinks: Symlinks) -> Result<OwnedFd, Errno> {
    use rustix::fs::{ResolveFlags, openat2};
    let resolve = match symlinks {
        Symlinks::Never => ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS,
        Symlinks::Inside | Symlinks::Anywhere => ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
    };
    let mut attempts = 3;
    loop {
        match openat2(root, path, FLAGS, Mode::empty(), resolve) {
            // Something was renamed meanwhile, so that the kernel cannot be sure.
            Err(Errno::AGAIN | Errno::INTR) if attempts > 0 => attempts -= 1,
            Err(Errno::AGAIN) => return Err(Errno::NOENT),
            opened => return opened,
        }
    }
}

/// Where the kernel does not help: symbolic links are not followed at all.
fn by_component(root: &OwnedFd, path: &str) -> Result<OwnedFd, Errno> {
    let mut components = Path::new(path).components().filter(|component| *component != Component::CurDir).peekable();
    if components.peek().is_none() {
        return openat(root, ".", FLAGS, Mode::empty());
    }
    let mut at: Option<OwnedFd> = None;
    while let Some(component) = components.next() {
        let Component::Normal(name) = component else { return Err(Errno::XDEV) };
        let must_be_directory = components.peek().is_some() || path.ends_with('/');
        let kind = if must_be_directory { OFlags::DIRECTORY } else { OFlags::empty() };
        let from = at.as_ref().map_or(root.as_fd(), OwnedFd::as_fd);
        at = Some(openat(from, name, FLAGS | OFlags::NOFOLLOW | kind, Mode::empty())?);
    }
    at.ok_or(Errno::NOENT)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Scratch;
    use super::*;
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    fn read(path: &str, opened: Result<OwnedFd, Errno>) -> String {
        let mut text = String::new();
        match opened {
            Ok(file) => File::from(file).read_to_string(&mut text).unwrap_or_else(|error| panic!("{path}: {error}")),
            Err(_) => return "-".into(),
        };
        text
    }

    #[test]
    fn nothing_leads_out() {
        let scratch = Scratch::new("beneath");
        scratch.write("secret", b"secret");
        scratch.write("root/public", b"public");
        let at = |name: &str| scratch.path(name);
        symlink("../secret", at("root/out")).unwrap();
        symlink(at("secret"), at("root/absolute")).unwrap();
        symlink("..", at("root/up")).unwrap();
        symlink("/", at("root/slash")).unwrap();
        symlink("loop", at("root/loop")).unwrap();
        symlink("/proc/self/cwd", at("root/magic")).unwrap();
        let absolute = at("secret");
        let root = Root::open(&scratch.root()).unwrap();
        for path in [
            "../secret",
            "sub/../../secret",
            absolute.to_str().unwrap(),
            "out",
            "absolute",
            "up/secret",
            "slash/etc/passwd",
            "loop",
            "magic",
            "public\0",
            "sub\0/x",
            "public/",
            "public/x",
            "missing",
            "..",
            "sub/..\\..\\secret",
            "%2e%2e/secret",
        ] {
            for symlinks in [Symlinks::Never, Symlinks::Inside] {
                assert!(root.open_beneath(path, symlinks).is_err(), "{path} {symlinks:?}");
            }
            assert!(by_component(&root.0, path).is_err(), "{path}");
        }
        assert!(root.open_beneath(&"x".repeat(5000), Symlinks::Inside).is_err());
    }

    #[test]
    fn links_lead_as_far_as_they_may() {
        let scratch = Scratch::new("links");
        scratch.write("outside", b"outside");
        scratch.write("root/sub/file", b"here");
        symlink("sub/file", scratch.path("root/in")).unwrap();
        symlink("../outside", scratch.path("root/out")).unwrap();
        let root = Root::open(&scratch.root()).unwrap();
        for (path, never, inside, anywhere) in [
            ("sub/file", "here", "here", "here"),
            ("./sub/./file", "here", "here", "here"),
            ("in", "-", "here", "here"),
            ("out", "-", "-", "outside"),
            ("../outside", "-", "-", "-"),
            ("sub/../../outside", "-", "-", "-"),
        ] {
            let with = |symlinks| read(path, root.open_beneath(path, symlinks));
            assert_eq!(with(Symlinks::Never), never, "{path}");
            // Before Linux 5.6 links inside are not followed either.
            assert_eq!(with(Symlinks::Inside), inside, "{path}");
            assert_eq!(with(Symlinks::Anywhere), anywhere, "{path}");
            assert_eq!(read(path, by_component(&root.0, path)), never, "{path}");
        }
    }
}
