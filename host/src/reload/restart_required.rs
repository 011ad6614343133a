//! What of a changed configuration waits for a restart, said by name.

use crate::config::Config;

/// Logs each part that differs and does not take effect before the host is started again.
pub(super) fn tell(before: &Config, after: &Config) {
    let parts = [
        ("[[listener]]", before.listeners.iter().map(what_waits).ne(after.listeners.iter().map(what_waits))),
        ("[admin]", before.admin != after.admin),
        ("plugins.directory", before.plugins.directory != after.plugins.directory),
        (&format!("[{}]", after.name_in_file("plugins.crash")), before.plugins.crash != after.plugins.crash),
        ("metrics.listen", before.metrics != after.metrics),
        ("io.threads", before.io.threads != after.io.threads),
        ("log.format", before.log.format != after.log.format),
    ];
    for (part, _) in parts.into_iter().filter(|(_, differs)| *differs) {
        tracing::warn!("{part} has changed: that takes effect when the host is started again");
    }
}

fn what_waits(listener: &crate::config::Listener) -> crate::config::Listener {
    // Who may connect is asked at each connection.
    crate::config::Listener { allow: None, place: crate::config::Place::default(), ..listener.clone() }
}
