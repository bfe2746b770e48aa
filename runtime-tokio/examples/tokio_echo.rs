//! `cargo run -p brolly-tokio --example tokio_echo ws://127.0.0.1:9001 brolly`: all cases of the Autobahn test suite.

#[path = "../../core/host/examples/shared/echo.rs"]
mod echo;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    echo::main(&brolly_tokio::TokioNetwork)
}
