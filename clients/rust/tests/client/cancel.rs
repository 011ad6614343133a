//! Dropping a call: it harms no other, and leaves nothing behind.

use std::time::Duration;

use jackfield_client::{Client, Mode, Stats};
use serde_json::{Value, json};

use crate::support::calls::runtime;
use crate::support::{Server, comes};

const LONG: Duration = Duration::from_secs(20);

async fn begun(client: &Client, in_flight: usize) {
    comes("the call begins", || client.stats().in_flight >= in_flight).await;
}

#[test]
fn a_call_that_is_dropped_harms_no_other_on_its_socket() {
    let server = Server::play(&json!([[
        {"expect": "async", "as": "a"}, {"expect": "async", "as": "b"},
        {"reply": "a", "echo": true}, {"reply": "b", "echo": true}, {"serve": "fifo"}
    ]]));
    runtime().block_on(async {
        let client = Client::builder(&server.socket).timeout(LONG).build();
        let dropped = tokio::spawn(client.call::<_, Value>("system.echo", &"dropped"));
        begun(&client, 1).await;
        dropped.abort();
        assert!(dropped.await.unwrap_err().is_cancelled());
        let kept: String = client.call("system.echo", &"kept").await.unwrap();
        let Stats { connections, in_flight, late_replies, .. } = client.stats();
        assert_eq!((kept.as_str(), connections, in_flight, late_replies), ("kept", 1, 0, 1));
        client.close();
    });
    assert_eq!(server.finish().connections().len(), 1);
}

/// Half of it may be on the wire: what follows would not be understood.
#[test]
fn a_large_request_that_is_dropped_while_it_is_written_leaves_the_socket_in_step() {
    let server = Server::play(&json!([[{"pause_ms": 100}, {"serve": "fifo"}]]));
    runtime().block_on(async {
        let client = Client::builder(&server.socket).timeout(LONG).max_connections(1).build();
        let large = "x".repeat(4 << 20);
        let dropped = tokio::spawn(client.call::<_, Value>("system.echo", &large));
        begun(&client, 1).await;
        dropped.abort();
        assert!(dropped.await.unwrap_err().is_cancelled());
        assert_eq!(client.call::<_, i32>("system.echo", &1).await.unwrap(), 1);
        client.close();
    });
    assert_eq!(server.finish().faults(), &json!([]));
}

#[test]
fn an_exclusive_call_that_is_dropped_costs_its_socket_and_nothing_else() {
    let server = Server::play(&json!([[{"silence": true}], [{"serve": "fifo"}]]));
    runtime().block_on(async {
        let client =
            Client::builder(&server.socket).timeout(LONG).mode(Mode::Exclusive).max_connections(1).build();
        let dropped = tokio::spawn(client.call::<_, Value>("m", &()));
        begun(&client, 1).await;
        let waiting = tokio::spawn(client.call::<_, i32>("system.echo", &1));
        dropped.abort();
        assert_eq!(waiting.await.unwrap().unwrap(), 1);
        assert_eq!(client.stats().connections, 1);
        client.close();
    });
    assert_eq!(server.finish().connections().len(), 2);
}

/// A place in the queue that is given up goes to the next.
#[test]
fn calls_that_are_dropped_while_they_wait_let_others_pass() {
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
        begun(&client, 1).await;
        let mut waiting: Vec<_> =
            (1..=50).map(|n| tokio::spawn(client.call::<_, i32>("system.echo", &n))).collect();
        comes("fifty wait", || client.stats().waiting == 50).await;
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
    assert_eq!(server.finish().requests().len(), 26, "those that were dropped in the queue were never sent");
}
