//! Supervises running calls until their deadlines, also if nobody waits for them any more.
//!
//! A connection notices the deadlines of its requests. It does not notice that of a call whose
//! client has gone, of a nested call, or of a poll that does not return.

use std::sync::Arc;
use std::time::Duration;

use crate::routing::Dispatcher;

/// Interval between two looks at every generation that serves. Retired generations are supervised
/// by the threads that retire them.
const INTERVAL: Duration = Duration::from_millis(250);

/// Supervises and never returns.
pub(super) async fn supervise_calls(dispatcher: Arc<Dispatcher>) {
    loop {
        tokio::time::sleep(INTERVAL).await;

        // Without the guard of the table: a new one may be published meanwhile.
        let generations: Vec<_> = dispatcher.table.load().generations().map(Arc::clone).collect();
        generations.iter().for_each(|generation| generation.supervise_calls());
    }
}
