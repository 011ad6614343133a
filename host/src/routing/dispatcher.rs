//! The state that all connections of a host share.

use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jackfield_plugin_api::abi::{CallerFacts, Origin};

use super::acl::ListenerAcls;
use super::deadline_watch::DeadlineWatch;
use super::host_phase::PhaseCell;
use super::inline_runner::InlineRunner;
use super::table::RoutingTable;
use crate::clock::Time;
use crate::config::{Config, Io, Limits, Timeouts, half_of_the_cores};
use crate::crash_record::CrashRecord;
use crate::limits::{BufferBudget, Permits};
use crate::log::ShortDuration;
use crate::metrics::Metrics;
use crate::plugin::Generation;
use crate::plugin_events::EventPublisher;
use crate::sync::lock;
use crate::trace::Tracer;

/// The part of the configuration that applies to every connection. A reload replaces it as a whole.
#[derive(Debug)]
pub(crate) struct ConnectionRules {
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    pub(crate) io: Io,
}

impl ConnectionRules {
    pub(crate) fn of(config: &Config) -> Self {
        Self { limits: config.limits.clone(), timeouts: config.timeouts.clone(), io: config.io.clone() }
    }
}

/// The state that all connections of a host share.
pub(crate) struct Dispatcher {
    /// A number that is new at every start, for clients that ask in a hello.
    pub(crate) instance: [u8; 16],

    /// Replaced as a whole: a request sees one table, and takes its generation from it once.
    pub(crate) table: ArcSwap<RoutingTable>,

    /// The methods that only operators reach.
    pub(crate) admin_table: ArcSwap<RoutingTable>,

    /// Generations that served before the current table, as long as their calls run.
    replaced: Mutex<Vec<Weak<Generation>>>,

    /// The I/O threads, once they run.
    pub(crate) inline_runner: OnceLock<Weak<dyn InlineRunner>>,

    /// Set if `trace.otlp` is.
    pub(crate) tracer: OnceLock<Arc<Tracer>>,

    /// The caller of the calls that the embedding program makes, and their deadlines.
    pub(super) program: Arc<CallerFacts>,
    pub(crate) deadlines: Arc<DeadlineWatch>,

    pub(super) weak_self: Weak<Self>,
    pub(crate) rules: ArcSwap<ConnectionRules>,
    pub(crate) acls: ListenerAcls,
    pub(crate) metrics: Arc<Metrics>,

    /// Tells the embedding program what happens to its plugins.
    pub(crate) events: Arc<EventPublisher>,

    pub(crate) crash_record: Arc<CrashRecord>,
    pub(crate) phase: PhaseCell,
    pub(super) started: Time,
    pub(crate) connections: Arc<Permits>,
    pub(crate) in_flight: Arc<Permits>,

    /// Connections to the admin socket.
    pub(crate) admin_connections: Arc<Permits>,

    /// Requests in flight of operators.
    pub(crate) admin_in_flight: Arc<Permits>,

    pub(crate) budget: Arc<BufferBudget>,

    /// I/O threads that may poll busily at the same time: half of the cores, but at least one.
    pub(crate) busy_polling: Arc<Permits>,
}

/// Upper bound for the connections of operators, and for their requests in flight: enough for
/// people who type commands, and for programs that watch the host. Operators have limits of their
/// own, so that they reach a host that clients overload.
const ADMIN_LIMIT: usize = 64;

/// Time to wait until no thread uses the previous table. A connection's turn takes microseconds,
/// unless a plugin stalls it.
const PUBLISH_LIMIT: Duration = Duration::from_secs(1);

/// Interval at which that is checked.
const PUBLISH_POLL: Duration = Duration::from_micros(50);

impl Dispatcher {
    /// Creates a dispatcher without any route. [`Dispatcher::publish`] adds them.
    pub(crate) fn new(rules: ConnectionRules, crash_record: Arc<CrashRecord>) -> Arc<Self> {
        let limits = rules.limits.clone();

        Arc::new_cyclic(|weak_self| Self {
            instance: uuid::Uuid::new_v4().into_bytes(),
            table: ArcSwap::from_pointee(RoutingTable::empty()),
            admin_table: ArcSwap::from_pointee(RoutingTable::empty()),
            replaced: Mutex::default(),
            inline_runner: OnceLock::new(),
            tracer: OnceLock::new(),
            program: CallerFacts::new(Origin::Program),
            deadlines: Arc::default(),
            weak_self: weak_self.clone(),
            connections: Permits::new(limits.connections),
            in_flight: Permits::new(limits.in_flight),
            admin_connections: Permits::new(ADMIN_LIMIT),
            admin_in_flight: Permits::new(ADMIN_LIMIT),
            budget: BufferBudget::new(limits.buffers),
            busy_polling: Permits::new(half_of_the_cores()),
            rules: ArcSwap::from_pointee(rules),
            acls: ListenerAcls::new(),
            metrics: Arc::default(),
            events: Arc::default(),
            crash_record,
            phase: PhaseCell::default(),
            started: Time::now(),
        })
    }

