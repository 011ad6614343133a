//! What a host that died left behind: read as a stranger's file, and believed no further than it can be checked.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::mapping::WORD;
use super::slot::{ID, ID_LENGTH, ID_MAX, RunningCode, SEAT, TURN, WHAT};
use super::{HEADER, LAYOUT, MAGIC, OUTPUT, SEATS, SERVING, SIZE, method_name};
use crate::log::printable;

/// The longest list of names that is read, in bytes: that of a thousand generations is far below.
const NAMES_MAX: u64 = 16 << 20;

/// What the record's numbers stand for, of one generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GenerationNames {
    pub(crate) plugin: String,
    /// The content's hash; empty for methods that are part of the program.
    pub(crate) hash: String,
    pub(crate) methods: Vec<String>,
}

/// Code of a plugin's that ran when a host died.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CrashedCall {
    pub(crate) plugin: String,
    pub(crate) generation: u64,
    pub(crate) method: String,
    /// The request's id, cut at 64 bytes; empty when it had none.
    pub(crate) id: String,
    pub(crate) hash: String,
}

/// What the host before left.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PostMortem {
    /// Nothing: there was none, or it ended as it should.
    Nothing,
    /// It died, and this ran on its threads.
    Died(Vec<CrashedCall>),
    /// Something that is no record of ours, and why.
    Unreadable(String),
}

/// Reads the record's words as they were found, and the names beside it.
pub(super) fn read(bytes: &[u8], names: &Path) -> PostMortem {
    if bytes.is_empty() {
        return PostMortem::Nothing;
    }
    let (words, rest) = bytes.as_chunks::<WORD>();
    let words: Vec<u64> = words.iter().map(|word| u64::from_ne_bytes(*word)).collect();
    if bytes.len() != SIZE || !rest.is_empty() {
        return PostMortem::Unreadable(format!("it has {} bytes, not {SIZE}", bytes.len()));
    }
    if words[MAGIC] != MAGIC_WORD {
        return PostMortem::Unreadable("it does not begin as a record does".to_owned());
    }
    if words[LAYOUT] != LAYOUT_NOW {
        return PostMortem::Unreadable(format!(
            "its layout is {}, this host's is {LAYOUT_NOW}",
            words[LAYOUT]
        ));
    }
    if words[SERVING] != 1 {
        return PostMortem::Nothing;
    }
    let seats = words[HEADER..].chunks_exact(SEAT).take(SEATS).filter(|seat| seat[TURN] % 2 == 1);
    let names = read_names(names);
    PostMortem::Died(seats.map(|seat| ran(seat, &names)).collect())
}

/// The last lines of output that the host before had no time to log; [`read`] has found the record sound.
pub(super) fn last_words(bytes: &[u8], written: &Path) -> Vec<String> {
    let word = |at: usize| bytes.as_chunks::<WORD>().0.get(at).map_or(0, |word| u64::from_ne_bytes(*word));
    let Ok(file) = fs::File::open(written) else { return Vec::new() };
    let end = file.metadata().map_or(0, |facts| facts.len());
    let from = word(OUTPUT).max(end.saturating_sub(LAST_WORDS));
    let mut left = vec![0; usize::try_from(end.saturating_sub(from).min(LAST_WORDS)).unwrap_or(0)];
    let read = file.read_at(&mut left, from).unwrap_or(0);
    let text = String::from_utf8_lossy(&left[..read]).into_owned();
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    lines.map(|line| printable(line).into_owned()).collect()
}

/// How much of the output that was not logged is told, in bytes: the end of it.
const LAST_WORDS: u64 = 8 * 1024;

pub(super) const MAGIC_WORD: u64 = u64::from_le_bytes(*b"jackfrec");
/// Counts the layouts that there have been.
pub(super) const LAYOUT_NOW: u64 = 1;

fn ran(seat: &[u64], names: &BTreeMap<u64, GenerationNames>) -> CrashedCall {
    let what = RunningCode(seat[WHAT]);
    let known = names.get(&what.generation());
    let method = method_name(what.method(), known.map_or(&[], |names| &names.methods));
    let length = usize::try_from(seat[ID_LENGTH]).unwrap_or(usize::MAX).min(ID_MAX);
    let bytes: Vec<u8> = seat[ID..].iter().flat_map(|word| word.to_le_bytes()).take(length).collect();
    CrashedCall {
        plugin: known.map_or_else(|| "?".to_owned(), |names| names.plugin.clone()),
        generation: what.generation(),
        method,
        id: printable(&String::from_utf8_lossy(&bytes)).into_owned(),
        hash: known.map(|names| names.hash.clone()).unwrap_or_default(),
    }
}

