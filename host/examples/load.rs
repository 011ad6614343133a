//! A small closed-loop load: so many connections, so many requests in flight on each, for so long. Prints requests a
//! second and the server's CPU time per request.
//!
//! `cargo run --release -p jackfield --example load -- SOCKET PID KIND CONNECTIONS WINDOW SECONDS [METHOD PARAMS]`

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use jackfield_protocol::{FrameBuffer, Kind, Version, write_request};
use rustix::event::epoll;
use serde_json::value::RawValue;

struct Peer {
    stream: UnixStream,
    frames: FrameBuffer,
    out: Vec<u8>,
}

/// User and system time of a process, in clock ticks of 10 ms: fields 14 and 15 of `/proc/PID/stat`.
fn cpu(pid: &str) -> Result<Duration, Box<dyn Error>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let rest = stat.rsplit_once(") ").ok_or("no command in stat")?.1;
    let ticks: u64 = rest.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap_or(0)).sum();
    Ok(Duration::from_millis(ticks * 10))
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [socket, pid, kind, connections, window, seconds, rest @ ..] = words.as_slice() else {
        return Err("SOCKET PID sync|async CONNECTIONS WINDOW SECONDS [METHOD PARAMS]".into());
    };
    let (connections, window): (usize, usize) = (connections.parse()?, window.parse()?);
    let length = Duration::from_secs_f64(seconds.parse()?);
    let method = rest.first().map_or("device.status.update", String::as_str);
    let params = rest.get(1).map_or(r#"{"deviceId":"dev_123","status":"online"}"#, String::as_str);
    let params = RawValue::from_string(params.to_owned())?;
    let (version, kind) = match kind.as_str() {
        "sync" => (Version::V1_0, Kind::Sync),
        "async" => (Version::V1_1, Kind::AsyncRequest),
        other => return Err(format!("{other}: sync or async").into()),
    };
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut peers = Vec::new();
    for number in 0..connections {
        let stream = UnixStream::connect(socket)?;
        stream.set_nonblocking(true)?;
        epoll::add(&epoll, stream.as_fd(), epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)?;
        peers.push(Peer {
            stream,
            frames: FrameBuffer::new(jackfield_protocol::FrameLimit::default()),
            out: Vec::new(),
        });
    }
    let mut next_id = 0u64;
    let mut ask = |peer: &mut Peer, count: usize| -> Result<(), Box<dyn Error>> {
        peer.out.clear();
        for _ in 0..count {
            next_id += 1;
            let id = (kind == Kind::AsyncRequest).then(|| format!("\"{next_id:032x}\""));
            write_request(&mut peer.out, version, kind, id.as_deref(), method, Some(&params))?;
        }
        // A window of small requests fits the socket's buffer.
        (&peer.stream).write_all(&peer.out)?;
        Ok(())
    };
    let (begun, cpu_before) = (Instant::now(), cpu(pid)?);
    for peer in &mut peers {
        ask(peer, window)?;
    }
    let (mut answered, mut errors) = (0u64, 0u64);
    let mut events = Vec::with_capacity(connections.max(1));
    let mut bytes = vec![0; 256 * 1024];
    while begun.elapsed() < length {
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let peer = &mut peers[usize::try_from(event.data.u64())?];
            let count = (&peer.stream).read(&mut bytes)?;
            if count == 0 {
                return Err("the host closed a connection".into());
            }
            peer.frames.push(&bytes[..count]);
            let mut replies = 0;
            while let Some(frame) = peer.frames.next().map_err(|refusal| refusal.to_string())? {
                replies += 1;
                errors += u64::from(frame.payload.windows(8).any(|part| part == b"\"error\":"));
            }
            answered += replies as u64;
            ask(peer, replies)?;
        }
    }
    let (wall, cpu) = (begun.elapsed().as_secs_f64(), (cpu(pid)? - cpu_before).as_secs_f64());
    println!(
        "{connections} x {window}: {:.0} requests/s, {:.2} us of server CPU each, {errors} errors",
        answered as f64 / wall,
        cpu * 1e6 / answered as f64
    );
    Ok(())
}
