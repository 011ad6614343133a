//! Deadlines, and a call that is dropped.

use std::time::Duration;

use jackfield_client::{Client, Error};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::builder("run/jackfield.sock").timeout(Duration::from_secs(2)).build();
    let _: Value =
        client.call("device.status.update", &json!({ "deviceId": "dev_7", "status": "online" })).await?;

    // It answers when the device is next heard of, and nobody will hear of it.
    let next = json!({ "deviceId": "dev_7" });
    let report = client.request("device.report", &next).timeout(Duration::from_millis(100));
    if let Err(Error::Timeout { phase, sent }) = report.send::<Value>().await {
        println!("the deadline passed {phase}; sent: {sent}");
    }

    // Whatever ends first: the future that is dropped is a call that is cancelled.
    tokio::select! {
        report = client.call::<_, Value>("device.report", &next) => println!("{report:?}"),
        pong = client.call::<_, String>("system.ping", &()) => println!("{}", pong?),
    }
    Ok(())
}
