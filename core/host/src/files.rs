//! Files for the core: opened below a directory that cannot be left, read in pieces. Blocking.

use crate::io;
use brolly_core::shard::{Completion, FileId, IoError};
use brolly_core::time::UnixTime;
use bytes::Bytes;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// How much of a file comes with its opening (bytes): most files are smaller, and need neither a read nor a close.
const FIRST_BYTES: u64 = 64 * 1024;

/// The files that are open, for all threads. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Files(Arc<Table>);

#[derive(Debug, Default)]
struct Table {
    open: Mutex<HashMap<FileId, Arc<File>>>,
    last: AtomicU64,
}

impl Files {
    /// Opens `path`, whose components are normal, below `root`, without following anything out of it. Says that it is a
    /// directory, or reads its beginning; the file stays open only if there is more.
    ///
    /// # Errors
    /// [`IoError::NotFound`] also for what is neither a file nor a directory, and for what is outside.
    pub fn open(&self, root: &str, path: &str) -> Result<Completion, IoError> {
        let file = File::from(open_beneath(root, path).map_err(failed)?);
        let metadata = file.metadata().map_err(|error| io::error(&error))?;
        if metadata.is_dir() {
            return Ok(Completion::Directory);
        }
        if !metadata.is_file() {
            return Err(IoError::NotFound);
        }
        let size = metadata.len();
        let first = read_at(&file, 0, size.min(FIRST_BYTES))?;
        let modified = modified(&metadata);
        if (first.len() as u64) < FIRST_BYTES.min(size) || size <= FIRST_BYTES {
            // If it was shortened since it was measured, what was read is all.
            return Ok(Completion::Opened { file: None, len: first.len() as u64, modified, first });
        }
        let id = FileId(self.0.last.fetch_add(1, Ordering::Relaxed));
        self.table().insert(id, Arc::new(file));
        Ok(Completion::Opened { file: Some(id), len: size, modified, first })
    }

    /// Reads up to `len` bytes from `offset` on; fewer only at the end of the file.
    ///
    /// # Errors
    /// The file is not open, or the disk fails.
    pub fn read(&self, file: FileId, offset: u64, len: u32) -> Result<Completion, IoError> {
        let file = self.table().get(&file).cloned().ok_or(IoError::NotFound)?;
        read_at(&file, offset, len.into()).map(Completion::Read)
    }

    /// Closes a file, once the reads that have begun are done.
    pub fn close(&self, file: FileId) {
        self.table().remove(&file);
    }

    /// How many files are open.
    pub fn len(&self) -> usize {
        self.table().len()
    }

    /// Whether no file is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn table(&self) -> MutexGuard<'_, HashMap<FileId, Arc<File>>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 1970 if nobody knows, or before.
fn modified(metadata: &Metadata) -> UnixTime {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    UnixTime::from_millis(since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
}

fn read_at(file: &File, offset: u64, len: u64) -> Result<Bytes, IoError> {
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| IoError::Other)?];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(io::error(&error)),
        }
    }
    bytes.truncate(filled);
    Ok(bytes.into())
}

fn failed(errno: Errno) -> IoError {
    match errno {
        // The names are wrong, or they lead out, or to something that is not to be opened.
        Errno::NOTDIR | Errno::NAMETOOLONG | Errno::INVAL | Errno::LOOP | Errno::XDEV | Errno::NXIO | Errno::ILSEQ => {
            IoError::NotFound
        }
        _ => io::error(&errno.into()),
    }
}

/// Without O_NONBLOCK, opening a FIFO would wait for a writer.
const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

fn open_beneath(root: &str, path: &str) -> Result<OwnedFd, Errno> {
    let directory = OFlags::DIRECTORY | OFlags::CLOEXEC;
    #[cfg(target_os = "linux")]
    let directory = directory | OFlags::PATH;
    let root = openat(CWD, root, directory, Mode::empty())?;
    let path = if path.is_empty() { "." } else { path };
    #[cfg(target_os = "linux")]
    match by_kernel(&root, path) {
        // An old kernel, or a sandbox that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => {}
        opened => return opened,
    }
    by_component(root, path)
}

