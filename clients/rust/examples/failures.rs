//! The errors of a call, and which calls may be tried again.

use std::time::Duration;

use jackfield_client::{Error, blocking::Client};
use serde_json::{Value, json};

fn main() -> Result<(), Error> {
    let client = Client::connect("run/jackfield.sock")?;

    match client.call::<_, Value>("device.status.updaet", &json!({ "deviceId": "dev_123" })) {
        Err(Error::Remote(remote)) => println!("error reply: {remote}"),
        Err(error) if error.is_retryable() => println!("the request was never started: {error}"),
        Err(error) => println!("the request may have run: {error}"),
        Ok(result) => println!("{result}"),
    }

    // Running this twice is harmless, so it is sent again if its connection is lost.
    let update = json!({ "deviceId": "dev_123", "status": "online" });
    let request = client.request("device.status.update", &update).idempotent(true);
    let updated: Value = request.timeout(Duration::from_secs(30)).send()?;
    println!("{} is {}", updated["deviceId"], updated["status"]);
    Ok(())
}
