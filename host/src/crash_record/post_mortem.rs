//! Reads the crash record of the previous host.
//!
//! The files are untrusted input: another process may have written to them, and a crash can leave
//! anything. Every number is checked, and text is made printable.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::crash_log::CrashedCall;
use super::generation_names::NameTable;
use super::layout::{
    HEADER_MAGIC, HEADER_OUTPUT, HEADER_SERVING, HEADER_VERSION, ID_MAX, LAYOUT_VERSION, MAGIC, RECORD_SIZE,
    SLOT_CODE, SLOT_ID, SLOT_ID_LENGTH, SLOT_SEQUENCE, SLOT_WORDS, WORD, slot_start,
};
use super::running_code::RunningCode;
use crate::log::printable;

/// Maximum number of bytes at the end of the output that are logged, if the previous host had no
/// time to log them.
const LAST_OUTPUT_MAX: u64 = 8 * 1024;

/// How a previous host ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PostMortem {
    /// There was no previous host, or it ended regularly.
    NoCrash,

    /// The previous host crashed while this plugin code ran on its threads.
    Crashed(Vec<CrashedCall>),

    /// The file is not a record that this host can read, for this reason.
    Unreadable(String),
}

/// Examines the content of the file `running`. The file `names` maps its numbers to names.
pub(super) fn examine(bytes: &[u8], names: &Path) -> PostMortem {
    if bytes.is_empty() {
        return PostMortem::NoCrash;
    }
    if bytes.len() != RECORD_SIZE {
        return PostMortem::Unreadable(format!("it has {} bytes instead of {RECORD_SIZE}", bytes.len()));
    }

    let words: Vec<u64> = bytes.as_chunks::<WORD>().0.iter().map(|word| u64::from_ne_bytes(*word)).collect();
    if words[HEADER_MAGIC] != MAGIC {
        return PostMortem::Unreadable("it does not begin like a crash record".to_owned());
    }
    if words[HEADER_VERSION] != LAYOUT_VERSION {
        let version = words[HEADER_VERSION];
        return PostMortem::Unreadable(format!("its layout is {version} instead of {LAYOUT_VERSION}"));
    }
    if words[HEADER_SERVING] != 1 {
        return PostMortem::NoCrash;
    }

    let names = NameTable::read(names);
    let slots = words[slot_start(0)..].chunks_exact(SLOT_WORDS);
    let running = slots.filter(|slot| slot[SLOT_SEQUENCE] % 2 == 1);
    PostMortem::Crashed(running.map(|slot| crashed_call(slot, &names)).collect())
}

fn crashed_call(slot: &[u64], names: &NameTable) -> CrashedCall {
    let code = RunningCode::from_word(slot[SLOT_CODE]);
    let (plugin, method) = names.names_of(code);

    let length = usize::try_from(slot[SLOT_ID_LENGTH]).unwrap_or(usize::MAX).min(ID_MAX);
    let id: Vec<u8> = slot[SLOT_ID..].iter().flat_map(|word| word.to_le_bytes()).take(length).collect();

    CrashedCall {
        plugin,
        generation: code.generation(),
        method,
        id: printable(&String::from_utf8_lossy(&id)).into_owned(),
        hash: names.get(code.generation()).map(|names| names.hash.clone()).unwrap_or_default(),
    }
}

