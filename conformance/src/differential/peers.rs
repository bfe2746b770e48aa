//! The parsers that are not ours. `hyper` is linked in; the others are programs (`conformance/clients/parsers/`) that read
//! frames and answer each with a [`Reading`] in JSON:
//!
//! ```text
//! 'Q' (requests) or 'S' (a response), 'H' if it answers HEAD else 'G', length (u32, little endian), bytes
//! length (u32, little endian), JSON
//! ```

use super::Input;
use super::hyper;
use super::reading::Reading;
use std::io::{self, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;

/// A parser.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) name: &'static str,
    /// Fields that it does not show among the others.
    pub(super) hides: &'static [&'static str],
    program: Option<Program>,
}

#[derive(Debug)]
struct Program {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    pub(super) fn hyper() -> Self {
        Self { name: "hyper", hides: &[], program: None }
    }

    /// Starts a program.
    pub(super) fn start(name: &'static str, hides: &'static [&'static str], mut command: Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        Ok(Self { name, hides, program: Some(Program { child, input, output: BufReader::new(output) }) })
    }

    /// What it reads, in the order of the inputs.
    pub(super) fn read(&mut self, inputs: &[&Input]) -> io::Result<Vec<Reading>> {
        let Some(Program { input, output, .. }) = &mut self.program else {
            return Ok(inputs.iter().map(|input| linked(input)).collect());
        };
        thread::scope(|scope| {
            // Written beside the reading: neither pipe holds everything.
            let writer = scope.spawn(|| inputs.iter().try_for_each(|one| input.write_all(&frame(one))));
            let readings = inputs.iter().map(|_| answer(output)).collect();
            writer.join().map_err(|_| io::Error::other("the writer panicked"))??;
            readings
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn linked(input: &Input) -> Reading {
    match input {
        Input::Requests(bytes) => hyper::requests(bytes),
        Input::Response(bytes, is_head) => hyper::response(bytes, if *is_head { "HEAD" } else { "GET" }),
    }
}

fn frame(input: &Input) -> Vec<u8> {
    let (kind, bytes) = match input {
        Input::Requests(bytes) => (*b"QG", bytes),
        Input::Response(bytes, true) => (*b"SH", bytes),
        Input::Response(bytes, false) => (*b"SG", bytes),
    };
    [&kind, &(bytes.len() as u32).to_le_bytes()[..], bytes].concat()
}

fn answer(output: &mut impl Read) -> io::Result<Reading> {
    let mut length = [0; 4];
    output.read_exact(&mut length)?;
    let mut json = vec![0; u32::from_le_bytes(length) as usize];
    output.read_exact(&mut json)?;
    serde_json::from_slice(&json).map_err(io::Error::other)
}
