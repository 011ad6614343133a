//! Examines what the previous host left, logs it, and updates the crash log.

use std::io;
use std::path::Path;

use super::crash_log::{Crash, CrashLog, CrashedCall, Quarantined, now};
use super::post_mortem::{self, PostMortem};
use super::quarantine::{self, QuarantineVerdict};
use super::record_directory::{RecordDirectory, RecordFile};
use crate::config::{CrashAction, CrashConfig};
use crate::log::{Counted, ShortDuration, printable};

/// Returns the hashes of the contents that a host with these limits does not load, as far as its
/// crash log can be read.
#[must_use]
pub fn quarantined(limits: &CrashConfig) -> Vec<String> {
    let record = limits.record.as_ref().filter(|_| limits.most > 0);
    let log = record.and_then(|directory| CrashLog::read(&RecordFile::CrashLog.path_in(directory)).ok());
    log.into_iter().flat_map(|log| log.quarantined).map(|content| content.hash).collect()
}

/// Logs whether and how the previous host crashed, and returns the updated crash log.
///
/// # Errors
///
/// The previous record cannot be read.
pub(super) fn examine(directory: &mut RecordDirectory, limits: &CrashConfig) -> io::Result<CrashLog> {
    let record = directory.read_record()?;
    let post_mortem = post_mortem::examine(&record, &directory.path_of(RecordFile::Names));

    if matches!(post_mortem, PostMortem::Crashed(_)) {
        for line in post_mortem::unlogged_output(&record, &directory.path_of(RecordFile::Output)) {
            tracing::error!("last output of the previous host: {line}");
        }
    }
    Ok(update_crash_log(directory.path(), &post_mortem, limits))
}

fn update_crash_log(directory: &Path, post_mortem: &PostMortem, limits: &CrashConfig) -> CrashLog {
    let path = RecordFile::CrashLog.path_in(directory);
    let mut log = CrashLog::read(&path).unwrap_or_else(|error| {
        let file = path.display().to_string();
        let shown = printable(&file);
        tracing::error!(
            %file,
            %error,
            "cannot read the crash log {shown}: {error}; earlier crashes are forgotten"
        );
        CrashLog::default()
    });
    log.expire(limits.window, now());
    if limits.most == 0 {
        log.quarantined.clear();
    }

    match post_mortem {
        PostMortem::NoCrash => {}
        PostMortem::Unreadable(why) => {
            let directory = directory.display().to_string();
            let shown = printable(&directory);
            tracing::error!(
                %directory,
                "the crash record in {shown} is unreadable: {why}; what the previous host ran is unknown"
            );
        }
        PostMortem::Crashed(calls) if calls.is_empty() => {
            tracing::error!(
                "the previous host ended without shutdown (crash or kill -9); no plugin code was running"
            );
        }
        PostMortem::Crashed(calls) => {
            log_crashed_calls(calls);
            let crash = Crash { at: now(), calls: calls.clone() };
            let most = usize::try_from(limits.most).unwrap_or(usize::MAX);
            for verdict in quarantine::add_crash(&mut log, crash, most) {
                log_verdict(&verdict, limits);
            }
        }
    }

    write_crash_log(directory, &log);
    log
}

fn log_crashed_calls(calls: &[CrashedCall]) {
    for CrashedCall { plugin, generation, method, id, hash } in calls {
        let beside = calls.len() - 1;
        let request = if id.is_empty() { String::new() } else { format!(" (request {})", printable(id)) };
        let others = match beside {
            0 => String::new(),
            beside => format!("; {} ran at the same time", Counted(beside, "other call")),
        };

        let (shown_plugin, shown_method) = (printable(plugin), printable(method));
        tracing::error!(
            plugin,
            generation,
            method,
            id,
            hash,
            beside,
            "the previous host crashed while plugin {shown_plugin} ran {shown_method}{request}{others}"
        );
    }
}

fn log_verdict(verdict: &QuarantineVerdict, limits: &CrashConfig) {
    let window = ShortDuration(limits.window);

    match verdict {
        QuarantineVerdict::Quarantined(Quarantined { plugin, hash, crashes: deaths, method }) => {
            let crashes = Counted(*deaths, "crash");
            let shown = printable(plugin);
            match limits.action {
                CrashAction::Quarantine => tracing::error!(
                    plugin,
                    hash,
                    deaths,
                    method,
                    "plugin {shown} quarantined: it was running in {crashes} within {window}, and no other plugin in \
                     all of them; replace its file or run \"jackfield plugin reload {shown}\""
                ),
                CrashAction::Worker => tracing::error!(
                    plugin,
                    hash,
                    deaths,
                    method,
                    "plugin {shown} causes crashes: it was running in {crashes} within {window}, and no other plugin \
                     in all of them; the host loads it into a worker"
                ),
            }
        }
        QuarantineVerdict::Undecided(plugins) => {
            let plugins = plugins.join(", ");
            let shown = printable(&plugins);
            let crashes = Counted(limits.most, "crash");
            tracing::error!(
                plugins,
                "cannot determine which of the plugins {shown} causes crashes: each was running in at least {crashes} \
                 within {window}, always with another one; all of them stay loaded"
            );
        }
    }
}

/// Writes the crash log; a failure is logged.
pub(super) fn write_crash_log(directory: &Path, log: &CrashLog) {
    let path = RecordFile::CrashLog.path_in(directory);
    if let Err(error) = log.write(&path) {
        let file = path.display().to_string();
        let shown = printable(&file);
        tracing::error!(
            %file,
            %error,
            "cannot write the crash log {shown}: {error}; the next host does not know of this change"
        );
    }
}
