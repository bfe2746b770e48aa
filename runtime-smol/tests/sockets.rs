//! The exchanges that hold for every binary, over real sockets.

#[test]
fn the_main_job_is_done_over_real_sockets() {
    brolly_conformance::sockets::run(env!("CARGO_BIN_EXE_brolly-smol"));
}