/// Symbolic links are followed as long as they stay below `root`.
#[cfg(target_os = "linux")]
fn by_kernel(root: &OwnedFd, path: &str) -> Result<OwnedFd, Errno> {
    use rustix::fs::{ResolveFlags, openat2};
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
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
fn by_component(root: OwnedFd, path: &str) -> Result<OwnedFd, Errno> {
    let mut components = Path::new(path).components().filter(|component| *component != Component::CurDir).peekable();
    if components.peek().is_none() {
        return openat(&root, ".", FLAGS, Mode::empty());
    }
    let mut at = root;
    while let Some(component) = components.next() {
        let Component::Normal(name) = component else { return Err(Errno::XDEV) };
        let must_be_directory = components.peek().is_some() || path.ends_with('/');
        let kind = if must_be_directory { OFlags::DIRECTORY } else { OFlags::empty() };
        at = openat(&at, name, FLAGS | OFlags::NOFOLLOW | kind, Mode::empty())?;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::FileType;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::time::Duration;

    /// A directory that is removed with everything in it.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("brolly-{}-{name}", std::process::id()));
            fs::create_dir_all(path.join("root/sub")).unwrap();
            Self(path)
        }

        fn root(&self) -> String {
            self.0.join("root").to_str().unwrap().into()
        }

        fn write(&self, name: &str, content: &[u8]) {
            fs::write(self.0.join(name), content).unwrap();
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn open_first(root: &str, path: &str) -> Result<Bytes, IoError> {
        match Files::default().open(root, path) {
            Ok(Completion::Opened { file: None, len, first, .. }) if len == first.len() as u64 => Ok(first),
            Err(error) => Err(error),
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn small_files_come_whole_and_large_ones_in_pieces() {
        let scratch = Scratch::new("sizes");
        scratch.write("root/empty", b"");
        scratch.write("root/sub/small", b"small");
        let large: Vec<_> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
        scratch.write("root/large", &large);
        scratch.write("root/edge", &large[..65_536]);
        let (files, root) = (Files::default(), scratch.root());
        assert_eq!(open_first(&root, "empty"), Ok(Bytes::new()));
        assert_eq!(open_first(&root, "sub/small"), Ok(Bytes::from_static(b"small")));
        assert_eq!(open_first(&root, "edge").unwrap(), large[..65_536]);
        assert!(files.is_empty());
        let Ok(Completion::Opened { file: Some(file), len, first, modified }) = files.open(&root, "large") else {
            panic!("not open");
        };
        assert_eq!((len, &first[..]), (200_000, &large[..65_536]));
        let age = SystemTime::UNIX_EPOCH + Duration::from_millis(modified.as_millis());
        assert!(age.elapsed().unwrap_or_default() < Duration::from_secs(60));
        let piece = |offset, len| match files.read(file, offset, len) {
            Ok(Completion::Read(bytes)) => bytes,
            other => panic!("{other:?}"),
        };
        assert_eq!(piece(65_536, 65_536), large[65_536..131_072]);
        assert_eq!(piece(199_990, 65_536), large[199_990..]);
        assert_eq!(piece(200_000, 1), Bytes::new());
        files.close(file);
        assert_eq!(files.read(file, 0, 1), Err(IoError::NotFound));
        assert!(files.is_empty());
    }

    #[test]
    fn nothing_leads_out() {
        let scratch = Scratch::new("beneath");
        scratch.write("secret", b"secret");
        scratch.write("root/public", b"public");
        let root = PathBuf::from(scratch.root());
        symlink("../secret", root.join("out")).unwrap();
        symlink(scratch.0.join("secret"), root.join("absolute")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("/", root.join("slash")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("/proc/self/cwd", root.join("magic")).unwrap();
        let absolute = scratch.0.join("secret");
        let absolute = absolute.to_str().unwrap();
        for path in [
            "../secret",
            "sub/../../secret",
            absolute,
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
            assert_eq!(open_first(&scratch.root(), path), Err(IoError::NotFound), "{path}");
            let root = openat(CWD, &*scratch.root(), OFlags::DIRECTORY, Mode::empty()).unwrap();
            assert!(by_component(root, path).is_err(), "{path}");
        }
        assert_eq!(open_first(&scratch.root(), &"x".repeat(5000)), Err(IoError::NotFound));
    }

    #[test]
    fn a_link_inside_is_followed_by_the_kernel_alone() {
        let scratch = Scratch::new("inside");
        scratch.write("root/sub/file", b"here");
        symlink("sub/file", scratch.0.join("root/link")).unwrap();
        let root = || openat(CWD, &*scratch.root(), OFlags::DIRECTORY, Mode::empty()).unwrap();
        assert!(by_component(root(), "link").is_err());
        for path in ["sub/file", "./sub/./file"] {
            let file = File::from(by_component(root(), path).unwrap());
            assert_eq!(read_at(&file, 0, 9).unwrap(), b"here"[..]);
        }
        for path in ["", "sub", "sub/"] {
            assert!(by_component(root(), path).is_ok());
            assert_eq!(Files::default().open(&scratch.root(), path), Ok(Completion::Directory));
        }
        // Before Linux 5.6 the next line would say NotFound.
        assert_eq!(open_first(&scratch.root(), "link").unwrap(), b"here"[..]);
    }

    #[test]
    fn what_is_not_a_file_is_not_found_and_does_not_block() {
        let scratch = Scratch::new("kinds");
        let path = |name: &str| scratch.0.join("root").join(name);
        rustix::fs::mknodat(CWD, path("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        for name in ["fifo", "socket"] {
            assert_eq!(open_first(&scratch.root(), name), Err(IoError::NotFound), "{name}");
        }
        assert_eq!(open_first("/nonexistent", "x"), Err(IoError::NotFound));
        assert_eq!(open_first(path("fifo").to_str().unwrap(), "x"), Err(IoError::NotFound));
    }
}
