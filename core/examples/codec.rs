//! The lowest level: bytes to messages and back, without any state of a connection.
//!
//! `cargo run -p brolly-core --example codec`

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::std_instead_of_alloc, clippy::std_instead_of_core)]

use brolly_core::http1::{Framing, Limits, Part, RequestDecoder};
use brolly_core::outbox::Outbox;
use brolly_core::{sse, ws};

fn main() {
    // HTTP/1.1: parts borrow from the input; what was not used is offered again with more behind it.
    let input = b"POST /notes HTTP/1.1\r\nhost: example.org\r\ncontent-length: 5\r\n\r\nhello";
    let (mut decoder, mut at) = (RequestDecoder::new(Limits::default()), 0);
    loop {
        let (used, part) = decoder.decode(&input[at..]).unwrap();
        at += used;
        match part {
            Some(Part::Head(head, framing)) => {
                assert_eq!(framing, Framing::Length(5));
                println!(
                    "{} {} for {:?}",
                    head.method.as_str(),
                    head.target.path(),
                    head.host().map(|host| host.host())
                );
            }
            Some(Part::Content(data)) => println!("content: {:?}", core::str::from_utf8(data)),
            Some(Part::End(_)) => break println!("end of the request, {at} bytes"),
            None => unreachable!("the request is complete"),
        }
    }

    // WebSocket: a client's frame is unmasked where it lies.
    let mut wire = Outbox::new();
    ws::encode(ws::Opcode::Text, "☂ hello".as_bytes(), Some([1, 2, 3, 4]), &mut wire);
    let mut bytes = wire.tail().clone();
    println!("on the wire: {bytes:02x?}");
    let mut decoder = ws::Decoder::new(ws::Role::Server, ws::Limits::default());
    println!("message: {:?}", decoder.decode(&mut bytes).unwrap().1);

    // Server-Sent Events: encode, parse.
    let mut stream = Vec::new();
    let event = sse::Event { id: Some("7"), data: "two\nlines", ..sse::Event::default() };
    event.encode(&mut stream).unwrap();
    print!("{}", String::from_utf8_lossy(&stream));
    println!("event: {:?}", sse::Parser::new(1024).parse(&stream).unwrap().1);
}
