//! What tells two versions of a file apart (RFC 9110 §8.8).

use super::Coding;
use crate::time::UnixTime;
use alloc::boxed::Box;
use alloc::format;

/// What the file system says about a version of a file.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Stamp {
    /// Bytes.
    pub len: u64,
    /// Last modification.
    pub modified: UnixTime,
    /// Device, inode and time of change: not in the tag, but where they differ it is another file, whatever its date says.
    pub identity: [u64; 3],
}

/// The entity tag and the date of one representation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validator<'v> {
    /// With its quotes, and `W/` if it is weak.
    pub etag: &'v str,
    /// `Last-Modified` in seconds since 1970; `None` if there is none.
    pub modified: Option<u64>,
}

impl Validator<'_> {
    /// Whether equal tags mean equal bytes (RFC 9110 §8.8.1).
    pub fn is_strong(&self) -> bool {
        !self.etag.starts_with("W/")
    }
}

impl Stamp {
    /// Whether the file may change once more without a new stamp: it was modified within the last second, which is as
    /// long as some file systems take to notice, or in the future.
    pub fn is_recent(&self, now: UnixTime) -> bool {
        self.modified.as_millis().saturating_add(1000) > now.as_millis()
    }

    /// The entity tag of a representation that was made of this version: each coding has its own (RFC 9110 §8.8.3.3).
    ///
    /// Weak if the bytes are not certain: the stamp [is recent](Self::is_recent), or another version of the compressor
    /// may make others of the same file.
    pub fn etag(&self, coding: Coding, is_certain: bool) -> Box<str> {
        let weak = if is_certain { "" } else { "W/" };
        let (modified, len) = (self.modified.as_millis(), self.len);
        match coding {
            Coding::Identity => format!("{weak}\"{modified:x}-{len:x}\""),
            Coding::Gzip | Coding::Zstd | Coding::Brotli => {
                format!("{weak}\"{modified:x}-{len:x}-{}\"", coding.name())
            }
        }
        .into()
    }

    /// `Last-Modified` in seconds since 1970, never in the future (RFC 9110 §8.8.2.1).
    pub fn last_modified(&self, now: UnixTime) -> u64 {
        self.modified.as_secs().min(now.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_representation_has_its_own_tag() {
        let stamp = Stamp { len: 255, modified: UnixTime::from_millis(4096), identity: [0; 3] };
        assert_eq!(&*stamp.etag(Coding::Identity, true), "\"1000-ff\"");
        assert_eq!(&*stamp.etag(Coding::Brotli, true), "\"1000-ff-br\"");
        assert_eq!(&*stamp.etag(Coding::Zstd, false), "W/\"1000-ff-zstd\"");
    }

    #[test]
    fn what_was_modified_just_now_may_change_unnoticed() {
        let stamp = Stamp { len: 0, modified: UnixTime::from_millis(5000), identity: [0; 3] };
        assert!(stamp.is_recent(UnixTime::from_millis(5999)) && stamp.is_recent(UnixTime::from_millis(0)));
        assert!(!stamp.is_recent(UnixTime::from_millis(6000)));
        assert_eq!(stamp.last_modified(UnixTime::from_millis(2500)), 2);
        assert_eq!(stamp.last_modified(UnixTime::from_millis(9500)), 5);
    }
}
