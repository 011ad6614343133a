//! The crash record of this host: it hands out record slots and knows the names of the generations.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use super::crash_log::{Crash, CrashLog, Quarantined};
use super::generation_names::{GenerationNames, NameTable};
use super::layout::{
    HEADER_MAGIC, HEADER_OUTPUT, HEADER_SERVING, HEADER_VERSION, LAYOUT_VERSION, MAGIC, RECORD_WORDS,
    SLOT_COUNT, slot_start,
};
use super::mapping::MappedWords;
use super::previous_host;
use super::record_directory::{RecordDirectory, RecordFile};
use super::running_code::RunningCode;
use super::sampler::RunningCall;
use super::slot::{FreeSlots, RecordSlot};
use crate::config::{CrashAction, CrashConfig};
use crate::log::printable;
use crate::sync::lock;
use crate::system_failure::WithRemedy;

/// The crash record of one host.
pub(crate) struct CrashRecord {
    words: Arc<MappedWords>,
    free_slots: Arc<FreeSlots>,
    names: Mutex<NameTable>,
    crash_log: Mutex<CrashLog>,

    /// Where the record is kept; `None` if it ends with the process.
    directory: Option<RecordDirectory>,

    limits: CrashConfig,
}

/// A generation whose names the record knows until this is dropped.
pub(crate) struct RegisteredGeneration {
    record: Arc<CrashRecord>,
    number: u64,
}

impl RegisteredGeneration {
    /// Returns the record in which the generation is registered.
    pub(crate) fn crash_record(&self) -> &CrashRecord {
        &self.record
    }
}

impl Drop for RegisteredGeneration {
    fn drop(&mut self) {
        lock(&self.record.names).remove(self.number);
    }
}

impl CrashRecord {
    /// Examines the record of the previous host and starts a new one.
    ///
    /// If the record cannot be kept in its directory, the reason is logged, and the record ends
    /// with the process.
    ///
    /// # Errors
    ///
    /// There is no memory for the record.
    pub(crate) fn open(limits: &CrashConfig) -> io::Result<Arc<Self>> {
        let kept = limits.record.as_ref().and_then(|path| {
            let log_error = |error: &io::Error| {
                let error = WithRemedy(error);
                let directory = path.display().to_string();
                let shown = printable(&directory);
                tracing::error!(
                    %directory,
                    %error,
                    "cannot write the crash record in {shown}: {error}; after a crash the next host cannot report \
                     what ran (see plugins.crash.record)"
                );
            };
            open_in_directory(path, limits).inspect_err(log_error).ok()
        });
        let (words, crash_log, directory) = match kept {
            Some((words, crash_log, directory)) => (words, crash_log, Some(directory)),
            None => (MappedWords::in_memory(RECORD_WORDS)?, CrashLog::default(), None),
        };

        words[HEADER_MAGIC].store(MAGIC, Ordering::Relaxed);
        words[HEADER_VERSION].store(LAYOUT_VERSION, Ordering::Relaxed);
        words[HEADER_SERVING].store(1, Ordering::Release);

        Ok(Arc::new(Self {
            words: Arc::new(words),
            // Taken from the end: the first slots come first, because their pages are in memory.
            free_slots: Arc::new(Mutex::new((0..SLOT_COUNT).rev().map(slot_start).collect())),
            names: Mutex::default(),
            crash_log: Mutex::new(crash_log),
            directory,
            limits: limits.clone(),
        }))
    }

    /// Records a regular end, and removes the record from its directory. The crash log stays.
    pub(crate) fn close(&self) {
        self.words[HEADER_SERVING].store(0, Ordering::Release);
        if let Some(directory) = &self.directory {
            directory.remove_record();
        }
    }

    /// Returns whether the record outlives the process.
    pub(crate) fn is_persistent(&self) -> bool {
        self.directory.is_some()
    }