    /// Replaces the routing table, and waits until no thread uses the previous one. Blocks.
    ///
    /// Returns `true` if every request that is sent from now on uses `table`. Returns `false` if a
    /// thread still uses the previous table after a second: it may run requests with it that it has
    /// already read.
    pub(crate) fn publish(&self, table: &Arc<RoutingTable>) -> bool {
        // Locked first, so that `unfinished_calls` finds each generation in one of both places.
        let mut replaced = lock(&self.replaced);
        let previous = self.table.swap(Arc::clone(table));
        let is_replaced = |old: &&Arc<Generation>| table.generation(old.identity.number).is_none();
        replaced.retain(|generation| generation.strong_count() > 0);
        replaced.extend(previous.generations().filter(is_replaced).map(Arc::downgrade));
        drop(replaced);

        let deadline = Instant::now() + PUBLISH_LIMIT;

        while Arc::strong_count(&previous) > 1 {
            if Instant::now() >= deadline {
                tracing::warn!(
                    "an inline method has blocked an I/O thread for {}; \
                     requests on that thread may still use the previous routes",
                    ShortDuration(PUBLISH_LIMIT)
                );
                return false;
            }
            std::thread::sleep(PUBLISH_POLL);
        }
        true
    }

    /// Returns the number of `inline` and `blocking` calls of all generations that wait for a
    /// thread or run on one, except those that run past their deadline.
    ///
    /// Such a call may call any other method. Calls that run on the I/O thread of their connection
    /// are not among them, and neither are `async` calls, which end with their requests.
    pub(crate) fn unfinished_calls(&self) -> usize {
        self.generations().iter().map(|generation| generation.unfinished_calls()).sum()
    }

    /// Finds the calls of all generations that run past their deadlines, replaces the threads that
    /// they block, and reports them. To be called periodically.
    pub(crate) fn supervise_calls(&self) {
        self.generations().iter().for_each(|generation| generation.supervise_calls());
    }

    /// Returns the generations that serve, and the retired ones that still have holders.
    fn generations(&self) -> Vec<Arc<Generation>> {
        let replaced = lock(&self.replaced);
        let mut generations: Vec<_> = self.table.load().generations().map(Arc::clone).collect();
        generations.extend(replaced.iter().filter_map(Weak::upgrade));
        generations
    }

    /// Replaces the limits and time-outs. Whatever was accepted under the previous ones stays
    /// accepted, and open connections keep their frame limit.
    pub(crate) fn set_rules(&self, rules: ConnectionRules) {
        let limits = &rules.limits;
        self.connections.set_limit(limits.connections);
        self.in_flight.set_limit(limits.in_flight);
        self.budget.set_limit(limits.buffers);
        self.rules.store(Arc::new(rules));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::test_support::memory_crash_record;

    fn dispatcher() -> Arc<Dispatcher> {
        Dispatcher::new(ConnectionRules::of(&Config::default()), memory_crash_record())
    }

    #[test]
    fn waits_until_the_previous_table_is_no_longer_used() {
        let dispatcher = dispatcher();
        let previous = dispatcher.table.load_full();
        let next = Arc::new(RoutingTable::empty());

        std::thread::scope(|scope| {
            let published = scope.spawn(|| dispatcher.publish(&next));
            while !Arc::ptr_eq(&dispatcher.table.load(), &next) {
                std::thread::yield_now();
            }
            assert!(!published.is_finished());
            drop(previous);
            assert!(published.join().unwrap());
        });
    }

    #[test]
    fn applies_new_limits_at_once() {
        let dispatcher = dispatcher();
        let mut config = Config::default();
        config.limits.connections = 1;
        dispatcher.set_rules(ConnectionRules::of(&config));
        let held = dispatcher.connections.take();
        assert!(held.is_some() && dispatcher.connections.take().is_none());
        assert_eq!(dispatcher.rules.load().limits.connections, 1);
    }
}
