//! A row held over a socket, plain or with something around it.

use super::conversation::{Received, Wire};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// For a server that does not read.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);
/// Then it is listened to in between.
const WRITE_TRY: Duration = Duration::from_millis(50);
/// More than the way to this machine and back takes.
const MOMENT: Duration = Duration::from_millis(30);

/// A connection with bytes in both directions.
pub trait Stream: Read + Write + Send {
    /// How long a read waits.
    ///
    /// # Errors
    /// As of the socket.
    fn set_patience(&self, patience: Duration) -> io::Result<()>;
    /// Ends the outgoing direction.
    ///
    /// # Errors
    /// As of the socket.
    fn end(&mut self) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(patience))
    }

    fn end(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// A client's end of a socket.
#[expect(missing_debug_implementations, reason = "a stream of any kind")]
pub struct SocketWire {
    stream: Box<dyn Stream>,
    /// What came while we were sending.
    early: Vec<u8>,
}

impl SocketWire {
    /// Over a stream that is connected, and whose writes do not block for long.
    pub fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream, early: Vec::new() }
    }

    /// TCP to this port of the loopback interface.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn tcp(port: u16) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WRITE_TRY))?;
        Ok(stream)
    }

    /// The server may want to be rid of its answers before it reads on.
    fn read_early(&mut self) {
        let mut early = std::mem::take(&mut self.early);
        self.read(&mut early, Duration::from_millis(1));
        self.early = early;
    }

    fn read(&mut self, bytes: &mut Vec<u8>, patience: Duration) -> Received {
        let mut buffer = [0; 16 * 1024];
        if self.stream.set_patience(patience).is_err() {
            return Received::End;
        }
        loop {
            return match self.stream.read(&mut buffer) {
                Ok(0) => Received::End,
                Ok(length) => {
                    bytes.extend_from_slice(&buffer[..length]);
                    Received::Bytes
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if has_waited(&error) => Received::Nothing,
                Err(_) => Received::End,
            };
        }
    }
}

impl Wire for SocketWire {
    fn send(&mut self, bytes: &[u8]) {
        let (mut rest, until) = (bytes, Instant::now() + WRITE_PATIENCE);
        while Instant::now() < until {
            let written = match rest {
                [] => self.stream.flush().map(|()| None),
                rest => self.stream.write(rest).map(Some),
            };
            match written {
                Ok(None) => return,
                Ok(Some(length @ 1..)) => rest = &rest[length..],
                Ok(Some(0)) => self.read_early(),
                Err(error) if has_waited(&error) || error.kind() == ErrorKind::Interrupted => self.read_early(),
                // Who is refused in the middle of sending still reads the refusal.
                Err(_) => return,
            }
        }
    }

    fn pause(&mut self) {
        sleep(MOMENT);
    }

    fn half_close(&mut self) {
        let _ = self.stream.end();
    }

    fn receive(&mut self, bytes: &mut Vec<u8>, patience: Duration) -> Received {
        if self.early.is_empty() {
            return self.read(bytes, patience);
        }
        bytes.append(&mut self.early);
        Received::Bytes
    }
}

fn has_waited(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
