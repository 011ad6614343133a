//! The pool: the number of sockets, which one a call uses, and which are closed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use jackfield_client::{Client, Error, Mode, Stats, blocking};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::calls::runtime;
use crate::support::{ScratchDirectory, Server, wait_until, yield_until};

const LONG: Duration = Duration::from_secs(20);

fn client(server: &Server) -> blocking::Client {
    blocking::Client::builder(&server.socket).timeout(LONG).build()
}

#[test]
fn a_hundred_threads_share_twenty_sockets() {
    let server = Server::play(&json!([[{"serve": "fifo"}]]));
    let client = client(&server);
    let answered = AtomicUsize::new(0);
    let most_connections = AtomicUsize::new(0);
    thread::scope(|scope| {
        for caller in 0..100 {
            let (client, answered, most_connections) = (&client, &answered, &most_connections);
            scope.spawn(move || {
                for round in 0..20 {
                    let echo: [i32; 2] = client.call("system.echo", &[caller, round]).unwrap();
                    assert_eq!(echo, [caller, round]);
                    answered.fetch_add(1, Ordering::Relaxed);
                    most_connections.fetch_max(client.stats().connections, Ordering::Relaxed);
                }
            });
        }
    });

    let Stats { connections, idle, waiting, connects, .. } = client.stats();
    assert_eq!(answered.into_inner(), 2_000);
    assert!(most_connections.into_inner() <= 20 && connects <= 20, "{connects} connections were made");
    assert_eq!((idle, waiting), (connections, 0));
    client.close();
    assert!(server.finish().connections().len() <= 20);
}

#[test]
fn a_hundred_tasks_share_twenty_sockets() {
    let server = Server::play(&json!([[{"serve": "fifo"}]]));
    let (answered, most_connections) = runtime().block_on(async {
        let client = Client::builder(&server.socket).timeout(LONG).mode(Mode::Exclusive).build();
        let mut callers = JoinSet::new();
        let mut most_connections = 0;
        for caller in 0..100 {
            let client = client.clone();
            callers.spawn(async move {
                for round in 0..20 {
                    let echo: [i32; 2] = client.call("system.echo", &[caller, round]).await.unwrap();
                    assert_eq!(echo, [caller, round]);
                }
                client.stats().connections
            });
        }
        let mut answered = 0;
        while let Some(seen) = callers.join_next().await {
            most_connections = most_connections.max(seen.unwrap());
            answered += 1;
        }
        client.close();
        (answered, most_connections)
    });
    assert_eq!((answered, most_connections), (100, 20), "all calls are answered, and the limit is reached");
    assert_eq!(server.finish().connections().len(), 20);
}

#[test]
fn calls_beyond_the_capacity_of_the_sockets_wait() {
    let server = Server::play(&json!([[{"serve": "lifo"}]]));
    runtime().block_on(async {
        let client = Client::builder(&server.socket)
            .timeout(LONG)
            .max_connections(2)
            .max_in_flight_per_connection(3)
            .build();
        let params: Vec<i32> = (0..100).collect();
        let echoes = client.batch::<_, i32>(params.iter().map(|n| client.request("system.echo", n))).await;
        assert_eq!(echoes.into_iter().collect::<Result<Vec<i32>, Error>>().unwrap(), params);
        client.close();
    });
    assert_eq!(server.finish().connections().len(), 2);
}

/// Each reply frees the capacity of one call, and a waiting call must be woken for it.
#[test]
fn each_reply_on_a_full_connection_wakes_a_waiting_thread() {
    let server = Server::play(&json!([[{"serve": "fifo"}]]));
    let client = blocking::Client::builder(&server.socket)
        .timeout(LONG)
        .mode(Mode::Multiplexed)
        .max_connections(1)
        .max_in_flight_per_connection(1)
        .build();

    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for n in 0..1_000 {
                    assert_eq!(client.call::<_, i32>("system.echo", &n).unwrap(), n);
                }
            });
        }
    });

    client.close();
    assert_eq!(server.finish().connections().len(), 1);
}

