//! Tests of the table of requests in flight, without sockets and plugins.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A table whose requests are numbers.
fn table() -> InFlightTable<u32> {
    InFlightTable::default()
}

fn insert(table: &mut InFlightTable<u32>, deadline: Time, request: u32) -> RequestKey {
    let id = Some(Arc::from(request.to_string()));
    table.insert(id, deadline, SECOND, 10, request)
}

/// Takes the next call from the queue.
fn next_call(table: &mut InFlightTable<u32>) -> RequestKey {
    let Some(SyncQueueEntry::Call(key)) = table.next_queued() else { panic!("no call is next") };
    key
}

#[test]
fn knows_ids_and_bytes_of_what_is_in_flight() {
    let mut table = table();
    let key = table.next_key();
    assert_eq!(insert(&mut table, Time::NEVER, 1), key);
    let other = table.insert(None, Time::NEVER, SECOND, 5, 2);
    assert!(table.contains_id("1") && !table.contains_id("2"));
    assert_eq!((table.len(), table.bytes()), (2, 15));

    assert_eq!(table.remove(key).map(|entry| entry.request), Some(1));
    assert!(!table.contains_id("1"));
    assert_eq!((table.len(), table.bytes()), (1, 5));

    assert!(table.remove(other).is_some() && table.is_empty());
}

#[test]
fn ignores_a_late_key_after_its_place_was_reused() {
    let mut table = table();
    let late = insert(&mut table, Time::NEVER, 1);
    table.remove(late);
    let newer = insert(&mut table, Time::NEVER, 2);
    assert_eq!(late.place, newer.place);

    assert!(table.get(late).is_none() && table.remove(late).is_none());
    assert!(table.expire_queued(late).is_none());
    assert_eq!(table.remove(newer).map(|entry| entry.request), Some(2));
}

#[test]
fn answers_sync_requests_in_the_order_of_arrival() {
    let mut table = table();
    let running = insert(&mut table, Time::NEVER, 1);
    assert!(!table.is_sync_busy());
    table.set_running(running);
    let second = insert(&mut table, Time::NEVER, 2);
    table.queue_call(second);
    table.queue_reply(vec![3]);
    let fourth = insert(&mut table, Time::NEVER, 4);
    table.queue_call(fourth);
    assert_eq!(table.len(), 4, "the reply counts until it leaves");
    assert!(table.is_sync_busy() && !table.has_next_queued() && table.next_queued().is_none());

    table.remove(running);
    assert_eq!(next_call(&mut table), second);
    table.set_running(second);
    assert!(table.next_queued().is_none());

    table.remove(second);
    assert_eq!(table.next_queued(), Some(SyncQueueEntry::Reply(vec![3])));
    assert_eq!(next_call(&mut table), fourth);
    table.remove(fourth);
    assert!(table.is_empty() && !table.is_sync_busy());
}

#[test]
fn lets_async_requests_end_without_releasing_the_sync_queue() {
    let mut table = table();
    let sync = insert(&mut table, Time::NEVER, 1);
    table.set_running(sync);
    let async_request = insert(&mut table, Time::NEVER, 2);
    table.queue_reply(vec![3]);

    assert!(table.remove(async_request).is_some() && table.next_queued().is_none());
    assert!(table.remove(sync).is_some() && table.has_next_queued());
}

#[test]
fn keeps_a_request_that_expires_in_the_queue_until_its_turn() {
    let start = Time::now();
    let deadline = start.after(SECOND);
    let mut table = table();
    let running = insert(&mut table, Time::NEVER, 1);
    table.set_running(running);
    let queued = insert(&mut table, deadline, 2);
    table.queue_call(queued);

    assert_eq!(table.expired(deadline), [queued]);
    assert_eq!(table.expire_queued(queued), Some(&2));
    assert_eq!(table.expired(deadline), [], "it is reported once");
    assert!(table.expire_queued(queued).is_none());
    assert!(table.contains_id("2"), "it has no reply yet");

    table.remove(running);
    assert_eq!(next_call(&mut table), queued);
    assert!(table.get(queued).is_some_and(|entry| entry.is_expired(start)));
}

