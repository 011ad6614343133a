//! Supervises running calls until their deadlines, also if nobody waits for them any more.
//!
//! A connection notices the deadlines of its requests. It does not notice that of a call whose
//! client has gone, of a nested call, or of a poll that does not return.

use std::sync::Arc;
use std::time::Duration;

use crate::routing::{Dispatcher, HealthWatch};

/// Interval between two looks at every generation.
const INTERVAL: Duration = Duration::from_millis(250);

/// Supervises and never returns.
pub(super) async fn supervise_calls(dispatcher: Arc<Dispatcher>) {
    let mut health = HealthWatch::default();
    loop {
        tokio::time::sleep(INTERVAL).await;
        dispatcher.supervise_calls();
        health.publish_changes(&dispatcher);
    }
}
