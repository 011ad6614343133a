//! The manifest of a plugin: JSON in an ELF note of its file, which is read without running any
//! code of the file.

use serde::{Deserialize, Serialize};

use crate::api_version::{ApiVersion, FIRST_OF_SERIES};
pub use crate::manifest_words::{PanicStrategy, PluginAbi, Run};

/// The owner name in the ELF note, with its final NUL, padded to a multiple of four bytes as ELF
/// requires.
pub const NOTE_OWNER: [u8; 12] = *b"Jackfield\0\0\0";
/// Length of the owner name in bytes, with its NUL and without padding.
pub const NOTE_OWNER_LEN: u32 = 10;
/// The type of the note: a manifest.
pub const NOTE_TYPE: u32 = 1;
/// The layout version of the manifest JSON that this crate writes and reads.
pub const MANIFEST_LAYOUT: u32 = 1;

/// One method that a plugin declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredMethod {
    /// The full name, as in requests.
    pub name: String,
    /// The way it runs.
    pub run: Run,
}

/// The manifest of a plugin file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The layout version, [`MANIFEST_LAYOUT`].
    pub manifest: u32,
    /// The table through which it is called; `None` for that of abi_stable, which the export macro
    /// makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abi: Option<PluginAbi>,
    /// The version of the plugin API that the plugin was built against.
    pub api: String,
    /// The oldest plugin API that a host must have for it, if it names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_host: Option<String>,
    /// The name of its Cargo package.
    pub package: String,
    /// The version of its Cargo package.
    pub version: String,
    /// Its panic strategy.
    pub panic: PanicStrategy,
    /// The layout version of the state that it exports, if it exports one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<u32>,
    /// Its methods. A call identifies a method by its index here. `null` is left out: the macros
    /// for C end the list with it, because the preprocessor cannot omit a last comma.
    #[serde(deserialize_with = "without_nulls")]
    pub methods: Vec<DeclaredMethod>,
}

fn without_nulls<'de, D: serde::Deserializer<'de>>(methods: D) -> Result<Vec<DeclaredMethod>, D::Error> {
    let methods = Vec::<Option<DeclaredMethod>>::deserialize(methods)?;
    Ok(methods.into_iter().flatten().collect())
}

impl Manifest {
    /// Parses a manifest.
    ///
    /// # Errors
    ///
    /// The text is not JSON of this layout.
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        /// The one member that every layout has.
        #[derive(Deserialize)]
        struct Layout {
            manifest: u32,
        }

        let unreadable = |error: serde_json::Error| ManifestError::Unreadable(error.to_string());
        // Checked first, because another layout need not have the members of this one.
        let layout: Layout = serde_json::from_slice(json).map_err(unreadable)?;
        if layout.manifest != MANIFEST_LAYOUT {
            return Err(ManifestError::Layout(layout.manifest));
        }
        serde_json::from_slice(json).map_err(unreadable)
    }

    /// Returns whether the plugin was built with an API of the same series (`0.MINOR`, or `MAJOR`
    /// from 1.0 on) as this version of the crate.
    #[must_use]
    pub fn fits_this_api(&self) -> bool {
        ApiVersion::parse(&self.api).is_same_series(ApiVersion::CURRENT)
    }

    /// Returns the oldest plugin API that a host must have for the plugin.
    #[must_use]
    pub fn min_host(&self) -> &str {
        self.min_host.as_deref().unwrap_or(FIRST_OF_SERIES)
    }

    /// Returns whether a host with this version of the crate has everything that the plugin
    /// requires.
    #[must_use]
    pub fn is_supported(&self) -> bool {
        self.fits_this_api() && ApiVersion::parse(self.min_host()).is_supported_by(ApiVersion::CURRENT)
    }
}

/// The reason why a manifest cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestError {
    /// The text is not the expected JSON; the reason of the JSON parser.
    Unreadable(String),
    /// The host does not know this layout version.
    Layout(u32),
}

impl std::fmt::Display for ManifestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(why) => write!(f, "the manifest cannot be read: {why}"),
            Self::Layout(layout) => {
                write!(f, "the manifest has layout {layout}, but this host reads layout {MANIFEST_LAYOUT}")
            }
        }
    }
}

impl std::error::Error for ManifestError {}

