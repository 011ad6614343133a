//! A closed loop over clients that are futures: on one thread, as many tasks for each client as it may have in flight.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, LocalSet};

use super::{Report, Tally};

/// Connects `connections` clients and lets each call with `window` calls in flight for so long.
pub(super) fn run<C, E>(
    connections: usize,
    window: usize,
    length: Duration,
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
        let tally = Rc::new(RefCell::new(Tally::new(length)?));
        let mut tasks = JoinSet::new();
        for client in clients.iter().flat_map(|client| std::iter::repeat_n(client, window)) {
            let (mut client, call, tally) = (client.clone(), call.clone(), Rc::clone(&tally));
            tasks.spawn_local(async move {
                loop {
                    let asked = Instant::now();
                    call(&mut client).await?;
                    if !tally.borrow_mut().answered(asked) {
                        return Ok::<_, E>(());
                    }
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended?.map_err(io::Error::other)?;
        }
        let report = tally.borrow().report();
        Ok(report)
    })
}
