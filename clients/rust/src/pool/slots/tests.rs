//! The slot table without sockets.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use super::*;

/// A connection whose state the test sets.
#[derive(Debug, Default)]
struct FakeConnection {
    status: Cell<ConnectionStatus>,
    has_unread: Cell<bool>,
    has_peer_closed: Cell<bool>,
}

impl PooledConnection for FakeConnection {
    fn status(&self) -> ConnectionStatus {
        self.status.get()
    }

    fn is_unused(&self) -> bool {
        !self.status.get().is_draining && self.status.get().in_flight == 0
    }

    fn is_reusable(&self) -> bool {
        self.status.get().in_flight == 0 && !self.has_unread.get()
    }

    fn has_peer_closed(&self) -> bool {
        self.has_peer_closed.get()
    }

    fn is_closed(&self) -> bool {
        false
    }

    fn discard(&self) {}
}

type Fake = Arc<FakeConnection>;

/// A table, its options, a clock, and the connections that it dropped.
struct Fixture {
    table: SlotTable<FakeConnection>,
    options: Options,
    now: Instant,
    unusable: Vec<Fake>,
}

impl Fixture {
    fn new() -> Fixture {
        let mut options = Options::new(Path::new("unused"));
        options.max_in_flight = 2;
        Fixture { table: SlotTable::default(), options, now: Instant::now(), unusable: Vec::new() }
    }

    /// Adds an idle connection that was just used.
    fn idle(&mut self) -> Fake {
        let connection = Fake::default();
        self.table.add_idle(Arc::clone(&connection), self.now);
        connection
    }

    /// Adds a shared connection with this many requests in flight, all of which have callers.
    fn shared(&mut self, in_flight: usize) -> Fake {
        let connection = Fake::default();
        connection.status.set(busy(in_flight));
        self.table.add_shared(Arc::clone(&connection), self.now);
        connection
    }

    fn find_shared(&mut self) -> Found<FakeConnection> {
        self.table.find_shared(&self.options, self.now, &mut self.unusable)
    }

    fn find_exclusive(&mut self) -> Found<FakeConnection> {
        self.table.find_exclusive(&self.options, self.now, &mut self.unusable)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }
}

/// The status of a connection with this many requests in flight, all of which have callers.
fn busy(requests: usize) -> ConnectionStatus {
    ConnectionStatus { in_flight: requests, unanswered: requests, callers: requests, ..Default::default() }
}

#[track_caller]
fn assert_shared(found: &Found<FakeConnection>, expected: &Fake) {
    assert!(matches!(found, Found::Shared(connection) if Arc::ptr_eq(connection, expected)), "{found:?}");
}

#[track_caller]
fn assert_leased(found: &Found<FakeConnection>, expected: &Fake) {
    assert!(matches!(found, Found::Leased(connection) if Arc::ptr_eq(connection, expected)), "{found:?}");
}

#[track_caller]
fn assert_stale(found: &Found<FakeConnection>, expected: &Fake) {
    assert!(matches!(found, Found::Stale(connection) if Arc::ptr_eq(connection, expected)), "{found:?}");
}

#[track_caller]
fn assert_nothing(found: &Found<FakeConnection>, expected: bool) {
    assert!(matches!(found, Found::Nothing { may_connect } if *may_connect == expected), "{found:?}");
}

#[test]
fn asks_for_a_connection_when_it_is_empty() {
    let mut fixture = Fixture::new();
    assert_nothing(&fixture.find_shared(), true);
    assert_nothing(&fixture.find_exclusive(), true);
    assert_eq!(fixture.table.len(), 0);
}

#[test]
fn shares_the_first_connection_with_capacity() {
    let mut fixture = Fixture::new();
    let (full, free) = (fixture.shared(2), fixture.shared(1));
    assert_shared(&fixture.find_shared(), &free);

    full.status.set(busy(1));
    assert_shared(&fixture.find_shared(), &full);
}

#[test]
fn shares_a_connection_whose_replies_wait_for_their_callers() {
    let mut fixture = Fixture::new();
    let answered = fixture.shared(2);
    answered.status.set(ConnectionStatus { unanswered: 1, ..busy(2) });
    assert_shared(&fixture.find_shared(), &answered);
}

#[test]
fn prefers_a_shared_connection_to_an_idle_one() {
    let mut fixture = Fixture::new();
    fixture.idle();
    let shared = fixture.shared(1);
    assert_shared(&fixture.find_shared(), &shared);
}

#[test]
fn shares_an_idle_connection_when_the_shared_ones_are_full() {
    let mut fixture = Fixture::new();
    let (idle, _full) = (fixture.idle(), fixture.shared(2));
    assert_shared(&fixture.find_shared(), &idle);
    assert_eq!((fixture.table.len(), fixture.table.leased.len()), (2, 0));
}

