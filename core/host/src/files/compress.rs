//! Compressing a file when it is asked for.
//!
//! gzip by zlib-rs, which is Rust and as fast as the best in C; zstd by the reference library, because no encoder in Rust
//! comes near it. Brotli is for files that were compressed beforehand: at a speed that could be waited for it does no
//! better than zstd.

use brolly_core::config::Coding;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;

/// More would take too long for what they save.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 6;

/// How many files are being compressed.
#[derive(Debug, Default)]
pub(super) struct Turns(AtomicUsize);

/// The right to compress one file.
#[derive(Debug)]
pub(super) struct Turn<'t>(&'t Turns);

impl Turns {
    /// No more at a time than there are cores: otherwise everybody waits, for what would be sent sooner as it is.
    pub(super) fn take(&self) -> Option<Turn<'_>> {
        let limit = available_parallelism().map_or(1, Into::into);
        let turn = Turn(self);
        (self.0.fetch_add(1, Ordering::Relaxed) < limit).then_some(turn)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Compresses `len` bytes of `source`. `None` if it has become shorter, or nobody compresses so.
pub(super) fn compress(coding: Coding, source: impl Read, len: u64) -> io::Result<Option<Vec<u8>>> {
    let mut source = source.take(len);
    let mut out = Vec::with_capacity(usize::try_from(len / 4).unwrap_or_default());
    let read = match coding {
        Coding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(&mut out, flate2::Compression::new(GZIP_LEVEL));
            let read = io::copy(&mut source, &mut encoder)?;
            encoder.finish()?.flush()?;
            read
        }
        Coding::Zstd => {
            let mut encoder = zstd::Encoder::new(&mut out, ZSTD_LEVEL)?;
            encoder.set_pledged_src_size(Some(len))?;
            encoder.include_contentsize(true)?;
            let read = io::copy(&mut source, &mut encoder)?;
            if read == len {
                encoder.finish()?;
            }
            read
        }
        Coding::Identity | Coding::Brotli => return Ok(None),
    };
    // It is kept for long, and counted by its length.
    out.shrink_to_fit();
    Ok((read == len).then_some(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_is_the_same_afterwards() {
        let text = "the same and the same and ".repeat(10_000);
        let len = text.len() as u64;
        let gzip = compress(Coding::Gzip, text.as_bytes(), len).unwrap().unwrap();
        let mut back = String::new();
        flate2::read::GzDecoder::new(&gzip[..]).read_to_string(&mut back).unwrap();
        assert!(back == text && gzip.len() < 2000);
        let zstd = compress(Coding::Zstd, text.as_bytes(), len).unwrap().unwrap();
        assert!(zstd::decode_all(&zstd[..]).unwrap() == text.as_bytes() && zstd.len() < 2000);
    }

    #[test]
    fn what_became_shorter_is_left_alone() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            assert_eq!(compress(coding, "a".repeat(99).as_bytes(), 100).unwrap(), None);
            assert!(compress(coding, &b""[..], 0).unwrap().is_some());
        }
        assert_eq!(compress(Coding::Brotli, "a".repeat(99).as_bytes(), 99).unwrap(), None);
    }

    #[test]
    fn no_more_at_a_time_than_there_are_cores() {
        let turns = Turns::default();
        let taken: Vec<_> = (0..available_parallelism().unwrap().get()).map(|_| turns.take().unwrap()).collect();
        assert!(turns.take().is_none() && turns.take().is_none());
        drop(taken);
        assert!(turns.take().is_some());
    }
}
