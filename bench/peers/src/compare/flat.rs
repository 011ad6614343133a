//! Whether a request costs the same with more connections, routes, plugins and requests served before it; what an idle
//! connection holds; and what large payloads move, beside the echo loop.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::net::UnixStream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

use super::drive::{Driver, Generator, Load};
use super::peer::{Peer, scratch};
use super::plot::{Panel, svg};
use super::servers::Programs;
use super::spread::{Spread, digits, grouped};
use super::usage::own_memory;
use super::{Words, progress};

/// Connections that ask while the others are idle, and requests in flight over all of them.
const ACTIVE: usize = 20;
const IN_FLIGHT: usize = 60;
const CONNECTIONS: [usize; 5] = [1, 20, 100, 1000, 4000];
const ROUTES: [usize; 3] = [1, 100, 10_000];
const PLUGINS: [usize; 3] = [1, 10, 100];
const PAYLOADS: [usize; 2] = [64 << 10, 1 << 20];
/// Idle ones, whose memory is counted.
const IDLE: usize = 10_000;
/// Slices of one host's life.
const SLICES: usize = 8;

/// One line: the server's CPU for each request, in microseconds, where there is so much of something.
#[derive(Debug, Serialize)]
struct Line {
    of: &'static str,
    points: Vec<(f64, Spread)>,
}

#[derive(Debug, Serialize)]
struct Payload {
    bytes: usize,
    mib_per_second: Spread,
    echo_mib_per_second: Spread,
    /// Of the same round.
    by_echo: Spread,
}

#[derive(Debug, Serialize)]
struct Flat {
    lines: Vec<Line>,
    payloads: Vec<Payload>,
    bytes_per_idle_connection: f64,
}

pub(super) fn run(words: &Words, programs: &Programs, driver: &Driver) -> io::Result<String> {
    // Idle connections are held by this program.
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })?;
    let measure = Measure { words, programs, driver };
    let flat = Flat {
        lines: vec![measure.connections()?, measure.routes()?, measure.plugins()?, measure.served()?],
        payloads: measure.payloads()?,
        bytes_per_idle_connection: measure.idle()?,
    };
    if let Some(plot) = &words.plot {
        fs::write(plot, svg(&panels(&flat)))?;
    }
    Ok(if words.json { serde_json::to_string_pretty(&flat)? + "\n" } else { text(&flat) })
}

struct Measure<'a> {
    words: &'a Words,
    programs: &'a Programs,
    driver: &'a Driver,
}

