//! What the operating system said, for the core and for people.

use brolly_core::shard::{FileRange, IoError};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Error, ErrorKind, IoSlice};
use std::os::fd::AsFd;

/// What an error means to the core.
pub fn error(error: &Error) -> IoError {
    // It is us who have no room: no peer is to blame.
    if let Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) = Errno::from_io_error(error) {
        return IoError::TooManyFiles;
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => IoError::ConnectionRefused,
        ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset => IoError::ConnectionReset,
        ErrorKind::NotFound => IoError::NotFound,
        ErrorKind::PermissionDenied => IoError::PermissionDenied,
        ErrorKind::TimedOut => IoError::TimedOut,
        _ => IoError::Other,
    }
}

/// Up to 16 slices for a vectored write, and how many they are.
pub fn gather<'s>(slices: &[&'s [u8]]) -> ([IoSlice<'s>; 16], usize) {
    let mut gathered = [IoSlice::new(&[]); 16];
    let filled = gathered.iter_mut().zip(slices).map(|(to, from)| *to = IoSlice::new(from)).count();
    (gathered, filled)
}

/// Writes a piece of a file to a socket, as much as it takes (`sendfile(2)`).
///
/// # Errors
/// The socket is full ([`ErrorKind::WouldBlock`]), or broken.
pub fn send_file(socket: impl AsFd, file: &File, range: &FileRange) -> std::io::Result<u64> {
    let (mut offset, len) = (range.offset, usize::try_from(range.len).unwrap_or(usize::MAX));
    Ok(rustix::fs::sendfile(socket, file, Some(&mut offset), len)? as u64)
}

/// An error without the number, in lower case, to go behind a colon.
pub(crate) fn reason(error: &Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file or directory".into(),
        ErrorKind::PermissionDenied => "permission denied".into(),
        ErrorKind::IsADirectory => "it is a directory".into(),
        ErrorKind::ConnectionRefused => "nobody listens there".into(),
        _ => {
            let text = error.to_string();
            let text = text.split(" (os error").next().unwrap_or_default();
            let mut characters = text.chars();
            characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
        }
    }
}
