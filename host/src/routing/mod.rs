//! From a method's name to the code that runs it: routes, deadlines, calls, and what a failure says on the wire.

mod acl;
mod gate;
mod nested_call;
mod readiness;
mod reply;
mod reply_slot;
mod request_error;
mod table;

use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

pub(crate) use acl::ListenerAcls;
pub(crate) use gate::GateOpened;
pub(crate) use nested_call::{InlineRunner, mark_io_thread};
pub(crate) use readiness::{HostPhase, PhaseCell};
pub(crate) use reply::{ReplyContext, ReplyOutcome};
pub(crate) use request_error::{ExhaustedResource, RequestError};
pub(crate) use table::{HeldPlugins, Requester, RouteError, RoutePermits, RouteTarget, RoutingTable};

use crate::clock::Time;
use crate::config::{Config, Io, Limits, Timeouts, half_of_the_cores};
use crate::crash_record::CrashRecord;
use crate::limits::{BufferBudget, Permits};
use crate::metrics::Metrics;

/// What the configuration says of all connections alike; replaced whole.
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

/// What every connection of a host shares.
pub(crate) struct Dispatcher {
    /// Replaced whole: a request sees one table, and takes its generation from it once.
    pub(crate) table: ArcSwap<RoutingTable>,
    /// What operators can reach, and nobody else.
    pub(crate) admin: ArcSwap<RoutingTable>,
    /// The I/O threads, once they run.
    pub(crate) inline: OnceLock<Weak<dyn InlineRunner>>,
    me: Weak<Self>,
    pub(crate) rules: ArcSwap<ConnectionRules>,
    pub(crate) doors: ListenerAcls,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) recorder: Arc<CrashRecord>,
    pub(crate) phases: PhaseCell,
    started: Time,
    pub(crate) connections: Arc<Permits>,
    pub(crate) in_flight: Arc<Permits>,
    /// Operators' connections: a flood of clients does not keep them out.
    pub(crate) operators: Arc<Permits>,
    /// Operators' requests in flight.
    pub(crate) operators_in_flight: Arc<Permits>,
    pub(crate) budget: Arc<BufferBudget>,
    /// I/O threads that stay awake for the next request: half of the cores at most, and one in any case.
    pub(crate) looking: Arc<Permits>,
}

/// How many connections operators have open at once, and requests in flight: commands typed by people, and those who
/// watch. They are counted apart, so that whoever is to mend an overloaded host reaches it.
const OPERATORS: usize = 64;

impl Dispatcher {
    /// Without any route; [`Dispatcher::publish`] brings them.
    pub(crate) fn new(rules: ConnectionRules, recorder: Arc<CrashRecord>) -> Arc<Self> {
        let limits = rules.limits.clone();
        Arc::new_cyclic(|me| Self {
            table: ArcSwap::from_pointee(RoutingTable::empty()),
            admin: ArcSwap::from_pointee(RoutingTable::empty()),
            inline: OnceLock::new(),
            me: me.clone(),
            connections: Permits::new(limits.connections),
            in_flight: Permits::new(limits.in_flight),
            operators: Permits::new(OPERATORS),
            operators_in_flight: Permits::new(OPERATORS),
            budget: BufferBudget::new(limits.buffers),
            looking: Permits::new(half_of_the_cores()),
            rules: ArcSwap::from_pointee(rules),
            doors: ListenerAcls::new(),
            metrics: Arc::default(),
            recorder,
            phases: PhaseCell::starting(),
            started: Time::now(),
        })
    }
}

/// How long a new table is waited for: a connection's turn is microseconds, unless a plugin holds it up.
const TURN_MAX: Duration = Duration::from_secs(1);
const TURN_STEP: Duration = Duration::from_micros(50);

impl Dispatcher {
    /// Lets requests find these routes from now on: one swap of a pointer. When it returns, no request is looked up
    /// in the table before any more, so that who is told of it finds it true; `false` when a thread still does
    /// after a second. Blocks.
    pub(crate) fn publish(&self, table: &Arc<RoutingTable>) -> bool {
        let before = self.table.swap(Arc::clone(table));
        let deadline = Instant::now() + TURN_MAX;
        while Arc::strong_count(&before) > 1 {
            if Instant::now() >= deadline {
                tracing::warn!(
                    "a thread that serves connections has been held up for {TURN_MAX:?} by an inline method"
                );
                return false;
            }
            std::thread::sleep(TURN_STEP);
        }
        true
    }
}

impl Dispatcher {
    /// Other limits and time-outs from now on. What was accepted under the old ones stays accepted, and connections
    /// that are open keep their limit of a frame.
    pub(crate) fn set_rules(&self, rules: ConnectionRules) {
        let limits = &rules.limits;
        self.connections.set_most(limits.connections);
        self.in_flight.set_most(limits.in_flight);
        self.budget.set_most(limits.buffers);
        self.rules.store(Arc::new(rules));
    }
}