#[test]
fn does_not_mark_a_request_that_has_left_the_queue() {
    let mut table = table();
    let key = insert(&mut table, Time::NEVER, 1);
    table.queue_call(key);
    assert_eq!(next_call(&mut table), key);

    assert!(table.expire_queued(key).is_none());
    assert!(table.get(key).is_some_and(|entry| !entry.is_expired(Time::now())));
}

#[test]
fn reports_expired_requests_and_the_next_deadline() {
    let start = Time::now();
    let [first, second, third] = [1, 2, 3].map(|seconds| start.after(seconds * SECOND));
    let mut table = table();
    assert_eq!(table.earliest_deadline(), None);
    let late = insert(&mut table, third, 3);
    assert_eq!(table.earliest_deadline(), Some(third));
    let early = insert(&mut table, first, 1);
    let middle = insert(&mut table, second, 2);
    assert_eq!(table.earliest_deadline(), Some(first));

    assert_eq!(table.expired(start), []);
    assert_eq!(table.expired(first), [early]);
    assert_eq!(table.earliest_deadline(), Some(second));
    table.remove(early);

    // The bound may be too early after a removal, which costs one pass.
    table.remove(middle);
    assert_eq!(table.expired(second), []);
    assert_eq!(table.earliest_deadline(), Some(third));

    table.remove(late);
    assert_eq!(table.earliest_deadline(), None);
}

#[test]
fn states_the_time_that_a_request_had_when_everything_expires() {
    let start = Time::now();
    let mut table = table();
    let key = insert(&mut table, start.after(SECOND), 1);
    let now = start.after(SECOND / 4);

    table.expire_all(now);
    assert_eq!(table.earliest_deadline(), Some(now));
    assert_eq!(table.expired(now), [key]);
    assert_eq!(table.get(key).map(|entry| entry.timeout), Some(SECOND / 4));

    table.expire_all(now.after(SECOND));
    assert_eq!(table.get(key).map(|entry| entry.deadline), Some(now), "it had expired before");
}

#[test]
fn passes_on_every_abandoned_request_and_is_empty_then() {
    let mut table = table();
    let running = insert(&mut table, Time::NEVER, 1);
    table.set_running(running);
    let queued = insert(&mut table, Time::now(), 2);
    table.queue_call(queued);
    table.queue_reply(vec![3]);

    let mut abandoned = Vec::new();
    table.abandon(|request| abandoned.push(request));
    assert_eq!(abandoned, [1, 2]);
    assert!(table.is_empty() && !table.is_sync_busy() && !table.contains_id("1"));
    assert_eq!((table.len(), table.bytes(), table.earliest_deadline()), (0, 0, None));

    let next = insert(&mut table, Time::NEVER, 4);
    assert!(table.get(running).is_none() && table.get(next).is_some());
}

#[test]
fn keeps_a_request_that_is_cancelled_in_the_queue_until_its_turn() {
    let mut table = table();
    let start = Time::now();
    let running = insert(&mut table, Time::NEVER, 1);
    table.set_running(running);
    let queued = insert(&mut table, start, 2);
    table.queue_call(queued);
    assert_eq!(table.key_to_cancel("2"), Some(queued));

    assert!(table.cancel_queued(running).is_none(), "the request has started");
    assert_eq!(table.cancel_queued(queued), Some(&2));
    assert!(table.cancel_queued(queued).is_none(), "it is cancelled already");
    assert_eq!(table.key_to_cancel("2"), None);
    assert!(table.expired(start.after(SECOND)).is_empty());

    table.remove(running);
    assert_eq!(next_call(&mut table), queued);
    assert!(table.get(queued).is_some_and(InFlightEntry::is_cancelled));
    assert_eq!((table.remove(queued).map(|entry| entry.request), table.key_to_cancel("2")), (Some(2), None));
}
