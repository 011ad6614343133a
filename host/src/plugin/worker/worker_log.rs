//! Writes what a worker logs, and what it prints, to the log of the host.

use std::io::Read as _;
use std::process::ChildStderr;
use std::sync::Arc;
use std::time::Instant;

use jackfield_plugin_api::Level;

use super::super::failure_log::FailureLog;
use super::super::generation::{GenerationId, PluginCall};
use super::super::host_services::log_line;
use crate::log::{Counted, printable};
use crate::output::LineSplitter;

/// Bytes per read.
const CHUNK: usize = 16 * 1024;

/// Reads in a row, so that a plugin that prints endlessly does not keep the supervisor.
const MAX_READS: usize = 16;

/// Logs a line of the plugin. `call` is the call that ran on the thread that logged it.
pub(super) fn log(identity: &GenerationId, level: u8, line: &str, call: Option<&Arc<PluginCall>>) {
    let failures = FailureLog { plugin: &identity.plugin, generation: identity.number };
    let level = Level::from_number(level);
    if let Some(call) = call
        && level == Level::Error
        && failures.log_of_call(line, (call.method, call.generation.method_name(call.method)), &call.facts)
    {
        return;
    }
    log_line(&identity.plugin, identity.number, level, line);
}

/// The lines that a worker prints.
pub(super) struct PrintedLines(LineSplitter);

impl PrintedLines {
    pub(super) fn new() -> Self {
        Self(LineSplitter::new(Instant::now()))
    }

    /// Reads and logs what the pipe has. Returns `false` if it is closed.
    pub(super) fn read(&mut self, from: &mut ChildStderr, identity: &GenerationId) -> bool {
        let now = Instant::now();
        let mut buffer = [0; CHUNK];
        for _ in 0..MAX_READS {
            match from.read(&mut buffer) {
                Ok(0) => {
                    self.end(identity);
                    return false;
                }
                Ok(read) => self.0.take(&buffer[..read], now, |line| log_printed(identity, line)),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        self.report_dropped(identity, false);
        true
    }

    /// Logs an unfinished line, because the worker has ended.
    pub(super) fn end(&mut self, identity: &GenerationId) {
        self.0.end_line(Instant::now(), |line| log_printed(identity, line));
        self.report_dropped(identity, true);
    }

    fn report_dropped(&mut self, identity: &GenerationId, is_end: bool) {
        let Some(dropped) = self.0.take_dropped(Instant::now(), is_end) else { return };
        let plugin = &*identity.plugin;
        let lines = Counted(dropped.lines, "line");
        tracing::warn!(
            target: "jackfield::output",
            plugin,
            lines = dropped.lines,
            bytes = dropped.bytes,
            "plugin {plugin}: {lines} that its worker printed dropped: it prints faster than the log allows"
        );
    }
}

fn log_printed(identity: &GenerationId, line: &str) {
    let plugin = &*identity.plugin;
    let line = printable(line);
    tracing::info!(
        target: "jackfield::output",
        plugin,
        generation = identity.number,
        "plugin {plugin}: {line}"
    );
}
