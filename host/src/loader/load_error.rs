//! Why a plugin's file is not loaded: one reason for each cause, and words for the operator.

use std::fmt;

use jackfield_plugin_api::abi::StartFailure;
use serde::{Serialize, Serializer};

/// Why a plugin's file was refused. What served before it serves on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct LoadError {
    /// The cause, one word for programs, tests and metrics.
    pub reason: LoadErrorReason,
    /// What was found and, where something can be done about it, what to do. For the operator, never for a client:
    /// it may name paths.
    pub detail: String,
}

impl LoadError {
    pub(crate) fn new(reason: LoadErrorReason, detail: impl fmt::Display) -> Self {
        Self { reason, detail: detail.to_string() }
    }
}

impl From<StartFailure> for LoadError {
    fn from(failure: StartFailure) -> Self {
        match failure {
            StartFailure::Refused(why) => Self::new(LoadErrorReason::StartFailed, why),
            StartFailure::Panicked(why) => Self::new(LoadErrorReason::StartPanicked, why),
        }
    }
}

/// Declares [`LoadErrorReason`] with the code of each cause beside it.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal,)+) => {
        /// The cause of a refusal.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum LoadErrorReason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl LoadErrorReason {
            /// Every reason there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The reason as one word; it never changes its meaning.
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
    /// A file name that is not `NAME.so` with a name of 1 to 64 letters, digits, `_` and `-`.
    FileName = "file-name",
    /// There is no such file or directory.
    NotFound = "not-found",
    /// The system would not let it be opened or read.
    Unreadable = "unreadable",
    /// A symbolic link where the file should be.
    Symlink = "symlink",
    /// A directory, FIFO, socket or device.
    NotARegularFile = "not-a-regular-file",
    /// The plugin directory's path leads to something else.
    NotADirectory = "not-a-directory",
    /// Owned by neither root nor the user that the host runs as.
    WrongOwner = "wrong-owner",
    /// Group or others may write the file.
    WritableByOthers = "writable-by-others",
    /// Set-user-ID or set-group-ID.
    SetId = "set-id",
    /// The file has a second name, under which others may reach it.
    HardLinked = "hard-linked",
    /// Others may write the directory, or one above it.
    DirectoryWritable = "directory-writable",
    /// A file without content.
    Empty = "empty",
    /// More than [`FILE_MAX`](super::FILE_MAX) bytes.
    TooLarge = "too-large",
    /// The file was being written while it was read: try again.
    ChangedWhileRead = "changed-while-read",
    /// The system had no memory file, process or pipe to give.
    NoResources = "no-resources",
    // The signature, where keys are trusted.
    /// There is no signature beside the file.
    Unsigned = "unsigned",
    /// What lies beside the file is no whole signature.
    SignatureUnreadable = "signature-unreadable",
    /// Signed with a key that is none of the trusted ones.
    UnknownKey = "unknown-key",
    /// The content is not what was signed.
    SignatureMismatch = "signature-mismatch",
    /// The signature was made for the file of another plugin.
    SignatureOfAnother = "signature-of-another",
    /// The signature does not say when it was made.
    SignatureUndated = "signature-undated",
    /// Signed earlier than what serves, or served last.
    OlderThanServing = "older-than-serving",
    // The ELF file.
    /// Not an ELF file.
    NotElf = "not-elf",
    /// 32-bit, or big endian.
    ElfClass = "elf-class",
    /// Built for another processor.
    ElfMachine = "elf-machine",
    /// An executable or an object file, not a shared library.
    ElfType = "elf-type",
    /// Something that the file says it has lies beyond its end.
    Truncated = "truncated",
    /// The tables of the file contradict themselves.
    Malformed = "malformed",
    /// Loading it would make the stacks of the whole process executable.
    ExecutableStack = "executable-stack",
    /// A segment that is both writable and executable.
    WritableCode = "writable-code",
    /// Loading it would write into its code.
    TextRelocations = "text-relocations",
    /// `DT_RPATH` or `DT_RUNPATH`: it says itself where its libraries are looked for.
    RunPath = "run-path",
    /// A library that it needs is named by a path.
    ForeignLibrary = "foreign-library",
    // The manifest.
    /// There is no manifest in the file: it is no Jackfield plugin.
    NoManifest = "no-manifest",
    /// The manifest is there and cannot be understood.
    ManifestUnreadable = "manifest-unreadable",
    /// The manifest names a method twice, or by a name that no method of a plugin may have.
    ManifestInvalid = "manifest-invalid",
    /// Built against a plugin API of another series.
    ApiVersion = "api-version",
    /// Built with `panic = "abort"`: a panic of it would end the host.
    PanicAbort = "panic-abort",
    /// The symbol of the root module is not exported.
    NoRootModule = "no-root-module",
    // The probe and the load.
    /// Another plugin has the name already.
    NameTaken = "name-taken",
    /// Another plugin has one of its methods already.
    MethodTaken = "method-taken",
    /// The dynamic loader would not open it.
    LoadFailed = "load-failed",
    /// The ABI of the code is not this host's, whatever the manifest says.
    AbiMismatch = "abi-mismatch",
    /// The running code gives another manifest than the file's.
    ManifestMismatch = "manifest-mismatch",
    /// Its `start` returned an error.
    StartFailed = "start-failed",
    /// Its `start` panicked.
    StartPanicked = "start-panicked",
    /// It ended the probing process: a signal, an abort, an exit.
    ProbeCrashed = "probe-crashed",
    /// It was not through in the time it had.
    ProbeTimedOut = "probe-timed-out",
    /// The probing process could not be run, or answered something that is no answer.
    ProbeFailed = "probe-failed",
    /// The dynamic loader gave the code of an earlier file.
    StaleCode = "stale-code",
    /// It changed what belongs to the whole process: working directory, environment, locale, signals,
    /// limits, descriptors.
    ProcessStateChanged = "process-state-changed",
    /// Its self-test failed or panicked in the probe.
    SelfTestFailed = "self-test-failed",
    // The change of generations.
    /// It was not started within its time in the host, after a probe in which it was.
    StartTimedOut = "start-timed-out",
    /// Calls of the generation before went on for longer than they may while its successor waits for its state.
    HandOverBusy = "hand-over-busy",
    /// The generation before did not give its state.
    HandOverFailed = "hand-over-failed",
    /// The new generation did not take the state of the one before.
    TakeOverFailed = "take-over-failed",
    /// So many generations of it still answer their last requests that there may not be one more.
    TooManyDraining = "too-many-draining",
    /// So many generations could not be unloaded that there may not be one more: restart the host.
    TooManyRetained = "too-many-retained",
    /// The process has so few keys for thread-local values left that one more plugin could end it: restart the host.
    NoThreadKeys = "no-thread-keys",
    /// Its first calls failed too often, and the content before came back.
    ProbationFailed = "probation-failed",
    /// The host died too often while this content ran: it is left out until the file changes.
    TooManyDeaths = "too-many-deaths",
    /// There is no earlier content to go back to.
    NothingToRollBack = "nothing-to-roll-back",
    /// There is no such plugin, or no file of it.
    NoSuchPlugin = "no-such-plugin",
    /// A failure that a test has planted.
    Planted = "planted",
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
    /// Whether the same file may well be taken a little later: the cause lies in the moment, not in the file.
    pub(crate) fn is_of_the_moment(self) -> bool {
        matches!(
            self,
            Self::ChangedWhileRead
                | Self::NoResources
                | Self::ProbeFailed
                | Self::HandOverBusy
                | Self::TooManyDraining
                | Self::Planted
        )
    }

    /// Whether it lies in the signature, which comes as a file of its own, and may come later than the other.
    pub(crate) fn is_of_the_signature(self) -> bool {
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

    /// The reason of a code, as it comes back from the probing process.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.code() == code)
    }
}
