//! The manifest: what a plugin's file says of itself, as JSON in an ELF note that is read without running any of it.

use serde::{Deserialize, Serialize};

/// The owner name in the ELF note, its ending NUL included, padded to four bytes as ELF wants it.
pub const NOTE_OWNER: [u8; 12] = *b"Jackfield\0\0\0";
/// The length of the owner name with its NUL, without padding.
pub const NOTE_OWNER_LEN: u32 = 10;
/// The note's type: a manifest.
pub const NOTE_TYPE: u32 = 1;
/// The layout of the manifest's JSON that this crate writes and reads.
pub const MANIFEST_LAYOUT: u32 = 1;

/// The way a method runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Run {
    /// On the thread that serves the connection.
    Inline,
    /// On a thread of the plugin's own.
    Blocking,
    /// As a future, polled on a thread of the plugin's own.
    Async,
}

impl Run {
    /// The word for it, as in the manifest.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Blocking => "blocking",
            Self::Async => "async",
        }
    }
}

/// What a plugin panics by, as its code was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PanicStrategy {
    /// Panics unwind and are caught inside the plugin.
    Unwind,
    /// A panic would end the host: such a plugin is not loaded into it.
    Abort,
}

/// One method that a plugin declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredMethod {
    /// The full name, as requests spell it.
    pub name: String,
    /// The way it runs.
    pub run: Run,
}

/// What a plugin's file says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_LAYOUT`].
    pub manifest: u32,
    /// The version of the plugin API it was built against.
    pub api: String,
    /// Its Cargo package.
    pub package: String,
    /// Its package's version.
    pub version: String,
    /// What its panics do.
    pub panic: PanicStrategy,
    /// The layout of the state that it hands over to its successor, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<u32>,
    /// Its methods; a call names one by its place here.
    pub methods: Vec<DeclaredMethod>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// It is not the JSON of this layout.
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        /// The one member that every layout has.
        #[derive(Deserialize)]
        struct Layout {
            manifest: u32,
        }
        let unreadable = |error: serde_json::Error| ManifestError::Unreadable(error.to_string());
        // First of all: another layout need not have the members of this one.
        let layout: Layout = serde_json::from_slice(json).map_err(unreadable)?;
        if layout.manifest != MANIFEST_LAYOUT {
            return Err(ManifestError::Layout(layout.manifest));
        }
        serde_json::from_slice(json).map_err(unreadable)
    }

    /// Whether a host of this crate's version can run it: the same series (`0.MINOR`, or `MAJOR` from 1.0 on).
    #[must_use]
    pub fn fits_this_api(&self) -> bool {
        crate::abi::same_series(&self.api, crate::API_VERSION)
    }
}

/// Why a manifest cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestError {
    /// Not the JSON it should be.
    Unreadable(String),
    /// A layout of the manifest that this host does not know.
    Layout(u32),
}

impl std::fmt::Display for ManifestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(why) => write!(f, "the manifest cannot be read: {why}"),
            Self::Layout(layout) => {
                write!(f, "the manifest has layout {layout}, this host reads {MANIFEST_LAYOUT}")
            }
        }
    }
}

impl std::error::Error for ManifestError {}

/// The note that the export macro puts into a plugin's file; the layout is ELF's.
#[doc(hidden)]
#[repr(C, align(4))]
pub struct Note<const LEN: usize> {
    owner_len: u32,
    text_len: u32,
    kind: u32,
    owner: [u8; 12],
    text: [u8; LEN],
}

impl<const LEN: usize> Note<LEN> {
    /// The note of a manifest.
    #[must_use]
    pub const fn new(text: [u8; LEN]) -> Self {
        assert!(LEN <= 1 << 20, "a manifest of more than 1 MiB");
        #[allow(clippy::cast_possible_truncation, reason = "asserted above")]
        Self { owner_len: NOTE_OWNER_LEN, text_len: LEN as u32, kind: NOTE_TYPE, owner: NOTE_OWNER, text }
    }
}

/// Writes a manifest at compile time: it must lie in the file before any code can run.
#[doc(hidden)]
pub struct Writer<const ROOM: usize> {
    text: [u8; ROOM],
    len: usize,
}

