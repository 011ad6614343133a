//! The pool without sockets: backoff, wait queues and the errors of calls that find no connection.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::task::Wake;
use std::time::Duration;

use super::*;

/// A connection that only knows whether it was closed.
#[derive(Debug, Default)]
struct FakeConnection {
    is_closed: AtomicBool,
}

impl PooledConnection for FakeConnection {
    fn status(&self) -> ConnectionStatus {
        ConnectionStatus::default()
    }

    fn is_unused(&self) -> bool {
        true
    }

    fn is_reusable(&self) -> bool {
        true
    }

    fn has_peer_closed(&self) -> bool {
        false
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    fn discard(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct WakeFlag(AtomicBool);

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl WakeFlag {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

fn pool(adapt: impl FnOnce(&mut Options)) -> Arc<Pool<FakeConnection>> {
    let mut options = Options::new(Path::new("run/host.sock"));
    adapt(&mut options);
    Pool::new(options, |_| ())
}

/// Adds an exclusive call to the wait queue.
fn enqueue(
    pool: &Pool<FakeConnection>,
    ticket: &mut Option<u64>,
) -> (Result<Option<Instant>, Error>, Arc<WakeFlag>) {
    let flag = Arc::<WakeFlag>::default();
    let waker = Waker::from(Arc::clone(&flag));
    let queued = pool.enqueue(&mut pool.lock(), Mode::Exclusive, ticket, Instant::now(), &waker);
    (queued, flag)
}

/// Adds a connection and leases it.
fn lease(pool: &Pool<FakeConnection>) -> Arc<FakeConnection> {
    match pool.lock().slots.insert(Arc::default(), Mode::Exclusive, Instant::now()) {
        Found::Leased(connection) => connection,
        found => panic!("{found:?}"),
    }
}

/// Returns the time until the next attempt to connect.
fn pause(pool: &Pool<FakeConnection>) -> Duration {
    let connect_at = pool.lock().connect_at.expect("an attempt has failed");
    connect_at.saturating_duration_since(Instant::now())
}

#[test]
fn delays_the_next_attempt_to_connect_by_more_after_each_failure() {
    let pool = pool(|_| ());
    for _ in 0..12 {
        pool.back_off(&mut pool.lock(), Instant::now());
    }
    assert!(pause(&pool) > Duration::from_millis(20), "half of 100 ms at least");

    pool.reset_failures();
    pool.back_off(&mut pool.lock(), Instant::now());
    assert!(pause(&pool) <= Duration::from_millis(1), "an answer resets the delay");

    pool.lock().connect_succeeded();
    assert!(pool.lock().connect_at.is_none());
}

#[test]
fn counts_a_connection_without_an_answer_as_a_failure_to_connect() {
    let pool = pool(|_| ());
    let connection = lease(&pool);
    pool.remove(&connection, false);
    assert!(pool.lock().connect_at.is_none());
    pool.remove(&connection, true);
    assert!(pool.lock().connect_at.is_some());
}

#[test]
fn tells_a_waiting_call_when_the_next_attempt_is_due() {
    let pool = pool(|_| ());
    assert!(matches!(enqueue(&pool, &mut None).0, Ok(None)));

    let due = Instant::now() + Duration::from_secs(60);
    pool.lock().connect_at = Some(due);
    assert!(matches!(enqueue(&pool, &mut None).0, Ok(Some(until)) if until == due));
}

#[test]
fn refuses_calls_beyond_max_waiting_except_those_in_the_queue() {
    let pool = pool(|options| options.max_waiting = 1);
    let mut ticket = None;
    assert!(enqueue(&pool, &mut ticket).0.is_ok());
    assert!(enqueue(&pool, &mut ticket).0.is_ok(), "it waits already");

    let (refused, _) = enqueue(&pool, &mut None);
    assert!(matches!(refused, Err(Error::PoolFull { connections: 20, waiting: 1 })), "{refused:?}");
}

#[test]
fn wakes_a_waiting_call_when_a_lease_ends() {
    let pool = pool(|_| ());
    for end in [Pool::return_idle, Pool::share, Pool::end_lease] {
        let connection = lease(&pool);
        let (_, flag) = enqueue(&pool, &mut None);
        end(&pool, &connection);
        assert!(flag.is_set());
        assert_eq!(pool.stats().waiting, 0);
    }
    assert_eq!(pool.stats().connections, 2, "one returned, one shared, one closed");
}

#[test]
fn passes_the_wake_up_on_when_a_woken_call_leaves() {
    let pool = pool(|_| ());
    let mut tickets = [None; 3];
    let flags = tickets.each_mut().map(|ticket| enqueue(&pool, ticket).1);

    pool.leave_queue(Mode::Exclusive, tickets[1].unwrap());
    assert!(flags.iter().all(|flag| !flag.is_set()), "it was not woken, so nobody takes its turn");

    pool.wake_waiting();
    assert!(flags[0].is_set() && !flags[2].is_set());
    pool.leave_queue(Mode::Exclusive, tickets[0].unwrap());
    assert!(flags[2].is_set());
    assert_eq!(pool.stats().waiting, 0);
}

#[test]
fn keeps_no_closed_connection_when_a_lease_ends() {
    let pool = pool(|_| ());
    for end in [Pool::return_idle, Pool::share] {
        let connection = lease(&pool);
        connection.discard();
        end(&pool, &connection);
        assert_eq!(pool.stats().connections, 0);
    }
}

#[test]
fn names_the_reason_for_which_no_connection_was_available() {
    let pool = pool(|options| options.max_connections = 1);
    let error = pool.no_connection_error();
    assert!(matches!(error, Error::Timeout { phase: Phase::Connect, sent: false }), "{error:?}");

    let _connection = lease(&pool);
    let error = pool.no_connection_error();
    assert!(matches!(error, Error::PoolFull { connections: 1, waiting: 0 }), "{error:?}");

    pool.lock().connect_failure = Some(Errno::CONNREFUSED);
    let error = pool.no_connection_error();
    assert!(matches!(error, Error::Connect { transient: true, .. }), "{error:?}");
}

#[test]
fn closes_every_connection_and_wakes_every_call() {
    let pool = pool(|_| ());
    let (leased, returned) = (lease(&pool), lease(&pool));
    pool.return_idle(&returned);
    let (_, flag) = enqueue(&pool, &mut None);

    pool.close();
    assert!(pool.lock().is_closed && flag.is_set());
    assert!(leased.is_closed() && returned.is_closed());
}

#[test]
fn closes_a_connection_that_is_returned_to_a_closed_pool() {
    let pool = pool(|_| ());
    let connection = lease(&pool);
    pool.lock().is_closed = true;
    pool.return_idle(&connection);
    assert!(connection.is_closed());
    assert_eq!(pool.stats().connections, 0);
}
