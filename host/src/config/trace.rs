//! `[trace]`: which requests are recorded as spans, and the collector that gets the spans.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Uri;
use toml::de::DeValue;

use super::section::Section;
use super::wording::{quoted, shortened};

/// Upper bound for the name of a service, in bytes.
pub(crate) const MAX_SERVICE_BYTES: usize = 128;

/// The longest file with the value of a header, in bytes.
const MAX_AUTHORIZATION_BYTES: u64 = 8192;

/// The path that the exporter adds to `trace.otlp`.
const TRACES_PATH: &str = "/v1/traces";

/// Recording of requests as spans, and their export.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceConfig {
    /// The collector that gets the spans; `None`, the default, records nothing.
    pub otlp: Option<OtlpEndpoint>,

    /// Which requests are recorded. Default [`Sample::Parent`].
    pub sample: Sample,

    /// Whether clients may hand over spans of their own with `system.spans`. Default `false`.
    pub spans: bool,

    /// The name under which the collector shows the spans of the host, 1 to 128 bytes. Default
    /// `jackfield`.
    pub service: String,

    /// The value of the header `authorization` of each export. Default none.
    pub authorization: Option<Authorization>,

    /// Spans that may wait for their export, 64 to 65,536, with 1 KiB for each on average. Default
    /// 4096.
    pub queue: usize,

    /// The time between two exports, 100 ms to 1 min. Default 5 s.
    pub interval: Duration,
}

/// Which requests are recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Sample {
    /// Those whose `traceparent` has the sampled flag.
    #[default]
    Parent,

    /// In addition this part, from 0.0 to 1.0, of the requests without a `traceparent`.
    Ratio(f64),
}

/// The address of a collector that speaks OTLP over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint {
    /// An address, or a name that is resolved for each connection.
    pub host: String,

    /// The port.
    pub port: u16,

    /// The path of requests.
    pub path: String,
}

/// A secret header value, which debug output omits.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorization(String);

impl Default for TraceConfig {
    fn default() -> TraceConfig {
        TraceConfig {
            otlp: None,
            sample: Sample::default(),
            spans: false,
            service: "jackfield".to_owned(),
            authorization: None,
            queue: 4096,
            interval: Duration::from_secs(5),
        }
    }
}

impl TraceConfig {
    /// Returns the part that a host reads only when it starts.
    pub(crate) fn fixed_part(&self) -> TraceConfig {
        TraceConfig { sample: Sample::default(), ..self.clone() }
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, path } = self;
        if host.contains(':') {
            return write!(f, "http://[{host}]:{port}{path}");
        }
        write!(f, "http://{host}:{port}{path}")
    }
}

impl Authorization {
    /// Wraps the value of a header. `None` if a header cannot have this value.
    #[must_use]
    pub fn new(value: &str) -> Option<Authorization> {
        let is_visible = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        let is_valid = !value.is_empty() && value.bytes().all(is_visible);
        is_valid.then(|| Authorization(value.to_owned()))
    }

    pub(crate) fn value(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(..)")
    }
}

const URL_REMEDY: &str = "write the URL of an OpenTelemetry collector, such as \"http://127.0.0.1:4318\"";

const SAMPLE_REMEDY: &str = "write \"parent\", or a number from 0.0 to 1.0 without quotes";

/// Reads the section.
pub(super) fn read(section: Section<'_>, directory: &Path) -> TraceConfig {
    let default = TraceConfig::default();
    let trace = TraceConfig {
        otlp: section.string_or_else("otlp", |_| URL_REMEDY.to_owned()).and_then(|text| {
            let invalid = |(problem, remedy): (&str, &str)| {
                let problem = format!("trace.otlp {} {problem}", quoted(text));
                section.fault(section.offset_of("otlp"), problem, remedy.to_owned());
            };
            parse_url(text).map_err(invalid).ok()
        }),
        sample: read_sample(&section),
        spans: section.boolean("spans", default.spans),
        service: read_service(&section).unwrap_or(default.service),
        authorization: read_authorization(&section, directory),
        queue: section.count("queue", 64..=65_536, default.queue),
        interval: section.duration(
            "interval",
            Duration::from_millis(100)..=Duration::from_secs(60),
            default.interval,
        ),
    };
    section.close();
    trace
}