/// The names by generation; none when there are none that can be read.
fn read_names(path: &Path) -> BTreeMap<u64, GenerationNames> {
    let mut text = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(NAMES_MAX).read_to_end(&mut text));
    let parsed = read.map_err(|error| error.to_string()).and_then(|_| {
        serde_json::from_slice::<BTreeMap<u64, GenerationNames>>(&text).map_err(|error| error.to_string())
    });
    parsed.unwrap_or_else(|error| {
        tracing::warn!(file = %path.display(), "the names of what ran cannot be read: {error}");
        BTreeMap::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record in which one seat runs method 1 of generation 7.
    fn record() -> Vec<u64> {
        let mut words = vec![0; SIZE / WORD];
        (words[MAGIC], words[LAYOUT], words[SERVING]) = (MAGIC_WORD, LAYOUT_NOW, 1);
        let seat = HEADER + 3 * SEAT;
        (words[seat + TURN], words[seat + WHAT]) = (9, RunningCode::new(7, 1).0);
        words[seat + ID_LENGTH] = 5;
        words[seat + ID] = u64::from_le_bytes(*b"a\nb\0\xff\0\0\0");
        // One that ran something before, and does not now.
        words[HEADER + WHAT] = RunningCode::new(7, 0).0;
        words[HEADER + TURN] = 4;
        words
    }

    fn bytes(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    fn nowhere() -> &'static Path {
        Path::new("/nowhere/at/all")
    }

    #[test]
    fn what_ran_is_named_and_its_id_is_harmless() {
        let names = std::env::temp_dir().join(format!("jackfield-names-{}", std::process::id()));
        fs::write(&names, r#"{"7":{"plugin":"p","hash":"h","methods":["p.a","p.b"]}}"#).unwrap();
        let ran = |method: &str, plugin: &str, hash: &str| CrashedCall {
            plugin: plugin.to_owned(),
            generation: 7,
            method: method.to_owned(),
            id: "a\\nb\\u{0}\u{fffd}".to_owned(),
            hash: hash.to_owned(),
        };
        assert_eq!(read(&bytes(&record()), &names), PostMortem::Died(vec![ran("p.b", "p", "h")]));
        fs::write(&names, r#"{"7":{"plugin":"#).unwrap();
        assert_eq!(read(&bytes(&record()), &names), PostMortem::Died(vec![ran("#1", "?", "")]));
        fs::remove_file(&names).unwrap();
    }

    #[test]
    fn an_end_that_was_a_good_one_leaves_nothing_and_what_is_no_record_is_said() {
        let mut words = record();
        words[SERVING] = 0;
        assert_eq!(read(&bytes(&words), nowhere()), PostMortem::Nothing);
        assert_eq!(read(&[], nowhere()), PostMortem::Nothing);
        let whole = bytes(&record());
        let unreadable = |bytes: &[u8]| match read(bytes, nowhere()) {
            PostMortem::Unreadable(why) => why,
            other => panic!("{other:?}"),
        };
        assert!(unreadable(&whole[..whole.len() - 1]).contains("bytes"));
        assert!(unreadable(&[whole.clone(), vec![0; 8]].concat()).contains("bytes"));
        assert!(unreadable(&vec![0x5a; SIZE]).contains("begin"));
        let mut words = record();
        words[LAYOUT] = 99;
        assert!(unreadable(&bytes(&words)).contains("99"));
    }

    #[test]
    fn numbers_that_mean_nothing_do_no_harm() {
        let mut words = record();
        words[HEADER..].fill(u64::MAX);
        let PostMortem::Died(ran) = read(&bytes(&words), nowhere()) else { panic!() };
        assert_eq!(ran.len(), SEATS);
        assert!(ran.iter().all(|ran| ran.id.chars().count() == ID_MAX && ran.plugin == "?"));
    }
}
