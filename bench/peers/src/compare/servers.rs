//! The servers that are compared, and how each is started.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::arguments::CompareArguments;
use super::driver::Generator;
use super::peer::{Peer, create_scratch};
use super::progress::progress;

/// The files that are run, by absolute path, because every server has its own directory.
pub(super) struct Programs {
    pub(super) jackfield: PathBuf,
    /// The plugin `device`.
    device: PathBuf,
    /// The plugin of this comparison.
    plugin: PathBuf,
    go: Option<PathBuf>,
    own: PathBuf,
}

/// A row of the table: a server and its load generator.
pub(super) struct Row {
    pub(super) name: &'static str,
    /// Index of the server.
    pub(super) server: usize,
    pub(super) generator: Generator,
}

/// The servers that were started and their rows.
#[derive(Default)]
struct Started {
    servers: Vec<Peer>,
    rows: Vec<Row>,
}

/// The row that the others are compared with.
pub(super) const FLOOR: &str = "floor";

/// The rows that show the cost of a worker process: the same plugin in the host and in a worker.
pub(super) const INLINE: &str = "jackfield, inline";
pub(super) const BLOCKING: &str = "jackfield, blocking";
pub(super) const WORKER: &str = "jackfield, worker";

/// The configuration of a host, unless a measurement adds to it.
const CONFIG: &str = "[[listener]]\nsocket = \"peer.sock\"\n[plugins]\ndirectory = \"plugins\"\n";

/// A longer queue than the default, because 20 x 64 requests are in flight in the last load.
const LONG_QUEUE: &str = "[plugin.copy000]\nqueue = 2048\n";

/// Follows a section `[plugin.copy000]`.
pub(super) const ISOLATED: &str = "isolation = \"worker\"\n";

/// The arguments of a host in its directory.
pub(super) const HOST_ARGUMENTS: [&str; 3] = ["serve", "-c", "config.toml"];

const REDIS_ARGUMENTS: [&str; 8] =
    ["--port", "0", "--unixsocket", "peer.sock", "--save", "", "--appendonly", "no"];

fn absolute(path: &Path) -> io::Result<PathBuf> {
    fs::canonicalize(path).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}

impl Programs {
    pub(super) fn new(arguments: &CompareArguments) -> io::Result<Self> {
        let jackfield = absolute(&arguments.jackfield)?;
        Ok(Self {
            device: absolute(&jackfield.with_file_name("libdevice.so"))?,
            jackfield,
            plugin: absolute(&arguments.plugin)?,
            go: absolute(&arguments.go).ok(),
            own: std::env::current_exe()?,
        })
    }

    /// Starts a host with the plugin `device`, copies of the plugin of this comparison, and further
    /// configuration.
    pub(super) fn start_host(&self, copies: usize, config: &str) -> io::Result<Peer> {
        let scratch = self.prepare_host(copies, config)?;
        fs::copy(&self.device, scratch.path().join("plugins/device.so"))?;
        Peer::start("jackfield", scratch, &self.jackfield, &HOST_ARGUMENTS)
    }

    /// Creates the directory of a host with copies of the plugin of this comparison, and further
    /// configuration.
    pub(super) fn prepare_host(&self, copies: usize, config: &str) -> io::Result<TempDir> {
        let scratch = create_scratch()?;
        let plugins = scratch.path().join("plugins");
        fs::create_dir(&plugins)?;
        for number in 0..copies {
            self.install_copy(&plugins, number, 0)?;
        }

        fs::write(scratch.path().join("config.toml"), format!("{CONFIG}{config}"))?;
        Ok(scratch)
    }

    /// Starts a server of this program with the arguments of its command, to which the socket is
    /// added.
    pub(super) fn start_own(&self, name: &'static str, arguments: &[&str]) -> io::Result<Peer> {
        let (command, options) = arguments.split_first().ok_or_else(|| io::Error::other("no command"))?;
        let arguments: Vec<_> = [*command, "peer.sock"].into_iter().chain(options.iter().copied()).collect();
        Peer::start(name, create_scratch()?, &self.own, &arguments)
    }

