//! One async client in several runtimes: one after another, and many at once.

use std::thread;
use std::time::Duration;

use jackfield_client::Client;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::support::calls::runtime;
use crate::support::{Server, comes};

const LONG: Duration = Duration::from_secs(20);

#[test]
fn connections_end_with_their_runtime_and_the_client_goes_on() {
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

/// A call that was left to another runtime to be sent, and that runtime ends: it is sent from its own.
#[test]
fn a_runtime_that_ends_takes_no_call_of_another_with_it() {
    let server = Server::play(&json!([[{"expect": "async"}, {"silence": true}], [{"serve": "fifo"}]]));
    let client = Client::builder(&server.socket).timeout(LONG).build();
    let other = runtime();
    other.block_on(async {
        drop(tokio::spawn(client.call::<_, Value>("system.echo", &"lost")));
        comes("the call begins", || client.stats().in_flight == 1).await;
    });
    runtime().block_on(async {
        let call = tokio::spawn(client.call::<_, Value>("system.echo", &"kept"));
        comes("the call begins", || client.stats().in_flight == 2).await;
        // Not here: a runtime waits for its threads, and that is not done inside of another.
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
                    // A runtime that ended now would take connections with it that others are using.
                    all_done.wait().await;
                });
            });
        }
    });
    client.close();
    assert_eq!(server.finish().requests().len(), 2_000);
}
