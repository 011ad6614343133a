//! One call, with types for its params and its result.

use jackfield_client::blocking::Client;
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Update<'a> {
    device_id: &'a str,
    status: &'a str,
}

#[derive(Deserialize)]
struct Updated {
    sequence: u64,
}

fn main() -> Result<(), jackfield_client::Error> {
    let client = Client::connect("run/jackfield.sock")?;

    let update = Update { device_id: "dev_123", status: "online" };
    let updated: Updated = client.call("device.status.update", &update)?;

    println!("update {} of {}: {}", updated.sequence, update.device_id, update.status);
    Ok(())
}
