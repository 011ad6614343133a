//! What plugins' code runs on which thread, kept where it outlives the process: for the next host to say what ran when
//! this one died, and to leave out a plugin that it died of too often.
//!
//! Files in the record's directory: `running` is mapped memory, a seat for each thread that runs plugins' code;
//! `names.json` says what its numbers stand for, written before a generation runs; `output` is what was written to stdout
//! and stderr; `deaths.json` is what is remembered from one host to the next. No part of it is meant to outlive the machine: nothing is synced.

mod crash_log;
mod mapping;
mod output_attribution;
mod post_mortem;
mod previous_host;
mod sampler;
mod slot;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use rustix::fs::{FallocateFlags, MemfdFlags, OFlags, fallocate, fcntl_setfl, memfd_create};

use crate::config::CrashConfig;
use crate::sync::lock;
use crash_log::CrashLog;
pub(crate) use crash_log::{Crash, Quarantined};
use mapping::{MappedWords, WORD};
pub(crate) use output_attribution::OutputAttribution;
pub(crate) use post_mortem::{CrashedCall, GenerationNames};
use post_mortem::{LAYOUT_NOW, MAGIC_WORD, PostMortem};
pub use previous_host::quarantined;
use previous_host::{inherit, remember};
pub(crate) use sampler::{RunningCall, RunningRequest, SlotSampler};
use slot::{FreeSlots, SEAT};
pub(crate) use slot::{RecordSlot, RunningCode, own_slot, paused, running};

/// Threads that can be told of; what more there are run unrecorded.
const SEATS: usize = 1024;
/// Words before the seats.
const HEADER: usize = SEAT;
/// Where each thing is in the header.
const MAGIC: usize = 0;
const LAYOUT: usize = 1;
/// 1 from the start of a host to its good end.
const SERVING: usize = 2;
/// Up to which byte the output was read.
const OUTPUT: usize = 3;
/// Bytes of the record.
const SIZE: usize = (HEADER + SEATS * SEAT) * WORD;

/// What runs beside a generation's methods, as a method of a number that none has.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(crate) enum LifecyclePhase {
    Start = u32::MAX,
    Stop = u32::MAX - 1,
    HandOver = u32::MAX - 2,
    TakeOver = u32::MAX - 3,
    Close = u32::MAX - 4,
}

impl LifecyclePhase {
    /// This of this generation.
    pub(crate) fn of(self, generation: u64) -> RunningCode {
        RunningCode::new(generation, self as u32)
    }
}

/// A method's name, or the errand's in parentheses.
fn method_name(number: u32, methods: &[String]) -> String {
    const ERRANDS: [(LifecyclePhase, &str); 5] = [
        (LifecyclePhase::Start, "(start)"),
        (LifecyclePhase::Stop, "(stop)"),
        (LifecyclePhase::HandOver, "(hand-over)"),
        (LifecyclePhase::TakeOver, "(take-over)"),
        (LifecyclePhase::Close, "(close)"),
    ];
    let errand = ERRANDS.iter().find(|(errand, _)| *errand as u32 == number).map(|(_, name)| *name);
    let method = usize::try_from(number).ok().and_then(|at| methods.get(at)).map(String::as_str);
    errand.or(method).map_or_else(|| format!("#{number}"), str::to_owned)
}

/// The record of one host.
pub(crate) struct CrashRecord {
    words: Arc<MappedWords>,
    free: Arc<FreeSlots>,
    generations: Mutex<BTreeMap<u64, GenerationNames>>,
    book: Mutex<CrashLog>,
    /// Where all of it is kept; `None` when it ends with the process.
    kept: Option<RecordDirectory>,
    limits: CrashConfig,
}

/// The record's directory, ours alone for as long as the file is locked.
struct RecordDirectory {
    directory: PathBuf,
    _locked: File,
}

/// A generation whose names the record knows; dropped, it forgets them.
pub(crate) struct RegisteredGeneration {
    crash_record: Arc<CrashRecord>,
    number: u64,
}

impl RegisteredGeneration {
    pub(crate) fn crash_record(&self) -> &CrashRecord {
        &self.crash_record
    }
}

impl Drop for RegisteredGeneration {
    fn drop(&mut self) {
        lock(&self.crash_record.generations).remove(&self.number);
    }
}

/// Writes a file whole, so that nobody finds half of it.
fn write_anew(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, content)?;
    fs::rename(&beside, path)
}

