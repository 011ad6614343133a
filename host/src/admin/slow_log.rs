//! The reply of `admin.slowlog`: the slowest and the failed requests of the last ten minutes.

use serde::{Deserialize, Serialize};

/// The slow log of a host.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SlowLogReport {
    /// Successful requests, the slowest first.
    pub slow: Vec<SlowRequest>,
    /// Failed requests, the most recent first.
    pub failed: Vec<SlowRequest>,
    /// Requests that were not recorded, because the log was locked at that moment.
    pub missed: u64,
}

/// One request of the slow log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SlowRequest {
    /// The time of the reply, in milliseconds since 1970.
    pub at_ms: u64,
    /// The number of the connection, as in the log of the host.
    pub conn: u64,
    /// The id of the request.
    pub id: String,
    /// The method.
    pub method: String,
    /// The plugin that ran it, if one did.
    pub plugin: Option<String>,
    /// The generation that ran it.
    pub generation: Option<u64>,
    /// The user of the client.
    pub uid: Option<u32>,
    /// The process of the client.
    pub pid: Option<u32>,
    /// The time from acceptance until it began to run, in microseconds.
    pub queued_us: u64,
    /// The time from then until the reply, in microseconds.
    pub ran_us: u64,
    /// How it ended: `ok`, or the name of the error.
    pub outcome: String,
}
