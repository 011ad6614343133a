//! Touches the buffer in which `tracing-subscriber` formats the lines of a thread.
//!
//! The buffer is a thread-local of the library that only formatting a line reaches. All of its
//! formatting layers share it, so one that writes nothing reaches it as well, also if the program
//! that embeds the host has installed a subscriber of its own.

use std::io::{Sink, sink};
use std::sync::LazyLock;

use tracing::callsite::{Callsite, Identifier};
use tracing::field::FieldSet;
use tracing::metadata::Kind;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Layered, SubscriberExt as _};
use tracing_subscriber::{Registry, fmt, registry};

/// A subscriber that formats lines and writes them nowhere. It is never installed.
type SilentSubscriber =
    Layered<fmt::Layer<Registry, fmt::format::DefaultFields, fmt::format::Format, fn() -> Sink>, Registry>;

static SILENT: LazyLock<SilentSubscriber> =
    LazyLock::new(|| registry().with(fmt::layer().with_writer(sink as fn() -> Sink)));

/// The origin of the one line that is formatted. It is not registered, so that no installed
/// subscriber ever sees it.
struct SilentCallsite;

static CALLSITE: SilentCallsite = SilentCallsite;

static METADATA: Metadata<'static> = Metadata::new(
    "thread start",
    "jackfield",
    Level::TRACE,
    None,
    None,
    None,
    FieldSet::new(&[], Identifier(&CALLSITE)),
    Kind::EVENT,
);

impl Callsite for SilentCallsite {
    fn set_interest(&self, _: Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        &METADATA
    }
}

/// Formats an empty line on this thread.
pub(crate) fn touch_thread_locals() {
    SILENT.event(&Event::new(&METADATA, &METADATA.fields().value_set(&[])));
}
