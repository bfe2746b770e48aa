//! Files for the core: opened below a directory that cannot be left, read in pieces. Blocking.

mod beneath;
mod compress;
mod directory;

use crate::io;
use beneath::Root;
use brolly_core::config::{self, Coding};
use brolly_core::handler::files::media_type::{matches, media_type};
use brolly_core::handler::files::{Codings, Stamp};
use brolly_core::shard::{Completion, FileId, FileRequest, IoError, Opened};
use brolly_core::time::UnixTime;
use bytes::Bytes;
use compress::{Turns, compress};
use rustix::fs::{Advice, fadvise};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, MetadataExt};
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
    turns: Turns,
}

/// The kernel reads ahead so much at least when something new is touched (bytes).
const READ_AHEAD: usize = 128 * 1024;

/// A regular file that was found.
struct Found {
    file: File,
    stamp: Stamp,
}

impl Files {
    /// Opens a file, or its sibling or a compressed form of it that suits the client better; or says that it is a
    /// directory. The file stays open only if there is more of it than its beginning.
    ///
    /// # Errors
    /// [`IoError::NotFound`] also for what is neither a file nor a directory, and for what is outside.
    pub fn open(&self, request: &FileRequest) -> Result<Completion, IoError> {
        let FileRequest { files, path, accepted, known } = request;
        let root = Root::open(&files.root).map_err(failed)?;
        let Some(plain) = find(&root, files, path)? else { return Ok(Completion::Directory) };
        let (mut available, mut siblings) = (Codings::default(), Vec::new());
        for coding in files.precompressed.iter().copied() {
            if let Ok(Some(sibling)) = find(&root, files, &[path, coding.suffix()].concat()) {
                available.insert(coding);
                siblings.push((coding, sibling));
            }
        }
        let compress = files.compress.as_ref().filter(|compress| {
            let mut types = compress.types.iter();
            (compress.from..=compress.to).contains(&plain.stamp.len)
                && types.any(|pattern| matches(pattern, media_type(path)))
        });
        compress.iter().flat_map(|compress| &compress.codings).for_each(|coding| available.insert(*coding));

        let coding = accepted.choose(available, files.codings());
        let (coding, found) = match siblings.into_iter().find(|(sibling, _)| *sibling == coding) {
            Some((coding, sibling)) => (coding, sibling),
            None if coding == Coding::Identity => (coding, plain),
            None if *known == Some((coding, plain.stamp)) => return Ok(Completion::Unchanged { available }),
            None => match self.make(coding, &plain)? {
                Some(first) => {
                    let stamp = plain.stamp;
                    return Ok(Completion::Opened(Opened {
                        file: None,
                        stamp,
                        first,
                        coding,
                        is_made: true,
                        available,
                    }));
                }
                None => (Coding::Identity, plain),
            },
        };
        if *known == Some((coding, found.stamp)) {
            return Ok(Completion::Unchanged { available });
        }
        self.begin(coding, found, available).map(Completion::Opened)
    }

    /// Reads the beginning of a file, and keeps it open if there is more.
    fn begin(&self, coding: Coding, Found { file, mut stamp }: Found, available: Codings) -> Result<Opened, IoError> {
        let first = read_at(&file, 0, stamp.len.min(FIRST_BYTES))?;
        let is_short = (first.len() as u64) < stamp.len.min(FIRST_BYTES);
        if is_short || stamp.len <= FIRST_BYTES {
            // If it was shortened since it was measured, what was read is all.
            stamp.len = first.len() as u64;
            return Ok(Opened { coding, available, ..Opened::new(None, stamp, first) });
        }
        let id = FileId(self.0.last.fetch_add(1, Ordering::Relaxed));
        self.table().insert(id, Arc::new(file));
        Ok(Opened { coding, available, ..Opened::new(Some(id), stamp, first) })
    }

    /// A compressed form of a file; `None` if it is better sent as it is.
    fn make(&self, coding: Coding, plain: &Found) -> Result<Option<Bytes>, IoError> {
        let Some(_turn) = self.0.turns.take() else { return Ok(None) };
        let made = compress(coding, &plain.file, plain.stamp.len).map_err(|error| io::error(&error))?;
        Ok(made.map(Into::into))
    }

