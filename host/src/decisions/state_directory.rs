//! The state directory: opened and checked, and its files.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::decision_log::{DecisionLog, DecisionLogError, kept_file_name};
use crate::config::{PluginsConfig, TrustedKey};
use crate::loader::{KeptImage, LoadError, PluginDirectory, StagedPlugin};
use crate::log::printable;
use crate::system_failure::{WithRemedy, create_directory};

/// The file with the decisions.
const DECISIONS: &str = "decisions.json";

/// The name of a file that could not be read. An earlier one is replaced.
const UNREADABLE: &str = "decisions.json.unreadable";

/// The directory of the kept contents. It is not the state directory itself, so that no kept
/// content ever replaces a plugin file, whatever directory an operator names.
const KEPT: &str = "kept";

/// The largest `decisions.json` that is read, in bytes: 256 plugins with 64 decisions of each kind,
/// of at most 1 KiB.
const SIZE_MAX: u64 = 32 << 20;

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateDirectoryError {
    #[error("cannot create it: {}", WithRemedy(.0))]
    NotCreated(io::Error),

    #[error("{}", .0.detail)]
    Refused(LoadError),

    #[error("cannot lock it: {}", WithRemedy(.0))]
    NotLocked(io::Error),

    #[error("another host uses it; set a directory for each host")]
    InUse,
}

/// Why `decisions.json` cannot be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),

    #[error(transparent)]
    Log(#[from] DecisionLogError),

    #[error("the file is not a regular file")]
    NotAFile,

    #[error("the file has more than {} MiB", SIZE_MAX >> 20)]
    TooLarge,
}

/// A state directory that belongs to this host for as long as the value lives.
pub(super) struct StateDirectory {
    path: PathBuf,

    /// The directory from which kept contents are staged like plugin files.
    kept: PluginDirectory,

    /// Holds the lock.
    _lock: File,
}

impl StateDirectory {
    /// Opens the directory and creates it if it is missing.
    ///
    /// # Errors
    ///
    /// The directory cannot be created, another user could change it, or another host uses it.
    pub(super) fn open(path: &Path) -> Result<Self, StateDirectoryError> {
        create_directory(&path.join(KEPT), 0o700).map_err(StateDirectoryError::NotCreated)?;
        let kept = PluginDirectory::open(&path.join(KEPT)).map_err(StateDirectoryError::Refused)?;
        // The directory itself is an ancestor there, which may be sticky.
        PluginDirectory::open(path).map_err(StateDirectoryError::Refused)?;

        let lock = File::open(path).map_err(StateDirectoryError::NotLocked)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), kept, _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateDirectoryError::InUse),
            Err(error) => Err(StateDirectoryError::NotLocked(error.into())),
        }
    }

    /// Reads the decisions of the previous host. An unreadable file is moved aside and reported.
    pub(super) fn read(&self) -> DecisionLog {
        let path = self.path.join(DECISIONS);
        let error = match read_log(&path) {
            Ok(log) => return log,
            Err(error) => error,
        };

        let aside = self.path.join(UNREADABLE);
        let outcome = match fs::rename(&path, &aside) {
            Ok(()) => format!("the file is now {}", printable(&aside.display().to_string())),
            Err(error) => format!("the file cannot be moved aside: {error}"),
        };
        let file = path.display().to_string();
        let shown = printable(&file);
        tracing::error!(
            %file,
            %error,
            "cannot read the decisions in {shown}: {error}; {outcome}, and content that was rolled back may serve again"
        );
        DecisionLog::default()
    }

    /// Stages the kept content of a plugin with the checks of a plugin file.
    ///
    /// # Errors
    ///
    /// There is none, or it would be refused as a plugin file.
    pub(super) fn stage(&self, plugin: &str, keys: &[TrustedKey]) -> Result<StagedPlugin, LoadError> {
        self.kept.stage(OsStr::new(&kept_file_name(plugin)), keys)
    }

    /// Replaces the file with the decisions. Blocks until it is on the disk.
    pub(super) fn write_log(&self, json: &[u8]) -> io::Result<()> {
        replace(&self.path, DECISIONS, |file| file.write_all(json))
    }

    /// Keeps a content, in place of the one that was kept for the plugin. Blocks until it is on
    /// the disk.
    pub(super) fn write_kept(&self, image: &KeptImage) -> io::Result<()> {
        let directory = self.path.join(KEPT);
        let file = kept_file_name(image.name());
        let signature = signature_file_name(&file);
        match image.signature_text() {
            Some(text) => replace(&directory, &signature, |file| file.write_all(text.as_bytes()))?,
            None => remove(&directory.join(signature))?,
        }
        replace(&directory, &file, |file| image.copy_to(file))
    }

    /// Removes the kept content of a plugin.
    pub(super) fn remove_kept(&self, plugin: &str) -> io::Result<()> {
        let directory = self.path.join(KEPT);
        let file = kept_file_name(plugin);
        remove(&directory.join(signature_file_name(&file)))?;
        remove(&directory.join(file))
    }

    /// Returns the path for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Replaces a file of a directory as a whole. A crash of the machine leaves the old file or the new
