//! Unit tests of reloads, without processes, sockets and shared libraries.
//!
//! [`Fixture`] is a plugin owner with an invented plugin directory, a clock that tests move, and a
//! starter that makes generations of [`TestPlugin`](test_plugin::TestPlugin) instead of loading
//! code. Dispatcher, routing tables, generations and their retirement are the real ones.

mod contract;
mod decided;
mod directory;
mod ending;
mod events;
mod isolating;
mod large_directory;
mod loading;
mod plugin;
mod probing;
mod reconfiguring;
mod retiring;
mod rolling_back;
mod scanning;
mod shortage;
mod start_retry;
mod starting;
mod state;
mod stop_first;
mod test_plugin;
mod unavailable;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use self::directory::InventedDirectory;
use self::plugin::{Content, Contents, TestStarter};
use super::command::{CommandSender, ReloadCommand};
use super::directory_scan::{CompleteFiles, DirectoryScan, ScanTime};
use super::owner::PluginOwner;
use crate::admin::{PluginReloadResult, PluginStatus};
use crate::config::Config;
use crate::crash_record::CrashRecord;
use crate::decisions::test_support::MemoryState;
use crate::loader::{LoadError, LoadErrorReason};
use crate::plugin::test_support::{memory_crash_record, no_worker_program};
use crate::plugin::{Generation, GenerationFactory, IoThreadReplacer, NestedCaller};
use crate::routing::{ConnectionRules, Dispatcher};
use crate::sync::lock;

/// How long a test waits for a thread that retires a generation.
const LIMIT: Duration = Duration::from_secs(30);

/// A clock that stands still until a test moves it.
#[derive(Clone)]
struct TestClock(Arc<Mutex<ScanTime>>);

impl TestClock {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(ScanTime::now())))
    }

    fn now(&self) -> ScanTime {
        *lock(&self.0)
    }

    fn advance(&self, by: Duration) {
        let mut now = lock(&self.0);
        now.monotonic += by;
        now.wall += by;
    }
}

/// I/O threads that run no plugin code.
struct NoIoThreads;

impl IoThreadReplacer for NoIoThreads {
    fn replace_all(&self, _until: Instant) -> usize {
        0
    }
}

/// A plugin owner and what surrounds it.
struct Fixture {
    owner: PluginOwner,
    commands: Receiver<ReloadCommand>,
    directory: InventedDirectory,
    contents: Contents,
    clock: TestClock,
}

impl Fixture {
    fn new() -> Self {
        Self::with_config(Config::default())
    }

    fn with_config(config: Config) -> Self {
        Self::with_state(config, &MemoryState::default())
    }

    /// Returns a fixture whose decisions are kept in `state`.
    fn with_state(config: Config, state: &MemoryState) -> Self {
        Self::after_crashes(config, state, memory_crash_record())
    }

    /// Returns a fixture whose host has this crash record.
    fn after_crashes(config: Config, state: &MemoryState, record: Arc<CrashRecord>) -> Self {
        let clock = TestClock::new();
        let contents = Contents::default();
        let directory = InventedDirectory::new(contents.clone(), clock.clone());
        let scan = DirectoryScan::with_directory(PathBuf::from("plugins"), directory.opener());

        let dispatcher = Dispatcher::new(ConnectionRules::of(&config), Arc::clone(&record));
        let calls: Arc<dyn NestedCaller> = Arc::clone(&dispatcher) as _;
        let calls: Weak<dyn NestedCaller> = Arc::downgrade(&calls);
        let starter =
            TestStarter::new(GenerationFactory::new(calls, record, no_worker_program()), contents.clone());

        let (sender, commands) = CommandSender::channel();
        let mut owner = PluginOwner::with_parts(
            config,
            Arc::new(starter),
            scan,
            state.open(),
            &dispatcher,
            &sender,
            Arc::new(NoIoThreads),
        );
        let owner_clock = clock.clone();
        owner.clock = Box::new(move || owner_clock.now());
        owner.scan.open_current();

        Self { owner, commands, directory, contents, clock }
    }

