//! The parts of the configuration that take effect only when the host is started again.

use crate::config::{AdminConfig, Config, Listener, Place};

/// Logs each part that differs and needs a restart.
pub(super) fn warn(old: &Config, new: &Config) {
    for part in changed_parts(old, new) {
        tracing::warn!("{part} changed; restart the host to apply it");
    }
}

/// Returns the names of the parts that differ and need a restart.
fn changed_parts(old: &Config, new: &Config) -> Vec<String> {
    let listeners = |config: &Config| config.listeners.iter().map(fixed_part).collect::<Vec<_>>();
    let admin =
        |config: &Config| config.admin.as_ref().map(AdminConfig::listener).map(|admin| fixed_part(&admin));
    let crash = format!("[{}]", new.name_in_file("plugins.crash"));
    let parts = [
        ("[[listener]]", listeners(old) != listeners(new)),
        ("[admin]", admin(old) != admin(new)),
        ("plugins.directory", old.plugins.directory != new.plugins.directory),
        ("plugins.state", old.plugins.state != new.plugins.state),
        (&crash, old.plugins.crash != new.plugins.crash),
        ("metrics.listen", old.metrics != new.metrics),
        ("[trace]", old.trace.fixed_part() != new.trace.fixed_part()),
        ("io.threads", old.io.threads != new.io.threads),
        ("log.format", old.log.format != new.log.format),
    ];
    parts.into_iter().filter(|(_, differs)| *differs).map(|(part, _)| part.to_owned()).collect()
}

/// Returns a listener without what takes effect at once: access is checked for each connection.
fn fixed_part(listener: &Listener) -> Listener {
    Listener { allow: None, place: Place::default(), ..listener.clone() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::config::{Allow, Format, Level, MetricsEndpoint, Sample};

    type Change = fn(&mut Config);

    fn changed_by(change: impl FnOnce(&mut Config)) -> Vec<String> {
        let old = Config { listeners: vec![Listener::at("run/a.sock")], ..Config::default() };
        let mut new = old.clone();
        change(&mut new);
        changed_parts(&old, &new)
    }

    #[test]
    fn names_the_parts_that_need_a_restart() {
        let parts: [(&str, Change); 9] = [
            ("[[listener]]", |config| config.listeners.push(Listener::at("run/b.sock"))),
            ("[admin]", |config| config.admin = Some(AdminConfig::default())),
            ("plugins.directory", |config| config.plugins.directory = "other".into()),
            ("plugins.state", |config| config.plugins.state = Some("other".into())),
            ("[plugins.crash]", |config| config.plugins.crash.most += 1),
            ("metrics.listen", |config| {
                config.metrics.listen = Some(MetricsEndpoint::Unix("run/metrics.sock".into()));
            }),
            ("[trace]", |config| config.trace.spans = true),
            ("io.threads", |config| config.io.threads += 1),
            ("log.format", |config| config.log.format = Format::Json),
        ];
        for (part, change) in parts {
            assert_eq!(changed_by(change), [part]);
        }
    }

    #[test]
    fn names_a_changed_listener_once_whatever_changed() {
        assert_eq!(changed_by(|config| config.listeners[0].mode = 0o600), ["[[listener]]"]);
        assert_eq!(changed_by(|config| config.listeners.clear()), ["[[listener]]"]);
    }

    #[test]
    fn names_nothing_that_takes_effect_at_once() {
        assert_eq!(changed_by(|_| ()), [""; 0]);
        assert_eq!(
            changed_by(|config| {
                config.listeners[0].allow = Some(Arc::new(Allow::new([1], [])));
                config.limits.connections += 1;
                config.timeouts.request = Duration::from_secs(1);
                config.io.spin = Duration::ZERO;
                config.log.level = Level::Debug;
                config.trace.sample = Sample::Ratio(0.5);
                config.plugins.retained += 1;
            }),
            [""; 0]
        );
    }
}
