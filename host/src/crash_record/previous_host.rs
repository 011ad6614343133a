//! What a host takes over from the one before: the deaths of late, the one that has just been, and what follows.

use std::path::Path;

use super::crash_log::{Crash, CrashLog, QuarantineVerdict, Quarantined, now};
use super::post_mortem::{CrashedCall, PostMortem};
use crate::config::CrashConfig;

/// The hashes of the contents that a host of these limits leaves out, as far as that can be read.
#[must_use]
pub fn quarantined(limits: &CrashConfig) -> Vec<String> {
    let record = limits.record.as_ref().filter(|_| limits.most > 0);
    let book = record.and_then(|directory| CrashLog::read(&directory.join("deaths.json")).ok());
    book.into_iter().flat_map(|book| book.left_out).map(|left_out| left_out.hash).collect()
}

/// Tells of the death of the host before, if it died, and what follows from that.
pub(super) fn inherit(directory: &Path, remains: &PostMortem, limits: &CrashConfig) -> CrashLog {
    let path = directory.join("deaths.json");
    let mut book = CrashLog::read(&path).unwrap_or_else(|error| {
        tracing::error!(file = %path.display(), %error, "the deaths of late cannot be read, and are forgotten");
        CrashLog::default()
    });
    book.forget(limits.window, now());
    if limits.most == 0 {
        book.left_out.clear();
    }
    match remains {
        PostMortem::Nothing => {}
        PostMortem::Unreadable(why) => {
            let directory = directory.display();
            tracing::error!(%directory, "the record of the host before cannot be read, and is ignored: {why}");
        }
        PostMortem::Died(ran) if ran.is_empty() => {
            tracing::error!("the host before died; no thread of it ran a plugin's code");
        }
        PostMortem::Died(ran) => {
            for CrashedCall { plugin, generation, method, id, hash } in ran {
                let beside = ran.len() - 1;
                tracing::error!(
                    plugin,
                    generation,
                    method,
                    id,
                    hash,
                    beside,
                    "the host before died while this ran"
                );
            }
            let most = usize::try_from(limits.most).unwrap_or(usize::MAX);
            for judged in book.add(Crash { at: now(), ran: ran.clone() }, most) {
                tell(&judged, limits);
            }
        }
    }
    remember(directory, &book);
    book
}

fn tell(judged: &QuarantineVerdict, limits: &CrashConfig) {
    let window = limits.window;
    match judged {
        QuarantineVerdict::Quarantined(Quarantined { plugin, hash, deaths, method }) => {
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

pub(super) fn remember(directory: &Path, book: &CrashLog) {
    let path = directory.join("deaths.json");
    if let Err(error) = book.write(&path) {
        tracing::error!(file = %path.display(), %error, "the deaths of late cannot be remembered");
    }
}
