//! What `hyper` reads, as a server and as a client, over a socket that is a buffer.

use super::reading::{Lines, Message, Reading, latin1};
use ::hyper::body::{Bytes, Incoming};
use ::hyper::header::HeaderMap;
use ::hyper::rt::{Read, ReadBufCursor, Write};
use ::hyper::service::service_fn;
use ::hyper::{Error, Request, Response, Version, client, server};
use http_body_util::{BodyExt, Empty};
use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// More turns than any exchange of a few messages takes.
const TURNS: usize = 10_000;

/// Bytes to be read, then the end; and what was written.
#[derive(Clone, Debug, Default)]
struct Memory(Rc<RefCell<Buffers>>);

#[derive(Debug, Default)]
struct Buffers {
    input: Vec<u8>,
    at: usize,
    output: Vec<u8>,
    /// A client's: nothing can be read before something was asked.
    waits: bool,
}

impl Memory {
    fn new(input: &[u8], waits: bool) -> Self {
        Self(Rc::new(RefCell::new(Buffers { input: input.to_vec(), waits, ..Buffers::default() })))
    }
}

impl Read for Memory {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let Buffers { input, at, output, waits } = &mut *self.0.borrow_mut();
        if *waits && output.is_empty() {
            return Poll::Pending;
        }
        let piece = &input[*at..];
        let piece = &piece[..piece.len().min(buffer.remaining())];
        buffer.put_slice(piece);
        *at += piece.len();
        Poll::Ready(Ok(()))
    }
}

impl Write for Memory {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().output.extend_from_slice(data);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

pub(super) fn requests(input: &[u8]) -> Reading {
    let memory = Memory::new(input, false);
    let reading = RefCell::new(Reading { messages: Vec::new(), end: "more".into(), left: None });
    let service = service_fn(|request: Request<Incoming>| async {
        let (head, body) = request.into_parts();
        let mut message = Message {
            start: [head.method.to_string(), head.uri.to_string(), version(head.version)],
            fields: lines(&head.headers),
            ..Message::default()
        };
        if let Err(error) = content(body, &mut message).await {
            reading.borrow_mut().end = end(&error);
            return Err(error);
        }
        let is_last = message.start[0] == "CONNECT";
        reading.borrow_mut().messages.push(message);
        let status = if is_last { 405 } else { 200 };
        let mut response = Response::builder().status(status);
        if is_last {
            response = response.header("connection", "close");
        }
        Ok(response.body(Empty::<Bytes>::new()).expect("a response"))
    });
    let served = server::conn::http1::Builder::new().half_close(true).serve_connection(memory.clone(), service);
    let result = complete(|context, served| served.poll(context), pin!(served));
    let mut reading = reading.into_inner();
    let said = latin1(&memory.0.borrow().output);
    let last = said.rfind("HTTP/1.").and_then(|at| said.get(at..)).unwrap_or_default();
    match result {
        _ if reading.end != "more" => {}
        Some(Err(error)) => reading.end = end(&error),
        Some(Ok(())) if last.contains("connection: close") => reading.end = "closed".into(),
        Some(Ok(())) if last.starts_with("HTTP/1.0") && !last.contains("keep-alive") => reading.end = "closed".into(),
        Some(Ok(())) => {}
        None => reading.end = "error: hangs".into(),
    }
    reading
}

pub(super) fn response(input: &[u8], method: &str) -> Reading {
    let memory = Memory::new(input, true);
    let exchange = async {
        let (mut sender, conn) = client::conn::http1::handshake(memory).await?;
        let request = Request::builder().method(method).uri("/").header("host", "a");
        let exchange = async {
            let response = sender.send_request(request.body(Empty::<Bytes>::new()).expect("a request")).await?;
            let (head, body) = response.into_parts();
            let reason = head.extensions.get::<::hyper::ext::ReasonPhrase>().map(|reason| latin1(reason.as_bytes()));
            let reason = reason.unwrap_or_else(|| head.status.canonical_reason().unwrap_or_default().into());
            let mut message = Message {
                start: [head.status.as_str().into(), reason, version(head.version)],
                fields: lines(&head.headers),
                ..Message::default()
            };
            content(body, &mut message).await?;
            Ok::<_, Error>(message)
        };
        let (mut conn, mut exchange, mut is_gone) = (pin!(conn), pin!(exchange), false);
        std::future::poll_fn(|context| {
            is_gone = is_gone || conn.as_mut().poll(context).is_ready();
            exchange.as_mut().poll(context)
        })
        .await
    };
    let result = complete(|context, exchange| exchange.poll(context), pin!(exchange));
    let (messages, end) = match result {
        Some(Ok(message)) if message.start[0] == "101" => (Vec::new(), "closed".into()),
        Some(Ok(message)) => (vec![message], "more".into()),
        Some(Err(error)) => (Vec::new(), end(&error)),
        None => (Vec::new(), "error: hangs".into()),
    };
    Reading { messages, end, left: None }
}

/// Polls until it is ready: everything is there already, so nobody has to be woken.
fn complete<F, T>(
    mut poll: impl FnMut(&mut Context<'_>, Pin<&mut F>) -> Poll<T>,
    mut future: Pin<&mut F>,
) -> Option<T> {
    let mut context = Context::from_waker(Waker::noop());
    (0..TURNS).find_map(|_| match poll(&mut context, future.as_mut()) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    })
}

async fn content(mut body: Incoming, message: &mut Message) -> Result<(), Error> {
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => message.content += &latin1(data),
            (None, Some(trailers)) => message.trailers = lines(trailers),
            (None, None) => {}
        }
    }
    Ok(())
}

fn end(error: &Error) -> String {
    use std::error::Error;
    match error.source() {
        _ if error.is_incomplete_message() => "more".into(),
        Some(source) => format!("error: {error}: {source}"),
        None => format!("error: {error}"),
    }
}

fn version(version: Version) -> String {
    (if version == Version::HTTP_10 { "1.0" } else { "1.1" }).into()
}

fn lines(fields: &HeaderMap) -> Lines {
    fields.iter().map(|(name, value)| (name.as_str().into(), latin1(value.as_bytes()))).collect()
}