    /// Looks into a directory, at up to `limit` entries.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn list(&self, files: &config::Files, path: &str, limit: usize) -> Result<Completion, IoError> {
        directory::list(files, path, limit).map(Completion::Listed)
    }

    /// Reads up to `len` bytes from `offset` on; fewer only at the end of the file.
    ///
    /// # Errors
    /// The file is not open, or the disk fails.
    pub fn read(&self, file: FileId, offset: u64, len: u32) -> Result<Completion, IoError> {
        let file = self.table().get(&file).cloned().ok_or(IoError::NotFound)?;
        read_at(&file, offset, len.into()).map(Completion::Read)
    }

    /// Brings a piece of a file into memory: whoever writes it next waits for no disk, unless it is evicted at once.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn prefetch(&self, file: FileId, offset: u64, len: u64) -> Result<Completion, IoError> {
        let file = self.get(file).ok_or(IoError::NotFound)?;
        // It may not be heeded; what counts is that each stretch was touched.
        let _ = fadvise(&file, offset, NonZeroU64::new(len), Advice::WillNeed);
        let end = offset.saturating_add(len);
        for at in (offset..end).step_by(READ_AHEAD).chain([end.saturating_sub(1)]) {
            file.read_at(&mut [0], at).map_err(|error| io::error(&error))?;
        }
        Ok(Completion::Prefetched)
    }

    /// An open file.
    pub fn get(&self, file: FileId) -> Option<Arc<File>> {
        self.table().get(&file).cloned()
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

/// Opens a regular file; `None` if it is a directory.
fn find(root: &Root, files: &config::Files, path: &str) -> Result<Option<Found>, IoError> {
    let file = File::from(root.open_beneath(path, files.symlinks).map_err(failed)?);
    let metadata = file.metadata().map_err(|error| io::error(&error))?;
    if metadata.is_dir() {
        return Ok(None);
    }
    if !metadata.is_file() {
        return Err(IoError::NotFound);
    }
    let changed =
        metadata.ctime().cast_unsigned().wrapping_mul(1_000_000_000).wrapping_add_signed(metadata.ctime_nsec());
    let identity = [metadata.dev(), metadata.ino(), changed];
    let stamp = Stamp { len: metadata.len(), modified: modified(&metadata), identity };
    Ok(Some(Found { file, stamp }))
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

#[cfg(test)]
mod tests {
    use super::*;
    use brolly_core::config::Compress;
    use brolly_core::handler::files::AcceptEncoding;
    use brolly_core::http1::{Limits, Part, RequestDecoder};
    use rustix::fs::{CWD, FileType, Mode};
    use std::fs;
    use std::path::PathBuf;
    use std::time::Duration;

    /// A directory that is removed with everything in it.
    pub(super) struct Scratch(PathBuf);

    impl Scratch {
        pub(super) fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("brolly-{}-{name}", std::process::id()));
            fs::create_dir_all(path.join("root/sub")).unwrap();
            Self(path)
        }

        pub(super) fn root(&self) -> String {
            self.path("root").to_str().unwrap().into()
        }

        pub(super) fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        pub(super) fn write(&self, name: &str, content: &[u8]) {
            fs::write(self.0.join(name), content).unwrap();
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn accepted(codings: &str) -> AcceptEncoding {
        let request = format!("GET / HTTP/1.1\r\nhost: x\r\naccept-encoding: {codings}\r\n\r\n");
        match RequestDecoder::new(Limits::default()).decode(request.as_bytes()).unwrap() {
            (_, Some(Part::Head(head, _))) => AcceptEncoding::new(&head.fields),
            other => panic!("{other:?}"),
        }
    }

    fn request(files: &config::Files, path: &str, codings: &str) -> FileRequest {
        FileRequest { files: Arc::new(files.clone()), path: path.into(), accepted: accepted(codings), known: None }
    }

    fn open_first(root: &str, path: &str) -> Result<Bytes, IoError> {
        match Files::default().open(&request(&config::Files::new(root), path, "")) {
            Ok(Completion::Opened(Opened { file: None, stamp, first, .. })) if stamp.len == first.len() as u64 => {
                Ok(first)
            }
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
        let Ok(Completion::Opened(Opened { file: Some(file), stamp, first, .. })) =
            files.open(&request(&config::Files::new(&root), "large", ""))
        else {
            panic!("not open");
        };
        assert_eq!((stamp.len, &first[..]), (200_000, &large[..65_536]));
        let age = SystemTime::UNIX_EPOCH + Duration::from_millis(stamp.modified.as_millis());
        assert!(age.elapsed().unwrap_or_default() < Duration::from_secs(60));
        let piece = |offset, len| match files.read(file, offset, len) {
            Ok(Completion::Read(bytes)) => bytes,
            other => panic!("{other:?}"),
        };
        assert_eq!(piece(65_536, 65_536), large[65_536..131_072]);
        // What was opened stays what it was.
        scratch.write("other", b"other");
        fs::rename(scratch.path("other"), scratch.path("root/large")).unwrap();
        assert_eq!(piece(199_990, 65_536), large[199_990..]);
        assert_eq!(piece(200_000, 1), Bytes::new());
        files.close(file);
        assert_eq!(files.read(file, 0, 1), Err(IoError::NotFound));
        assert!(files.is_empty());
    }

    #[test]
    fn what_is_not_a_file_is_not_found_and_does_not_block() {
        let scratch = Scratch::new("kinds");
        let path = |name: &str| scratch.path("root").join(name);
        rustix::fs::mknodat(CWD, path("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        for name in ["fifo", "socket", "sub/../../root", &"x".repeat(5000), "missing", "a\0b"] {
            assert_eq!(open_first(&scratch.root(), name), Err(IoError::NotFound), "{name}");
        }
        for name in ["", "sub", "sub/"] {
            let opened = Files::default().open(&request(&config::Files::new(&scratch.root()), name, ""));
            assert_eq!(opened, Ok(Completion::Directory));
        }
        assert_eq!(open_first("/nonexistent", "x"), Err(IoError::NotFound));
        assert_eq!(open_first(path("fifo").to_str().unwrap(), "x"), Err(IoError::NotFound));
    }

    #[test]
    fn the_form_that_suits_best_is_opened() {
        let scratch = Scratch::new("codings");
        let text = "text ".repeat(1000);
        scratch.write("root/a.css", text.as_bytes());
        scratch.write("root/a.css.br", b"brotli");
        scratch.write("root/a.css.gz", b"gzip");
        scratch.write("root/b.css", text.as_bytes());
        scratch.write("root/b.bin", text.as_bytes());
        scratch.write("root/small.css", b"abcdefgh");
        scratch.write("root/large.css", text.repeat(3).as_bytes());
        fs::create_dir(scratch.path("root/b.css.br")).unwrap();
        let compress =
            Compress { types: vec!["text/*".into()], from: 100, to: 10_000, codings: vec![Coding::Zstd, Coding::Gzip] };
        let files = config::Files {
            precompressed: vec![Coding::Brotli, Coding::Gzip],
            compress: Some(compress),
            ..config::Files::new(&scratch.root())
        };
        let host = Files::default();
        let open = |path: &str, codings: &str| match host.open(&request(&files, path, codings)) {
            Ok(Completion::Opened(opened)) => opened,
            other => panic!("{path}: {other:?}"),
        };
        let all = "gzip, br, zstd";
        for (path, codings, coding, is_made, varies) in [
            ("a.css", all, Coding::Brotli, false, true),
            ("a.css", "gzip", Coding::Gzip, false, true),
            ("a.css", "zstd", Coding::Zstd, true, true),
            ("a.css", "", Coding::Identity, false, true),
            ("b.css", all, Coding::Gzip, true, true),
            ("b.css", "gzip;q=0.5, zstd", Coding::Zstd, true, true),
            ("b.bin", all, Coding::Identity, false, false),
            ("small.css", all, Coding::Identity, false, false),
            ("large.css", all, Coding::Identity, false, false),
            ("a.css.gz", all, Coding::Identity, false, false),
        ] {
            let opened = open(path, codings);
            let found = (opened.coding, opened.is_made, !opened.available.is_empty());
            assert_eq!(found, (coding, is_made, varies), "{path} {codings}");
        }
        assert_eq!(open("a.css", all).first, b"brotli"[..]);
        assert_eq!(zstd::decode_all(&open("b.css", "zstd").first[..]).unwrap(), text.as_bytes());
        // Nothing is read, or compressed, that has not changed.
        for (path, codings) in [("a.css", ""), ("a.css", all), ("b.css", all)] {
            let opened = open(path, codings);
            let known = Some((opened.coding, opened.stamp));
            let again = host.open(&FileRequest { known, ..request(&files, path, codings) });
            assert_eq!(again, Ok(Completion::Unchanged { available: opened.available }), "{path}");
            let stamp = Stamp { len: 1, ..opened.stamp };
            let other = FileRequest { known: Some((opened.coding, stamp)), ..request(&files, path, codings) };
            assert_eq!(host.open(&other), Ok(Completion::Opened(opened)));
        }
    }
}
