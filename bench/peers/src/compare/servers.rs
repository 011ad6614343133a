//! Which servers there are, and how each is started.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::drive::Generator;
use super::peer::{Peer, scratch};
use super::{Words, progress};

/// The files that are run, by full path: every server has a directory of its own.
pub(super) struct Programs {
    pub(super) jackfield: PathBuf,
    /// The plugin `device`.
    device: PathBuf,
    /// The plugin of this comparison.
    plugin: PathBuf,
    go: Option<PathBuf>,
    own: PathBuf,
}

/// A row of the table: a server and what loads it.
pub(super) struct Row {
    pub(super) name: &'static str,
    /// Which of the servers.
    pub(super) server: usize,
    pub(super) generator: Generator,
}

/// The row that the others are measured by.
pub(super) const FLOOR: &str = "floor";

/// What a host is configured with unless a measurement says otherwise.
const CONFIG: &str = "[[listener]]\nsocket = \"peer.sock\"\n[plugins]\ndirectory = \"plugins\"\n";

fn there(path: &Path) -> io::Result<PathBuf> {
    fs::canonicalize(path).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}

impl Programs {
    pub(super) fn new(words: &Words) -> io::Result<Self> {
        let jackfield = there(&words.jackfield)?;
        Ok(Self {
            device: there(&jackfield.with_file_name("libdevice.so"))?,
            jackfield,
            plugin: there(&words.plugin)?,
            go: there(&words.go).ok(),
            own: std::env::current_exe()?,
        })
    }

    /// Starts a host with the plugin `device`, so many copies of this comparison's own, and `more` configuration.
    pub(super) fn host(&self, copies: usize, more: &str) -> io::Result<Peer> {
        let scratch = scratch()?;
        let plugins = scratch.path().join("plugins");
        fs::create_dir(&plugins)?;
        fs::copy(&self.device, plugins.join("device.so"))?;
        for number in 0..copies {
            self.copy(&plugins, number, 0)?;
        }
        fs::write(scratch.path().join("config.toml"), format!("{CONFIG}{more}"))?;
        Peer::start("jackfield", scratch, &self.jackfield, &["serve", "-c", "config.toml"])
    }

    /// One of the servers of this program; its words are those of the command line, but for the socket.
    pub(super) fn own(&self, name: &'static str, words: &[&str]) -> io::Result<Peer> {
        let words: Vec<_> = [words[0], "peer.sock"].into_iter().chain(words[1..].iter().copied()).collect();
        Peer::start(name, scratch()?, &self.own, &words)
    }

    /// Puts a copy of the plugin, whose methods have a number of their own, into a plugin directory. With another
    /// `content` it is another version.
    pub(super) fn copy(&self, plugins: &Path, number: usize, content: u32) -> io::Result<()> {
        let mut image = fs::read(&self.plugin)?;
        let replaced = write_over(&mut image, b"copy000", format!("copy{number:03}").as_bytes())
            * write_over(&mut image, b"CONTENT-000000", format!("CONTENT-{content:06}").as_bytes());
        if replaced == 0 {
            return Err(io::Error::other(format!("{} has no numbers", self.plugin.display())));
        }
        // Renamed into place when it is whole, as whoever installs a plugin does it.
        let aside = plugins.join(".copy");
        fs::write(&aside, image)?;
        fs::rename(aside, plugins.join(format!("copy{number:03}.so")))
    }

    /// Starts every server, and says which row belongs to which of them.
    pub(super) fn all(&self, words: &Words) -> io::Result<(Vec<Peer>, Vec<Row>)> {
        let update = || Generator::framed("device.status.update");
        let wanted = |name: &str| {
            name == FLOOR || words.only.is_empty() || words.only.iter().any(|only| name.contains(only))
        };
        let mut servers = Vec::new();
        let mut rows = Vec::new();
        let mut add = |name, generator, start: &dyn Fn() -> io::Result<Peer>| {
            if wanted(name) {
                servers.push(start()?);
                rows.push(Row { name, server: servers.len() - 1, generator });
            }
            Ok::<_, io::Error>(())
        };
        add("echo", update(), &|| self.own("echo", &["echo"]))?;
        add("echo, spins 50 us", update(), &|| self.own("echo, spins 50 us", &["echo", "--spin-us", "50"]))?;
        add(FLOOR, update(), &|| self.own(FLOOR, &["floor"]))?;
        add("floor, multi-thread", update(), &|| self.own("floor, multi-thread", &["floor", "--multi"]))?;
        add("jackfield, inline", update(), &|| self.host(1, ""))?;
        add("jackfield, inline, spin off", update(), &|| self.host(1, "[io]\nspin = \"0us\"\n"))?;
        add("jackfield, async", Generator::framed("copy000.async"), &|| self.host(1, ""))?;
        // 20 x 64 in flight are more than may wait by default.
        let queue = "[plugin.copy000]\nqueue = 2048\n";
        add("jackfield, blocking", Generator::framed("copy000.blocking"), &|| self.host(1, queue))?;
        if let Err(error) = add("redis SET", Generator::Own("redis"), &|| {
            let words = ["--port", "0", "--unixsocket", "peer.sock", "--save", "", "--appendonly", "no"];
            Peer::start("redis SET", scratch()?, "redis-server", &words)
        }) {
            progress(format_args!("skipped: {error}"));
        }
        add("tarpc", Generator::Own("tarpc"), &|| self.own("tarpc", &["tarpc"]))?;
        add("tonic", Generator::Own("tonic"), &|| self.own("tonic", &["tonic"]))?;
        match &self.go {
            Some(go) => add("go", update(), &|| Peer::start("go", scratch()?, go, &["peer.sock"]))?,
            None => progress(format_args!("skipped: go: no server was built")),
        }
        Ok((servers, rows))
    }
}

/// Writes `new` over each `old` of the same length; how often.
fn write_over(image: &mut [u8], old: &[u8], new: &[u8]) -> usize {
    assert_eq!(old.len(), new.len(), "an image's places do not move");
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
