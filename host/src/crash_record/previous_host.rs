//! Examines what the previous host left, logs it, and updates the crash log.

use std::io;
use std::path::Path;

use super::crash_log::{Crash, CrashLog, CrashedCall, Quarantined, now};
use super::post_mortem::{self, PostMortem};
use super::quarantine::{self, QuarantineVerdict};
use super::record_directory::{RecordDirectory, RecordFile};
use crate::config::CrashConfig;

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
            tracing::error!("the host before wrote as it died: {line}");
        }
    }
    Ok(update_crash_log(directory.path(), &post_mortem, limits))
}

fn update_crash_log(directory: &Path, post_mortem: &PostMortem, limits: &CrashConfig) -> CrashLog {
    let path = RecordFile::CrashLog.path_in(directory);
    let mut log = CrashLog::read(&path).unwrap_or_else(|error| {
        tracing::error!(file = %path.display(), %error, "the deaths of late cannot be read, and are forgotten");
        CrashLog::default()
    });
    log.expire(limits.window, now());
    if limits.most == 0 {
        log.quarantined.clear();
    }

    match post_mortem {
        PostMortem::NoCrash => {}
        PostMortem::Unreadable(why) => {
            let directory = directory.display();
            tracing::error!(%directory, "the record of the host before cannot be read, and is ignored: {why}");
        }
        PostMortem::Crashed(calls) if calls.is_empty() => {
            tracing::error!("the host before died; no thread of it ran a plugin's code");
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
        tracing::error!(plugin, generation, method, id, hash, beside, "the host before died while this ran");
    }
}

fn log_verdict(verdict: &QuarantineVerdict, limits: &CrashConfig) {
    let window = limits.window;
    match verdict {
        QuarantineVerdict::Quarantined(Quarantined { plugin, hash, crashes: deaths, method }) => {
            tracing::error!(
                plugin,
                hash,
                deaths,
                method,
                "it ran in each of {deaths} deaths within {window:?}, and nothing else did: it is left out"
            );
        }
        QuarantineVerdict::Undecided(plugins) => {
            let plugins = plugins.join(", ");
            let most = limits.most;
            tracing::error!(
                plugins,
                "each of these ran in {most} deaths or more within {window:?}, and which of them is at fault cannot be told"
            );
        }
    }
}

/// Writes the crash log; a failure is logged.
pub(super) fn write_crash_log(directory: &Path, log: &CrashLog) {
    let path = RecordFile::CrashLog.path_in(directory);
    if let Err(error) = log.write(&path) {
        tracing::error!(file = %path.display(), %error, "the deaths of late cannot be remembered");
    }
}