#[test]
fn never_connects_because_of_a_congested_connection() {
    let mut fixture = Fixture::new();
    let congested = fixture.shared(1);
    congested.status.set(ConnectionStatus { unsent: CONGESTED, ..busy(1) });
    assert_nothing(&fixture.find_shared(), false);
}

#[test]
fn begins_no_call_on_a_draining_connection() {
    let mut fixture = Fixture::new();
    let draining = fixture.shared(1);
    draining.status.set(ConnectionStatus { is_draining: true, ..busy(1) });
    assert_nothing(&fixture.find_shared(), true);
    assert!(fixture.unusable.is_empty(), "its reply may still come");
}

#[test]
fn drops_a_full_connection_whose_requests_are_all_abandoned() {
    let mut fixture = Fixture::new();
    let spent = fixture.shared(2);
    spent.status.set(ConnectionStatus { callers: 0, ..busy(2) });
    assert_nothing(&fixture.find_shared(), true);
    assert!(Arc::ptr_eq(&fixture.unusable[0], &spent));
    assert_eq!(fixture.table.len(), 0);
}

#[test]
fn leases_the_most_recently_used_idle_connection() {
    let mut fixture = Fixture::new();
    let (older, newer) = (fixture.idle(), fixture.idle());
    assert_leased(&fixture.find_exclusive(), &newer);
    assert_leased(&fixture.find_exclusive(), &older);
    assert_nothing(&fixture.find_exclusive(), true);
    assert_eq!(fixture.table.len(), 2, "leased connections keep their slots");
}

#[test]
fn leases_an_unused_shared_connection_to_an_exclusive_call() {
    let mut fixture = Fixture::new();
    let (_busy, unused) = (fixture.shared(1), fixture.shared(0));
    assert_leased(&fixture.find_exclusive(), &unused);
    assert_nothing(&fixture.find_exclusive(), true);
}

#[test]
fn asks_for_a_heartbeat_after_an_idle_second() {
    let mut fixture = Fixture::new();
    let (idle, shared) = (fixture.idle(), fixture.shared(0));
    fixture.pass(fixture.options.health_check_after);
    assert_stale(&fixture.find_shared(), &shared);
    assert_stale(&fixture.find_exclusive(), &idle);
    assert_eq!(fixture.table.leased.len(), 2);
}

#[test]
fn uses_a_connection_with_requests_in_flight_without_a_heartbeat() {
    let mut fixture = Fixture::new();
    let busy = fixture.shared(1);
    fixture.pass(fixture.options.health_check_after);
    assert_shared(&fixture.find_shared(), &busy);
}

#[test]
fn drops_connections_beyond_the_idle_timeout() {
    let mut fixture = Fixture::new();
    let (idle, shared) = (fixture.idle(), fixture.shared(0));
    fixture.pass(fixture.options.idle_timeout);
    assert_nothing(&fixture.find_shared(), true);
    assert!(Arc::ptr_eq(&fixture.unusable[0], &shared) && Arc::ptr_eq(&fixture.unusable[1], &idle));
    assert_eq!(fixture.table.len(), 0);
}

#[test]
fn drops_connections_that_the_peer_closed_or_that_have_unread_bytes() {
    let mut fixture = Fixture::new();
    let (closed, unread, usable) = (fixture.idle(), fixture.idle(), fixture.idle());
    closed.has_peer_closed.set(true);
    unread.has_unread.set(true);
    assert_leased(&fixture.find_exclusive(), &usable);
    assert_nothing(&fixture.find_exclusive(), true);
    assert_eq!(fixture.unusable.len(), 2);
}

#[test]
fn a_returned_connection_is_leased_again() {
    let mut fixture = Fixture::new();
    let now = fixture.now;
    let Found::Leased(connection) = fixture.table.insert(Fake::default(), Mode::Exclusive, now) else {
        panic!("an exclusive call leases its connection")
    };
    fixture.table.end_lease(&connection);
    assert_eq!(fixture.table.len(), 0);
    fixture.table.add_idle(Arc::clone(&connection), now);
    assert_leased(&fixture.find_exclusive(), &connection);
}

#[test]
fn frees_the_slots_of_closed_connections_except_leased_ones() {
    let mut fixture = Fixture::new();
    let (leased, idle, shared) = (fixture.idle(), fixture.idle(), fixture.shared(1));
    fixture.table.remove(&idle);
    assert_leased(&fixture.find_exclusive(), &leased);

    fixture.table.remove(&shared);
    fixture.table.remove(&leased);
    assert_eq!(fixture.table.len(), 1);
    fixture.table.end_lease(&leased);
    assert_eq!(fixture.table.len(), 0);
}

#[test]
fn counts_idle_connections_and_requests_in_flight() {
    let mut fixture = Fixture::new();
    fixture.idle();
    fixture.shared(0);
    fixture.shared(2);
    assert_eq!((fixture.table.idle_count(), fixture.table.in_flight()), (2, 2));
    assert_eq!(fixture.table.connections().count(), 3);
}
