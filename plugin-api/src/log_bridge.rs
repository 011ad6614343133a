//! The bridges from `log` and `tracing` to the host's log (features `log` and `tracing`).
//!
//! A loaded plugin has its own copies of these crates, whose records reach nobody unless a logger
//! and a subscriber are installed in the plugin. Those of this file are installed once for each
//! loaded file, before `start`. They keep nothing on the calling thread: a thread-local value with
//! a destructor, such as those of `tracing-subscriber`, would keep the code of the plugin in memory
//! until its thread ends. Therefore spans are accepted, but ignored.

#[cfg(feature = "log")]
mod from_log {
    use log::{LevelFilter, Log, Metadata, Record};

    use crate::attached_host::attached;
    use crate::{Host, Level};

    struct Bridge;

    fn level_of(level: log::Level) -> Level {
        match level {
            log::Level::Error => Level::Error,
            log::Level::Warn => Level::Warn,
            log::Level::Info => Level::Info,
            log::Level::Debug => Level::Debug,
            log::Level::Trace => Level::Trace,
        }
    }

    fn host_for(metadata: &Metadata<'_>) -> Option<Host> {
        attached().filter(|host| host.is_enabled(level_of(metadata.level())))
    }

    impl Log for Bridge {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            host_for(metadata).is_some()
        }

        fn log(&self, record: &Record<'_>) {
            if let Some(host) = host_for(record.metadata()) {
                host.log(level_of(record.level()), format_args!("{}: {}", record.target(), record.args()));
            }
        }

        fn flush(&self) {}
    }

    pub(super) fn install() {
        // It fails if a constructor of the plugin has installed a logger of its own, which stays.
        if log::set_logger(&Bridge).is_ok() {
            // The level of the host can change at any time, so the host is asked for each record.
            log::set_max_level(LevelFilter::Trace);
        }
    }
}

#[cfg(feature = "tracing")]
mod from_tracing {
    use std::fmt::{Debug, Write};

    use tracing_core::field::{Field, Visit};
    use tracing_core::span::{Attributes, Id, Record};
    use tracing_core::subscriber::Interest;
    use tracing_core::{Dispatch, Event, Metadata, Subscriber, dispatcher};

    use crate::attached_host::attached;
    use crate::{Host, Level};

    struct Bridge;

    fn level_of(level: tracing_core::Level) -> Level {
        match level {
            tracing_core::Level::ERROR => Level::Error,
            tracing_core::Level::WARN => Level::Warn,
            tracing_core::Level::INFO => Level::Info,
            tracing_core::Level::DEBUG => Level::Debug,
            tracing_core::Level::TRACE => Level::Trace,
        }
    }

    fn host_for(metadata: &Metadata<'_>) -> Option<Host> {
        attached().filter(|host| host.is_enabled(level_of(*metadata.level())))
    }

    /// The message of an event, and its other fields.
    #[derive(Default)]
    struct Line {
        message: String,
        fields: String,
    }

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            // Writing to a string does not fail.
            let _ = match field.name() {
                "message" => write!(self.message, " {value:?}"),
                name => write!(self.fields, " {name}={value:?}"),
            };
        }
    }

    impl Subscriber for Bridge {
        fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
            // The level of the host can change at any time, so the host is asked for each event.
            if metadata.is_event() { Interest::sometimes() } else { Interest::never() }
        }

        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.is_event() && host_for(metadata).is_some()
        }

        fn event(&self, event: &Event<'_>) {
            let metadata = event.metadata();
            let Some(host) = host_for(metadata) else { return };

            let mut line = Line::default();
            event.record(&mut line);
            let Line { message, fields } = line;
            host.log(level_of(*metadata.level()), format_args!("{}:{message}{fields}", metadata.target()));
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    pub(super) fn install() {
        // It fails if a constructor of the plugin has set a subscriber of its own, which stays.
        let _ = dispatcher::set_global_default(Dispatch::new(Bridge));
    }
}

/// Installs the bridges that the features select.
pub(crate) fn install() {
    #[cfg(feature = "log")]
    from_log::install();
    #[cfg(feature = "tracing")]
    from_tracing::install();
}
