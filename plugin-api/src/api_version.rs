//! The version of the plugin API, and which versions work together.

/// The version of this API. A manifest names it, and the host compares it.
pub const API_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Returns whether two versions belong to the same series, so that a plugin and a host work
/// together.
///
/// While the major version is 0, the minor version identifies the series; afterwards the major
/// version does.
pub(crate) fn is_same_series(plugin_version: &str, host_version: &str) -> bool {
    let series = |version: &str| {
        let mut parts = version.split('.').map(str::to_owned);
        (parts.next(), parts.next())
    };
    let (plugin_major, plugin_minor) = series(plugin_version);
    let (host_major, host_minor) = series(host_version);

    plugin_major == host_major && (host_major.as_deref() != Some("0") || plugin_minor == host_minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_the_minor_version_only_before_1_0() {
        assert!(is_same_series("0.1.0", "0.1.7"));
        assert!(!is_same_series("0.2.0", "0.1.0"));
        assert!(is_same_series("1.0.0", "1.4.2"));
        assert!(!is_same_series("1.0.0", "2.0.0"));
        assert!(!is_same_series("1.1.0", "0.1.0"));
    }
}
