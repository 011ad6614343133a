//! Whether the cost of a request grows with connections, routes, plugins and requests served.
//!
//! It also measures the memory of an idle connection, and the throughput of large payloads compared
//! with the echo loop.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

use super::arguments::CompareArguments;
use super::driver::{Driver, Generator, Load};
use super::peer::Peer;
use super::plot::{Panel, svg};
use super::progress::progress;
use super::servers::Programs;
use super::spread::{Spread, digits, grouped};
use super::usage::private_memory;

/// Connections that send requests while the others are idle.
const ACTIVE: usize = 20;

/// Requests in flight on all active connections together.
const IN_FLIGHT: usize = 60;

const LOAD: Load = Load::async_(ACTIVE, IN_FLIGHT / ACTIVE);
const CONNECTIONS: [usize; 5] = [1, 20, 100, 1000, 4000];
const ROUTES: [usize; 3] = [1, 100, 10_000];
const PLUGINS: [usize; 3] = [1, 10, 100];
const PAYLOADS: [usize; 2] = [64 << 10, 1 << 20];

/// Idle connections whose memory is measured.
const IDLE: usize = 10_000;

/// Parts into which the uptime of one host is divided.
const SLICES: usize = 8;

/// A heartbeat and its answer: version 1.0, kind 02, no payload.
const HEARTBEAT: [u8; 7] = [1, 0, 2, 0, 0, 0, 0];

/// The CPU time of the host per request, in microseconds, by the number of something.
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
    /// The throughput divided by that of the echo loop in the same round.
    by_echo: Spread,
}

#[derive(Debug, Serialize)]
struct ScalingReport {
    lines: Vec<Line>,
    payloads: Vec<Payload>,
    bytes_per_idle_connection: f64,
}

pub(super) fn run(arguments: &CompareArguments, programs: &Programs, driver: &Driver) -> io::Result<String> {
    // This program holds the idle connections.
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;

    let measurement = Measurement { arguments, programs, driver };
    let report = ScalingReport {
        lines: vec![
            measurement.by_connections()?,
            measurement.by_routes()?,
            measurement.by_plugins()?,
            measurement.by_requests_served()?,
        ],
        payloads: measurement.payloads()?,
        bytes_per_idle_connection: measurement.bytes_per_idle_connection()?,
    };

    if let Some(plot) = &arguments.plot {
        fs::write(plot, svg(&panels(&report)))?;
    }
    Ok(if arguments.json { serde_json::to_string_pretty(&report)? + "\n" } else { text(&report) })
}

struct Measurement<'a> {
    arguments: &'a CompareArguments,
    programs: &'a Programs,
    driver: &'a Driver,
}