/// Returns the last lines of the file `output` that the previous host had no time to log. `bytes`
/// is the content of `running`, in which [`examine`] found a crash.
pub(super) fn unlogged_output(bytes: &[u8], output: &Path) -> Vec<String> {
    let logged = bytes.as_chunks::<WORD>().0.get(HEADER_OUTPUT).map_or(0, |word| u64::from_ne_bytes(*word));
    let Ok(file) = File::open(output) else { return Vec::new() };
    let end = file.metadata().map_or(0, |metadata| metadata.len());
    let start = logged.max(end.saturating_sub(LAST_OUTPUT_MAX));

    let length = end.saturating_sub(start).min(LAST_OUTPUT_MAX);
    let mut text = vec![0; usize::try_from(length).unwrap_or(0)];
    let read = file.read_at(&mut text, start).unwrap_or(0);

    let text = String::from_utf8_lossy(&text[..read]).into_owned();
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    lines.map(|line| printable(line).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::super::layout::{RECORD_WORDS, SLOT_COUNT};
    use super::*;

    /// A record in which one slot runs method 1 of generation 7, and another one has ended a call.
    fn record() -> Vec<u64> {
        let mut words = vec![0; RECORD_WORDS];
        (words[HEADER_MAGIC], words[HEADER_VERSION], words[HEADER_SERVING]) = (MAGIC, LAYOUT_VERSION, 1);

        let running = slot_start(3);
        words[running + SLOT_SEQUENCE] = 9;
        words[running + SLOT_CODE] = RunningCode::new(7, 1).word();
        words[running + SLOT_ID_LENGTH] = 5;
        words[running + SLOT_ID] = u64::from_le_bytes(*b"a\nb\0\xff\0\0\0");

        words[slot_start(0) + SLOT_CODE] = RunningCode::new(7, 0).word();
        words[slot_start(0) + SLOT_SEQUENCE] = 4;
        words
    }

    fn bytes(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    fn missing() -> &'static Path {
        Path::new("/nowhere/at/all")
    }

    fn scratch_file(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("jackfield-post-mortem-{name}-{}", std::process::id()))
    }

    /// Returns the reason why these bytes are not a record.
    #[track_caller]
    fn unreadable(bytes: &[u8]) -> String {
        match examine(bytes, missing()) {
            PostMortem::Unreadable(why) => why,
            other => panic!("{other:?}"),
        }
    }

    fn crashed_calls(words: &[u64]) -> Vec<CrashedCall> {
        match examine(&bytes(words), missing()) {
            PostMortem::Crashed(calls) => calls,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_the_code_that_ran_and_makes_its_request_id_printable() {
        let names = scratch_file("names");
        fs::write(&names, r#"{"7":{"plugin":"p","hash":"h","methods":["p.a","p.b"]}}"#).unwrap();
        let examined = examine(&bytes(&record()), &names);
        fs::remove_file(&names).unwrap();
        let call = CrashedCall {
            plugin: "p".to_owned(),
            generation: 7,
            method: "p.b".to_owned(),
            id: "a\\nb\\u{0}\u{fffd}".to_owned(),
            hash: "h".to_owned(),
        };
        assert_eq!(examined, PostMortem::Crashed(vec![call]));
    }

    #[test]
    fn shows_numbers_if_the_names_are_damaged() {
        let names = scratch_file("damaged-names");
        for text in ["", r#"{"7":{"plugin":"#, r#"{"seven":{}}"#, "[]", "\u{0}"] {
            fs::write(&names, text).unwrap();
            let PostMortem::Crashed(calls) = examine(&bytes(&record()), &names) else { panic!("{text}") };
            assert_eq!((calls[0].plugin.as_str(), calls[0].method.as_str()), ("?", "#1"), "{text}");
            assert_eq!(calls[0].hash, "");
        }
        fs::remove_file(&names).unwrap();
    }

    #[test]
    fn finds_no_crash_after_a_regular_end_or_without_a_record() {
        let mut words = record();
        words[HEADER_SERVING] = 0;
        assert_eq!(examine(&bytes(&words), missing()), PostMortem::NoCrash);
        assert_eq!(examine(&[], missing()), PostMortem::NoCrash);
    }

    #[test]
    fn rejects_a_record_of_another_length() {
        let whole = bytes(&record());
        for length in [1, WORD, whole.len() / 2, whole.len() - WORD, whole.len() - 1] {
            assert!(unreadable(&whole[..length]).contains("bytes instead of"), "{length}");
        }
        assert!(unreadable(&[whole, vec![0; 8]].concat()).contains("bytes instead of"));
    }

    #[test]
    fn rejects_a_file_that_is_not_a_record() {
        assert!(unreadable(&vec![0x5a; RECORD_SIZE]).contains("does not begin"));
        assert!(unreadable(&vec![0; RECORD_SIZE]).contains("does not begin"));
    }

    #[test]
    fn rejects_a_record_of_another_layout() {
        let mut words = record();
        words[HEADER_VERSION] = 99;
        assert!(unreadable(&bytes(&words)).contains("99"));
    }

    #[test]
    fn accepts_any_number_in_every_slot() {
        let mut words = record();
        words[slot_start(0)..].fill(u64::MAX);
        let calls = crashed_calls(&words);
        assert_eq!(calls.len(), SLOT_COUNT);
        assert!(calls.iter().all(|call| call.id.chars().count() == ID_MAX && call.plugin == "?"));
    }

    #[test]
    fn logs_the_end_of_the_output_from_the_recorded_offset() {
        let output = scratch_file("output");
        fs::write(&output, "logged\nnot yet\n\n\u{1b}[31m red\r\n").unwrap();
        let output_from = |offset: u64| {
            let mut words = record();
            words[HEADER_OUTPUT] = offset;
            unlogged_output(&bytes(&words), &output)
        };
        assert_eq!(output_from(7), ["not yet", "\\u{1b}[31m red"]);
        assert_eq!(output_from(1 << 40), [""; 0], "an offset beyond the end");
        assert_eq!(output_from(u64::MAX), [""; 0]);

        fs::write(&output, "x".repeat(100_000)).unwrap();
        assert_eq!(output_from(0), ["x".repeat(8 * 1024)]);
        fs::remove_file(&output).unwrap();
        assert_eq!(output_from(0), [""; 0], "a missing file");
    }

    proptest! {
        #[test]
        fn reads_a_damaged_record_without_a_panic(
            changes in prop::collection::vec((0..RECORD_WORDS, any::<u64>()), 1..40),
            length in 0..=RECORD_SIZE + 8
        ) {
            let mut words = record();
            for (index, word) in changes {
                words[index] = word;
            }
            let mut bytes = bytes(&words);
            bytes.resize(length, 0xff);
            for bytes in [&bytes[..], &self::bytes(&words)] {
                if let PostMortem::Crashed(calls) = examine(bytes, missing()) {
                    prop_assert!(calls.len() <= SLOT_COUNT);
                    prop_assert!(calls.iter().all(|call| call.id.len() <= ID_MAX * 10));
                    prop_assert!(calls.iter().all(|call| !call.id.contains(char::is_control)));
                }
                unlogged_output(bytes, missing());
            }
        }
    }
}
