//! Compiles `proto/` without a `protoc` on the machine: descriptors for everything, message types for v1, and tonic
//! servers for v1 where the `server` feature asks for them.

#![allow(clippy::expect_used, clippy::panic, reason = "a build that can't go on stops here, and says why")]

use std::path::PathBuf;
use std::{env, fs};

use prost::Message;
use protox::Compiler;

const FILES: [&str; 3] = ["runtime/v1/api.proto", "runtime/v1alpha2/api.proto", "runtime/v1alpha1/api.proto"];

fn main() {
    println!("cargo::rerun-if-changed=proto/runtime");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));

    let mut compiler = Compiler::new(["proto"]).expect("proto/ is a folder");
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(FILES).unwrap_or_else(|error| panic!("proto/ does not compile: {error:?}"));
    // Encoded by protox itself: the types of prost-types don't know `debug_redact` and would drop it.
    fs::write(out.join("cri.fds"), compiler.encode_file_descriptor_set()).expect("OUT_DIR is writable");

    let mut v1 = compiler.file_descriptor_set();
    v1.file.retain(|file| file.package() == "runtime.v1");
    // Comments of the schema are for readers of the API, not rustdoc: they hold `[...]` that rustdoc would take for links.
    for file in &mut v1.file {
        file.source_code_info = None;
    }
    let v1 = prost_types::FileDescriptorSet::decode(v1.encode_to_vec().as_slice()).expect("just encoded");
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(env::var_os("CARGO_FEATURE_SERVER").is_some())
        // Sorted maps: the same message gives the same bytes.
        .btree_map(".")
        .bytes(".")
        .compile_fds(v1)
        .expect("OUT_DIR is writable");
}
