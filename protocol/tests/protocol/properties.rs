//! Round trips and splits with generated input. `PROPTEST_CASES` overrides the number of cases.

use jackfield_protocol::{
    Decoder, FrameLimit, Framing, Header, Json, Kind, LineDecoder, LineStep, Outcome, Reply, ReplyForm,
    Request, RequestMembers, Step, Version, begin_result, write_error, write_request,
};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::value::RawValue;

use crate::splits::{Event, decode_pieces};

/// Returns a configuration with `cases` cases, which take seconds in a debug build, unless the
/// environment sets a number.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() { config } else { ProptestConfig { cases, ..config } }
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V1_0), Just(Version::V1_1)]
}

fn header() -> impl Strategy<Value = Header> {
    (version(), any::<u8>(), any::<u32>()).prop_map(|(version, kind, length)| Header {
        version,
        kind: Kind::from_wire(kind),
        length,
    })
}

/// Generates ids as they are written: any string that fits, and any integer.
pub(crate) fn id() -> impl Strategy<Value = String> {
    let string = vec(any::<char>(), 0..20)
        .prop_map(|characters| serde_json::to_string(&characters.into_iter().collect::<String>()).unwrap());
    prop_oneof![string, any::<i128>().prop_map(|number| number.to_string())]
}

pub(crate) fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 1..50).prop_map(|characters| characters.into_iter().collect())
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        text().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Into::into),
            vec((text(), inner), 0..5).prop_map(|members| members.into_iter().collect::<serde_json::Value>()),
        ]
    })
}

