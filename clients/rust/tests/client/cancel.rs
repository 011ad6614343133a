//! Dropping a call: it affects no other call and leaves nothing behind.

use std::time::Duration;

use jackfield_client::{Client, Mode, Stats};
use serde_json::{Value, json};

use crate::support::calls::runtime;
use crate::support::{Server, yield_until};

const LONG: Duration = Duration::from_secs(20);

async fn wait_for_in_flight(client: &Client, requests: usize) {
    yield_until("the call begins", || client.stats().in_flight >= requests).await;
}

#[test]
fn a_dropped_call_affects_no_other_call_on_its_connection() {
    let server = Server::play(&json!([[
        {"expect": "async", "as": "a"}, {"expect": "async", "as": "b"},
        {"reply": "a", "echo": true}, {"reply": "b", "echo": true}, {"serve": "fifo"}
    ]]));
    runtime().block_on(async {
        let client = Client::builder(&server.socket).timeout(LONG).build();
        let dropped = tokio::spawn(client.call::<_, Value>("system.echo", &"dropped"));
        wait_for_in_flight(&client, 1).await;
        dropped.abort();
        assert!(dropped.await.unwrap_err().is_cancelled());

        let kept: String = client.call("system.echo", &"kept").await.unwrap();
        let Stats { connections, in_flight, late_replies, .. } = client.stats();
        assert_eq!((kept.as_str(), connections, in_flight, late_replies), ("kept", 1, 0, 1));
        client.close();
    });
    assert_eq!(server.finish().connections().len(), 1);
}

/// A part of the request may have been sent, so the rest of it must follow.
#[test]
fn a_large_request_that_is_dropped_while_it_is_written_is_completed() {
    let server = Server::play(&json!([[{"pause_ms": 100}, {"serve": "fifo"}]]));
    runtime().block_on(async {
        let client = Client::builder(&server.socket).timeout(LONG).max_connections(1).build();
        let large = "x".repeat(4 << 20);
        let dropped = tokio::spawn(client.call::<_, Value>("system.echo", &large));
        wait_for_in_flight(&client, 1).await;
        dropped.abort();
        assert!(dropped.await.unwrap_err().is_cancelled());

        assert_eq!(client.call::<_, i32>("system.echo", &1).await.unwrap(), 1);
        client.close();
    });
    assert_eq!(server.finish().faults(), &json!([]));
}

#[test]
fn a_dropped_exclusive_call_closes_only_its_own_connection() {
    let server = Server::play(&json!([[{"silence": true}], [{"serve": "fifo"}]]));
    runtime().block_on(async {
        let client =
            Client::builder(&server.socket).timeout(LONG).mode(Mode::Exclusive).max_connections(1).build();
        let dropped = tokio::spawn(client.call::<_, Value>("m", &()));
        wait_for_in_flight(&client, 1).await;
        let waiting = tokio::spawn(client.call::<_, i32>("system.echo", &1));
        dropped.abort();

        assert_eq!(waiting.await.unwrap().unwrap(), 1);
        assert_eq!(client.stats().connections, 1);
        client.close();
    });
    assert_eq!(server.finish().connections().len(), 2);
}

#[test]
fn calls_that_are_dropped_in_the_wait_queue_do_not_block_the_others() {
    let server = Server::play(&json!([[
        {"expect": "async", "as": "a"}, {"pause_ms": 50}, {"reply": "a", "echo": true}, {"serve": "fifo"}
    ]]));
    runtime().block_on(async {
        let client = Client::builder(&server.socket)
            .timeout(LONG)
            .max_connections(1)
            .max_in_flight_per_connection(1)
            .build();
        let first = tokio::spawn(client.call::<_, i32>("system.echo", &0));
        wait_for_in_flight(&client, 1).await;
        let mut waiting: Vec<_> =
            (1..=50).map(|n| tokio::spawn(client.call::<_, i32>("system.echo", &n))).collect();
        yield_until("fifty calls wait", || client.stats().waiting == 50).await;
        for call in waiting.iter().step_by(2) {
            call.abort();
        }

        assert_eq!(first.await.unwrap().unwrap(), 0);
        for (at, call) in waiting.drain(..).enumerate() {
            match call.await {
                Ok(echo) => assert_eq!(echo.unwrap(), i32::try_from(at).unwrap() + 1),
                Err(aborted) => assert!(aborted.is_cancelled() && at % 2 == 0, "{at}: {aborted}"),
            }
        }
        let Stats { in_flight, waiting, .. } = client.stats();
        assert_eq!((in_flight, waiting), (0, 0));
        client.close();
    });
    assert_eq!(server.finish().requests().len(), 26, "calls that were dropped in the queue are never sent");
}