/// The note that the export macro stores in the plugin file, in the layout of ELF.
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
    /// Creates the note of a manifest.
    #[must_use]
    pub const fn new(text: [u8; LEN]) -> Self {
        assert!(LEN <= 1 << 20, "the manifest is longer than 1 MiB");
        #[allow(clippy::cast_possible_truncation, reason = "asserted above")]
        Self { owner_len: NOTE_OWNER_LEN, text_len: LEN as u32, kind: NOTE_TYPE, owner: NOTE_OWNER, text }
    }
}

/// Writes a manifest at compile time, because it must be in the file before any code runs.
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
            // A writer without room only measures the length.
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
        min_host: &str,
        package: &str,
        version: &str,
        panic: &str,
        state: Option<u32>,
        methods: &[(&str, Run)],
    ) -> Self {
        assert!(
            ApiVersion::parse(min_host).is_supported_by(ApiVersion::CURRENT),
            "MIN_HOST is a version of this series of the plugin API, and not later than API_VERSION"
        );

        let mut writer = Self { text: [0; ROOM], len: 0 }
            .put("{\"manifest\":1,\"api\":\"")
            .put(crate::API_VERSION)
            .put("\",\"min_host\":\"")
            .put(min_host)
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
                "a method name has 1 to 256 bytes: segments of letters, digits, _ and -, separated by single dots"
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

/// Returns the length of the manifest in bytes.
#[doc(hidden)]
#[must_use]
pub const fn length(
    min_host: &str,
    package: &str,
    version: &str,
    panic: &str,
    state: Option<u32>,
    methods: &[(&str, Run)],
) -> usize {
    Writer::<0>::manifest(min_host, package, version, panic, state, methods).len
}

/// Returns the bytes of the manifest. `LEN` must be the result of [`length`].
#[doc(hidden)]
#[must_use]
pub const fn bytes<const LEN: usize>(
    min_host: &str,
    package: &str,
    version: &str,
    panic: &str,
    state: Option<u32>,
    methods: &[(&str, Run)],
) -> [u8; LEN] {
    Writer::<LEN>::manifest(min_host, package, version, panic, state, methods).text
}

/// Returns whether `name` is a valid method name: 1 to 256 bytes (the limit of protocol section 2),
/// segments of letters, digits, `_` and `-`, separated by single dots.
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
    fn parses_the_manifest_that_it_writes() {
        const METHODS: &[(&str, Run)] = &[("a.b", Run::Inline), ("a.c", Run::Async)];
        const LEN: usize = length("0.1.0", "p", "1.2.3", "unwind", Some(1207), METHODS);
        let manifest =
            Manifest::parse(&bytes::<LEN>("0.1.0", "p", "1.2.3", "unwind", Some(1207), METHODS)).unwrap();
        assert_eq!((manifest.package.as_str(), manifest.version.as_str()), ("p", "1.2.3"));
        assert_eq!((manifest.panic, manifest.state), (PanicStrategy::Unwind, Some(1207)));
        assert_eq!(manifest.methods[1], DeclaredMethod { name: "a.c".into(), run: Run::Async });
        assert_eq!(manifest.min_host(), "0.1.0");
        assert!(manifest.fits_this_api() && manifest.is_supported());
    }

    #[test]
    fn supports_a_plugin_only_if_the_required_host_is_not_later() {
        let manifest = |min_host: &str| {
            let text = format!(
                r#"{{"manifest":1,"api":"0.1.1000",{min_host}"package":"p","version":"1","panic":"unwind","methods":[]}}"#
            );
            Manifest::parse(text.as_bytes()).unwrap()
        };
        assert!(manifest("").is_supported(), "files of the first API name no host");
        assert!(manifest(r#""min_host":"0.1.0","#).is_supported());
        for later in ["0.1.1000", "0.2.0", "later"] {
            let manifest = manifest(&format!(r#""min_host":"{later}","#));
            assert!(manifest.fits_this_api() && !manifest.is_supported(), "{later}");
        }
    }

    #[test]
    fn distinguishes_an_unknown_layout_from_an_unreadable_manifest() {
        assert_eq!(Manifest::parse(br#"{"manifest":2,"other":[]}"#), Err(ManifestError::Layout(2)));
        assert!(matches!(Manifest::parse(br#"{"manifest":1}"#), Err(ManifestError::Unreadable(_))));
        assert!(matches!(Manifest::parse(b"[]"), Err(ManifestError::Unreadable(_))));
    }

    #[test]
    fn accepts_only_segments_separated_by_single_dots() {
        for good in ["a", "device.status.update", "a-b.c_d.9"] {
            assert!(is_method_name(good), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "a b", "é", "../x", &"x".repeat(257)] {
            assert!(!is_method_name(bad), "{bad}");
        }
    }
}