impl<const ROOM: usize> Writer<ROOM> {
    const fn put(mut self, part: &str) -> Self {
        let part = part.as_bytes();
        let mut at = 0;
        while at < part.len() {
            // With no room at all the length is being found out, by a first run.
            if ROOM > 0 {
                self.text[self.len] = part[at];
            }
            self.len += 1;
            at += 1;
        }
        self
    }

    const fn put_number(self, number: u32) -> Self {
        let writer = if number >= 10 { self.put_number(number / 10) } else { self };
        let digit = (number % 10) as usize;
        writer.put("0123456789".split_at(digit).1.split_at(1).0)
    }

    const fn manifest(
        package: &str,
        version: &str,
        panic: &str,
        state: Option<u32>,
        methods: &[(&str, Run)],
    ) -> Self {
        let mut writer = Self { text: [0; ROOM], len: 0 }
            .put("{\"manifest\":1,\"api\":\"")
            .put(crate::API_VERSION)
            .put("\",\"package\":\"")
            .put(package)
            .put("\",\"version\":\"")
            .put(version)
            .put("\",\"panic\":\"")
            .put(panic)
            .put("\"");
        if let Some(state) = state {
            writer = writer.put(",\"state\":").put_number(state);
        }
        writer = writer.put(",\"methods\":[");
        let mut at = 0;
        while at < methods.len() {
            let (name, run) = methods[at];
            assert!(
                is_method_name(name),
                "a method's name is 1 to 256 bytes: segments of letters, digits, _ and -, between single dots"
            );
            writer = writer
                .put(if at == 0 { "{\"name\":\"" } else { ",{\"name\":\"" })
                .put(name)
                .put("\",\"run\":\"")
                .put(run.word())
                .put("\"}");
            at += 1;
        }
        writer.put("]}")
    }
}

/// How long the manifest will be.
#[doc(hidden)]
#[must_use]
pub const fn length(
    package: &str,
    version: &str,
    panic: &str,
    state: Option<u32>,
    methods: &[(&str, Run)],
) -> usize {
    Writer::<0>::manifest(package, version, panic, state, methods).len
}

/// The manifest's bytes; `LEN` is what [`length`] gave.
#[doc(hidden)]
#[must_use]
pub const fn bytes<const LEN: usize>(
    package: &str,
    version: &str,
    panic: &str,
    state: Option<u32>,
    methods: &[(&str, Run)],
) -> [u8; LEN] {
    Writer::<LEN>::manifest(package, version, panic, state, methods).text
}

/// Whether a method may have this name: 1 to 256 bytes (the protocol's limit), segments of letters, digits, `_` and
/// `-`, with single dots between.
#[must_use]
pub const fn is_method_name(name: &str) -> bool {
    let name = name.as_bytes();
    let mut at = 0;
    let mut segment = 0;
    while at < name.len() {
        match name[at] {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => segment += 1,
            b'.' if segment > 0 => segment = 0,
            _ => return false,
        }
        at += 1;
    }
    segment > 0 && name.len() <= 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        const METHODS: &[(&str, Run)] = &[("a.b", Run::Inline), ("a.c", Run::Async)];
        const LEN: usize = length("p", "1.2.3", "unwind", Some(1207), METHODS);
        let manifest = Manifest::parse(&bytes::<LEN>("p", "1.2.3", "unwind", Some(1207), METHODS)).unwrap();
        assert_eq!((manifest.package.as_str(), manifest.version.as_str()), ("p", "1.2.3"));
        assert_eq!((manifest.panic, manifest.state), (PanicStrategy::Unwind, Some(1207)));
        assert_eq!(manifest.methods[1], DeclaredMethod { name: "a.c".into(), run: Run::Async });
        assert!(manifest.fits_this_api());
    }

    #[test]
    fn another_layout_is_told_from_an_unreadable_one() {
        assert_eq!(Manifest::parse(br#"{"manifest":2,"other":[]}"#), Err(ManifestError::Layout(2)));
        assert!(matches!(Manifest::parse(br#"{"manifest":1}"#), Err(ManifestError::Unreadable(_))));
        assert!(matches!(Manifest::parse(b"[]"), Err(ManifestError::Unreadable(_))));
    }

    #[test]
    fn names_are_segments_between_single_dots() {
        for good in ["a", "device.status.update", "a-b.c_d.9"] {
            assert!(is_method_name(good), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "a b", "é", "../x", &"x".repeat(257)] {
            assert!(!is_method_name(bad), "{bad}");
        }
    }
}
