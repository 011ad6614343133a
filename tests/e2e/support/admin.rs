//! The admin socket, as operators use it.

use serde_json::Value;

use super::host::HostProcess;
use super::peer::Peer;

/// Opens a connection to the admin socket of a host.
#[track_caller]
pub(crate) fn connect(host: &HostProcess) -> Peer {
    Peer::connect(&host.path("run/jackfield-admin.sock"))
}

/// Returns the rows of `admin.plugin.list`.
#[track_caller]
pub(crate) fn plugin_rows(admin: &mut Peer) -> Vec<Value> {
    let rows = admin.result("admin.plugin.list", &Value::Null);
    rows.as_array().expect("the list is an array").clone()
}

/// Returns the row of one plugin, which must be listed.
#[track_caller]
pub(crate) fn plugin_row(host: &HostProcess, name: &str) -> Value {
    let rows = plugin_rows(&mut connect(host));
    let row = rows.iter().find(|row| row["name"] == name);
    row.unwrap_or_else(|| panic!("no plugin {name} in {rows:?}")).clone()
}
