//! Deadlines, and a call that is cancelled.

use std::time::Duration;

use jackfield_client::{Client, Error};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::builder("run/jackfield.sock").timeout(Duration::from_secs(2)).build();
    let online = json!({ "deviceId": "dev_7", "status": "online" });
    let _: Value = client.call("device.status.update", &online).await?;

    // This method answers after the next update of the device, which never comes.
    let next = json!({ "deviceId": "dev_7" });
    let report = client.request("device.report", &next).timeout(Duration::from_millis(100));
    if let Err(Error::Timeout { phase, sent }) = report.send::<Value>().await {
        println!("the deadline passed {phase}; sent: {sent}");
    }

    // The future that does not complete first is dropped, which cancels its call.
    tokio::select! {
        report = client.call::<_, Value>("device.report", &next) => println!("{report:?}"),
        pong = client.call::<_, String>("system.ping", &()) => println!("{}", pong?),
    }
    Ok(())
}
