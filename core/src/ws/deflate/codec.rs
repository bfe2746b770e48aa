//! DEFLATE (RFC 1951), by zlib-rs.

#[cfg(feature = "deflate")]
use super::TAIL;
use alloc::vec::Vec;
#[cfg(feature = "deflate")]
use alloc::{boxed::Box, collections::BTreeMap};
use core::fmt;
#[cfg(feature = "deflate")]
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush, Status};

/// By how much a buffer grows at least while it is not known how much comes (bytes).
#[cfg(feature = "deflate")]
const STEP: usize = 1024;
/// How many times a message may end its stream and begin another (RFC 7692 §7.2.3.4 shows one): each time the window is set up anew.
#[cfg(feature = "deflate")]
const STREAMS: usize = 8;
/// What is read behind a message: the end of its flush (RFC 7692 §7.2.2), and an empty block that says it is the last. It only means
/// that where a block may begin; a message that ends elsewhere is not whole.
#[cfg(feature = "deflate")]
const END: [u8; 9] = [0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff];

/// Compresses and decompresses messages, one at a time; what it needs is allocated once. Nothing of a message is left in it.
#[derive(Default)]
pub struct Codec {
    #[cfg(feature = "deflate")]
    inflate: Option<Box<Inflate>>,
    /// By window bits and level.
    #[cfg(feature = "deflate")]
    deflate: BTreeMap<(u8, u8), Box<Deflate>>,
}

/// Why a message cannot be decompressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum InflateError {
    Invalid,
    #[cfg_attr(not(feature = "deflate"), expect(dead_code, reason = "nothing is inflated"))]
    TooBig,
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec").finish_non_exhaustive()
    }
}

impl Codec {
    /// Whether it can do anything.
    pub const IS_AVAILABLE: bool = cfg!(feature = "deflate");

    /// One that has allocated nothing.
    pub fn new() -> Self {
        Self::default()
    }
}

#[cfg(feature = "deflate")]
impl Codec {
    /// Appends `payload` to `out`, compressed. `window` is what it may refer to, at most 2^bits bytes.
    pub(super) fn deflate(&mut self, (bits, level): (u8, u8), window: &[u8], payload: &[u8], out: &mut Vec<u8>) {
        // zlib cannot do 8; with 9 its distances stay below 256 all the same (its window is half of it, and some).
        let bits = bits.max(9);
        let deflate = self.deflate.entry((bits, level)).or_insert_with(|| {
            let config =
                DeflateConfig { level: level.into(), window_bits: -i32::from(bits), ..DeflateConfig::default() };
            Box::new(Deflate::new_with_config(config))
        });
        deflate.reset();
        if !window.is_empty() {
            // Raw DEFLATE takes it at the beginning, always.
            let _ = deflate.set_dictionary(window);
        }
        let (mut read, mut room) = (0, payload.len() / 2 + STEP);
        loop {
            let start = out.len();
            out.resize(start + room, 0);
            let (before_in, before_out) = (deflate.total_in(), deflate.total_out());
            let rest = payload.get(read..).unwrap_or_default();
            let _ = deflate.compress(rest, out.get_mut(start..).unwrap_or_default(), DeflateFlush::SyncFlush);
            read += (deflate.total_in() - before_in) as usize;
            let written = (deflate.total_out() - before_out) as usize;
            out.truncate(start + written);
            if written < room {
                break;
            }
            room = STEP;
        }
        // §7.2.1: without the end of the flush. Of an empty message, 0x00 is left.
        if out.ends_with(&TAIL) {
            out.truncate(out.len() - TAIL.len());
        }
    }

    /// Appends `plain` to `out` as blocks that end with a flush, where a byte ends: any of them may follow one another.
    pub(crate) fn deflate_flushed(&mut self, how: (u8, u8), plain: &[u8], out: &mut Vec<u8>) {
        self.deflate(how, &[], plain, out);
        out.extend_from_slice(&TAIL);
    }

    /// The checksum of RFC 1952 §8, continued from that of what came before.
    pub(crate) fn crc32(before: u32, data: &[u8]) -> u32 {
        zlib_rs::crc32::crc32(before, data)
    }

    /// The message that `data` is the compressed form of, at most `limit` bytes.
    pub(super) fn inflate(&mut self, window: &[u8], data: &[u8], limit: usize) -> Result<Vec<u8>, InflateError> {
        let inflate = self.inflate.get_or_insert_with(|| Box::new(Inflate::new(false, 15)));
        inflate.reset(false);
        if !window.is_empty() {
            inflate.set_dictionary(window).map_err(|_| InflateError::Invalid)?;
        }
        let mut out = Vec::new();
        let mut streams = 0;
        for (mut input, is_end) in [(data, false), (&END, true)] {
            loop {
                let start = out.len();
                // One more than the limit: to know that there is more.
                let room = (input.len() * 2 + start).max(STEP).min(limit.saturating_add(1) - start);
                out.resize(start + room, 0);
                let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
                let room_slice = out.get_mut(start..).unwrap_or_default();
                let status = inflate.decompress(input, room_slice, InflateFlush::SyncFlush);
                let status = status.map_err(|_| InflateError::Invalid)?;
                input = input.get((inflate.total_in() - before_in) as usize..).unwrap_or_default();
                let written = (inflate.total_out() - before_out) as usize;
                out.truncate(start + written);
                if out.len() > limit {
                    return Err(InflateError::TooBig);
                }
                match status {
                    Status::StreamEnd if input.is_empty() => return Ok(out),
                    Status::StreamEnd if is_end => return Err(InflateError::Invalid),
                    // §7.2.3.4: a block that says it is the last is not the end of the message.
                    Status::StreamEnd => {
                        streams += 1;
                        if streams > STREAMS {
                            return Err(InflateError::Invalid);
                        }
                        inflate.reset(false);
                        let seen = [window, &out].concat();
                        let seen = seen.get(seen.len().saturating_sub(1 << 15)..).unwrap_or_default();
                        if !seen.is_empty() {
                            inflate.set_dictionary(seen).map_err(|_| InflateError::Invalid)?;
                        }
                    }
                    Status::Ok | Status::BufError if written == room => {}
                    Status::Ok | Status::BufError if input.is_empty() => break,
                    Status::Ok | Status::BufError => return Err(InflateError::Invalid),
                }
            }
        }
        Err(InflateError::Invalid)
    }
}

/// What stands in for it: nothing is ever agreed on.
#[cfg(not(feature = "deflate"))]
#[expect(clippy::needless_pass_by_ref_mut, clippy::unused_self, reason = "as above")]
impl Codec {
    pub(super) fn deflate(&mut self, _: (u8, u8), _: &[u8], payload: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(payload);
    }

    pub(crate) fn deflate_flushed(&mut self, _: (u8, u8), plain: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(plain);
    }

    pub(crate) fn crc32(before: u32, _: &[u8]) -> u32 {
        before
    }

    pub(super) fn inflate(&mut self, _: &[u8], _: &[u8], _: usize) -> Result<Vec<u8>, InflateError> {
        Err(InflateError::Invalid)
    }
}