impl Measure<'_> {
    /// The cost of a request to each host, played in turns.
    fn line(&self, of: &'static str, hosts: &[(usize, Peer)], method: &str) -> io::Result<Line> {
        let generator = Generator::framed(method);
        let mut runs = vec![Vec::new(); hosts.len()];
        for round in 1..=self.words.rounds {
            progress(format_args!("{of}: round {round} of {}", self.words.rounds));
            for ((_, host), runs) in hosts.iter().zip(&mut runs) {
                let load = Load::async_(ACTIVE, IN_FLIGHT / ACTIVE);
                runs.push(self.driver.run(host, &generator, load, self.words.length())?.cpu_us());
            }
        }
        let spreads = hosts
            .iter()
            .zip(runs)
            .filter_map(|((number, _), runs)| Some((*number as f64, Spread::of(runs)?)));
        Ok(Line { of, points: spreads.collect() })
    }

    fn connections(&self) -> io::Result<Line> {
        let host = self.programs.host(0, "")?;
        let generator = Generator::framed("device.status.update");
        let mut runs = vec![Vec::new(); CONNECTIONS.len()];
        for round in 1..=self.words.rounds {
            progress(format_args!("connections: round {round} of {}", self.words.rounds));
            for (connections, runs) in CONNECTIONS.into_iter().zip(&mut runs) {
                let active = connections.min(ACTIVE);
                let idle = connect(&host, connections - active)?;
                let load = Load::async_(active, IN_FLIGHT / active);
                runs.push(self.driver.run(&host, &generator, load, self.words.length())?.cpu_us());
                drop(idle);
            }
        }
        let points = CONNECTIONS
            .into_iter()
            .zip(runs)
            .filter_map(|(number, runs)| Some((number as f64, Spread::of(runs)?)));
        Ok(Line { of: "connections", points: points.collect() })
    }

    fn routes(&self) -> io::Result<Line> {
        let mut hosts = Vec::new();
        for routes in ROUTES {
            let mut more = String::new();
            for number in 0..routes {
                let _ = write!(more, "[[route]]\nmethod = \"route{number:05}.*\"\nplugin = \"device\"\n");
            }
            hosts.push((routes, self.programs.host(0, &more)?));
        }
        self.line("routes", &hosts, "device.status.update")
    }

    fn plugins(&self) -> io::Result<Line> {
        let mut hosts = Vec::new();
        for plugins in PLUGINS {
            progress(format_args!("starting a host with {plugins} plugins"));
            hosts.push((plugins, self.programs.host(plugins, "")?));
        }
        self.line("plugins", &hosts, "copy000.inline")
    }

    /// One host, slice after slice: by how much it had served before.
    fn served(&self) -> io::Result<Line> {
        let host = self.programs.host(0, "")?;
        let generator = Generator::framed("device.status.update");
        let (mut served, mut points) = (0, Vec::new());
        for slice in 1..=SLICES {
            progress(format_args!("uptime: slice {slice} of {SLICES}"));
            let mut runs = Vec::new();
            for _ in 0..self.words.rounds {
                let load = Load::async_(ACTIVE, IN_FLIGHT / ACTIVE);
                let run = self.driver.run(&host, &generator, load, self.words.length())?;
                served += run.report.results;
                runs.push(run.cpu_us());
            }
            points.extend(Spread::of(runs).map(|spread| (served as f64, spread)));
        }
        Ok(Line { of: "requests served", points })
    }

    fn payloads(&self) -> io::Result<Vec<Payload>> {
        let host = self.programs.host(0, "")?;
        let own = std::env::current_exe()?;
        let echo = Peer::start("echo", scratch()?, own, &["echo", "peer.sock"])?;
        let mut payloads = Vec::new();
        for bytes in PAYLOADS {
            let params = host.directory().join("params");
            fs::write(&params, format!("\"{}\"", "x".repeat(bytes)))?;
            let generator = Generator::Framed { method: "system.echo".to_owned(), params: Some(params) };
            let (mut ours, mut echoes) = (Vec::new(), Vec::new());
            for round in 1..=self.words.rounds {
                progress(format_args!("{} KiB: round {round} of {}", bytes >> 10, self.words.rounds));
                for (peer, rates) in [(&host, &mut ours), (&echo, &mut echoes)] {
                    let run = self.driver.run(peer, &generator, Load::sync(4), self.words.length())?;
                    rates.push(run.report.requests_per_second * bytes as f64 / f64::from(1 << 20));
                }
            }
            let by_echo = Spread::of(ours.iter().zip(&echoes).map(|(ours, echo)| ours / echo));
            let spreads = (Spread::of(ours), Spread::of(echoes), by_echo);
            if let (Some(mib_per_second), Some(echo_mib_per_second), Some(by_echo)) = spreads {
                payloads.push(Payload { bytes, mib_per_second, echo_mib_per_second, by_echo });
            }
        }
        Ok(payloads)
    }

    /// Bytes of a host's own memory for each connection on which nothing happens.
    fn idle(&self) -> io::Result<f64> {
        progress(format_args!("{IDLE} idle connections"));
        let host = self.programs.host(0, &format!("[limits]\nconnections = {}\n", IDLE + 10))?;
        // What the first requests allocate is not the connections'.
        self.driver.run(
            &host,
            &Generator::framed("device.status.update"),
            Load::sync(4),
            self.words.length(),
        )?;
        let before = own_memory(host.pid())?;
        let mut idle = connect(&host, IDLE)?;
        // Each has been served once: what a connection allocates with its first request counts too.
        for stream in &mut idle {
            ask_once(stream)?;
        }
        let after = own_memory(host.pid())?;
        Ok(after.saturating_sub(before) as f64 / IDLE as f64)
    }
}

fn connect(host: &Peer, count: usize) -> io::Result<Vec<UnixStream>> {
    (0..count).map(|_| UnixStream::connect(&host.socket)).collect()
}

/// A heartbeat there and back: the host has taken the connection.
fn ask_once(stream: &mut UnixStream) -> io::Result<()> {
    use std::io::{Read as _, Write as _};
    let heartbeat = [1, 0, 2, 0, 0, 0, 0];
    let mut answer = [0; 7];
    stream.write_all(&heartbeat)?;
    stream.read_exact(&mut answer)?;
    if answer == heartbeat {
        Ok(())
    } else {
        Err(io::Error::other(format!("a heartbeat was answered by {answer:?}")))
    }
}

fn panels(flat: &Flat) -> Vec<Panel> {
    let panel = |line: &Line| Panel {
        title: format!("Cost of a request by {}", line.of),
        across: line.of.to_owned(),
        up: "host CPU, us".to_owned(),
        points: line.points.iter().map(|(number, spread)| (*number, spread.median)).collect(),
    };
    flat.lines.iter().map(panel).collect()
}

fn text(flat: &Flat) -> String {
    let mut text =
        "Host CPU for each request in us: medians, in parentheses from the least to the most.\n".to_owned();
    for line in &flat.lines {
        let _ = write!(text, "\n| {} | CPU us each |\n|---|---|\n", line.of);
        for (number, spread) in &line.points {
            let _ = writeln!(text, "| {} | {} |", grouped(*number), spread.words(digits));
        }
    }
    text.push_str("\n| payload | MiB/s each way | echo loop | x echo loop |\n|---|---|---|---|\n");
    for Payload { bytes, mib_per_second, echo_mib_per_second, by_echo } in &flat.payloads {
        let (ours, echo) = (mib_per_second.words(grouped), echo_mib_per_second.words(grouped));
        let _ = writeln!(text, "| {} KiB | {ours} | {echo} | {} |", bytes >> 10, by_echo.words(digits));
    }
    let _ = writeln!(
        text,
        "\n{} idle connections: {} bytes of memory each",
        grouped(IDLE as f64),
        grouped(flat.bytes_per_idle_connection)
    );
    text
}
