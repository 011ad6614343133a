//! The line decoder: line endings, limits, and input split anywhere.

use jackfield_protocol::{FrameLimit, LineDecoder, LineStep};

#[derive(Clone, PartialEq, Eq, Debug)]
enum Event {
    Line(Vec<u8>),
    TooLong { fatal: bool },
}

fn decode<'p>(limit: u32, pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<Event> {
    let mut decoder = LineDecoder::new(FrameLimit::new(limit));
    let (mut held, mut events) = (Vec::new(), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            let consumed = match decoder.step(&held) {
                LineStep::Line { payload, consumed } => {
                    events.push(Event::Line(payload.to_vec()));
                    consumed
                }
                LineStep::TooLong { limit: stated, fatal, consumed } => {
                    assert_eq!((stated, decoder.is_finished()), (limit, fatal));
                    events.push(Event::TooLong { fatal });
                    consumed
                }
                LineStep::Discard { consumed } => consumed,
                LineStep::Incomplete => break,
            };
            assert!(consumed > 0, "a step without progress");
            held.drain(..consumed);
        }
        assert!(held.len() as u64 <= u64::from(limit) + 1, "a line over the limit is held");
    }
    events
}

fn line(text: &str) -> Event {
    Event::Line(text.as_bytes().to_vec())
}

#[test]
fn removes_line_endings_and_ignores_empty_lines() {
    let stream = b"{}\n\r\n\n[1]\r\n a \n\r\r\nlast";
    assert_eq!(decode(100, [&stream[..]]), [line("{}"), line("[1]"), line(" a "), line("\r")]);
}

#[test]
fn yields_no_line_without_its_ending() {
    assert_eq!(decode(100, [&b"{\"method\":\"m\"}"[..]]), []);
}

#[test]
fn accepts_lines_up_to_the_limit_without_their_ending() {
    let too_long = |fatal| vec![Event::TooLong { fatal }, line("ok")];
    for (length, events) in [(4, vec![line("xxxx"), line("ok")]), (5, too_long(false)), (16, too_long(false))]
    {
        let stream = format!("{}\nok\n", "x".repeat(length));
        assert_eq!(decode(4, [stream.as_bytes()]), events, "{length} bytes");
    }
    assert_eq!(decode(4, [&b"xxxx\r\nok\r\n"[..]]), [line("xxxx"), line("ok")]);
    assert_eq!(decode(4, [&b"xxxx\ry\nok\n"[..]]), too_long(false), "a \\r inside a line counts");
    let stream = format!("{}\nok\n", "x".repeat(17));
    assert_eq!(decode(4, [stream.as_bytes()]), [Event::TooLong { fatal: true }], "nothing follows");
}

#[test]
fn yields_the_same_lines_for_any_split() {
    let parts = [
        "a\n",
        "bcde\r\n",
        "\r\n",
        "fghij\n",
        "kkkk\rk\r\n",
        "\n",
        "0123456789012345\n",
        "z\n",
        "01234567890123456\n",
        "y\n",
    ];
    let stream = parts.concat();
    let stream = stream.as_bytes();
    let whole = decode(4, [stream]);
    let too_long = |fatal| Event::TooLong { fatal };
    assert_eq!(
        whole,
        [
            line("a"),
            line("bcde"),
            too_long(false),
            too_long(false),
            too_long(false),
            line("z"),
            too_long(true)
        ]
    );

    for at in 0..=stream.len() {
        let (front, back) = stream.split_at(at);
        assert_eq!(decode(4, [front, back]), whole, "at {at}");
    }
    for size in 1..=stream.len() {
        assert_eq!(decode(4, stream.chunks(size)), whole, "pieces of {size}");
    }
}

#[test]
fn applies_a_new_limit_to_the_current_line() {
    let mut decoder = LineDecoder::new(FrameLimit::new(2));
    assert_eq!(decoder.step(b"ab"), LineStep::Incomplete);
    decoder.set_limit(FrameLimit::new(3));
    assert_eq!(decoder.limit().bytes(), 3);
    assert_eq!(decoder.step(b"abc\n"), LineStep::Line { payload: b"abc", consumed: 4 });
    assert_eq!(decoder.step(b"abcd"), LineStep::Discard { consumed: 4 });
    assert!(decoder.is_discarding());
    assert_eq!(decoder.step(b""), LineStep::Incomplete);
}