/// The dropped call may never be answered, so its connection is replaced.
#[test]
fn dropping_the_only_call_in_flight_wakes_a_waiting_call() {
    let server = Server::play(&json!([[{"silence": true}], [{"serve": "fifo"}]]));
    runtime().block_on(async {
        let client = Client::builder(&server.socket)
            .timeout(LONG)
            .max_connections(1)
            .max_in_flight_per_connection(1)
            .build();
        let dropped = tokio::spawn(client.call::<_, Value>("m", &()));
        yield_until("the first call is in flight", || client.stats().in_flight == 1).await;
        let waiting = tokio::spawn(client.call::<_, i32>("system.echo", &1));
        yield_until("the second call waits", || client.stats().waiting == 1).await;

        dropped.abort();
        assert_eq!(waiting.await.unwrap().unwrap(), 1);
        client.close();
    });
    assert_eq!(server.finish().connections().len(), 2);
}

#[test]
fn a_call_without_a_free_socket_until_its_deadline_reports_a_full_pool() {
    let server = Server::play(&json!([[{"silence": true}]]));
    let client = blocking::Client::builder(&server.socket)
        .max_connections(1)
        .timeout(Duration::from_millis(150))
        .build();
    thread::scope(|scope| {
        let first = scope.spawn(|| client.request("m", &()).timeout(LONG).send::<Value>());
        wait_until("the first call is in flight", || client.stats().in_flight == 1);
        for error in [client.call::<_, Value>("m", &()).unwrap_err(), client.ping().unwrap_err()] {
            assert!(matches!(error, Error::PoolFull { connections: 1, .. }), "{error:?}");
            assert!(error.is_retryable());
        }
        assert!(!first.is_finished());
        client.close();
        assert!(matches!(first.join().unwrap(), Err(Error::Closed { sent: true })));
    });
}

#[test]
fn calls_beyond_max_waiting_are_refused_immediately() {
    let server = Server::play(&json!([[{"silence": true}]]));
    runtime().block_on(async {
        let client = Client::builder(&server.socket)
            .max_connections(1)
            .max_in_flight_per_connection(1)
            .max_waiting(5)
            .build();
        // This call outlasts the others, because its end would free capacity for one of them.
        let first = tokio::spawn(client.request("m", &()).timeout(LONG).send::<Value>());
        yield_until("the first call is in flight", || client.stats().in_flight == 1).await;
        let calls = (0..9).map(|_| client.request("m", &()).timeout(Duration::from_millis(300)));
        let errors: Vec<Error> =
            client.batch::<_, Value>(calls).await.into_iter().map(Result::unwrap_err).collect();
        assert!(errors.iter().all(Error::is_retryable), "no request was sent: {errors:?}");
        // Four fail immediately, because five wait already. Those five fail one by one at their
        // deadlines.
        let waiting = errors.iter().map(|error| match error {
            Error::PoolFull { waiting, .. } => *waiting,
            other => panic!("{other:?}"),
        });
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_unstable();
        assert_eq!(waiting, [1, 2, 3, 4, 5, 5, 5, 5, 5]);
        first.abort();
        client.close();
    });
    assert_eq!(server.finish().requests().len(), 1);
}

#[test]
fn a_socket_returns_to_the_pool_with_the_reply() {
    let server = Server::play(&json!([[{"serve": "fifo"}]]));
    let client = client(&server);
    for mode in [Mode::Exclusive, Mode::Multiplexed, Mode::Exclusive] {
        let echo: i32 = client.request("system.echo", &1).mode(mode).send().unwrap();
        let Stats { connections, idle, in_flight, .. } = client.stats();
        assert_eq!((echo, connections, idle, in_flight), (1, 1, 1, 0));
    }
    runtime().block_on(async {
        let client = Client::builder(&server.socket).build();
        for mode in [Mode::Multiplexed, Mode::Exclusive, Mode::Multiplexed] {
            let echo: i32 = client.request("system.echo", &1).mode(mode).send().await.unwrap();
            let Stats { connections, idle, in_flight, .. } = client.stats();
            assert_eq!((echo, connections, idle, in_flight), (1, 1, 1, 0));
        }
    });
    client.close();
    assert_eq!(server.finish().kinds(), [vec![1, 4, 1], vec![4, 1, 4]]);
}

