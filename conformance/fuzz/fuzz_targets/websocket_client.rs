#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| brolly_conformance::fuzz_bodies::websocket_client(data));
