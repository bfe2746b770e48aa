//! Publishing, the three ways to listen, resuming, and one order across shards.

use crate::messages::{UPGRADE, frame};
use crate::server::{Server, Wire, both, neutral, post, with};
use std::thread;

/// A listener on a WebSocket, after its upgrade.
fn socket(server: &Server, query: &str) -> Wire {
    let mut wire = server.connect();
    wire.send(format!("GET /-/ws?{query} HTTP/1.1\r\n{UPGRADE}"));
    wire.until("\r\n\r\n");
    wire
}

/// The text of the next frame, which must be one.
fn text(wire: &mut Wire) -> String {
    let head = wire.exactly(2);
    assert_eq!(head[0], 0x81, "{head:?}");
    let length = match head[1] {
        126 => u16::from_be_bytes(wire.exactly(2).try_into().unwrap()).into(),
        127 => u64::from_be_bytes(wire.exactly(8).try_into().unwrap()).try_into().unwrap(),
        short => usize::from(short),
    };
    String::from_utf8(wire.exactly(length)).unwrap()
}

/// An event stream that has joined.
fn stream(server: &Server, query: &str) -> Wire {
    let mut wire = server.connect();
    wire.send(format!("GET /-/sse?{query} HTTP/1.1\r\nHost: a\r\n\r\n"));
    wire.until("id: ");
    wire.until("\n\n");
    wire
}

