//! A host that is killed under load: idempotent calls succeed, and no other call runs twice.

use std::collections::BTreeMap;
use std::fs;

use jackfield_client::{Client, Error};
use serde_json::{Value, json};

use crate::support::calls::runtime;
use crate::support::{ScratchDirectory, Server, WAIT_LIMIT, yield_until};

/// Number of idempotent calls, and of others.
const CALLS: usize = 400;
const CONNECTIONS: usize = 16;

#[test]
fn idempotent_calls_all_succeed_and_others_are_sent_once() {
    let scratch = ScratchDirectory::new();
    let socket = scratch.join("host.sock");
    // On each connection, the first two requests are answered. The others are in flight when the
    // host is killed.
    let first = Server::play_at(
        &socket,
        &json!([[
            {"expect": "async", "as": "a"}, {"expect": "async", "as": "b"},
            {"reply": "a", "echo": true}, {"reply": "b", "echo": true}, {"silence": true}
        ]]),
    );

    let (outcomes, second) = runtime().block_on(async {
        let client = Client::builder(&socket).max_in_flight_per_connection(50).build();
        let calls: Vec<_> = (0..2 * CALLS)
            .map(|n| {
                let params = json!({ "n": n });
                let call = client.request("system.echo", &params).idempotent(n % 2 == 0);
                tokio::spawn(call.timeout(WAIT_LIMIT).send::<Value>())
            })
            .collect();
        yield_until("two calls are answered on each connection", || {
            let answered = calls.iter().filter(|call| call.is_finished()).count();
            client.stats().connections == CONNECTIONS && answered == 2 * CONNECTIONS
        })
        .await;

        first.kill();
        fs::remove_file(&socket).unwrap();
        let second = Server::play_at(&socket, &json!([[{"serve": "shuffled"}]]));

        let mut outcomes = Vec::new();
        for call in calls {
            outcomes.push(call.await.unwrap());
        }
        client.close();
        (outcomes, second)
    });

    let report = second.finish();
    let mut sent_again: BTreeMap<u64, usize> = BTreeMap::new();
    for request in report.requests() {
        *sent_again.entry(request["body"]["params"]["n"].as_u64().unwrap()).or_default() += 1;
    }
    assert!(sent_again.values().all(|times| *times == 1));

    let mut lost = 0;
    for (n, outcome) in (0..).zip(outcomes) {
        match outcome {
            Ok(echo) => assert_eq!(echo, json!({ "n": n })),
            Err(error) => {
                assert!(n % 2 == 1, "the idempotent call {n}: {error:?}");
                assert!(matches!(error, Error::ConnectionLost { sent: true, .. }), "{error:?}");
                assert!(!error.is_retryable());
                assert!(!sent_again.contains_key(&n), "call {n} failed and was sent again");
                lost += 1;
            }
        }
    }
    let answered = CONNECTIONS;
    assert_eq!(lost, CALLS - answered, "one of the two answered calls of each connection is not idempotent");
}
