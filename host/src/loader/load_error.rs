//! Why a plugin file is not loaded: one reason for each cause, and a text for the operator.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use jackfield_plugin_api::abi::LifecycleError;
use jackfield_plugin_api::manifest::DeclaredMethod;
use rustix::io::Errno;
use serde::{Serialize, Serializer};

use crate::log::printable;
use crate::system_failure::{WithRemedy, remedy_of_text};

/// The refusal of a plugin file. The current generation, if there is one, continues to serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct LoadError {
    /// The cause, for programs, tests and metrics.
    pub reason: LoadErrorReason,

    /// The finding and, if there is one, the remedy. The text may contain paths, so it is for the
    /// operator and never sent to a client.
    pub detail: String,

    /// The methods that the refused content declares. Empty unless the file passed the checks of
    /// its owner, mode and signature and its manifest was read: no other file makes a method known.
    #[serde(skip)]
    pub(crate) methods: Vec<String>,

    /// When a call of these methods may be sent again, if the host knows that better than by its
    /// default.
    #[serde(skip)]
    pub(crate) retry_after: Option<Duration>,
}

impl LoadError {
    /// Returns an error whose detail is made printable: it may contain text of the plugin, of its
    /// file, and of the dynamic loader.
    #[must_use]
    pub fn new(reason: LoadErrorReason, detail: impl fmt::Display) -> Self {
        let detail = printable(&detail.to_string()).into_owned();
        Self { reason, detail, methods: Vec::new(), retry_after: None }
    }

    /// Adds the methods that the refused content declares. While the refusal stands and no plugin
    /// serves them, calls are answered PLUGIN_UNAVAILABLE with the reason.
    ///
    /// A file whose signature or name is the fault makes no method known.
    #[must_use]
    pub(crate) fn with_methods(mut self, declared: &[DeclaredMethod]) -> Self {
        if self.reason.permits_unavailable_methods() {
            self.methods = declared.iter().map(|method| method.name.clone()).collect();
        }
        self
    }

    /// Returns an error of the system, with the remedy if the system has run out of something.
    /// `failed` says what could not be done.
    pub(crate) fn of_system(reason: LoadErrorReason, failed: impl fmt::Display, error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            // The files that the loader writes are in memory.
            Some(Errno::NOSPC) => Self::new(reason, format_args!("{failed}: {error}; raise MemoryMax=")),
            _ => Self::new(reason, format_args!("{failed}: {}", WithRemedy(error))),
        }
    }

    /// Returns whether the same file may be loaded later, because the system had run out of
    /// something.
    pub(crate) fn is_shortage(&self) -> bool {
        match self.reason {
            LoadErrorReason::NoResources | LoadErrorReason::ProbeFailed => true,
            // The dynamic loader and plugins pass on what the system said.
            LoadErrorReason::LoadFailed
            | LoadErrorReason::StartFailed
            | LoadErrorReason::StartPanicked
            | LoadErrorReason::SelfTestFailed
            | LoadErrorReason::ProbeCrashed => remedy_of_text(&self.detail).is_some(),
            _ => false,
        }
    }

    /// Returns the refusal of a plugin whose self-test failed.
    pub(crate) fn self_test_failed(failure: &LifecycleError) -> Self {
        Self::new(LoadErrorReason::SelfTestFailed, format_args!("self_test failed: {failure}"))
    }

    /// Returns the refusal of whatever would be loaded while the host ends.
    pub(crate) fn host_ends() -> Self {
        Self::new(LoadErrorReason::HostEnds, "the host ends and loads nothing more")
    }

    /// Returns the detail for a message that names `file` before it. A path of the file at the
    /// beginning of the detail is removed.
    #[must_use]
    pub fn detail_about(&self, file: &Path) -> &str {
        let rest = self.detail.strip_prefix(&*file.to_string_lossy());
        rest.and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&self.detail)
    }
}

impl From<LifecycleError> for LoadError {
    fn from(failure: LifecycleError) -> Self {
        match failure {
            LifecycleError::Refused(why) => {
                Self::new(LoadErrorReason::StartFailed, format_args!("start returned an error: {why}"))
            }
            LifecycleError::Panicked(why) => {
                Self::new(LoadErrorReason::StartPanicked, format_args!("start panicked: {why}"))
            }
        }
    }
}

