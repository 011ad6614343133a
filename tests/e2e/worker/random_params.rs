//! Random params: what a method expects, and what it does not.

use crate::support::random::SeededRandom;

/// One of this many replaced placeholders has a value of another type.
const WRONG_VALUE: usize = 8;
/// One of this many params is any JSON, or missing.
const OTHER_PARAMS: usize = 12;
/// One of this many params has a member that is not expected.
const MORE_MEMBERS: usize = 10;
/// One of this many strings is long.
const LONG_STRING: usize = 150;
/// Bytes of the longest string.
const LONGEST: usize = 100 << 10;
/// Levels of nested arrays and objects.
const DEEPEST: usize = 6;

/// Pieces of JSON strings: one byte and several, escapes, surrogates in pairs and alone.
const PIECES: [&str; 18] = [
    "a",
    "Z",
    "0",
    " ",
    "/",
    "\\/",
    "é",
    "e\u{301}",
    "漢",
    "😀",
    "\\n",
    "\\u0000",
    "\\u00e9",
    "\\ud83d\\ude00",
    "\\\"",
    "\\\\",
    "\u{7f}",
    "\\ud800",
];

const NUMBERS: [&str; 14] = [
    "0",
    "-0",
    "1",
    "-1",
    "7",
    "255",
    "65536",
    "9007199254740993",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "0.1",
    "1e3",
    "-2.5E-7",
];

/// Returns params for a template, a JSON text with placeholders; `None` for no params.
///
/// | Placeholder | Value |
/// |---|---|
/// | `$v` | any JSON |
/// | `$s` | a string |
/// | `$id` | one of a few ids |
/// | `$n` | a number from 0 to 99 |
/// | `$length` | a number from 0 to 100,000; large ones are rare, and no other number replaces it |
/// | `$bool` | a boolean |
/// | `$status` | a status of a device |
/// | `$code` | an error code |
/// | `$method` | the name of a method without a side effect |
pub(super) fn params(random: &mut SeededRandom, template: &str) -> Option<String> {
    // A method allocates as many bytes or sleeps as long, so that no other number may replace it.
    // A list of values is accepted as well as an object.
    let is_cost = template.contains("$length") || template.contains("\"ms\"");
    let other = if is_cost { string } else { any };
    if random.below(OTHER_PARAMS) == 0 {
        return (random.below(4) != 0).then(|| other(random));
    }

    let mut text = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let end = rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(rest.len());
        let is_wrong = random.below(WRONG_VALUE) == 0;
        text.push_str(&if is_wrong { other(random) } else { value(random, &rest[..end]) });
        rest = &rest[end..];
    }
    text.push_str(rest);

    if text.starts_with('{') && random.below(MORE_MEMBERS) == 0 {
        let separator = if text == "{}" { "" } else { "," };
        text.insert_str(1, &format!("{}:{} {separator} ", string(random), json(random, 0)));
    }
    Some(text)
}

fn value(random: &mut SeededRandom, placeholder: &str) -> String {
    const STATUSES: [&str; 5] = ["online", "offline", "busy", "error", "unknown"];
    const CODES: [&str; 7] = ["1", "-1", "404", "-32602", "-32603", "-32000", "-32768"];
    const METHODS: [&str; 6] = [
        "fixture.echo",
        "fixture.echo_blocking",
        "fixture.echo_async",
        "system.echo",
        "no.such",
        "hello.greet",
    ];

    match placeholder {
        "v" => any(random),
        "s" => string(random),
        "id" if random.below(20) == 0 => string(random),
        "id" => format!("\"device-{}\"", random.below(30)),
        "n" => random.below(100).to_string(),
        "length" if random.below(30) == 0 => random.below(100_000).to_string(),
        "length" => random.below(500).to_string(),
        "bool" => (*random.one_of(&["true", "false"])).to_owned(),
        "status" => format!("\"{}\"", random.one_of(&STATUSES)),
        "code" => (*random.one_of(&CODES)).to_owned(),
        "method" => format!("\"{}\"", random.one_of(&METHODS)),
        other => panic!("unknown placeholder ${other}"),
    }
}

fn any(random: &mut SeededRandom) -> String {
    json(random, 0)
}

/// Returns any JSON value, with spaces between its tokens.
fn json(random: &mut SeededRandom, depth: usize) -> String {
    let kinds = if depth < DEEPEST { 9 } else { 6 };
    match random.below(kinds) {
        0 => "null".to_owned(),
        1 => (*random.one_of(&["true", "false"])).to_owned(),
        2 | 3 => (*random.one_of(&NUMBERS)).to_owned(),
        4 | 5 => string(random),
        6 => {
            let items: Vec<_> = (0..random.below(5)).map(|_| json(random, depth + 1)).collect();
            format!("[{}]", items.join(space(random)))
        }
        _ => {
            let member = |random: &mut SeededRandom| {
                let name = string(random);
                format!("{name} :{}", json(random, depth + 1))
            };
            let members: Vec<_> = (0..random.below(5)).map(|_| member(random)).collect();
            format!("{{{}}}", members.join(space(random)))
        }
    }
}

fn space(random: &mut SeededRandom) -> &'static str {
    const SPACES: [&str; 4] = [",", ", ", " ,\t", ",\n"];
    SPACES[random.below(SPACES.len())]
}

fn string(random: &mut SeededRandom) -> String {
    if random.below(LONG_STRING) == 0 {
        let piece = random.one_of(&["x", "é", "漢", "😀", "\\n"]);
        return format!("\"{}\"", piece.repeat(random.below(LONGEST / piece.len())));
    }
    let pieces = (0..random.below(12)).map(|_| match random.below(40) {
        0 => *random.one_of(&PIECES),
        number => PIECES[number % (PIECES.len() - 1)],
    });
    let pieces: String = pieces.collect();
    format!("\"{pieces}\"")
}
