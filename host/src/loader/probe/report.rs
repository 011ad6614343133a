//! What parent and probing process say to each other: one request, then a report of JSON lines.

use std::fmt;
use std::io::{self, Read};

use jackfield_plugin_api::Manifest;
use serde::{Deserialize, Serialize};

/// The largest part of a request, in bytes. Settings come out of a configuration file.
const PART_MAX: u32 = 16 << 20;

/// What the parent asks for; the settings follow, as they are.
#[derive(Serialize, Deserialize)]
pub(super) struct ProbeRequest {
    /// The parent's process id, to notice that it has gone.
    pub(super) parent: u32,
    /// The manifest in the file, which the running code must repeat.
    pub(super) manifest: Manifest,
}

impl ProbeRequest {
    /// Two parts, each after its length as a little-endian u32: this as JSON, and the settings.
    pub(super) fn encode(&self, settings: &[u8]) -> io::Result<Vec<u8>> {
        let json = serde_json::to_vec(self)?;
        let mut bytes = Vec::with_capacity(json.len() + settings.len() + 8);
        for part in [json.as_slice(), settings] {
            let length = u32::try_from(part.len()).ok().filter(|length| *length <= PART_MAX);
            let length = length.ok_or_else(|| io::Error::other("the settings are too large"))?;
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(part);
        }
        Ok(bytes)
    }

    /// The request, and the settings.
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

/// How far the plugin has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ProbeStep {
    /// The probing process is being set up; nothing of the plugin runs.
    #[default]
    Begun,
    /// The dynamic loader opens it: its constructors run.
    Opening,
    /// Its ABI and manifest are compared.
    Checking,
    /// Its `start` runs.
    Starting,
    /// Its `self_test` runs.
    Testing,
    /// Its `stop` runs, then its `Drop`.
    Stopping,
    /// The dynamic loader closes it: its destructors run.
    Closing,
}

impl fmt::Display for ProbeStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Begun => "the setup",
            Self::Opening => "dlopen (its constructors)",
            Self::Checking => "the ABI check",
            Self::Starting => "start",
            Self::Testing => "self_test",
            Self::Stopping => "stop",
            Self::Closing => "dlclose (its destructors)",
        })
    }
}

/// One line of the report.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ProbeReport {
    /// The next step begins.
    Step(ProbeStep),
    /// A line of the plugin's log; the level is the number of [`jackfield_plugin_api::Level`].
    Log { level: u8, line: String },
    /// This many threads of the plugin's ran on after its `stop`.
    LeftThreads(usize),
    /// `stop` or `Drop` panicked.
    StopPanicked(String),
    /// The end: refused for a [`Reason`](super::super::Reason), by its code.
    Refused { reason: String, detail: String },
    /// The end: nothing to refuse it for.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_written_and_not_when_cut() {
        let json =
            r#"{"manifest":1,"api":"0.1.0","package":"p","version":"1.0.0","panic":"unwind","methods":[]}"#;
        let manifest = Manifest::parse(json.as_bytes()).unwrap();
        let bytes = ProbeRequest { parent: 7, manifest: manifest.clone() }.encode(b"{\"a\":1}").unwrap();
        let (request, settings) = ProbeRequest::read(&mut bytes.as_slice()).unwrap();
        assert_eq!(
            (request.parent, request.manifest, settings.as_slice()),
            (7, manifest, b"{\"a\":1}".as_slice())
        );
        for cut in 0..bytes.len() {
            assert!(ProbeRequest::read(&mut &bytes[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_report_is_one_line_whatever_it_says() {
        let line = ProbeReport::Log { level: 3, line: "a\nb".into() }.encode().unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert!(
            matches!(ProbeReport::decode(&line), Some(ProbeReport::Log { level: 3, line }) if line == "a\nb")
        );
        assert!(ProbeReport::decode(b"hello\n").is_none());
    }
}