impl Measurement<'_> {
    /// Measures the cost of a request to each host, in turns, with the same load for all.
    fn line(&self, of: &'static str, hosts: &[(usize, Peer)], method: &str) -> io::Result<Line> {
        self.line_with(of, hosts, method, |_| LOAD)
    }

    /// Measures the cost of a request to each host, in turns, with a load for each.
    fn line_with(
        &self,
        of: &'static str,
        hosts: &[(usize, Peer)],
        method: &str,
        load: impl Fn(usize) -> Load,
    ) -> io::Result<Line> {
        let generator = Generator::framed(method);
        let duration = self.arguments.run_duration();
        let mut runs = vec![Vec::new(); hosts.len()];

        for round in 1..=self.arguments.rounds {
            progress(format_args!("{of}: round {round} of {}", self.arguments.rounds));
            for ((number, host), runs) in hosts.iter().zip(&mut runs) {
                runs.push(self.driver.run(host, &generator, load(*number), duration)?.cpu_us());
            }
        }

        let points = hosts.iter().zip(runs);
        let points = points.filter_map(|((number, _), runs)| Some((*number as f64, Spread::of(runs)?)));
        Ok(Line { of, points: points.collect() })
    }

    /// Every host accepts all its connections before the first measurement.
    fn by_connections(&self) -> io::Result<Line> {
        let mut hosts = Vec::new();
        let mut idle = Vec::new();
        for connections in CONNECTIONS {
            progress(format_args!("opening {connections} connections"));
            let host = self.programs.start_host(0, "")?;
            idle.push(connect(&host, connections - connections.min(ACTIVE))?);
            hosts.push((connections, host));
        }

        self.line_with("connections", &hosts, "device.status.update", |connections| {
            let active = connections.min(ACTIVE);
            Load::async_(active, IN_FLIGHT / active)
        })
    }

    fn by_routes(&self) -> io::Result<Line> {
        let mut hosts = Vec::new();
        for routes in ROUTES {
            let mut config = String::new();
            for number in 0..routes {
                let _ = write!(config, "[[route]]\nmethod = \"route{number:05}.*\"\nplugin = \"device\"\n");
            }
            hosts.push((routes, self.programs.start_host(0, &config)?));
        }
        self.line("routes", &hosts, "device.status.update")
    }

    fn by_plugins(&self) -> io::Result<Line> {
        let mut hosts = Vec::new();
        for plugins in PLUGINS {
            progress(format_args!("starting a host with {plugins} plugins"));
            hosts.push((plugins, self.programs.start_host(plugins, "")?));
        }
        self.line("plugins", &hosts, "copy000.inline")
    }

    /// Measures one host in slices, by the number of requests that it had served at the end of
    /// each.
    fn by_requests_served(&self) -> io::Result<Line> {
        let host = self.programs.start_host(0, "")?;
        let generator = Generator::framed("device.status.update");
        let mut served = 0;
        let mut points = Vec::new();

        for slice in 1..=SLICES {
            progress(format_args!("uptime: slice {slice} of {SLICES}"));
            let mut runs = Vec::new();
            for _ in 0..self.arguments.rounds {
                let run = self.driver.run(&host, &generator, LOAD, self.arguments.run_duration())?;
                served += run.report.results;
                runs.push(run.cpu_us());
            }
            points.extend(Spread::of(runs).map(|spread| (served as f64, spread)));
        }
        Ok(Line { of: "requests served", points })
    }

    fn payloads(&self) -> io::Result<Vec<Payload>> {
        let host = self.programs.start_host(0, "")?;
        let echo = self.programs.start_own("echo", &["echo"])?;
        let mut payloads = Vec::new();
        for bytes in PAYLOADS {
            payloads.extend(self.payload(&host, &echo, bytes)?);
        }
        Ok(payloads)
    }

    /// Measures the throughput of payloads of this size; `None` without a round.
    fn payload(&self, host: &Peer, echo: &Peer, bytes: usize) -> io::Result<Option<Payload>> {
        let params = host.directory().join("params");
        fs::write(&params, format!("\"{}\"", "x".repeat(bytes)))?;
        let generator = Generator::Framed { method: "system.echo".to_owned(), params: Some(params) };

        let mut of_host = Vec::new();
        let mut of_echo = Vec::new();
        for round in 1..=self.arguments.rounds {
            progress(format_args!("{} KiB: round {round} of {}", bytes >> 10, self.arguments.rounds));
            for (peer, rates) in [(host, &mut of_host), (echo, &mut of_echo)] {
                let run = self.driver.run(peer, &generator, Load::sync(4), self.arguments.run_duration())?;
                rates.push(run.report.requests_per_second * bytes as f64 / f64::from(1 << 20));
            }
        }

        let by_echo = Spread::of(of_host.iter().zip(&of_echo).map(|(host, echo)| host / echo));
        let spreads = (Spread::of(of_host), Spread::of(of_echo), by_echo);
        Ok(match spreads {
            (Some(mib_per_second), Some(echo_mib_per_second), Some(by_echo)) => {
                Some(Payload { bytes, mib_per_second, echo_mib_per_second, by_echo })
            }
            _ => None,
        })
    }

    fn bytes_per_idle_connection(&self) -> io::Result<f64> {
        progress(format_args!("{IDLE} idle connections"));
        let host = self.programs.start_host(0, &format!("[limits]\nconnections = {}\n", IDLE + 10))?;
        let generator = Generator::framed("device.status.update");
        // The first requests allocate memory that belongs to no connection.
        self.driver.run(&host, &generator, Load::sync(4), self.arguments.run_duration())?;

        let before = private_memory(host.pid())?;
        // Each connection has served a heartbeat, so that the memory of its first frame is
        // included.
        let idle = connect(&host, IDLE)?;
        let after = private_memory(host.pid())?;
        drop(idle);

        Ok(after.saturating_sub(before) as f64 / IDLE as f64)
    }
}

/// Opens connections, each of which the host has accepted: a heartbeat was answered.
fn connect(host: &Peer, count: usize) -> io::Result<Vec<UnixStream>> {
    let connect_one = |_| {
        let mut stream = UnixStream::connect(&host.socket)?;
        let mut answer = [0; HEARTBEAT.len()];
        stream.write_all(&HEARTBEAT)?;
        stream.read_exact(&mut answer)?;
        if answer != HEARTBEAT {
            return Err(io::Error::other(format!("{} answered a heartbeat with {answer:?}", host.name)));
        }
        Ok(stream)
    };
    (0..count).map(connect_one).collect()
}

fn panels(report: &ScalingReport) -> Vec<Panel> {
    let panel = |line: &Line| Panel {
        title: format!("Cost of a request by {}", line.of),
        across: line.of.to_owned(),
        up: "host CPU, us".to_owned(),
        points: line.points.iter().map(|(number, spread)| (*number, spread.median)).collect(),
    };
    report.lines.iter().map(panel).collect()
}

fn text(report: &ScalingReport) -> String {
    let mut text =
        "Host CPU per request in us: medians, with minimum and maximum in parentheses.\n".to_owned();
    for line in &report.lines {
        let _ = write!(text, "\n| {} | CPU us each |\n|---|---|\n", line.of);
        for (number, spread) in &line.points {
            let _ = writeln!(text, "| {} | {} |", grouped(*number), spread.display(digits));
        }
    }

    text.push_str("\n| payload | MiB/s each way | echo loop | x echo loop |\n|---|---|---|---|\n");
    for Payload { bytes, mib_per_second, echo_mib_per_second, by_echo } in &report.payloads {
        let of_host = mib_per_second.display(grouped);
        let of_echo = echo_mib_per_second.display(grouped);
        let _ =
            writeln!(text, "| {} KiB | {of_host} | {of_echo} | {} |", bytes >> 10, by_echo.display(digits));
    }

    let _ = writeln!(
        text,
        "\n{} idle connections: {} bytes of memory each",
        grouped(IDLE as f64),
        grouped(report.bytes_per_idle_connection)
    );
    text
}
