//! Whether a request costs the same with more connections, routes, plugins and requests served before it; what an idle
//! connection holds; and what large payloads move, beside the echo loop.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _, Write as _};
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
const LOAD: Load = Load::async_(ACTIVE, IN_FLIGHT / ACTIVE);
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
        self.line_by(of, hosts, method, |_| LOAD)
    }

    /// As [`Measure::line`], with a load of its own for each host.
    fn line_by(
        &self,
        of: &'static str,
        hosts: &[(usize, Peer)],
        method: &str,
        load: impl Fn(usize) -> Load,
    ) -> io::Result<Line> {
        let generator = Generator::framed(method);
        let mut runs = vec![Vec::new(); hosts.len()];
        for round in 1..=self.words.rounds {
            progress(format_args!("{of}: round {round} of {}", self.words.rounds));
            for ((number, host), runs) in hosts.iter().zip(&mut runs) {
                runs.push(self.driver.run(host, &generator, load(*number), self.words.length())?.cpu_us());
            }
        }
        let points = hosts.iter().zip(runs);
        let points = points.filter_map(|((number, _), runs)| Some((*number as f64, Spread::of(runs)?)));
        Ok(Line { of, points: points.collect() })
    }

    /// A host for each number, which has taken all its connections before anything is measured.
    fn connections(&self) -> io::Result<Line> {
        let (mut hosts, mut idle) = (Vec::new(), Vec::new());
        for connections in CONNECTIONS {
            progress(format_args!("opening {connections} connections"));
            let host = self.programs.host(0, "")?;
            idle.push(connect(&host, connections - connections.min(ACTIVE))?);
            hosts.push((connections, host));
        }
        self.line_by("connections", &hosts, "device.status.update", |connections| {
            let active = connections.min(ACTIVE);
            Load::async_(active, IN_FLIGHT / active)
        })
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
                let run = self.driver.run(&host, &generator, LOAD, self.words.length())?;
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
        // Each is served a heartbeat: what a connection allocates with its first frame counts too.
        let idle = connect(&host, IDLE)?;
        let after = own_memory(host.pid())?;
        drop(idle);
        Ok(after.saturating_sub(before) as f64 / IDLE as f64)
    }
}

/// So many connections, each of which the host has taken: a heartbeat went there and back.
fn connect(host: &Peer, count: usize) -> io::Result<Vec<UnixStream>> {
    let heartbeat = [1, 0, 2, 0, 0, 0, 0];
    (0..count)
        .map(|_| {
            let (mut stream, mut answer) = (UnixStream::connect(&host.socket)?, [0; 7]);
            stream.write_all(&heartbeat)?;
            stream.read_exact(&mut answer)?;
            if answer != heartbeat {
                return Err(io::Error::other(format!("a heartbeat was answered by {answer:?}")));
            }
            Ok(stream)
        })
        .collect()
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
