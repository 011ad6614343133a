//! `[trace]`: its keys, and the file with the secret.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use super::{faults, valid};
use crate::config::{Sample, TraceConfig};

/// A file that is removed at the end of a test.
struct Secret(PathBuf);

impl Secret {
    fn new(name: &str, content: &[u8], mode: u32) -> Self {
        let path = std::env::temp_dir().join(format!("jackfield-{name}-{}", std::process::id()));
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        Self(path)
    }

    fn config(&self) -> String {
        format!("[trace]\nauthorization = {:?}\n", self.0.display().to_string())
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn reads_every_key() {
    let secret = Secret::new("token", b"Bearer abc\r\n", 0o640);
    let keys = "otlp = 'http://[::1]:4318/otlp/'\nsample = 1e-3\nspans = true\nservice = 'shop'\nqueue = 64\n\
                interval = '100ms'\n";
    let TraceConfig { otlp, sample, spans, service, authorization, queue, interval } =
        valid(&format!("{}{keys}", secret.config())).trace;
    assert_eq!(otlp.unwrap().to_string(), "http://[::1]:4318/otlp/v1/traces");
    assert_eq!((sample, spans, service.as_str()), (Sample::Ratio(0.001), true, "shop"));
    assert_eq!(authorization.unwrap().value(), "Bearer abc");
    assert_eq!((queue, interval), (64, Duration::from_millis(100)));
}

#[test]
fn reads_the_ratio_as_an_integer_or_a_float() {
    let sample = |text: &str| valid(&format!("[trace]\nsample = {text}")).trace.sample;
    assert_eq!((sample("0"), sample("1")), (Sample::Ratio(0.0), Sample::Ratio(1.0)));
    assert_eq!((sample("0.2_5"), sample("'parent'")), (Sample::Ratio(0.25), Sample::Parent));
}

#[test]
fn refuses_a_secret_that_others_can_read_or_no_header_has() {
    let readable = Secret::new("readable", b"a", 0o644);
    let fault = &faults(&readable.config())[0];
    assert!(fault.contains("can be read by all users (mode 0644); run chmod o-r"), "{fault}");
    for (name, content) in [("empty", &b""[..]), ("lines", b"a\nb"), ("binary", b"\xFF")] {
        let secret = Secret::new(name, content, 0o600);
        assert_eq!(faults(&secret.config()).len(), 1, "{name}");
    }
    assert!(faults("[trace]\nauthorization = '/'")[0].contains("is not a regular file"));
}