/// The first server connection answers a call, but not the heartbeat before the next one.
#[test]
fn a_socket_with_an_unanswered_heartbeat_is_closed() {
    let script = json!([
        [{"expect": "any", "as": "a"}, {"reply": "a", "echo": true}, {"expect": "heartbeat"}, {"silence": true}],
        [{"serve": "fifo"}]
    ]);
    let server = Server::play(&script);
    let client =
        blocking::Client::builder(&server.socket).timeout(LONG).health_check_after(Duration::ZERO).build();
    for n in 1..=3 {
        assert_eq!(client.call::<_, i32>("system.echo", &n).unwrap(), n);
        assert_eq!(client.stats().connections, 1);
    }
    client.close();
    assert_eq!(server.finish().kinds(), [vec![1, 2], vec![1, 2, 1]]);

    let server = Server::play(&script);
    runtime().block_on(async {
        let client = Client::builder(&server.socket).timeout(LONG).health_check_after(Duration::ZERO).build();
        for n in 1..=3 {
            assert_eq!(client.call::<_, i32>("system.echo", &n).await.unwrap(), n);
            assert_eq!(client.stats().connections, 1);
        }
        client.close();
    });
    assert_eq!(server.finish().kinds(), [vec![4, 2], vec![4, 2, 4]]);
}

#[test]
fn dead_sockets_are_closed_and_delay_no_call() {
    let scratch = ScratchDirectory::new();
    let socket = scratch.join("host.sock");
    let script = json!([[{"serve": "fifo"}]]);
    let first = Server::play_at(&socket, &script);
    let client = client(&first);
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                while client.stats().connects < 20 {
                    client.call::<_, i32>("system.echo", &1).unwrap();
                }
            });
        }
    });
    assert_eq!(client.stats().connections, 20);
    first.kill();
    std::fs::remove_file(&socket).unwrap();
    let second = Server::play_at(&socket, &script);
    assert_eq!(client.call::<_, i32>("system.echo", &2).unwrap(), 2);
    assert_eq!(client.stats().connections, 1, "the dead sockets are closed");
    client.close();
    assert_eq!(second.finish().requests().len(), 1);
}

#[test]
fn a_socket_beyond_the_idle_timeout_is_closed_instead_of_used() {
    let server = Server::play(&json!([[{"serve": "fifo"}]]));
    let client = blocking::Client::builder(&server.socket).timeout(LONG).idle_timeout(Duration::ZERO).build();
    for n in 0..3 {
        assert_eq!(client.call::<_, i32>("system.echo", &n).unwrap(), n);
        assert_eq!(client.stats().connections, 1);
    }
    client.close();
    assert_eq!(server.finish().kinds(), [[1], [1], [1]]);
}

#[test]
fn close_ends_every_call_of_every_clone() {
    let server = Server::play(&json!([[{"silence": true}]]));
    let client = blocking::Client::builder(&server.socket).timeout(LONG).max_connections(2).build();
    thread::scope(|scope| {
        let calls = [Mode::Exclusive, Mode::Multiplexed, Mode::Exclusive].map(|mode| {
            let call = client.clone();
            let thread = scope.spawn(move || call.request("m", &()).mode(mode).send::<Value>());
            wait_until("the call begins", || {
                let stats = client.stats();
                stats.in_flight + stats.waiting > usize::from(mode == Mode::Multiplexed)
            });
            thread
        });
        wait_until("two calls have sockets, one waits", || {
            let stats = client.stats();
            (stats.in_flight, stats.waiting) == (2, 1)
        });
        client.close();
        for call in calls {
            let error = call.join().unwrap().unwrap_err();
            assert!(matches!(error, Error::Closed { .. }), "{error:?}");
        }
    });
    assert!(matches!(client.call::<_, Value>("m", &()), Err(Error::Closed { sent: false })));
    assert_eq!(client.stats().connections, 0);
}
