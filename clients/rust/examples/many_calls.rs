//! Many concurrent calls, on as few connections as they need.

use jackfield_client::{Client, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let client = Client::connect("run/jackfield.sock").await?;

    let (one, two) = tokio::try_join!(
        client.call::<_, u32>("system.echo", &1),
        client.call::<_, u32>("system.echo", &2),
    )?;
    println!("{one} and {two}");

    let numbers: Vec<u32> = (0..1_000).collect();
    let calls = numbers.iter().map(|number| client.request("system.echo", number));
    let echoes: Vec<Result<u32, Error>> = client.batch(calls).await;

    let answered = echoes.iter().flatten().count();
    println!("{answered} answers over {} connections", client.stats().connections);
    Ok(())
}
