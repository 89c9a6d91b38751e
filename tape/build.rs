//! Compiles the tape's schema.

#![allow(clippy::expect_used, clippy::panic, reason = "a build that can't go on stops here, and says why")]

use prost::Message;

fn main() {
    println!("cargo::rerun-if-changed=../proto/critape");
    let set = protox::compile(["critape/tape/v1/tape.proto"], ["../proto"])
        .unwrap_or_else(|error| panic!("the tape's schema does not compile: {error:?}"));
    let set = prost_types::FileDescriptorSet::decode(set.encode_to_vec().as_slice()).expect("just encoded");
    prost_build::Config::new().bytes(["."]).compile_fds(set).expect("OUT_DIR is writable");
}