/// Declares [`LoadErrorReason`] together with the code of each reason.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal,)+) => {
        /// The cause of a refusal.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum LoadErrorReason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl LoadErrorReason {
            /// All reasons.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the reason as one word. A code never changes its meaning.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)+
                }
            }
        }
    };
}

reasons! {
    // The directory, and the file in it.
    /// The file name is not `NAME.so` with a name of 1 to 64 letters, digits, `_` and `-`.
    FileName = "file-name",
    /// There is no such file or directory.
    NotFound = "not-found",
    /// The system does not permit opening or reading it.
    Unreadable = "unreadable",
    /// The file is a symbolic link that leads out of the plugin directory, or to nothing.
    Symlink = "symlink",
    /// The file is a directory, FIFO, socket or device.
    NotARegularFile = "not-a-regular-file",
    /// The path of the plugin directory leads to something else.
    NotADirectory = "not-a-directory",
    /// The owner is neither root nor the user that the host runs as.
    WrongOwner = "wrong-owner",
    /// Group or others may write to the file.
    WritableByOthers = "writable-by-others",
    /// The file has the set-user-ID or set-group-ID bit.
    SetId = "set-id",
    /// The file has a second name, by which others may reach it.
    HardLinked = "hard-linked",
    /// Others may write to the directory, or to one above it.
    DirectoryWritable = "directory-writable",
    /// The file has no content.
    Empty = "empty",
    /// The file has more than [`FILE_MAX`](super::FILE_MAX) bytes.
    TooLarge = "too-large",
    /// The file was written to while it was read. Loading it can be tried again.
    ChangedWhileRead = "changed-while-read",
    /// The system has no memory file, process or pipe left.
    NoResources = "no-resources",
    // The signature, if keys are trusted.
    /// There is no signature for the file.
    Unsigned = "unsigned",
    /// The signature file is not a complete signature.
    SignatureUnreadable = "signature-unreadable",
    /// The key of the signature is not trusted.
    UnknownKey = "unknown-key",
    /// The content is not the one that was signed.
    SignatureMismatch = "signature-mismatch",
    /// The signature was made for the file of another plugin.
    SignatureOfAnother = "signature-of-another",
    /// The signature has no timestamp.
    SignatureUndated = "signature-undated",
    /// The signature is older than that of the generation that serves, or that served last.
    OlderThanServing = "older-than-serving",
    // The ELF file.
    /// The file is not an ELF file.
    NotElf = "not-elf",
    /// The file is 32-bit or big endian.
    ElfClass = "elf-class",
    /// The file was built for another processor.
    ElfMachine = "elf-machine",
    /// The file is an executable or an object file instead of a shared library.
    ElfType = "elf-type",
    /// A part that the file claims to have lies beyond its end.
    Truncated = "truncated",
    /// The tables of the file contradict themselves.
    Malformed = "malformed",
    /// Loading it would make the stacks of the whole process executable.
    ExecutableStack = "executable-stack",
    /// A segment is both writable and executable.
    WritableCode = "writable-code",
    /// The dynamic loader would write into its code.
    TextRelocations = "text-relocations",
    /// It sets the search path for its libraries (`DT_RPATH` or `DT_RUNPATH`).
    RunPath = "run-path",
    /// It names a needed library by a path.
    ForeignLibrary = "foreign-library",
    // The manifest.
    /// The file has no manifest, so it is not a Jackfield plugin.
    NoManifest = "no-manifest",
    /// The manifest cannot be parsed.
    ManifestUnreadable = "manifest-unreadable",
    /// The manifest names a method twice, or by a name that no method of a plugin may have.
    ManifestInvalid = "manifest-invalid",
    /// The plugin was built with an incompatible version of the plugin API.
    ApiVersion = "api-version",
    /// The plugin was built with `panic = "abort"`, so a panic would crash the host.
    PanicAbort = "panic-abort",
    /// The file does not export the symbol of the root module.
    NoRootModule = "no-root-module",
    // The probe and the load.
    /// Another plugin has the same name.
    NameTaken = "name-taken",
    /// Another plugin has one of the methods.
    MethodTaken = "method-taken",
    /// The dynamic loader did not open it.
    LoadFailed = "load-failed",
    /// The ABI of the code is not that of this host, whatever the manifest says.
    AbiMismatch = "abi-mismatch",
    /// The manifest of the running code is not that of the file.
    ManifestMismatch = "manifest-mismatch",
    /// Its `start` returned an error.
    StartFailed = "start-failed",
    /// Its `start` panicked.
    StartPanicked = "start-panicked",
    /// It ended the probing process by a signal, an abort or an exit.
    ProbeCrashed = "probe-crashed",
    /// The probe was not finished within its time-out.
    ProbeTimedOut = "probe-timed-out",
    /// The probing process could not be run, or its report was invalid.
    ProbeFailed = "probe-failed",
    /// Its sandbox is required, and the system cannot enforce all of it.
    SandboxUnavailable = "sandbox-unavailable",
    /// The dynamic loader returned the code of an earlier file.
    StaleCode = "stale-code",
    /// It changed state of the whole process: working directory, environment, locale, signals,
    /// limits, descriptors.
    ProcessStateChanged = "process-state-changed",
    /// Its self-test failed or panicked in the probe.
    SelfTestFailed = "self-test-failed",
    // The replacement of a generation.
    /// It breaks callers of the content that serves, and `plugins.incompatible` is `"refuse"`.
    Incompatible = "incompatible",
    /// It was not started in the host within its time-out, although it was in the probe.
    StartTimedOut = "start-timed-out",
    /// Calls of the previous generation did not end in time for the state transfer.
    StateTransferBusy = "hand-over-busy",
    /// The previous generation did not export its state.
    StateExportFailed = "hand-over-failed",
    /// The new generation did not import the state of the previous one.
    StateImportFailed = "take-over-failed",
    /// Too many retired generations of it still answer their last requests.
    TooManyDraining = "too-many-draining",
    /// Too many generations could not be unloaded. The host must be restarted.
    TooManyRetained = "too-many-retained",
    /// The process has so few keys for thread-local values left that another plugin could crash it.
    /// The host must be restarted.
    NoThreadKeys = "no-thread-keys",
    /// The process has loaded as many files with static thread-local storage as it can. The host
    /// must be restarted.
    StaticTlsExhausted = "static-tls-exhausted",
    /// It exports its state, but several worker processes are to run it.
    TooManyWorkers = "too-many-workers",
    /// Its first calls failed too often, and the plugin was rolled back.
    ProbationFailed = "probation-failed",
    /// An operator rolled the plugin back from this content. Another content can be loaded.
    RolledBack = "rolled-back",
    /// The content is quarantined: it ran in too many crashes. Another content can be loaded.
    TooManyCrashes = "too-many-deaths",
    /// There is no previous content to roll back to.
    NothingToRollBack = "nothing-to-roll-back",
    /// No decision is in effect that the plugin runs in a worker.
    NotIsolated = "not-isolated",
    /// There is no such plugin, or no file of it.
    NoSuchPlugin = "no-such-plugin",
    /// The host ends. The cause is not in the file.
    HostEnds = "host-ends",
    /// A test injected this failure.
    Injected = "planted",
}

impl fmt::Display for LoadErrorReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for LoadErrorReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl LoadErrorReason {
    /// Returns whether the same file may be loaded later, because the cause is not in the file.
    pub(crate) fn is_transient(self) -> bool {
        matches!(
            self,
            Self::ChangedWhileRead
                | Self::NoResources
                | Self::ProbeFailed
                | Self::StateTransferBusy
                | Self::TooManyDraining
                | Self::HostEnds
                | Self::Injected
        )
    }

    /// Returns whether content that is refused for this reason may still make its methods known:
    /// the content is trusted, and the name of the plugin is its own.
    fn permits_unavailable_methods(self) -> bool {
        !self.is_in_signature() && !matches!(self, Self::OlderThanServing | Self::NameTaken)
    }

    /// Returns whether the cause is in the signature. The signature is a separate file, which may
    /// be written after the plugin file.
    pub(crate) fn is_in_signature(self) -> bool {
        matches!(
            self,
            Self::Unsigned
                | Self::SignatureUnreadable
                | Self::UnknownKey
                | Self::SignatureMismatch
                | Self::SignatureOfAnother
                | Self::SignatureUndated
        )
    }

    /// Returns the reason with this code, as the probing process reports it.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.code() == code)
    }
}