    /// Puts a complete file into the directory and scans it.
    fn put(&mut self, file: &str, content: &Content) -> bool {
        self.directory.write(file, content);
        self.scan_complete(file)
    }

    /// Scans the directory, where this file is complete.
    fn scan_complete(&mut self, file: &str) -> bool {
        self.owner.scan_directory(CompleteFiles::Named(&[OsString::from(file)]))
    }

    /// Scans the directory without a hint.
    fn scan(&mut self) -> bool {
        self.owner.scan_directory(CompleteFiles::Named(&[]))
    }

    /// Removes a file from the directory and scans it, as an operator does.
    fn remove(&mut self, file: &str) {
        self.directory.remove(file);
        self.owner.scan_directory(CompleteFiles::All);
    }

    fn status(&self, plugin: &str) -> PluginStatus {
        let listed = self.owner.list().into_iter().find(|listed| listed.name == plugin);
        listed.unwrap_or_else(|| panic!("{plugin} is not listed"))
    }

    fn generation(&self, plugin: &str) -> Arc<Generation> {
        let table = self.owner.dispatcher.table.load();
        let found = table.generations().find(|generation| *generation.identity.plugin == *plugin);
        Arc::clone(found.unwrap_or_else(|| panic!("{plugin} is not routed")))
    }

    fn is_routed(&self, plugin: &str) -> bool {
        self.owner.dispatcher.table.load().plugins().iter().any(|routed| routed.name == plugin)
    }

    /// Asserts that this content serves, and that requests are routed to it.
    #[track_caller]
    fn assert_serves(&self, plugin: &str, content: &Content) {
        let status = self.status(plugin);
        let hash = content.hash().to_string();
        assert_eq!(status.hash.as_ref(), Some(&hash), "{status:?}");
        assert_eq!(self.generation(plugin).identity.hash, hash);
        assert_eq!(status.generation, Some(self.generation(plugin).identity.number));
    }

    /// Asserts that a plugin is listed with this refusal.
    #[track_caller]
    fn assert_refused(&self, plugin: &str, reason: LoadErrorReason) {
        let refused = self.status(plugin).refused;
        assert_eq!(refused.map(|refused| refused.reason).as_deref(), Some(reason.code()));
    }

    /// Executes commands until no retired generation is left.
    fn settle(&mut self) {
        while self.owner.slots.values().any(|slot| !slot.draining.is_empty()) {
            let command = self.commands.recv_timeout(LIMIT).expect("a generation is retired");
            self.owner.execute(command);
        }
    }

    /// Executes the next command.
    fn execute_next(&mut self) -> bool {
        let command = self.commands.recv_timeout(LIMIT).expect("a command");
        self.owner.execute(command)
    }

    /// Fails the probation of what serves, as the calls of its generation do.
    fn fail_probation(&mut self, plugin: &str) {
        let generation = self.generation(plugin);
        (0..self.owner.config.plugins.probation.failures).for_each(|_| generation.record_timeout(None));
        drop(generation);

        loop {
            let command = self.commands.recv_timeout(LIMIT).expect("the end of the probation");
            let is_over = matches!(command, ReloadCommand::ProbationEnded { .. });
            self.owner.execute(command);
            if is_over {
                return;
            }
        }
    }

    fn count(&self, name: &str) -> u64 {
        self.owner.dispatcher.metrics.snapshot().counts()[name]
    }
}

fn error(reason: LoadErrorReason) -> LoadError {
    LoadError::new(reason, "a test says so")
}

#[track_caller]
fn assert_result(result: &PluginReloadResult, refused: Option<LoadErrorReason>) {
    let reason = result.refused.as_ref().map(|refused| refused.reason.as_str());
    assert_eq!(reason, refused.map(LoadErrorReason::code), "{result:?}");
}
