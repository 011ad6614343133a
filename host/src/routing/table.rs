//! The routing table: one lookup from the name of a method to its generation, deadline and permits.
//!
//! A table is built once per change (`table_builder.rs`), so that a request costs one hash, however
//! many routes and plugins there are.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jackfield_plugin_api::Run;
use rustc_hash::FxHashMap;

use super::gate::StateTransferGate;
use super::request_error::RequestError;
use super::unavailable::{UnavailablePlugin, UnavailableTarget};
use crate::config::{Allow, Pattern, Route};
use crate::limits::Permits;
use crate::metrics::{MethodId, PeerIdentity};
use crate::plugin::{Generation, PluginInfo};

/// Where the requests for one method go.
#[derive(Clone)]
pub(crate) struct RouteTarget {
    pub(crate) generation: Arc<Generation>,

    /// The number of the method in its generation.
    pub(crate) method: u32,

    /// The number that its requests are counted under.
    pub(crate) counted: MethodId,

    /// How the plugin declared that the method runs; see [`RouteTarget::run`].
    pub(crate) declared: Run,

    pub(crate) timeout: Duration,

    /// The permits for requests in flight, if the route limits them.
    pub(crate) permits: Option<Arc<Permits>>,

    /// The clients that may call the method, if the route restricts them. [`RoutingTable::find`]
    /// checks it.
    pub(crate) allow: Option<Arc<Allow>>,
}

impl RouteTarget {
    /// Returns how the method runs at the moment.
    pub(crate) fn run(&self) -> Run {
        self.generation.effective_run(self.method, self.declared)
    }
}

/// A method whose calls wait while its plugin is being replaced.
pub(crate) struct HeldTarget {
    /// Calls look the method up again once this gate is open.
    pub(crate) gate: Arc<StateTransferGate>,

    /// The method in the previous generation, until that is stopped. Only nested calls of the
    /// plugin itself still go there, because its running calls must end.
    pub(crate) previous: Option<RouteTarget>,

    /// Whether the replacement waits for the end of `async` calls, too.
    pub(crate) awaits_async: bool,

    pub(crate) plugin: String,
    pub(super) allow: Option<Arc<Allow>>,
    pub(super) counted: MethodId,
}

/// Where the requests for a method go at the moment.
pub(crate) enum Found<'t> {
    Open(&'t RouteTarget),
    Held(&'t HeldTarget),
}

pub(super) enum TableEntry {
    Open(RouteTarget),

    /// The plugin is being replaced.
    Held(Box<HeldTarget>),

    /// The plugin of the route is missing, or the content with this method was refused.
    Unavailable(Box<UnavailableTarget>),

    /// The route is disabled.
    Closed {
        counted: MethodId,
    },
}

/// Why a request is rejected, and the number under which the metrics count it.
#[derive(Debug)]
pub(crate) struct CountedError {
    pub(crate) error: RequestError,
    pub(crate) counted: MethodId,
}

impl CountedError {
    /// Rejects a request whose method is unknown, because it could not be read.
    pub(crate) fn of_unreadable(error: RequestError) -> Self {
        Self { error, counted: MethodId::UNKNOWN }
    }
}

impl From<CountedError> for RequestError {
    fn from(rejected: CountedError) -> Self {
        rejected.error
    }
}

/// The origin of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Requester {
    /// A client. `None` if the kernel did not identify it; no list allows such a client.
    Client(Option<PeerIdentity>),

    /// Another plugin. No list applies, because that plugin decides which of its callers it serves.
    Plugin,
}

impl Requester {
    pub(super) fn check(self, allow: Option<&Allow>) -> Result<(), RequestError> {
        let (Some(allow), Self::Client(peer)) = (allow, self) else { return Ok(()) };
        match peer {
            Some(peer) if allow.allows(peer.uid, peer.gid) => Ok(()),
            _ => Err(RequestError::PermissionDenied),
        }
    }

    /// Returns the error for an unavailable method. A requester that the route does not allow does
    /// not learn that it is unavailable.
    fn error_for(self, unavailable: &UnavailableTarget) -> RequestError {
        match self.check(unavailable.allow.as_deref()) {
            Ok(()) => unavailable.error(),
            Err(denied) => denied,
        }
    }
}

/// All routes and methods, resolved.
pub(crate) struct RoutingTable {
    /// Names come from the configuration and from manifests, never from a request, so a fast hash
    /// function without protection against collisions is safe.
    pub(super) methods: FxHashMap<Box<str>, TableEntry>,

    /// Prefix routes whose plugin is missing, by prefix.
    pub(super) absent: FxHashMap<Box<str>, UnavailableTarget>,

    /// The refused contents whose methods are unavailable.
    pub(super) unavailable: Vec<UnavailablePlugin>,

    pub(super) generations: Vec<Arc<Generation>>,
}

/// Iterates over the parents of a name, the longest first: `a.b.c` has `a.b` and `a`.
pub(super) fn parents(method: &str) -> impl Iterator<Item = &str> {
    fn parent(name: &str) -> Option<&str> {
        name.rsplit_once('.').map(|(parent, _)| parent)
    }
    std::iter::successors(parent(method), |name| parent(name))
}

