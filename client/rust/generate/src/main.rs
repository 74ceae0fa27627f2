//! Writes the stubs that are checked in. Run as `client/rust/regenerate`; needs protoc.

use std::error::Error;
use std::path::{Path, PathBuf};

use tonic_prost_build::{Builder, configure};

const STATUS: (&str, &str) = (".google.rpc.Status", "::tonic_types::Status");

fn main() -> Result<(), Box<dyn Error>> {
    let output = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: lossd-generate DIR")?);
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let root = crate_root.join("../..").canonicalize()?;
    let messages = configure().build_server(false).bytes(".").extern_path(STATUS.0, STATUS.1);
    write(messages, &root, &output.join("src/generated"))?;
    // Only tests serve. They take the messages from the crate itself.
    let server = configure()
        .build_client(false)
        .extern_path(STATUS.0, STATUS.1)
        .extern_path(".lossd.v1", "::lossd_client::proto");
    write(server, &root, &output.join("tests/it/generated"))
}

fn write(builder: Builder, root: &Path, directory: &Path) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(directory)?;
    let protos = ["tensor", "criterion", "service"]
        .map(|name| root.join(format!("proto/lossd/v1/{name}.proto")));
    let includes = [root.join("proto"), root.join("third_party/googleapis")];
    builder.emit_rerun_if_changed(false).out_dir(directory).compile_protos(&protos, &includes)?;
    Ok(())
}
