//! A journal whose socket is in a directory of the test.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;

/// The receiving side of a journal. Its socket is removed when it is dropped.
struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    fn bind(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("jackfield-journal-{name}-{}", std::process::id()));
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, path }
    }

    fn layer(&self) -> (JournalLayer, RateLimiter) {
        let limiter = RateLimiter::default();
        (JournalLayer::connect_to(&self.path, limiter.clone()).unwrap(), limiter)
    }

    /// Returns the fields of the next line; `None` if no line is queued.
    fn receive(&self) -> Option<Vec<(String, String)>> {
        let mut datagram = vec![0; 1 << 16];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [io::IoSliceMut::new(&mut datagram)];
        let length = match recvmsg(&self.socket, &mut into, &mut control, RecvFlags::empty()) {
            Ok(received) => received.bytes,
            Err(error) => {
                assert_eq!(error, Errno::AGAIN);
                return None;
            }
        };

        datagram.truncate(length);
        for message in control.drain() {
            let RecvAncillaryMessage::ScmRights(mut files) = message else { panic!("no file") };
            let file = File::from(files.next().unwrap());
            assert!(file.write_at(b"x", 0).is_err(), "the file is sealed");
            datagram.resize(usize::try_from(file.metadata().unwrap().len()).unwrap(), 0);
            file.read_exact_at(&mut datagram, 0).unwrap();
        }
        Some(fields(&datagram))
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn fields(mut bytes: &[u8]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let name_end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        let (name, rest) = bytes.split_at(name_end);
        let (length, rest) = rest[1..].split_first_chunk().unwrap();
        let (value, rest) = rest.split_at(usize::try_from(u64::from_le_bytes(*length)).unwrap());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        fields.push((text(name), text(value)));
        bytes = rest.strip_prefix(b"\n").unwrap();
    }
    fields
}

/// Returns the value of the field `name`.
fn value<'f>(fields: &'f [(String, String)], name: &str) -> &'f str {
    let field = fields.iter().find(|(field, _)| field == name);
    &field.unwrap_or_else(|| panic!("no {name} in {fields:?}")).1
}

#[test]
fn writes_the_fields_of_a_line_under_the_names_of_the_journal() {
    let journal = Journal::bind("fields");
    let (layer, _) = journal.layer();
    assert_eq!(journal.receive(), Some(Vec::new()), "the check at the start");

    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        tracing::warn!(target: "a::b", plugin = "device", count = 7, error.code = ?Some(1), "two words");
    });

    let line = journal.receive().unwrap();
    let names: Vec<_> = line.iter().map(|(name, _)| name.as_str()).collect();
    let metadata = ["PRIORITY", "TARGET", "CODE_FILE", "CODE_LINE", "SYSLOG_IDENTIFIER", "MESSAGE"];
    assert_eq!(names[..6], metadata);
    assert_eq!(names[6..], ["JACKFIELD_PLUGIN", "JACKFIELD_COUNT", "JACKFIELD_ERROR_CODE"]);
    assert_eq!(value(&line, "PRIORITY"), "4");
    assert_eq!((value(&line, "TARGET"), value(&line, "MESSAGE")), ("a::b", "two words"));
    assert!(value(&line, "CODE_FILE").ends_with("journal/tests.rs"));
    assert!(value(&line, "CODE_LINE").parse::<u32>().is_ok());
    assert_eq!(value(&line, "JACKFIELD_COUNT"), "7");
    assert_eq!(value(&line, "JACKFIELD_ERROR_CODE"), "Some(1)");
}

#[test]
fn drops_and_counts_lines_while_the_journal_does_not_read() {
    const LINES: u64 = 2000;
    let journal = Journal::bind("stalled");
    let (layer, limiter) = journal.layer();

    let started = Instant::now();
    for number in 0..LINES {
        let mut line = EncodedFields::default();
        line.add("MESSAGE", &number.to_string());
        layer.journal.write(&line.bytes);
    }
    let elapsed = started.elapsed();

    let dropped = limiter.stall_dropped_lines();
    assert!(dropped > 0 && elapsed < Duration::from_secs(10), "{dropped} dropped in {elapsed:?}");
    assert_eq!(journal.receive(), Some(Vec::new()), "the check at the start");
    let received = std::iter::from_fn(|| journal.receive()).collect::<Vec<_>>();
    assert_eq!(received.len() as u64 + dropped, LINES);
    for (number, line) in received.iter().enumerate() {
        assert_eq!(value(line, "MESSAGE"), number.to_string());
    }

    // The journal reads again.
    let mut line = EncodedFields::default();
    line.add("MESSAGE", "after it");
    layer.journal.write(&line.bytes);
    assert_eq!(journal.receive(), Some(vec![("MESSAGE".to_owned(), "after it".to_owned())]));
    assert_eq!(limiter.stall_dropped_lines(), dropped);
}

#[test]
fn sends_a_long_line_in_a_sealed_file() {
    let journal = Journal::bind("long");
    let (layer, limiter) = journal.layer();
    journal.receive();
    let long = "long ".repeat(1 << 20);
    let mut line = EncodedFields::default();
    line.add("MESSAGE", &long);

    layer.journal.write(&line.bytes);

    assert!(journal.receive().unwrap() == [("MESSAGE".to_owned(), long)]);
    assert_eq!(limiter.stall_dropped_lines(), 0);
}

#[test]
fn counts_lines_while_the_journal_is_being_restarted() {
    let journal = Journal::bind("restarted");
    let (layer, limiter) = journal.layer();
    drop(journal);

    layer.journal.write(b"MESSAGE=lost\n");
    assert_eq!(limiter.stall_dropped_lines(), 1);

    let journal = Journal::bind("restarted");
    layer.journal.write(&[]);
    assert_eq!(journal.receive(), Some(Vec::new()));
    assert!(JournalLayer::connect_to(Path::new("/nowhere/at/all"), limiter).is_err());
}
