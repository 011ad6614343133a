//! The version of the plugin API, and which versions work together.
//!
//! Within a series, every version works with every other one. A later version may append fields to
//! the two tables of the ABI (`abi/types.rs`), and each side checks that a field exists before it
//! uses it. A plugin that cannot work without a later field names the oldest host that has it
//! ([`Plugin::MIN_HOST`](crate::Plugin::MIN_HOST)).

/// The version of this API. A manifest names it, and the host compares it.
pub const API_VERSION: &str =
    if cfg!(feature = "__grown_abi") { "0.1.999" } else { env!("CARGO_PKG_VERSION") };

/// The first version of this series, which every host of the series supports.
pub(crate) const FIRST_OF_SERIES: &str = "0.1.0";

/// A version of the API: major, minor and patch number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion(u32, u32, u32);

impl ApiVersion {
    /// The version of this crate.
    pub(crate) const CURRENT: Self = Self::parse(API_VERSION);

    /// Parses `MAJOR.MINOR.PATCH`. What follows the numbers is ignored, and a missing number is 0.
    pub(crate) const fn parse(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut numbers = [0_u32; 3];
        let mut part = 0;
        let mut at = 0;

        while at < bytes.len() && part < numbers.len() {
            match bytes[at] {
                digit @ b'0'..=b'9' => {
                    numbers[part] = numbers[part].saturating_mul(10).saturating_add((digit - b'0') as u32);
                }
                b'.' => part += 1,
                _ => break,
            }
            at += 1;
        }
        Self(numbers[0], numbers[1], numbers[2])
    }

    /// Returns whether a plugin and a host of these versions work together.
    ///
    /// While the major version is 0, the minor version identifies the series; afterwards the major
    /// version does.
    pub(crate) const fn is_same_series(self, other: Self) -> bool {
        self.0 == other.0 && (self.0 != 0 || self.1 == other.1)
    }

    /// Returns whether a host of version `host` has everything that this version has.
    pub(crate) const fn is_supported_by(self, host: Self) -> bool {
        let is_older = self.1 < host.1 || (self.1 == host.1 && self.2 <= host.2);
        self.is_same_series(host) && is_older
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_same_series(plugin: &str, host: &str) -> bool {
        ApiVersion::parse(plugin).is_same_series(ApiVersion::parse(host))
    }

    fn is_supported(required: &str, host: &str) -> bool {
        ApiVersion::parse(required).is_supported_by(ApiVersion::parse(host))
    }

    #[test]
    fn compares_the_minor_version_only_before_1_0() {
        assert!(is_same_series("0.1.0", "0.1.7"));
        assert!(!is_same_series("0.2.0", "0.1.0"));
        assert!(is_same_series("1.0.0", "1.4.2"));
        assert!(!is_same_series("1.0.0", "2.0.0"));
        assert!(!is_same_series("1.1.0", "0.1.0"));
    }

    #[test]
    fn supports_only_versions_of_the_series_that_are_not_later() {
        assert!(is_supported("0.1.9", "0.1.10") && is_supported("0.1.9", "0.1.9"));
        assert!(!is_supported("0.1.10", "0.1.9"));
        assert!(is_supported("1.2.9", "1.3.0") && !is_supported("1.3.0", "1.2.9"));
        assert!(!is_supported("0.1.0", "0.2.0") && !is_supported("0.1.0", "1.0.0"));
        assert!(!is_supported("later", "0.1.0") && !is_supported("", "0.1.0"));
    }

    #[test]
    fn names_the_first_version_of_its_own_series() {
        assert!(is_supported(FIRST_OF_SERIES, API_VERSION));
    }

    #[test]
    fn ignores_what_follows_the_numbers() {
        assert_eq!(ApiVersion::parse("0.1.2-rc.3"), ApiVersion(0, 1, 2));
        assert_eq!(ApiVersion::parse("0.1"), ApiVersion(0, 1, 0));
        assert_eq!(ApiVersion::parse("99999999999.1.2.3"), ApiVersion(u32::MAX, 1, 2));
    }
}