/// one.
fn replace(directory: &Path, name: &str, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let temporary = directory.join(format!(".{name}.new"));
    // An earlier host may have left it.
    remove(&temporary)?;
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;

    let written = write(&mut file).and_then(|()| file.sync_all());
    let renamed = written.and_then(|()| fs::rename(&temporary, directory.join(name)));
    if renamed.is_err() {
        // A full disk must not stay full because of it.
        let _ = fs::remove_file(&temporary);
    }
    renamed.and_then(|()| File::open(directory)?.sync_all())
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn signature_file_name(file: &str) -> String {
    format!("{file}.minisig")
}

/// Reads the file; a missing one has no decisions.
fn read_log(path: &Path) -> Result<DecisionLog, ReadError> {
    // NONBLOCK: opening a FIFO must not wait for another process.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut options = File::options();
    options.read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or(0));
    let file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(DecisionLog::default()),
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Err(ReadError::NotAFile);
    }

    let mut json = Vec::new();
    file.take(SIZE_MAX + 1).read_to_end(&mut json)?;
    if json.len() as u64 > SIZE_MAX {
        return Err(ReadError::TooLarge);
    }
    Ok(DecisionLog::parse(&json)?)
}

/// Returns the plugins and the hashes of their contents that a host with this configuration does
/// not load because of a decision, as far as its state directory can be read.
#[must_use]
pub fn rejected_contents(plugins: &PluginsConfig) -> Vec<(String, String)> {
    let owned = |(plugin, hash): (&str, &str)| (plugin.to_owned(), hash.to_owned());
    read_log_of(plugins).contents().map(owned).collect()
}

/// Returns whether a host with this configuration runs the content with this hash in a worker
/// because of a decision, as far as its state directory can be read.
#[must_use]
pub fn is_isolated(plugins: &PluginsConfig, plugin: &str, hash: &str) -> bool {
    read_log_of(plugins).isolated(plugin).iter().any(|decision| decision.isolates(hash))
}

/// Reads the decisions without opening the directory, which the host may have locked.
fn read_log_of(plugins: &PluginsConfig) -> DecisionLog {
    let log = plugins.state.as_ref().and_then(|directory| read_log(&directory.join(DECISIONS)).ok());
    log.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::super::decision::{Decider, Decision};
    use super::*;
    use crate::loader::LoadErrorReason;

    /// Runs `test` with the path of a state directory that does not exist yet.
    fn in_scratch(name: &str, test: impl FnOnce(&Path)) {
        let scratch = std::env::temp_dir().join(format!("jackfield-state-{name}-{}", std::process::id()));
        create_directory(&scratch, 0o700).unwrap();
        test(&scratch.join("a/state"));
        fs::remove_dir_all(&scratch).unwrap();
    }

    fn log() -> DecisionLog {
        let mut log = DecisionLog::default();
        log.add("device", Decision::now("00".to_owned(), Decider::Host, "why".to_owned()));
        log.isolate("device", Decision::now("01".to_owned(), Decider::Host, "why".to_owned()));
        log
    }

    fn entries(path: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn reads_what_the_previous_host_wrote_and_leaves_no_other_file() {
        in_scratch("round-trip", |path| {
            let directory = StateDirectory::open(path).unwrap();
            assert_eq!(directory.read(), DecisionLog::default());
            directory.write_log(b"{}").unwrap();
            fs::write(path.join(".decisions.json.new"), "left by a crash").unwrap();
            // Made once, because it contains the time in seconds.
            let log = log();
            directory.write_log(&log.to_json().unwrap()).unwrap();
            drop(directory);

            assert_eq!(StateDirectory::open(path).unwrap().read(), log);
            assert_eq!(entries(path), [DECISIONS, KEPT]);
            let plugins = PluginsConfig { state: Some(path.to_owned()), ..PluginsConfig::default() };
            assert_eq!(rejected_contents(&plugins), [("device".to_owned(), "00".to_owned())]);
            assert_eq!(["00", "01"].map(|hash| is_isolated(&plugins, "device", hash)), [false, true]);
        });
    }

    #[test]
    fn moves_an_unreadable_file_aside() {
        in_scratch("unreadable", |path| {
            let directory = StateDirectory::open(path).unwrap();
            for content in ["[[[", r#"{"version": 9}"#, ""] {
                fs::write(path.join(DECISIONS), content).unwrap();

                assert_eq!(directory.read(), DecisionLog::default());

                assert_eq!(entries(path), [UNREADABLE, KEPT]);
                assert_eq!(fs::read_to_string(path.join(UNREADABLE)).unwrap(), content);
            }
            symlink("/dev/zero", path.join(DECISIONS)).unwrap();
            assert_eq!(directory.read(), DecisionLog::default());
            File::create(path.join(DECISIONS)).unwrap().set_len(SIZE_MAX + 1).unwrap();
            assert_eq!(directory.read(), DecisionLog::default());
        });
    }

    #[test]
    fn belongs_to_one_host_at_a_time_and_to_no_other_user() {
        in_scratch("lock", |path| {
            let error = || StateDirectory::open(path).map(|_| ()).unwrap_err();
            let first = StateDirectory::open(path).unwrap();
            assert!(matches!(error(), StateDirectoryError::InUse));
            drop(first);

            fs::set_permissions(path, fs::Permissions::from_mode(0o770)).unwrap();
            let StateDirectoryError::Refused(refused) = error() else { panic!("it is refused") };
            assert_eq!(refused.reason, LoadErrorReason::DirectoryWritable);
            fs::remove_dir_all(path).unwrap();
            fs::write(path, "in the way").unwrap();
            assert!(matches!(error(), StateDirectoryError::NotCreated(_)));
        });
    }

    #[test]
    fn has_no_kept_content_of_a_plugin_without_decisions() {
        in_scratch("kept", |path| {
            let directory = StateDirectory::open(path).unwrap();
            assert_eq!(directory.stage("device", &[]).unwrap_err().reason, LoadErrorReason::NotFound);
            directory.remove_kept("device").unwrap();
        });
    }
}
