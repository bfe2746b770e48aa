//! Echo servers by other libraries, written as their own examples are: `brolly-bench-peers fastwebsockets|tungstenite ADDRESS`
//!
//! Each is one thread with tokio. Messages come back as they are; nothing is printed, nothing else is served.

use fastwebsockets::{FragmentCollector, OpCode, Role, WebSocket};
use futures_util::{SinkExt, StreamExt};
use std::error::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The answer to the key of RFC 6455 §1.3, which the load generator always sends.
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [library, address] = &arguments[..] else { return Err("fastwebsockets|tungstenite ADDRESS".into()) };
    let is_fast = library == "fastwebsockets";
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // An error is the end of a connection; the load generator says if that was too early.
            tokio::spawn(tokio::task::unconstrained(async move {
                let _ = if is_fast { fastwebsockets(stream).await } else { tungstenite(stream).await };
            }));
        }
    })
}

/// The opening handshake is done by hand: the library would have hyper do it, and read and write through it ever after.
async fn fastwebsockets(mut stream: TcpStream) -> Result<(), Box<dyn Error>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    stream.write_all(SWITCHING).await?;
    let mut socket = FragmentCollector::new(WebSocket::after_handshake(stream, Role::Server));
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            OpCode::Continuation | OpCode::Ping | OpCode::Pong => {}
        }
    }
}

async fn tungstenite(stream: TcpStream) -> Result<(), Box<dyn Error>> {
    let mut socket = tokio_tungstenite::accept_async(stream).await?;
    while let Some(message) = socket.next().await.transpose()? {
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}
