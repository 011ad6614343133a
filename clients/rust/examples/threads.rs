//! Threads that share one client and its connections.

use std::thread;

use jackfield_client::{Error, Mode, blocking::Client};

fn main() -> Result<(), Error> {
    let client = Client::builder("unix://run/jackfield.sock").max_connections(4).build();

    let sum: Result<u64, Error> = thread::scope(|scope| {
        let threads: Vec<_> = (1..=16_u64)
            .map(|number| {
                let client = client.clone();
                scope.spawn(move || client.call::<_, u64>("system.echo", &number))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    println!("{}", sum?);
    assert!(client.stats().connects <= 4);

    // This call shares a connection with others instead of having one to itself.
    let shared: u64 = client.request("system.echo", &17).mode(Mode::Multiplexed).send()?;
    println!("{shared}");
    Ok(())
}
