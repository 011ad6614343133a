//! The configuration: any text is a valid configuration, or has faults that each name a position in
//! it.

use std::path::Path;

use jackfield::config::Config;

/// The file name in the faults.
const FILE: &str = "fuzzed.toml";

/// Checks any text as a configuration file.
pub fn configuration(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Config::parse(text, Path::new(FILE)) {
        Ok(config) => {
            assert!(!config.listeners.is_empty());
            assert!(config.limits.connections > 0 && config.limits.in_flight > 0);
            assert!(config.limits.in_flight_per_connection > 0);
            assert!(!config.timeouts.request.is_zero() && !config.timeouts.frame.is_zero());
        }
        Err(faults) => {
            let lines = text.split('\n').count();
            assert!((1..=1001).contains(&faults.0.len()), "{} faults", faults.0.len());
            assert!(faults.0.is_sorted_by_key(|fault| (fault.line, fault.column)));
            for fault in &faults {
                assert!((1..=lines).contains(&(fault.line as usize)) && fault.column > 0, "{fault}");
                assert!(
                    fault.file == Path::new(FILE) && !fault.problem.is_empty() && !fault.remedy.is_empty()
                );
                assert!(!fault.to_string().contains('\n'), "a fault is one line: {fault}");
            }
        }
    }
}