#[test]
fn receipts_and_refusals() {
    both(|binary| {
        let server = binary.serve("demo", &["--threads", "1"]);
        let publish = |kind: &str, content: &str| server.ask(post("/-/publish/a", kind, content));
        let mut said = with(
            &publish("application/json", "{\"a\":1}"),
            &["200 OK", r#""topic":"a""#, r#""position":""#, r#""subscribers":0"#],
        );
        said += &with(&publish("text/plain", "words"), &["200 OK"]);
        said += &with(&publish("application/json", "{"), &["400 "]);
        said += &with(&server.get("/-/publish/a"), &["405 ", "allow: POST"]);
        said += &with(&server.get("/-/poll"), &["400 ", "topic"]);
        said += &with(&server.get("/-/poll?topic=a&wait=x"), &["400 ", "wait"]);
        said += &with(&server.get("/-/nothing"), &["404 "]);
        let mut binary =
            b"POST /-/publish/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\n".to_vec();
        binary.push(0xff);
        said + &with(&server.ask(binary), &["415 "])
    });
}

#[test]
fn all_transports_carry_the_same() {
    both(|binary| {
        let server = binary.serve("demo", &["--threads", "1"]);
        let mut socket = socket(&server, "topic=t");
        let mut said = with(&text(&mut socket), &[r#"["hello",{},{"position":""#, r#""recovery":null"#]);
        let mut stream = stream(&server, "topic=t");
        let mut poll = server.connect();
        poll.send("GET /-/poll?topic=t&position=0&wait=20 HTTP/1.1\r\nHost: a\r\n\r\n");
        let position = server.publish("t", "{\"n\": 1}");
        said += &with(&text(&mut socket), &[r#"["message",{"topic":"t","position":""#, "{\"n\": 1}]", &position]);
        said += &with(&stream.until("\n\n"), &[&format!("id: {position}\n"), "data: {\"n\": 1}\n"]);
        let message = format!(r#""messages":[{{"topic":"t","position":"{position}","data":{{"n": 1}}}}]"#);
        said += &with(&poll.response(), &["200 OK", &message]);
        // Calls of the WebSocket.
        for (call, parts) in [
            (r#"["brolly.subscribe",{"request_id":1},["u"],{}]"#, [r#"["result",{"request_id":1}"#, "position"]),
            (r#"["brolly.publish",{"request_id":2},["other",5],{}]"#, [r#"["result",{"request_id":2}"#, "subscribers"]),
            (r#"["brolly.unsubscribe",{"request_id":3},["u"],{}]"#, [r#"["result",{"request_id":3}"#, "{}"]),
            (r#"["brolly.nothing",{"request_id":4},[],{}]"#, [r#"["error""#, "validation_error"]),
        ] {
            socket.send(frame(0x81, call.as_bytes()));
            said += &with(&text(&mut socket), &parts);
        }
        said
    });
}

#[test]
fn the_topics_of_a_stream_change_by_requests_to_its_address() {
    both(|binary| {
        // Requests reach any of the shards, the stream is with one.
        let server = binary.serve("demo", &["--threads", "4"]);
        let post = |path: &str, content: &str| {
            let length = content.len();
            let mut wire = server.connect();
            wire.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{content}"));
            wire.response()
        };
        let first = server.publish("one", "1");
        server.publish("one", "2");
        let mut stream = server.connect();
        stream.send("GET /-/sse?address=1 HTTP/1.1\r\nHost: a\r\n\r\n");
        let told = stream.until("\"}\n\n");
        let address = told.split("\"address\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
        assert!(address.starts_with("/-/sse?stream="), "{told}");
        let mut said = String::new();

        let change = format!(r#"{{"subscribe":{{"one":"{first}","two":null,"three":"0"}}}}"#);
        said += &with(&post(&address, &change), &["200 OK", r#""topics":["#, r#""one""#, r#""two""#, r#""three""#]);
        let mut joined = String::new();
        while joined.matches("brolly.subscribed").count() < 3 || !joined.contains("data: [\"message\"") {
            joined += &stream.until("\n\n");
        }
        let resumed = format!(r#"{{"topic":"one","since":"{first}","position":"{first}","recovery":{{"#);
        with(
            &joined,
            &[
                &resumed,
                r#""outcome":"resumed""#,
                r#"{"topic":"two","since":null,"#,
                r#"{"topic":"three","since":"0","#,
            ],
        );

        let position = server.publish("two", "{\"x\":\n1}");
        let lines =
            format!("data: [\"message\",{{\"topic\":\"two\",\"position\":\"{position}\"}},{{\"x\":\ndata: 1}}]\n\n");
        said += &with(&stream.until("1}]\n\n"), &["id: ", &lines]);

        // Followed anew, from before.
        said += &with(
            &post(&address, &format!(r#"{{"subscribe":{{"one":"{first}"}},"unsubscribe":["two"]}}"#)),
            &["200 OK"],
        );
        said += &with(&stream.until("},2]\n\n"), &["event: brolly.subscribed", r#""outcome":"resumed""#]);
        server.publish("two", "5");
        server.publish("one", "3");
        let last = stream.until("},3]\n\n");
        assert!(!last.contains(",5]"), "{last}");

        said += &with(&post(&address, "{}"), &["200 OK"]);
        for (content, parts) in [
            (r#"{"subscribe":{"":null}}"#, ["400 ", "topic is empty"]),
            (r#"{"unsubscribe":"one"}"#, ["400 ", "sequence"]),
            (r#"{"subscibe":{}}"#, ["400 ", "subscibe"]),
            ("", ["400 ", "EOF"]),
        ] {
            said += &with(&post(&address, content), &parts);
        }
        let many: Vec<_> = (0..65).map(|number| format!("\"{number}\":null")).collect();
        said += &with(&post(&address, &format!("{{\"subscribe\":{{{}}}}}", many.join(","))), &["400 ", "64 topics"]);
        for unknown in ["", "1", "0.0.00000000000000000000000000000000", "ffff.0.00000000000000000000000000000000"] {
            said += &with(&post(&format!("/-/sse?stream={unknown}"), "{}"), &["404 ", "not known"]);
        }
        said += &with(&post("/-/sse?topic=one", "{}"), &["405 ", "allow: GET, HEAD, OPTIONS"]);
        drop(stream);
        thread::sleep(std::time::Duration::from_millis(200));
        said + &with(&post(&address, "{}"), &["404 ", "not known"])
    });
}

#[test]
fn every_resume_ends_in_one_of_three_ways() {
    both(|binary| {
        let server = binary.serve("demo", &["--threads", "1"]);
        let first = server.publish("r", "1");
        let second = server.publish("r", "2");
        let ask = |position: &str| server.get(&format!("/-/poll?topic=r&wait=0&position={position}"));
        let message = format!(r#""messages":[{{"topic":"r","position":"{second}","data":2}}]"#);
        let mut said = with(&ask(&first), &[r#""outcome":"resumed""#, &message]);
        let mut resumed = socket(&server, &format!("topic=r&position={first}"));
        said += &with(&text(&mut resumed), &[r#""outcome":"resumed""#]);
        said += &with(&text(&mut resumed), &[&second]);
        let mut events = server.connect();
        events.send(format!("GET /-/sse?topic=r HTTP/1.1\r\nHost: a\r\nLast-Event-ID: {first}\r\n\r\n"));
        said += &with(&events.until("data: 2\n\n"), &["event: brolly.recovery", r#""outcome":"resumed""#, &second]);
        let mut publisher = server.connect();
        for number in 0..1_100 {
            let content = number.to_string();
            publisher.send(format!("POST /-/publish/r HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{content}", content.len()));
            publisher.response();
        }
        said += &with(&ask(&second), &[r#""outcome":"gap""#, r#""from":""#, r#""to":""#, r#","data":1099}"#]);
        let other = binary.serve("demo", &["--threads", "1"]);
        said + &with(&other.get(&format!("/-/poll?topic=r&wait=0&position={second}")), &[r#""outcome":"refused""#])
    });
}

#[test]
fn all_shards_see_one_order() {
    const PUBLISHERS: usize = 4;
    const EACH: usize = 50;
    both(|binary| {
        let server = binary.serve("demo", &["--threads", "4"]);
        // Connections are spread over the shards.
        let mut sockets: Vec<Wire> = (0..8).map(|_| socket(&server, "topic=order")).collect();
        sockets.iter_mut().for_each(|socket| assert!(text(socket).starts_with(r#"["hello""#)));
        thread::scope(|scope| {
            for who in 0..PUBLISHERS {
                let server = &server;
                scope.spawn(move || {
                    (0..EACH).for_each(|number| drop(server.publish("order", &format!("[{who},{number}]"))));
                });
            }
        });
        let seen: Vec<Vec<String>> =
            sockets.iter_mut().map(|socket| (0..PUBLISHERS * EACH).map(|_| text(socket)).collect()).collect();
        assert!(seen.iter().all(|other| *other == seen[0]), "subscribers saw different orders");
        for who in 0..PUBLISHERS {
            let own = seen[0]
                .iter()
                .filter_map(|message| message.split_once(&format!("[{who},"))?.1.strip_suffix("]]")?.parse().ok());
            assert_eq!(own.collect::<Vec<usize>>(), (0..EACH).collect::<Vec<_>>(), "publisher {who}");
        }
        let mut sorted: Vec<String> =
            seen[0].iter().map(|message| neutral(message.split_once('}').unwrap().1)).collect();
        sorted.sort();
        sorted.concat()
    });
}
