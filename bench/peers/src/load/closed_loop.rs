//! A closed loop over clients that are futures: one thread, and one task for each request in
//! flight.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, LocalSet};

use super::report::{Recorder, Report};

/// Connects the clients, and lets each make calls with `window` in flight until `duration` has
/// passed.
pub(super) fn run<C, E>(
    connections: usize,
    window: usize,
    duration: Duration,
    connect: impl AsyncFn() -> Result<C, E>,
    call: impl AsyncFn(&mut C) -> Result<(), E> + Clone + 'static,
) -> io::Result<Report>
where
    C: Clone + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut clients = Vec::new();
        for _ in 0..connections {
            clients.push(connect().await.map_err(io::Error::other)?);
        }

        let recorder = Rc::new(RefCell::new(Recorder::new(duration)?));
        let mut tasks = JoinSet::new();
        for client in clients.iter().flat_map(|client| std::iter::repeat_n(client, window)) {
            let mut client = client.clone();
            let call = call.clone();
            let recorder = Rc::clone(&recorder);
            tasks.spawn_local(async move {
                loop {
                    let sent = Instant::now();
                    call(&mut client).await?;
                    if !recorder.borrow_mut().record(sent) {
                        return Ok::<_, E>(());
                    }
                }
            });
        }

        while let Some(joined) = tasks.join_next().await {
            joined?.map_err(io::Error::other)?;
        }
        let report = recorder.borrow().report();
        Ok(report)
    })
}
