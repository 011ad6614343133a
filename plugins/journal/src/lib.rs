//! An append-only journal on disk. An entry is durable once its call is answered.
//!
//! Writing waits for the disk, so the methods are `blocking`: they run on threads of the plugin,
//! and a slow disk delays no connection.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use jackfield_plugin_api::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `[plugin.journal.settings]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The directory of the journals, one file per topic. It is created if missing, and relative to
    /// the host's working directory.
    directory: PathBuf,
}

/// The longest entry as JSON, in bytes: 64 KiB, enough for events. A journal is not meant for
/// files.
const ENTRY_MAX: usize = 64 * 1024;
/// Error code: the topic has no journal.
const UNKNOWN_TOPIC: i64 = 404;

struct Journal {
    directory: PathBuf,
    /// Held by the one writer, so that lines of a topic do not mix.
    writing: Mutex<()>,
}

impl Plugin for Journal {
    fn start(host: &Host) -> Result<Self, Error> {
        let Settings { directory } = host.settings()?;
        fs::create_dir_all(&directory)?;
        Ok(Self { directory, writing: Mutex::new(()) })
    }
}

#[derive(Deserialize, JsonSchema)]
struct AppendParams {
    /// Letters, digits, `-` and `_`.
    #[schemars(length(min = 1, max = 64))]
    topic: String,
    /// Any JSON, at most 64 KiB of it.
    entry: Value,
}

#[derive(Deserialize, JsonSchema)]
struct TailParams {
    /// Letters, digits, `-` and `_`.
    #[schemars(length(min = 1, max = 64))]
    topic: String,
    /// The number of entries to return, 1 to 1000.
    #[serde(default = "default_entries")]
    #[schemars(range(min = 1, max = 1000))]
    entries: usize,
}

fn default_entries() -> usize {
    10
}

#[derive(Serialize, JsonSchema)]
struct Appended {
    /// Length of the journal in bytes, including this entry.
    length: u64,
}

impl Journal {
    fn append(&self, params: AppendParams) -> Result<Appended, Error> {
        let path = self.path_of(&params.topic)?;
        let mut line = serde_json::to_vec(&params.entry)?;
        if line.len() > ENTRY_MAX {
            return Err(Error::invalid_params("entry", "must not be longer than 65536 bytes of JSON"));
        }
        line.push(b'\n');

        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(&line)?;
        // The client may discard the entry once it has the reply, so the entry must be on disk.
        file.sync_data()?;
        Ok(Appended { length: file.metadata()?.len() })
    }

    fn tail(&self, params: TailParams) -> Result<Vec<Value>, Error> {
        if !(1..=1000).contains(&params.entries) {
            return Err(Error::invalid_params("entries", "must be 1 to 1000"));
        }
        let file = match File::open(self.path_of(&params.topic)?) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::new(UNKNOWN_TOPIC, format!("topic {:?} has no journal", params.topic)));
            }
            Err(error) => return Err(error.into()),
        };

        let mut last = std::collections::VecDeque::with_capacity(params.entries);
        for line in BufReader::new(file).lines() {
            if last.len() == params.entries {
                last.pop_front();
            }
            last.push_back(line?);
        }
        last.iter().map(|line| serde_json::from_str(line).map_err(Error::from)).collect()
    }

    /// Returns the path of a topic. A topic becomes a file name, so it must not contain anything
    /// that changes the directory.
    fn path_of(&self, topic: &str) -> Result<PathBuf, Error> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if topic.is_empty() || topic.len() > 64 || !topic.chars().all(is_plain) {
            return Err(Error::invalid_params("topic", "must be 1 to 64 letters, digits, - or _"));
        }
        Ok(self.directory.join(format!("{topic}.jsonl")))
    }
}

export_plugin!(Journal {
    /// Appends an entry to the journal of a topic.
    ///
    /// The entry is on the disk once the call is answered.
    "journal.append" => append [
        example({ "topic": "orders", "entry": { "order": 7, "paid": true } } => { "length": 24 }),
    ],
    /// Returns the last entries of a topic, the oldest first.
    "journal.tail" => tail [
        idempotent,
        errors(UNKNOWN_TOPIC = "the topic has no journal"),
        example({ "topic": "orders", "entries": 1 } => [{ "order": 7, "paid": true }]),
    ],
});

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::testing::Harness;
    use serde_json::json;

    use super::*;

    #[test]
    fn shows_calls_that_work() {
        let directory = std::env::temp_dir().join(format!("jackfield-journal-shown-{}", std::process::id()));
        let journal = Harness::<Journal>::start(json!({ "directory": directory })).unwrap();

        for method in ["journal.append", "journal.tail"] {
            let described = Harness::<Journal>::describe(method).unwrap();
            assert!(described.params.is_some() && described.result.is_some(), "{method}");
            for example in described.examples {
                assert_eq!(journal.call(method, example["params"].clone()).unwrap(), example["result"]);
            }
        }
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn appends_entries_and_returns_the_last_ones() {
        let directory = std::env::temp_dir().join(format!("jackfield-journal-{}", std::process::id()));
        let journal = Harness::<Journal>::start(json!({ "directory": directory })).unwrap();
        for n in 0..20 {
            journal.call("journal.append", json!({ "topic": "orders", "entry": { "n": n } })).unwrap();
        }
        let tail = journal.call("journal.tail", json!({ "topic": "orders", "entries": 2 })).unwrap();
        assert_eq!(tail, json!([{ "n": 18 }, { "n": 19 }]));
        assert_eq!(
            journal.call("journal.tail", json!({ "topic": "none" })).unwrap_err().code(),
            UNKNOWN_TOPIC
        );

        for topic in ["../etc/passwd", "", "a/b", "a.b"] {
            let error = journal.call("journal.append", json!({ "topic": topic, "entry": 1 })).unwrap_err();
            assert_eq!(error.code(), -32602);
        }
        fs::remove_dir_all(directory).unwrap();
    }
}
