//! The typed client of the device plugin, which the build script of these tests generates.

use std::time::Duration;

use jackfield_client::{Client, Error, blocking};
use jackfield_contract::Contract;
use jackfield_contract::openrpc::{self, DocumentInfo};
use serde_json::Value;

use self::plugins::device::{
    self, Found, GetParams, ListParams, ReportParams, Status, UpdateParams, Updated,
};
use crate::support::HostProcess;
use crate::support::build::root;

mod plugins {
    include!(concat!(env!("OUT_DIR"), "/jackfield.rs"));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

#[test]
fn calls_methods_with_and_without_optional_params() {
    let host = HostProcess::with(&["device"]);
    let client = blocking::Client::connect(host.socket()).unwrap();
    let device = device::blocking::Client::new(client.clone());

    let first = device.status_update(&UpdateParams::new("d-1", Status::Online)).unwrap();
    let second = device.status_update(&UpdateParams::new("d-1", Status::Busy)).unwrap();
    let (device_id, status) = ("d-1".to_owned(), Status::Online);
    assert_eq!(first, Updated { device_id, status, sequence: 1, previous: None });
    assert_eq!((second.sequence, second.previous), (2, Some(Status::Online)));

    let mut params = GetParams::new("d-1");
    assert_eq!(device.status_get(&params).unwrap().history, None);
    params.history = Some(true);
    let Found { device_id, status, history, .. } = device.status_get(&params).unwrap();
    let statuses: Vec<_> = history.unwrap().into_iter().map(|update| update.status).collect();
    assert_eq!((&*device_id, status, &*statuses), ("d-1", Status::Busy, &[Status::Online, Status::Busy][..]));

    device.status_update(&UpdateParams::new("d-2", Status::Online)).unwrap();
    assert_eq!(device.list(&ListParams::default()).unwrap().devices.len(), 2);
    let busy = ListParams { status: Some(Status::Busy), limit: Some(1), ..ListParams::default() };
    let listed = device.list(&busy).unwrap();
    assert_eq!((listed.total, &*listed.devices[0].device_id), (2, "d-1"));
    client.close();
}

#[test]
fn returns_declared_errors_as_variants_and_all_others_unchanged() {
    let limited = "[plugin.device.settings]\ndevices = 1";
    let host = HostProcess::builder().plugin("device").config(limited).start();
    let client = blocking::Client::connect(host.socket()).unwrap();
    let device = device::blocking::Client::new(client.clone());

    device.status_update(&UpdateParams::new("d-1", Status::Online)).unwrap();
    let error = device.status_update(&UpdateParams::new("d-2", Status::Online)).unwrap_err();
    let device::Error::Code507(remote) = &error else { panic!("{error:?}") };
    assert_eq!(remote.message, "the limit of devices is reached");
    assert_eq!(Error::from(error).code(), Some(507));

    let unknown = device.status_get(&GetParams::new("d-2")).unwrap_err();
    assert!(matches!(unknown, device::Error::Code404(_)), "{unknown:?}");
    let status = Status::Unknown("asleep".to_owned());
    let invalid = device.status_update(&UpdateParams::new("d-1", status)).unwrap_err();
    assert!(matches!(&invalid, device::Error::Other(Error::Remote(remote)) if remote.code == -32602));

    let report = ReportParams { within_ms: Some(60_000), ..ReportParams::new("d-1") };
    let late = device.with_timeout(Duration::from_millis(50)).report(&report).unwrap_err();
    assert!(matches!(late, device::Error::Other(Error::Timeout { .. })), "{late:?}");
    client.close();
}

#[test]
fn awaits_calls_in_tasks_of_their_own() {
    let host = HostProcess::with(&["device"]);
    runtime().block_on(async {
        let client = Client::connect(host.socket()).await.unwrap();
        let device = device::Client::new(client.clone());

        let report = ReportParams { within_ms: Some(0), ..ReportParams::new("d-1") };
        let report = tokio::spawn(device.report(&report));
        let update = tokio::spawn(device.status_update(&UpdateParams::new("d-2", Status::Online)));

        assert!(matches!(report.await.unwrap(), Err(device::Error::Code408(_))));
        assert_eq!(update.await.unwrap().unwrap().sequence, 1);
        client.close();
    });
}

/// A document that is checked in is the one that the host returns. `JACKFIELD_UPDATE=1` writes it
/// again.
#[test]
fn the_document_of_the_device_plugin_is_up_to_date() {
    let host = HostProcess::with(&["device"]);
    let client = blocking::Client::connect(host.socket()).unwrap();
    let discovered: Value = client.call("rpc.discover", &()).unwrap();
    client.close();

    let all = openrpc::read(discovered.to_string().as_bytes()).unwrap();
    let of_plugin = all.methods().iter().filter(|method| method.name.starts_with("device."));
    let contract = Contract::new(of_plugin.cloned().collect());
    let info = DocumentInfo { title: "device", version: env!("CARGO_PKG_VERSION") };
    let document = format!("{:#}\n", openrpc::write(&info, &contract));

    let path = root().join("tests/e2e/clients/device.openrpc.json");
    if std::env::var_os("JACKFIELD_UPDATE").is_some() {
        std::fs::write(&path, &document).unwrap();
    }
    let checked_in = std::fs::read_to_string(&path).unwrap();
    assert!(checked_in == document, "{}: run this test with JACKFIELD_UPDATE=1", path.display());
}
