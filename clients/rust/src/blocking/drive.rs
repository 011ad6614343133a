//! Threads that drive connections: of those that wait on one connection, one reads for all.

use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use bytes::Bytes;

use crate::call::{Call, Next, Prepared};
use crate::connection::{Answer, Connection, End, Failure, Flying, Received};
use crate::error::Error;
use crate::pool::{Lease, PROBE, Place, Turn};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Unpark>) {
        self.0.unpark();
    }
}

thread_local! {
    static WAKER: Waker = Arc::new(Unpark(thread::current())).into();
}

fn waker() -> Waker {
    WAKER.try_with(Waker::clone).unwrap_or_else(|_| Arc::new(Unpark(thread::current())).into())
}

/// Makes a call: all its tries.
pub(super) fn run(prepared: Prepared) -> Result<Bytes, Error> {
    let mut call = prepared.begin()?;
    let waker = waker();
    loop {
        let flying = place(&mut call, &waker).map_err(|error| call.fail(error))?;
        let outcome = wait(flying, call.deadline, &waker).map_err(|expired| call.fail(expired))?;
        match call.settle(outcome) {
            Next::Done(result) => return Ok(result),
            Next::Again(delay) => thread::sleep(delay),
            Next::Failed(error) => return Err(error),
        }
        call.is_in_time()?;
    }
}

/// Puts a call on a connection.
fn place(call: &mut Call, waker: &Waker) -> Result<Flying, Error> {
    let pool = Arc::clone(&call.pool);
    let mut turn = Turn::new(&pool, call.frame.mode(), Instant::now());
    loop {
        if Instant::now() >= call.deadline {
            return Err(pool.expired());
        }
        match pool.place(&mut call.frame, &mut turn, waker) {
            Place::Flying(flying) => return Ok(flying),
            Place::Probe(lease) => {
                let deadline = call.deadline.min(Instant::now() + PROBE);
                let (probed, lease) = exchange(Flying::heartbeat(lease), deadline, waker);
                if let (Ok(Ok(_)), Some(lease)) = (probed, lease) {
                    return Ok(pool.place_on(lease, &mut call.frame));
                }
            }
            Place::Wait(until) => {
                let until = until.map_or(call.deadline, |until| until.min(call.deadline));
                thread::park_timeout(until.saturating_duration_since(Instant::now()));
            }
            Place::Failed(error) => return Err(error),
        }
    }
}

/// Waits for a request's outcome; an error where the deadline passes first.
fn wait(flying: Flying, deadline: Instant, waker: &Waker) -> Result<Result<Answer, Failure>, Error> {
    let (outcome, lease) = exchange(flying, deadline, waker);
    if let Some(lease) = lease {
        lease.give_back();
    }
    outcome
}

/// The outcome, and the connection where it was the request's alone and the outcome came in time.
fn exchange(
    mut flying: Flying,
    deadline: Instant,
    waker: &Waker,
) -> (Result<Result<Answer, Failure>, Error>, Option<Lease>) {
    let connection = Arc::clone(flying.connection());
    let _hand_over = HandOver(&connection);
    loop {
        if let Poll::Ready(outcome) = flying.poll(waker) {
            return (Ok(outcome), flying.into_lease());
        }
        if Instant::now() >= deadline {
            return (Err(flying.expire()), None);
        }
        // What is unsent is everybody's concern: it may be before somebody else's request.
        let unsent = connection.flush();
        let Some(mut reader) = connection.try_reader() else {
            if unsent {
                wait_ready(&connection, true, deadline);
            } else {
                // Who reads wakes this thread: with its outcome, or to take over the reading.
                thread::park_timeout(deadline.saturating_duration_since(Instant::now()));
            }
            continue;
        };
        // Who read before may have left the outcome, or the end, before it let go of the reader.
        if !connection.flight().is_settled(flying.key())
            && connection.receive(&mut reader) == Received::Nothing
        {
            wait_ready(&connection, unsent, deadline);
            connection.receive(&mut reader);
        }
    }
}

fn wait_ready(connection: &Connection, write: bool, deadline: Instant) {
    if let Err(errno) = connection.socket.wait(write, deadline) {
        connection.end(End::Lost(Some(errno)));
    }
}

/// Whoever stops waiting on a connection sees to it that somebody else reads.
struct HandOver<'a>(&'a Connection);

impl Drop for HandOver<'_> {
    fn drop(&mut self) {
        if self.0.try_reader().is_some() {
            self.0.flight().wake_one();
        }
    }
}