/// Splits a stream into pieces of these sizes, which repeat.
fn pieces<'a>(stream: &'a [u8], sizes: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = stream;
    let mut sizes = sizes.iter().cycle();
    std::iter::from_fn(move || {
        let size = sizes.next().copied().unwrap_or(1).min(rest.len());
        let (piece, after) = rest.split_at(size);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

proptest! {
    #![proptest_config(cases(100_000))]

    #[test]
    fn round_trips_headers(header in header()) {
        prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn round_trips_header_bytes(bytes: [u8; 7]) {
        match Header::decode(&bytes) {
            Ok(header) if Version::ALL.iter().any(|known| known.wire().to_be_bytes() == bytes[..2]) =>
                prop_assert_eq!(header.encode(), bytes),
            Ok(header) => prop_assert_eq!((bytes[0], header.version), (1, Version::HIGHEST)),
            Err(_) => prop_assert_ne!(bytes[0], 1),
        }
    }

    #[test]
    fn parses_or_rejects_any_bytes(payload in vec(any::<u8>(), 0..64)) {
        if let Ok(request) = Request::parse(&payload) {
            prop_assert!(!request.method.is_empty());
        }
    }
}

proptest! {
    #![proptest_config(cases(10_000))]

    #[test]
    fn round_trips_requests(
        version in version(), id in proptest::option::of(id()), method in text(), params in proptest::option::of(json()),
    ) {
        let params = params.map(|params| RawValue::from_string(params.to_string()).unwrap());
        let mut out = Vec::new();
        write_request(&mut out, version, Kind::AsyncRequest, id.as_deref(), &method, RequestMembers::default(), params.as_deref().map(Json::from).into()).unwrap();

        let step = Decoder::new(FrameLimit::default()).step(&out);
        let Step::Frame { header, payload, consumed } = step else { panic!("{step:?}") };
        prop_assert_eq!((header.version, header.kind, consumed), (version, Kind::AsyncRequest, out.len()));
        let request = Request::parse(payload).unwrap();
        prop_assert_eq!(request.id.map(|id| id.as_json()), id.as_deref());
        prop_assert_eq!(&request.method, &method);
        prop_assert_eq!(request.params.map(Json::get), params.as_deref().map(RawValue::get));
    }

    #[test]
    fn round_trips_results(line: bool, id in proptest::option::of(id()), result in json()) {
        let result = serde_json::to_string_pretty(&result).unwrap();
        let framing = if line { Framing::Line } else { Framing::Binary };
        let mut out = Vec::new();
        let head = begin_result(&mut out, ReplyForm::plain(framing, Version::V1_1, Kind::Sync), id.as_deref());
        out.extend_from_slice(result.as_bytes());
        prop_assert_eq!(head.body_len(&out), result.len());
        head.finish(&mut out).unwrap();

        let payload = if line { out.strip_suffix(b"\n").unwrap() } else { &out[7..] };
        let reply = Reply::parse(payload).unwrap();
        prop_assert_eq!(reply.id.map(|id| id.as_json()), id.as_deref());
        let Outcome::Result(read) = reply.outcome else { panic!("{out:?}") };
        if line {
            prop_assert!(!payload.contains(&b'\n'));
            prop_assert_eq!(read.get(), result.replace('\n', " "));
        } else {
            prop_assert_eq!(read.get(), result);
        }
    }

    #[test]
    fn round_trips_errors(code: i64, message in text(), data in proptest::option::of(json())) {
        let data = data.map(|data| data.to_string());
        let mut out = Vec::new();
        write_error(&mut out, ReplyForm::plain(Framing::Binary, Version::V1_0, Kind::Sync), None, code, &message, data.as_deref());
        let Outcome::Error(error) = Reply::parse(&out[7..]).unwrap().outcome else { panic!("{out:?}") };
        prop_assert_eq!((error.code, &*error.message), (code, &*message));
        prop_assert_eq!(error.data.map(Json::get), data.as_deref());
    }

    /// The oracle is a full parse by serde_json. This crate accepts a payload as JSON exactly if
    /// serde_json does.
    #[test]
    fn judges_a_damaged_request_like_serde_json(params in json(), at: proptest::sample::Index, byte: u8) {
        let mut payload = format!(r#"{{"id":7,"method":"m","params":{params}}}"#).into_bytes();
        *at.get_mut(&mut payload) = byte;
        let is_json = serde_json::from_slice::<Box<RawValue>>(&payload).is_ok();
        match Request::parse(&payload) {
            Ok(_) => prop_assert!(is_json),
            Err(rejected) => prop_assert_eq!(
                rejected.error.code() == jackfield_protocol::Code::InvalidRequest, is_json, "{}", rejected
            ),
        }
    }

    #[test]
    fn decodes_any_stream_alike_in_any_pieces(
        stream in vec(prop_oneof![4 => 0u8..=6, 1 => any::<u8>()], 0..300), sizes in vec(1usize..20, 1..10),
    ) {
        // Mostly small numbers, so that there are headers, refusals and short payloads.
        let stream: Vec<u8> = stream.chunks(12).flat_map(|chunk| [&[1, 0, 1, 0, 0, 0], chunk].concat()).collect();
        let decode = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let mut decoder = Decoder::new(FrameLimit::new(3));
            decode_pieces(&mut |input| decoder.step(input), pieces)
        };
        let whole: Vec<Event> = decode(&mut std::iter::once(&stream[..]));
        prop_assert_eq!(decode(&mut pieces(&stream, &sizes)), whole);
    }

    #[test]
    fn yields_the_lines_of_a_plain_split(
        stream in vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'x')], 0..200), sizes in vec(1usize..20, 1..10),
    ) {
        let mut decoder = LineDecoder::new(FrameLimit::default());
        let mut held = Vec::new();
        let mut lines = Vec::new();

        for piece in pieces(&stream, &sizes) {
            held.extend_from_slice(piece);
            loop {
                let consumed = match decoder.step(&held) {
                    LineStep::Line { payload, consumed } => { lines.push(payload.to_vec()); consumed }
                    LineStep::Discard { consumed } => consumed,
                    LineStep::Incomplete => break,
                    step @ LineStep::TooLong { .. } => panic!("{step:?}"),
                };
                held.drain(..consumed);
            }
        }

        let expected: Vec<Vec<u8>> = stream
            .split_inclusive(|byte| *byte == b'\n')
            .filter_map(|line| line.strip_suffix(b"\n"))
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec())
            .filter(|line| !line.is_empty())
            .collect();
        prop_assert_eq!(lines, expected);
    }
}
