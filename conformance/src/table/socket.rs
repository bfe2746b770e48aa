//! A row held over a socket, plain or with something around it.

use super::conversation::{Received, Wire};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::sleep;
use std::time::Duration;

/// For a server that does not read.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);

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
pub struct SocketWire(Box<dyn Stream>);

impl SocketWire {
    /// Over a stream that is connected.
    pub fn new(stream: Box<dyn Stream>) -> Self {
        Self(stream)
    }

    /// Over TCP to this port of the loopback interface.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WRITE_PATIENCE))?;
        Ok(Self::new(Box::new(stream)))
    }
}

impl Wire for SocketWire {
    fn send(&mut self, bytes: &[u8]) {
        // Who is refused in the middle of sending still reads the refusal.
        let _ = self.0.write_all(bytes).and_then(|()| self.0.flush());
    }

    fn pause(&mut self) {
        sleep(Duration::from_millis(30));
    }

    fn half_close(&mut self) {
        let _ = self.0.end();
    }

    fn receive(&mut self, bytes: &mut Vec<u8>, patience: Duration) -> Received {
        let mut buffer = [0; 16 * 1024];
        if self.0.set_patience(patience).is_err() {
            return Received::End;
        }
        loop {
            return match self.0.read(&mut buffer) {
                Ok(0) => Received::End,
                Ok(length) => {
                    bytes.extend_from_slice(&buffer[..length]);
                    Received::Bytes
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Received::Nothing,
                Err(_) => Received::End,
            };
        }
    }
}