impl RoutingTable {
    /// Returns a table without any route.
    pub(crate) fn empty() -> Self {
        Self {
            methods: FxHashMap::default(),
            absent: FxHashMap::default(),
            unavailable: Vec::new(),
            generations: Vec::new(),
        }
    }

    /// Returns where a request for `method` goes.
    ///
    /// # Errors
    ///
    /// The method is unknown or unavailable, or `requester` is not allowed to call it.
    pub(crate) fn find(&self, method: &str, requester: Requester) -> Result<Found<'_>, CountedError> {
        let not_found = || RequestError::MethodNotFound(method.to_owned());

        let (error, counted) = match self.methods.get(method) {
            Some(TableEntry::Open(target)) => match requester.check(target.allow.as_deref()) {
                Ok(()) => return Ok(Found::Open(target)),
                Err(denied) => (denied, target.counted),
            },
            Some(TableEntry::Held(held)) => match requester.check(held.allow.as_deref()) {
                Ok(()) => return Ok(Found::Held(held)),
                Err(denied) => (denied, held.counted),
            },
            Some(TableEntry::Unavailable(target)) => (requester.error_for(target), target.counted),
            Some(TableEntry::Closed { counted }) => (not_found(), *counted),
            // A prefix route knows the prefix alone. A client could send any number of names.
            None => match parents(method).find_map(|parent| self.absent.get(parent)) {
                Some(absent) => (requester.error_for(absent), MethodId::UNKNOWN),
                None => (not_found(), MethodId::UNKNOWN),
            },
        };
        Err(CountedError { error, counted })
    }

    /// Returns the number that requests for `method` are counted under, however they end.
    pub(crate) fn counted(&self, method: &str) -> MethodId {
        match self.find(method, Requester::Plugin) {
            Ok(Found::Open(target)) => target.counted,
            Ok(Found::Held(held)) => held.counted,
            Err(error) => error.counted,
        }
    }

    pub(super) fn has_plugin(&self, plugin: &str) -> bool {
        self.generations.iter().any(|generation| *generation.identity.plugin == *plugin)
    }

    /// Returns the generation with this number, if it serves.
    pub(crate) fn generation(&self, number: u64) -> Option<&Arc<Generation>> {
        self.generations.iter().find(|generation| generation.identity.number == number)
    }

    /// Returns how often the table refers to a generation.
    pub(crate) fn references_to(&self, generation: &Arc<Generation>) -> usize {
        let targets = self.methods.values().filter_map(|entry| match entry {
            TableEntry::Open(target) => Some(target),
            TableEntry::Held(held) => held.previous.as_ref(),
            TableEntry::Unavailable(_) | TableEntry::Closed { .. } => None,
        });
        let routed = targets.map(|target| &target.generation);
        routed.chain(&self.generations).filter(|other| Arc::ptr_eq(other, generation)).count()
    }

    /// Iterates over the generations that serve, one for each plugin.
    pub(crate) fn generations(&self) -> impl Iterator<Item = &Arc<Generation>> {
        self.generations.iter()
    }

    /// Returns the refused contents whose methods are unavailable.
    pub(crate) fn unavailable(&self) -> &[UnavailablePlugin] {
        &self.unavailable
    }

    /// Returns the names of the plugins that serve and are not healthy.
    pub(crate) fn unhealthy(&self) -> Vec<String> {
        let unhealthy = self.generations.iter().filter(|generation| !generation.health().is_healthy);
        unhealthy.map(|generation| generation.identity.plugin.to_string()).collect()
    }

    /// Returns every method that a request can reach, sorted.
    pub(crate) fn method_names(&self) -> Vec<String> {
        let is_reachable = |entry: &TableEntry| matches!(entry, TableEntry::Open(_) | TableEntry::Held(_));
        let reachable = self.methods.iter().filter(|(_, entry)| is_reachable(entry));
        let names: BTreeSet<_> = reachable.map(|(name, _)| name.to_string()).collect();
        names.into_iter().collect()
    }

    /// Returns every plugin that serves.
    pub(crate) fn plugins(&self) -> Vec<PluginInfo> {
        let info = |generation: &Arc<Generation>| {
            let identity = &generation.identity;
            PluginInfo {
                name: identity.plugin.to_string(),
                generation: identity.number,
                version: identity.version.clone(),
                hash: identity.hash.clone(),
            }
        };
        self.generations.iter().map(info).collect()
    }

    /// Warns the operator about routes that lead to no method.
    pub(crate) fn warn_about_dead_routes(&self, routes: &[Route]) {
        for route in routes.iter().filter(|route| route.enabled) {
            let Route { method: pattern, plugin, .. } = route;
            let name = pattern.name();
            if !self.has_plugin(plugin) {
                tracing::warn!(
                    route = %pattern,
                    plugin,
                    "route {pattern}: no plugin {plugin} is loaded; requests are answered PLUGIN_UNAVAILABLE"
                );
            } else if matches!(pattern, Pattern::Exact(_)) && !self.methods.contains_key(name) {
                tracing::warn!(
                    method = name,
                    plugin,
                    "route {name}: plugin {plugin} has no such method; requests are answered METHOD_NOT_FOUND"
                );
            }
        }
    }
}