    /// Returns the record directory; `None` if the record ends with the process.
    pub(crate) fn directory(&self) -> Option<&Path> {
        self.directory.as_ref().map(RecordDirectory::path)
    }

    /// Creates an empty file for the output of the process in the record directory; `None` if there
    /// is no directory.
    ///
    /// # Errors
    ///
    /// The file cannot be created.
    pub(crate) fn create_output(&self) -> io::Result<Option<File>> {
        self.directory.as_ref().map(RecordDirectory::create_output).transpose()
    }

    /// Removes the file for the output from the record directory.
    pub(crate) fn remove_output(&self) {
        if let Some(directory) = &self.directory {
            directory.remove(RecordFile::Output);
        }
    }

    /// Records that the output up to this offset is in the log. After a crash, the next host logs
    /// the rest.
    pub(super) fn set_logged_output(&self, offset: u64) {
        self.words[HEADER_OUTPUT].store(offset, Ordering::Relaxed);
    }

    /// Claims a slot for one more thread; `None` if all are taken, and then the thread's code is
    /// not recorded.
    pub(crate) fn claim_slot(&self) -> Option<RecordSlot> {
        RecordSlot::claim(&self.words, &self.free_slots)
    }

    /// Reads one of the [`SLOT_COUNT`] slots.
    pub(super) fn sample(&self, slot: usize) -> RunningCall {
        RunningCall::read(&self.words, slot_start(slot))
    }

    /// Registers the names of a generation. It must happen before code of the generation runs.
    pub(crate) fn register(self: &Arc<Self>, number: u64, names: GenerationNames) -> RegisteredGeneration {
        let mut table = lock(&self.names);
        table.insert(number, names);
        if let Some(directory) = &self.directory {
            let path = directory.path_of(RecordFile::Names);
            if let Err(error) = table.write(&path) {
                let file = path.display().to_string();
                let shown = printable(&file);
                tracing::error!(
                    %file,
                    %error,
                    "cannot write {shown}: {error}; after a crash, plugins appear without names"
                );
            }
        }
        RegisteredGeneration { record: Arc::clone(self), number }
    }

    /// Returns the names of the plugin and the method of running code.
    pub(crate) fn names_of(&self, code: RunningCode) -> (String, String) {
        lock(&self.names).names_of(code)
    }

    /// The names of all registered generations.
    pub(super) fn names(&self) -> &Mutex<NameTable> {
        &self.names
    }

    /// Returns why this content causes crashes, if it does.
    pub(crate) fn quarantined(&self, hash: &str) -> Option<Quarantined> {
        lock(&self.crash_log).quarantined(hash).cloned()
    }

    /// Returns the number of quarantined contents.
    pub(crate) fn quarantined_count(&self) -> usize {
        match self.limits.action {
            CrashAction::Quarantine => lock(&self.crash_log).quarantined.len(),
            // They are loaded, and run in workers.
            CrashAction::Worker => 0,
        }
    }

    /// Returns the crashes within the configured window before this host started.
    pub(crate) fn crashes(&self) -> Vec<Crash> {
        lock(&self.crash_log).crashes.clone()
    }

    /// Ends the quarantine of a content for an operator, and removes the crashes in which it ran.
    pub(crate) fn clear(&self, hash: &str) {
        let mut log = lock(&self.crash_log);
        if log.clear(hash)
            && let Some(directory) = &self.directory
        {
            previous_host::write_crash_log(directory.path(), &log);
        }
    }

    /// Returns after how many crashes a content is quarantined, and within which time.
    pub(crate) fn limits(&self) -> &CrashConfig {
        &self.limits
    }
}

fn open_in_directory(
    path: &Path,
    limits: &CrashConfig,
) -> io::Result<(MappedWords, CrashLog, RecordDirectory)> {
    let mut directory = RecordDirectory::open(path)?;
    let crash_log = previous_host::examine(&mut directory, limits)?;
    let words = directory.create_record()?;

    Ok((words, crash_log, directory))
}
