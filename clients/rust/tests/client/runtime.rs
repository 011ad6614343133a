//! One async client in several runtimes, one after another and concurrently.

use std::thread;
use std::time::Duration;

use jackfield_client::Client;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::support::calls::runtime;
use crate::support::{Server, yield_until};

const LONG: Duration = Duration::from_secs(20);

#[test]
fn connections_end_with_their_runtime_and_the_client_continues() {
    let server = Server::play(&json!([[{"serve": "fifo"}]]));
    let client = Client::builder(&server.socket).timeout(LONG).build();
    for n in 0..5 {
        let runtime = runtime();
        assert_eq!(runtime.block_on(client.call::<_, i32>("system.echo", &n)).unwrap(), n);
        assert_eq!(client.stats().connections, 1);
        drop(runtime);
        assert_eq!(client.stats().connections, 0);
    }
    assert_eq!(server.finish().connections().len(), 5);
}

/// The second call is left to the driver in the other runtime, which ends before it sends it.
#[test]
fn a_call_survives_the_end_of_the_runtime_that_was_to_send_it() {
    let server = Server::play(&json!([[{"expect": "async"}, {"silence": true}], [{"serve": "fifo"}]]));
    let client = Client::builder(&server.socket).timeout(LONG).build();
    let other = runtime();
    other.block_on(async {
        drop(tokio::spawn(client.call::<_, Value>("system.echo", &"lost")));
        yield_until("the call begins", || client.stats().in_flight == 1).await;
    });

    runtime().block_on(async {
        let call = tokio::spawn(client.call::<_, Value>("system.echo", &"kept"));
        yield_until("the call begins", || client.stats().in_flight == 2).await;
        // A runtime must not be dropped within another one, because dropping it waits for its
        // threads.
        thread::spawn(|| drop(other)).join().unwrap();
        assert_eq!(call.await.unwrap().unwrap(), "kept");
        client.close();
    });
}

#[test]
fn four_runtimes_share_a_client() {
    let server = Server::play(&json!([[{"serve": "shuffled"}]]));
    let client = Client::builder(&server.socket).timeout(LONG).build();
    let all_done = Barrier::new(4);
    thread::scope(|scope| {
        for thread in 0..4 {
            let (client, all_done) = (&client, &all_done);
            scope.spawn(move || {
                runtime().block_on(async {
                    for round in 0..10 {
                        let params: Vec<[usize; 3]> = (0..50).map(|n| [thread, round, n]).collect();
                        let calls = params.iter().map(|params| client.request("system.echo", params));
                        let echoes = client.batch::<_, [usize; 3]>(calls).await;
                        assert_eq!(echoes.into_iter().collect::<Result<Vec<_>, _>>().unwrap(), params);
                    }
                    // A runtime that ends earlier closes connections that others use.
                    all_done.wait().await;
                });
            });
        }
    });
    client.close();
    assert_eq!(server.finish().requests().len(), 2_000);
}
