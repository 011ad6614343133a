//! Generates the typed client of the device plugin, as the build script of a user does.

fn main() -> Result<(), jackfield_client_build::Error> {
    jackfield_client_build::Generator::new().document("e2e/clients/device.openrpc.json").generate()
}
