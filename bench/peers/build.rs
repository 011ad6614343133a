//! Generates the gRPC service of the tonic server from a description in Rust, so that protoc is not
//! needed.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let update = Method::builder()
        .name("update")
        .route_name("Update")
        .input_type("crate::serve::tonic::UpdateRequest")
        .output_type("crate::serve::tonic::UpdateReply")
        .codec_path("tonic_prost::ProstCodec")
        .build();
    let device = Service::builder().name("Device").package("peers").method(update).build();
    Builder::new().compile(&[device]);
}
