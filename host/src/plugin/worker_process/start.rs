//! The start of a worker: opens and checks the plugin, lets it describe its methods, starts and
//! tests it, and reports each step.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::{HostCell, Instance, Root};
use jackfield_plugin_api::manifest::DeclaredMethod;

use super::super::async_executor::AsyncExecutor;
use super::super::blocking_pool::BlockingPool;
use super::super::plugin_thread::ThreadSpawner;
use super::outgoing_calls::OutgoingCalls;
use super::services::WorkerServices;
use super::target::{WorkerExecutor, WorkerTarget};
use super::worker_channel::WorkerChannel;
use crate::config::CrashConfig;
use crate::crash_record::{CrashRecord, WORKER_GENERATION};
use crate::host_thread::HostThread;
use crate::loader::{LoadError, LoadErrorReason, OpenLibrary, ProbeStep, description};
use crate::worker::message::WorkerMessage;
use crate::worker::spec::WorkerSpec;

/// A plugin that runs in this process.
pub(super) struct StartedPlugin {
    pub(super) target: Arc<WorkerTarget>,

    /// `None` if all methods are `async`.
    pub(super) pool: Option<BlockingPool<WorkerTarget>>,

    pub(super) executor: Arc<WorkerExecutor>,
}

/// The parts that exist before the instance. The threads are named after the plugin. The crash
/// record of this process shows for which call a thread runs.
pub(super) struct WorkerThreads {
    plugin: Arc<str>,
    crash_record: Arc<CrashRecord>,
    pub(super) executor: Arc<WorkerExecutor>,
}

impl WorkerThreads {
    /// # Errors
    ///
    /// There is no memory for the crash record.
    pub(super) fn new(plugin: &str) -> io::Result<Self> {
        let (plugin, crash_record) = (plugin.into(), CrashRecord::open(&CrashConfig::default())?);
        let spawner = spawner(&plugin, &crash_record);
        // The host ends a worker whose threads are stuck, so lost threads are not replaced here.
        let executor = Arc::new(AsyncExecutor::new(spawner, 0));
        Ok(Self { plugin, crash_record, executor })
    }

    /// Starts the threads for the methods of an instance.
    ///
    /// # Errors
    ///
    /// The system cannot start another thread.
    pub(super) fn run(
        self,
        instance: Instance,
        methods: &[DeclaredMethod],
        threads: usize,
        reply_limit: usize,
    ) -> Result<StartedPlugin, LoadError> {
        // An `inline` method runs on the pool, too: a worker has no I/O thread.
        let has_direct_methods = methods.iter().any(|method| method.run != Run::Async);
        let spawner = spawner(&self.plugin, &self.crash_record);
        // The queue of the host is the bounded one.
        let start_pool = || BlockingPool::start(spawner, threads, 0, usize::MAX);
        let pool = has_direct_methods.then(start_pool).transpose().map_err(|error| no_threads(&error))?;

        if methods.iter().any(|method| method.run == Run::Async) {
            let no_thread = |_| no_threads(&io::ErrorKind::WouldBlock.into());
            self.executor.ensure_thread().map_err(no_thread)?;
        }
        let target = Arc::new(WorkerTarget { instance, reply_limit });
        Ok(StartedPlugin { target, pool, executor: self.executor })
    }
}

fn spawner(plugin: &Arc<str>, crash_record: &Arc<CrashRecord>) -> ThreadSpawner {
    let (plugin, crash_record) = (Arc::clone(plugin), Arc::clone(crash_record));
    ThreadSpawner { plugin, generation: WORKER_GENERATION, crash_record }
}

fn no_threads(error: &io::Error) -> LoadError {
    LoadError::of_system(LoadErrorReason::NoResources, "cannot start its threads", error)
}

/// A plugin that is about to be started.
pub(super) struct Starting {
    pub(super) spec: WorkerSpec,

    /// The memory file with the plugin.
    pub(super) plugin: OwnedFd,

    /// The limits and rules that are enforced, and those that are not, as text.
    pub(super) enforced: String,

    pub(super) channel: Arc<WorkerChannel>,
    pub(super) nested: Arc<OutgoingCalls>,

    /// Takes the plugin before `Ready` is sent.
    pub(super) started: mpsc::SyncSender<StartedPlugin>,
}

impl Starting {
    /// Starts the plugin on a thread of its own, and reports `Ready`. If the plugin is refused,
    /// that thread calls `refuse`.
    ///
    /// # Errors
    ///
    /// The system cannot start another thread.
    pub(super) fn spawn(
        self,
        refuse: impl FnOnce(&WorkerChannel, &LoadError) + Send + 'static,
    ) -> Result<(), LoadError> {
        let thread = HostThread::spawn("start", move || {
            let Self { spec, plugin, enforced, channel, nested, started } = self;
            match start(&spec, plugin, &channel, nested) {
                Ok(plugin) => {
                    // If nothing receives it, the process ends.
                    let _ = started.send(plugin);
                    channel.send(&WorkerMessage::Ready { enforced: &enforced });
                }
                Err(error) => refuse(&channel, &error),
            }
        });
        thread.map(drop).map_err(|error| no_threads(&error))
    }
}

fn start(
    spec: &WorkerSpec,
    plugin: OwnedFd,
    channel: &Arc<WorkerChannel>,
    nested: Arc<OutgoingCalls>,
) -> Result<StartedPlugin, LoadError> {
    let begin = |step: ProbeStep| channel.send(&WorkerMessage::Step(&step.to_string()));
    begin(ProbeStep::Opening);
    // The code is never closed: the library stays open when this is dropped.
    let opened = OpenLibrary::open(plugin)?;

    begin(ProbeStep::Checking);
    let root = opened.root(&spec.manifest)?;

    if let Some(limit) = spec.describes_within {
        begin(ProbeStep::Describing);
        describe(root, spec.manifest.methods.len(), limit, channel)?;
    }

    begin(ProbeStep::Starting);
    let threads = WorkerThreads::new(&spec.plugin).map_err(|error| {
        LoadError::of_system(LoadErrorReason::NoResources, "cannot record which calls run", &error)
    })?;
    let services = WorkerServices {
        channel: Arc::clone(channel),
        nested,
        executor: Arc::clone(&threads.executor),
        log_level: spec.log_level,
    };
    let host = HostCell::new(Arc::new(services));
    let instance = Instance::start(&root, &host, spec.settings.get().as_bytes()).map_err(LoadError::from)?;

    begin(ProbeStep::Testing);
    instance.self_test().map_err(|failure| LoadError::self_test_failed(&failure))?;
    threads.run(instance, &spec.manifest.methods, spec.threads, spec.reply_limit)
}

/// Lets the plugin describe its methods.
///
/// # Errors
///
/// Some of its code does not return, so the plugin must not run in this process. The host starts
/// another one, which is not asked.
fn describe(root: Root, methods: usize, limit: Duration, channel: &WorkerChannel) -> Result<(), LoadError> {
    let mut report = |answer: description::PartAnswer<'_>| {
        let (is_known, text) = match answer {
            Ok(document) => (true, document),
            Err(why) => (false, why),
        };
        channel.send(&WorkerMessage::Described { is_known, text });
    };
    if description::ask(root, methods, limit, &mut report) {
        return Ok(());
    }
    let detail = "the description of its methods does not return";
    Err(LoadError::new(LoadErrorReason::ProbeTimedOut, detail))
}
