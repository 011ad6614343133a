//! A host whose worker processes for one plugin send what no worker may send; see README.md.

mod call;
mod channel;
mod host;
mod start;

use std::process::ExitCode;

/// The beginning of the title of the processes that are hostile.
const TITLE: &str = "jackfield: echoes/";

/// The argument with which a hostile worker starts a process that outlives it.
const FLOOD: &str = "flood";

fn main() -> ExitCode {
    let mut words = std::env::args();
    let title = words.next().unwrap_or_default();
    if title.starts_with(TITLE) {
        return worker();
    }
    if words.next().as_deref() == Some(FLOOD) {
        call::flood(&channel::Channel::of_stdout());
    }

    let entry = jackfield::enter();
    host::run(&entry)
}

/// Reads what the host sends, and answers each message with what it asks for.
fn worker() -> ExitCode {
    let channel = channel::Channel::of_stdout();
    while let Some((kind, payload)) = channel.read_frame() {
        match kind {
            channel::START => start::answer(&channel, &payload),
            channel::CALL => call::answer(&channel, &payload),
            channel::STOP => {
                channel.send(channel::PHASE_END, &[channel::DONE]);
                break;
            }
            _ => {}
        }
    }
    ExitCode::SUCCESS
}