    /// Installs a copy of the plugin whose methods have this number. Another `content` makes it
    /// another version.
    pub(super) fn install_copy(&self, plugins: &Path, number: usize, content: u32) -> io::Result<()> {
        let mut image = fs::read(&self.plugin)?;
        let names = overwrite(&mut image, b"copy000", format!("copy{number:03}").as_bytes());
        let contents = overwrite(&mut image, b"CONTENT-000000", format!("CONTENT-{content:06}").as_bytes());
        if names == 0 || contents == 0 {
            let plugin = self.plugin.display();
            return Err(io::Error::other(format!("{plugin} has no copy000 or CONTENT-000000 to overwrite")));
        }

        // The complete file is renamed into place, as plugins are installed.
        let unfinished = plugins.join(".copy");
        fs::write(&unfinished, image)?;
        fs::rename(unfinished, plugins.join(format!("copy{number:03}.so")))
    }

    /// Starts every server, and returns them with the rows that they belong to.
    pub(super) fn start_all(&self, arguments: &CompareArguments) -> io::Result<(Vec<Peer>, Vec<Row>)> {
        let update = || Generator::framed("device.status.update");
        let mut started = Started::default();
        let mut add = |name, generator, start: &dyn Fn() -> io::Result<Peer>| {
            if is_wanted(arguments, name) {
                started.add(name, generator, start()?);
            }
            Ok::<_, io::Error>(())
        };

        add("echo", update(), &|| self.start_own("echo", &["echo"]))?;
        let spinning = "echo, spins 50 us";
        add(spinning, update(), &|| self.start_own(spinning, &["echo", "--spin-us", "50"]))?;
        add(FLOOR, update(), &|| self.start_own(FLOOR, &["floor"]))?;
        let multi_thread = "floor, multi-thread";
        add(multi_thread, update(), &|| self.start_own(multi_thread, &["floor", "--multi"]))?;

        add(INLINE, update(), &|| self.start_host(1, ""))?;
        let no_spin = "[io]\nspin = \"0us\"\n";
        add("jackfield, inline, spin off", update(), &|| self.start_host(1, no_spin))?;
        let copy_async = Generator::framed("copy000.async");
        add("jackfield, async", copy_async, &|| self.start_host(1, ""))?;
        let copy_blocking = Generator::framed("copy000.blocking");
        add(BLOCKING, copy_blocking.clone(), &|| self.start_host(1, LONG_QUEUE))?;
        let isolated = format!("{LONG_QUEUE}{ISOLATED}");
        add(WORKER, copy_blocking, &|| self.start_host(1, &isolated))?;

        let redis = add("redis SET", Generator::Own("redis"), &|| {
            Peer::start("redis SET", create_scratch()?, "redis-server", &REDIS_ARGUMENTS)
        });
        if let Err(error) = redis {
            progress(format_args!("skipped: {error}"));
        }
        add("tarpc", Generator::Own("tarpc"), &|| self.start_own("tarpc", &["tarpc"]))?;
        add("tonic", Generator::Own("tonic"), &|| self.start_own("tonic", &["tonic"]))?;
        match &self.go {
            Some(go) => add("go", update(), &|| Peer::start("go", create_scratch()?, go, &["peer.sock"]))?,
            None => progress(format_args!("skipped: go: {} is missing", arguments.go.display())),
        }

        Ok((started.servers, started.rows))
    }
}

impl Started {
    fn add(&mut self, name: &'static str, generator: Generator, server: Peer) {
        self.servers.push(server);
        self.rows.push(Row { name, server: self.servers.len() - 1, generator });
    }
}

fn is_wanted(arguments: &CompareArguments, name: &str) -> bool {
    let has_part = |name: &str| arguments.only.iter().any(|part| name.contains(part));
    let is_base = name == FLOOR || [INLINE, BLOCKING].contains(&name) && has_part(WORKER);
    is_base || arguments.only.is_empty() || has_part(name)
}

/// Overwrites each `old` with `new`, which has the same length, and returns how often.
fn overwrite(image: &mut [u8], old: &[u8], new: &[u8]) -> usize {
    assert_eq!(old.len(), new.len(), "offsets in the image must not change");
    let mut count = 0;
    let mut at = 0;
    while let Some(found) = image[at..].windows(old.len()).position(|window| window == old) {
        at += found;
        image[at..at + new.len()].copy_from_slice(new);
        at += new.len();
        count += 1;
    }
    count
}