impl CrashRecord {
    /// Says what the host before left, judges it, and begins anew. Where no record can be kept, that is logged, and this
    /// one ends with the process.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(crate) fn open(limits: &CrashConfig) -> io::Result<Arc<Self>> {
        let opened = limits.record.as_ref().map(|directory| (directory, Self::keep(directory, limits)));
        let (words, kept, book) = match opened {
            Some((_, Ok((words, kept, book)))) => (words, Some(kept), book),
            Some((directory, Err(error))) => {
                let directory = directory.display();
                tracing::error!(%directory, %error, "no record can be kept: if the host dies, the next one will not know what ran");
                (MappedWords::in_memory(SIZE / WORD)?, None, CrashLog::default())
            }
            None => (MappedWords::in_memory(SIZE / WORD)?, None, CrashLog::default()),
        };
        words[MAGIC].store(MAGIC_WORD, Ordering::Relaxed);
        words[LAYOUT].store(LAYOUT_NOW, Ordering::Relaxed);
        words[SERVING].store(1, Ordering::Release);
        // The first ones first: their pages are there already.
        let free = (0..SEATS).rev().map(|number| HEADER + number * SEAT).collect();
        Ok(Arc::new(Self {
            words: Arc::new(words),
            free: Arc::new(Mutex::new(free)),
            generations: Mutex::default(),
            book: Mutex::new(book),
            kept,
            limits: limits.clone(),
        }))
    }

    fn keep(directory: &Path, limits: &CrashConfig) -> io::Result<(MappedWords, RecordDirectory, CrashLog)> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        if fs::metadata(directory)?.mode() & 0o022 != 0 {
            return Err(io::Error::other("others may write to the directory"));
        }
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let flags = i32::try_from(flags.bits()).unwrap_or(0);
        let mut file = options.custom_flags(flags).open(directory.join("running"))?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("running is no regular file"));
        }
        file.try_lock().map_err(|_| io::Error::other("another host keeps its record there"))?;
        let mut before = Vec::new();
        let written = directory.join("output");
        (&mut file).take(SIZE as u64 + 1).read_to_end(&mut before)?;
        let names = directory.join("names.json");
        let remains = post_mortem::read(&before, &names);
        if matches!(remains, PostMortem::Died(_)) {
            post_mortem::last_words(&before, &written).iter().for_each(|line| {
                tracing::error!("the host before wrote as it died: {line}");
            });
        }
        let book = inherit(directory, &remains, limits);
        file.set_len(0)?;
        file.set_len(SIZE as u64)?;
        // A page that a full disk has no room for would be a SIGBUS in the middle of a call.
        match fallocate(&file, FallocateFlags::empty(), 0, SIZE as u64) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.write_all(&vec![0; SIZE])?,
            allocated => allocated?,
        }
        write_anew(&names, b"{}")?;
        let words = MappedWords::of_file(&file, SIZE / WORD)?;
        Ok((words, RecordDirectory { directory: directory.to_owned(), _locked: file }, book))
    }

    /// The ends of it that is a good one: the next host finds nothing to tell of but what is remembered.
    pub(crate) fn close(&self) {
        self.words[SERVING].store(0, Ordering::Release);
        if let Some(kept) = &self.kept {
            for name in ["running", "names.json", "output"] {
                // One that is left says itself that the end was a good one.
                let _ = fs::remove_file(kept.directory.join(name));
            }
        }
    }

    /// Whether what it says outlives the process.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// The file that output goes into: empty, in the record's directory or, where there is none, in memory alone.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn output(&self) -> io::Result<File> {
        let Some(kept) = &self.kept else {
            let file = memfd_create("jackfield:output", MemfdFlags::CLOEXEC)?;
            fcntl_setfl(&file, OFlags::APPEND)?;
            return Ok(File::from(file));
        };
        let path = kept.directory.join("output");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        File::options().read(true).append(true).create_new(true).mode(0o600).open(path)
    }

    /// A seat for one more thread; `None` when there is none left, and then what it runs is not recorded.
    pub(crate) fn seat(&self) -> Option<RecordSlot> {
        RecordSlot::take(&self.words, &self.free)
    }

    /// The names of a generation of which something is about to run.
    pub(crate) fn know(self: &Arc<Self>, number: u64, names: GenerationNames) -> RegisteredGeneration {
        let mut generations = lock(&self.generations);
        generations.insert(number, names);
        if let Some(kept) = &self.kept {
            let path = kept.directory.join("names.json");
            let written = serde_json::to_vec(&*generations).map_err(io::Error::from);
            if let Err(error) = written.and_then(|names| write_anew(&path, &names)) {
                tracing::error!(file = %path.display(), %error, "if the host dies, what ran will have no names");
            }
        }
        RegisteredGeneration { crash_record: Arc::clone(self), number }
    }

    /// The names of a generation's plugin and of its method.
    pub(crate) fn names_of(&self, what: RunningCode) -> (String, String) {
        let generations = lock(&self.generations);
        let names = generations.get(&what.generation());
        let method = method_name(what.method(), names.map_or(&[], |names| &names.methods));
        (names.map_or_else(|| "?".to_owned(), |names| names.plugin.clone()), method)
    }

    /// Whether this content is left out, and why.
    pub(crate) fn left_out(&self, hash: &str) -> Option<Quarantined> {
        lock(&self.book).left_out(hash).cloned()
    }

    /// How many contents are left out.
    pub(crate) fn left_out_count(&self) -> usize {
        lock(&self.book).left_out.len()
    }

    /// The deaths of late, within the configured window before this host's start.
    pub(crate) fn deaths(&self) -> Vec<Crash> {
        lock(&self.book).deaths.clone()
    }

    /// By hand: this content is let in again, and the deaths in which it ran are forgotten.
    pub(crate) fn pardon(&self, hash: &str) {
        let mut book = lock(&self.book);
        if book.pardon(hash) {
            self.kept.iter().for_each(|kept| remember(&kept.directory, &book));
        }
    }

    /// After how many deaths a content is left out, and within which time.
    pub(crate) fn limits(&self) -> &CrashConfig {
        &self.limits
    }
}
