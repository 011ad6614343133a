//! The end of generations: each on a thread of its own, for its last requests may take long.

use std::sync::Arc;
use std::thread::Builder;

use super::{CommandSender, ReloadCommand};
use crate::crash_record::RecordSlot;
use crate::plugin::{EndDeadline, Generation, IoThreadReplacer, RetentionReason, RetirementOutcome};

/// Ends generations, and says when they have ended.
pub(super) struct RetirementThreads {
    orders: CommandSender,
    io: Arc<dyn IoThreadReplacer>,
    until: EndDeadline,
}

impl RetirementThreads {
    pub(super) fn new(orders: CommandSender, io: Arc<dyn IoThreadReplacer>) -> Self {
        Self { orders, io, until: EndDeadline::default() }
    }

    /// When it has ended, the order [`Order::Retired`] comes.
    pub(super) fn begin(&self, generation: Arc<Generation>) {
        let (plugin, number) = (Arc::clone(&generation.identity.plugin), generation.identity.number);
        let (orders, io, until) = (self.orders.clone(), Arc::clone(&self.io), self.until.clone());
        let retired = {
            let plugin = Arc::clone(&plugin);
            move |how| ReloadCommand::Retired { plugin, generation: number, how }
        };
        let told = retired.clone();
        let seat = generation.crash_record().seat();
        let thread = Builder::new().name("retire".into()).spawn(move || {
            RecordSlot::sit_down(seat);
            let how = Generation::retire(generation, &until, &*io);
            orders.send(told(how));
        });
        if let Err(error) = thread {
            // The generation went with the closure: nothing of it was ended, and its code stays, which is sound.
            self.orders
                .send(retired(RetirementOutcome::Retained(RetentionReason::NoRetirementThread(error))));
        }
    }

    /// What is not over by then is given up.
    pub(super) fn until(&self) -> &EndDeadline {
        &self.until
    }
}