/// Parses a URL. The error is the problem and its remedy.
fn parse_url(text: &str) -> Result<OtlpEndpoint, (&'static str, &'static str)> {
    let Some((uri, scheme)) = text.parse::<Uri>().ok().and_then(|uri| {
        let scheme = uri.scheme_str()?.to_owned();
        Some((uri, scheme))
    }) else {
        return Err(("is not a URL", URL_REMEDY));
    };
    match scheme.as_str() {
        "http" => {}
        "https" => {
            let remedy = "write the http URL of a collector on this machine that forwards the spans, such as \
                          \"http://127.0.0.1:4318\"";
            return Err(("requires TLS, which the host does not speak", remedy));
        }
        _ => return Err(("is not an http URL", URL_REMEDY)),
    }

    let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    if has_user || uri.query().is_some() || text.contains('#') {
        return Err(("has more than a host, a port and a path", URL_REMEDY));
    }
    let (Some(host), Some(port)) = (uri.host().filter(|host| !host.is_empty()), uri.port_u16()) else {
        return Err(("has no host or no port", URL_REMEDY));
    };
    let path = uri.path().trim_end_matches('/');
    if path.ends_with(TRACES_PATH) {
        return Err(("ends in /v1/traces, which the host adds", "remove /v1/traces"));
    }
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(OtlpEndpoint { host, port, path: format!("{path}{TRACES_PATH}") })
}

fn read_sample(section: &Section<'_>) -> Sample {
    let Some(value) = section.get("sample") else { return Sample::default() };
    let written = match value.get_ref() {
        DeValue::String(text) if text == "parent" => return Sample::Parent,
        DeValue::String(text) => quoted(text),
        DeValue::Float(written) => written.as_str().to_owned(),
        DeValue::Integer(written) => written.to_string(),
        _ => {
            section.wrong_type("sample", value, SAMPLE_REMEDY.to_owned());
            return Sample::default();
        }
    };

    match written.replace('_', "").parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Sample::Ratio(ratio),
        _ => {
            let problem = format!("trace.sample = {} is not valid", shortened(&written));
            section.fault(value.span().start, problem, SAMPLE_REMEDY.to_owned());
            Sample::default()
        }
    }
}

fn read_service(section: &Section<'_>) -> Option<String> {
    let service = section.string("service")?;
    if !(1..=MAX_SERVICE_BYTES).contains(&service.len()) {
        let problem = format!("trace.service has {} bytes", service.len());
        section.fault(section.offset_of("service"), problem, format!("write 1 to {MAX_SERVICE_BYTES} bytes"));
    }
    Some(service.to_owned())
}

/// Reads the file that `authorization` names.
fn read_authorization(section: &Section<'_>, directory: &Path) -> Option<Authorization> {
    section.string("authorization")?;
    let path = section.path("authorization", directory, Path::new("/etc/jackfield/otlp-token"));
    read_header(&path)
        .map_err(|(problem, remedy)| {
            let problem = format!("trace.authorization: {} {problem}", path.display());
            section.fault(section.offset_of("authorization"), problem, remedy.to_owned());
        })
        .ok()
}

/// Reads the value of a header from a file. The error is the problem and its remedy.
fn read_header(path: &PathBuf) -> Result<Authorization, (String, &'static str)> {
    const REMEDY: &str = "write the path of a file with the value of the header in one line";
    let unreadable = |error: std::io::Error| (format!("cannot be read: {error}"), REMEDY);

    // The type is checked first, because opening a FIFO would wait for a writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(("is not a regular file".to_owned(), REMEDY));
    }
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode() & 0o7777;
    if mode & 0o004 != 0 {
        let problem = format!("can be read by all users (mode {mode:04o})");
        return Err((problem, "run chmod o-r, and replace the secret"));
    }

    let mut text = String::new();
    file.take(MAX_AUTHORIZATION_BYTES).read_to_string(&mut text).map_err(unreadable)?;
    let invalid = || ("is not a header value: one line of visible ASCII".to_owned(), REMEDY);
    Authorization::new(text.trim_end_matches(['\r', '\n'])).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_url_of_requests_and_no_secret() {
        let shown = |text: &str| parse_url(text).map(|endpoint| endpoint.to_string());
        assert_eq!(shown("http://127.0.0.1:4318").as_deref(), Ok("http://127.0.0.1:4318/v1/traces"));
        assert_eq!(shown("http://[::1]:4318/").as_deref(), Ok("http://[::1]:4318/v1/traces"));
        assert_eq!(shown("http://otel:80/otlp/").as_deref(), Ok("http://otel:80/otlp/v1/traces"));

        let secret = Authorization::new("Bearer abc").unwrap();
        assert_eq!((secret.value(), format!("{secret:?}").contains("abc")), ("Bearer abc", false));
        assert_eq!((Authorization::new(""), Authorization::new("a\nb")), (None, None));
    }
}
