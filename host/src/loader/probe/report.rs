//! The messages between the host and the probing process: one request, then a report of JSON lines.

use std::fmt;
use std::io::{self, Read, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jackfield_plugin_api::Manifest;
use serde::{Deserialize, Serialize};

use crate::sync::lock;

/// The name (`argv[0]`) of the probing process, by which the program knows that it is one.
pub(super) const PROCESS_NAME: &str = "jackfield-probe";

/// The largest part of a request, in bytes. The settings come from a configuration file.
const PART_MAX: u32 = 16 << 20;

/// How far a probe goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeDepth {
    /// The plugin is opened, checked, started, self-tested, stopped and closed.
    Start,

    /// The plugin is opened, checked and closed. Its constructors and destructors run, and its
    /// manifest is read, but `start` does not run. It is for plugins of which only one instance can
    /// run at a time.
    Code,
}

/// The request of the host. The settings follow it as they are.
#[derive(Serialize, Deserialize)]
pub(super) struct ProbeRequest {
    /// The process id of the host. The probing process ends if its parent is another process.
    pub(super) parent: u32,

    /// The manifest in the file. The running code must have the same one.
    pub(super) manifest: Manifest,

    /// Whether the plugin is started.
    pub(super) depth: ProbeDepth,

    /// Whether the plugin may change state of its whole process, because it will have one of its
    /// own.
    pub(super) may_change_process: bool,

    /// The time for the plugin to describe its methods; `None` if it is not asked.
    pub(super) describes_within: Option<Duration>,
}

impl ProbeRequest {
    /// Encodes two parts, this request as JSON and the settings, each after its length as a
    /// little-endian `u32`.
    pub(super) fn encode(&self, settings: &[u8]) -> io::Result<Vec<u8>> {
        let json = serde_json::to_vec(self)?;
        let mut bytes = Vec::with_capacity(json.len() + settings.len() + 8);
        for part in [json.as_slice(), settings] {
            let length = u32::try_from(part.len()).ok().filter(|length| *length <= PART_MAX);
            let length =
                length.ok_or_else(|| io::Error::other("the settings of the plugin are too large"))?;
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(part);
        }
        Ok(bytes)
    }

    /// Reads a request and its settings.
    pub(super) fn read(from: &mut impl Read) -> io::Result<(Self, Vec<u8>)> {
        let json = read_part(from)?;
        Ok((serde_json::from_slice(&json)?, read_part(from)?))
    }
}

fn read_part(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);

    let mut part = Vec::new();
    from.take(u64::from(length.min(PART_MAX))).read_to_end(&mut part)?;
    if part.len() == length as usize { Ok(part) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// The steps of a probe, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProbeStep {
    /// The probing process is set up; no code of the plugin runs.
    #[default]
    Setup,
    /// The dynamic loader opens the plugin, and its constructors run.
    Opening,
    /// The ABI and the manifest are compared.
    Checking,
    /// `start` runs.
    Starting,
    /// `self_test` runs.
    Testing,
    /// `stop` runs, then `Drop`.
    Stopping,
    /// The plugin describes its methods. A fault in this step is no reason to refuse it.
    Describing,
    /// The dynamic loader closes the plugin, and its destructors run.
    Closing,
}

impl fmt::Display for ProbeStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Setup => "its setup",
            Self::Opening => "dlopen (the constructors of the plugin)",
            Self::Checking => "the ABI check",
            Self::Starting => "start",
            Self::Testing => "self_test",
            Self::Stopping => "stop",
            Self::Describing => "the description of its methods",
            Self::Closing => "dlclose (the destructors of the plugin)",
        })
    }
}

/// One line of the report.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ProbeReport {
    /// The next step begins.
    Step(ProbeStep),

    /// The plugin logged a line. The level is the number of a [`jackfield_plugin_api::Level`].
    Log { level: u8, line: String },

    /// This many threads of the plugin still ran after its `stop`.
    RemainingThreads(usize),

    /// `stop` or `Drop` panicked.
    StopPanicked(String),

    /// The next part of the description of its methods, or why it is missing.
    Described(Result<String, String>),

    /// The end: the plugin is refused, for the [`LoadErrorReason`](super::super::LoadErrorReason)
    /// with this code.
    Refused { reason: String, detail: String },

    /// The end: there is no reason to refuse the plugin.
    Passed,
}

impl ProbeReport {
    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }

    pub(super) fn decode(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

/// Sends the report from the probing process to the host.
#[derive(Clone)]
pub(super) struct Reporter(Arc<Mutex<UnixStream>>);

impl Reporter {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self(Arc::new(Mutex::new(socket)))
    }

    pub(super) fn send(&self, report: &ProbeReport) {
        let Ok(line) = report.encode() else { return };
        let mut socket = lock(&self.0);
        // If the host has ended, this process has been killed, or will be in a moment.
        let _ = socket.write_all(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_the_request_that_it_encoded_and_rejects_every_truncation() {
        let json =
            r#"{"manifest":1,"api":"0.1.0","package":"p","version":"1.0.0","panic":"unwind","methods":[]}"#;
        let manifest = Manifest::parse(json.as_bytes()).unwrap();
        let request = ProbeRequest {
            parent: 7,
            manifest: manifest.clone(),
            depth: ProbeDepth::Code,
            may_change_process: true,
            describes_within: Some(Duration::from_millis(250)),
        };
        let bytes = request.encode(b"{\"a\":1}").unwrap();
        let (request, settings) = ProbeRequest::read(&mut bytes.as_slice()).unwrap();
        assert_eq!((request.parent, request.manifest, request.depth), (7, manifest, ProbeDepth::Code));
        assert_eq!((&*settings, request.may_change_process), (&b"{\"a\":1}"[..], true));
        assert_eq!(request.describes_within, Some(Duration::from_millis(250)));
        for cut in 0..bytes.len() {
            assert!(ProbeRequest::read(&mut &bytes[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn encodes_a_report_in_one_line_even_if_its_text_has_several() {
        let line = ProbeReport::Log { level: 3, line: "a\nb".into() }.encode().unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert!(
            matches!(ProbeReport::decode(&line), Some(ProbeReport::Log { level: 3, line }) if line == "a\nb")
        );
    }

    #[test]
    fn rejects_a_line_that_is_no_report() {
        assert!(ProbeReport::decode(b"hello\n").is_none());
    }
}
