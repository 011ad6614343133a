//! Where a command takes a contract from: a running host, plugin files, or an OpenRPC document.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use jackfield::ProbeEntry;
use jackfield::loader::{PluginDirectory, Prober};
use jackfield_client::blocking::Client;
use jackfield_client::{Error, Payload};
use jackfield_contract::openrpc::{DescribedContract, read_document};
use jackfield_contract::{Contract, MethodContract};

use super::command_error::CommandError;
use super::inspect::{refusal_line, trusted_keys};
use super::output::print_message;
use super::request_socket::find_socket;
use super::shown_text::shown_line;

/// The method of the host that describes its methods.
pub(super) const DISCOVER: &str = "rpc.discover";

/// The code of a reply that says that there is no such method.
const METHOD_NOT_FOUND: i64 = -32601;

/// The time-out of a command that does nothing but ask.
pub(super) const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(5);

/// The time that the code of a plugin file has to describe itself. It is the default of
/// `plugins.probe`.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// The first bytes of a plugin file.
const ELF: [u8; 4] = *b"\x7fELF";

/// The arguments that name a contract.
#[derive(Debug, Args)]
pub(super) struct SourceArgs {
    /// Plugin files or an OpenRPC document; without any, the running host is asked
    #[arg(value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,

    /// Socket of the host [default: the first `[[listener]]` with binary framing in the
    /// configuration]
    #[arg(long, value_name = "PATH", conflicts_with = "files")]
    pub(super) socket: Option<PathBuf>,
}

/// Reads the contract of what the arguments name. The code of plugin files runs in a probing
/// process, never in this one.
///
/// # Errors
///
/// A file cannot be read or is refused, two files have the same method, or the host does not
/// describe its methods.
pub(super) fn read_contract(
    source: &SourceArgs,
    config: Option<&Path>,
    entry: &ProbeEntry,
) -> Result<DescribedContract, CommandError> {
    let [first, others @ ..] = &*source.files else {
        return read_host(&find_socket(source.socket.as_deref(), config)?, DISCOVERY_TIMEOUT);
    };
    let described = read_path(first, config, entry)?;
    if others.is_empty() {
        return Ok(described);
    }

    let mut methods: Vec<MethodContract> = described.contract.methods().to_vec();
    for file in others {
        let other = read_path(file, config, entry)?;
        let taken = methods.iter().find(|method| other.contract.method(&method.name).is_some());
        if let Some(method) = taken {
            return Err(CommandError::MethodTwice { file: file.clone(), method: method.name.clone() });
        }
        methods.extend_from_slice(other.contract.methods());
    }
    Ok(DescribedContract {
        title: "jackfield".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        contract: Contract::new(methods),
    })
}

/// Reads the contract of one plugin file, OpenRPC document or socket of a host.
///
/// # Errors
///
/// As for [`read_contract`].
pub(super) fn read_path(
    path: &Path,
    config: Option<&Path>,
    entry: &ProbeEntry,
) -> Result<DescribedContract, CommandError> {
    if is_socket(path) {
        return read_host(path, DISCOVERY_TIMEOUT);
    }

    let unreadable = |source: io::Error| CommandError::File { file: path.to_owned(), source };
    let mut start = Vec::new();
    let mut file = File::open(path).map_err(unreadable)?;
    file.by_ref().take(ELF.len() as u64).read_to_end(&mut start).map_err(unreadable)?;
    if start == ELF {
        return read_plugin(path, config, entry);
    }
    file.read_to_end(&mut start).map_err(unreadable)?;
    read_document(&start).map_err(|fault| CommandError::Document { file: path.to_owned(), fault })
}

/// Returns whether a path is that of a socket.
pub(super) fn is_socket(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// Asks a running host.
///
/// # Errors
///
/// The host does not describe its methods.
pub(super) fn read_host(socket: &Path, timeout: Duration) -> Result<DescribedContract, CommandError> {
    let client = Client::builder(socket).connect_timeout(Duration::ZERO).timeout(timeout).build();
    let failed = |error| CommandError::Call { socket: socket.to_owned(), error };

    let document = match client.request(DISCOVER, &()).reply().result {
        Err(Error::Remote(remote)) if remote.code == METHOD_NOT_FOUND => {
            return Err(CommandError::NoDiscovery { socket: socket.to_owned() });
        }
        reply => reply.map(Payload::into_bytes).map_err(failed)?,
    };
    read_document(&document).map_err(|fault| CommandError::Document { file: socket.to_owned(), fault })
}

/// Stages a plugin file as the host does, and asks its code in a probing process.
fn read_plugin(
    path: &Path,
    config: Option<&Path>,
    entry: &ProbeEntry,
) -> Result<DescribedContract, CommandError> {
    let refused = |refused| CommandError::Refused(refusal_line(path, &refused));
    let keys = trusted_keys(config)?;
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or(OsStr::new(""));

    let staged = PluginDirectory::open(directory)
        .and_then(|directory| directory.stage(name, &keys))
        .map_err(refused)?;
    let described = Prober::this_program(entry).describe(&staged, PROBE_LIMIT).map_err(refused)?;
    let missing = described.missing.iter().map(ToString::to_string);
    for note in missing.chain(described.unfit.iter().map(ToString::to_string)) {
        print_message(format_args!("{}: note: {}", path.display(), shown_line(&note)));
    }

    let manifest = &staged.inspection.manifest;
    let (title, version) = (staged.inspection.name.clone(), manifest.version.clone());
    Ok(DescribedContract { title, version, contract: described.contract })
}
