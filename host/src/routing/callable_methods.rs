//! The contract of the methods that a caller may call.

use std::sync::Arc;

use jackfield_contract::{Contract, MethodContract};
use jackfield_plugin_api::Caller;

use super::dispatcher::Dispatcher;
use super::table::{Requester, RoutingTable, TableEntry};
use crate::metrics::PeerIdentity;

/// A method, and the contract of its plugin; `None` if no generation serves it at the moment.
type CallableMethod = (Box<str>, Option<Arc<Contract>>);

impl Requester {
    /// Returns the requester whose requests have this caller. A proxy is not the sender, so no list
    /// of a route permits its requests.
    pub(super) fn of(caller: &Caller) -> Self {
        match caller {
            Caller::Local { credentials, .. } => Self::Client(credentials.map(|found| PeerIdentity {
                uid: found.uid,
                gid: found.gid,
                pid: found.pid,
            })),
            Caller::Program => Self::Plugin,
            _ => Self::Client(None),
        }
    }
}

impl RoutingTable {
    /// Returns the methods that a request of `requester` reaches. Methods whose plugin is being
    /// replaced are among them, because their calls wait.
    pub(super) fn callable_methods(&self, requester: Requester) -> Vec<CallableMethod> {
        let contract_in = |entry: &TableEntry| {
            let (allow, target) = match entry {
                TableEntry::Open(target) => (&target.allow, Some(target)),
                TableEntry::Held(held) => (&held.allow, held.previous.as_ref()),
                TableEntry::Unavailable(_) | TableEntry::Closed { .. } => return None,
            };
            requester.check(allow.as_deref()).ok()?;
            Some(target.map(|target| Arc::clone(&target.generation.contract)))
        };
        let methods = self.methods.iter();
        methods.filter_map(|(name, entry)| Some((name.clone(), contract_in(entry)?))).collect()
    }
}

impl Dispatcher {
    /// Returns the contract of what a caller may call on a socket other than the admin socket.
    pub(crate) fn contract_for(&self, caller: &Caller) -> Contract {
        // The guard of the table is dropped at once, because the replacement of a table waits until
        // nothing holds the previous one.
        let methods = self.table.load().callable_methods(Requester::of(caller));
        contract_of(methods)
    }

    /// Returns the contract of the methods of the admin socket.
    pub(crate) fn admin_contract(&self) -> Contract {
        let methods = self.admin_table.load().callable_methods(Requester::Plugin);
        contract_of(methods)
    }
}

fn contract_of(methods: Vec<CallableMethod>) -> Contract {
    let method = |(name, contract): CallableMethod| {
        let known = contract.as_ref().and_then(|contract| contract.method(&name));
        known.cloned().unwrap_or_else(|| MethodContract::unknown(&name))
    };
    Contract::new(methods.into_iter().map(method).collect())
}
