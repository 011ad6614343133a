//! The part of a generation that runs its code in this process: the instance, its threads and the
//! library.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::{Instance, PluginFuture};
use jackfield_plugin_api::manifest::DeclaredMethod;

use super::async_executor::AsyncExecutor;
use super::blocking_pool::BlockingPool;
use super::call::{Call, CallTarget};
use super::plugin_thread::ThreadSpawner;
use super::pool_state::SubmitError;
use crate::config::PluginConfig;
use crate::loader::{KeptImage, LoadError, LoadedLibrary, VerifiedSignature};

/// Time that the threads of an instance that did not start have to end. They have no work.
const JOIN_LIMIT: Duration = Duration::from_secs(1);

/// The code of a generation in this process. The fields are dropped in this order.
pub(super) struct InProcess<G: CallTarget> {
    pub(super) instance: Instance,
    pub(super) threads: PluginThreads<G>,

    /// Joined threads of the generation that have not ended.
    pub(super) unended_threads: AtomicUsize,

    /// The code that everything above runs. `None` for a built-in plugin.
    pub(super) library: Option<LoadedLibrary>,
}

/// The ability of a generation to run calls, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RuntimeHealth {
    /// Threads that run calls past their deadline.
    pub(super) lost_threads: usize,

    /// Whether anything is left that runs `blocking` methods.
    pub(super) serves_blocking: bool,

    /// Whether anything is left that runs `async` methods.
    pub(super) serves_async: bool,
}

/// The threads of a generation in this process. They exist before its instance.
pub(super) struct PluginThreads<G: CallTarget> {
    /// `None` if all methods are `async`.
    pub(super) blocking_pool: Option<BlockingPool<G>>,

    /// The number of threads that the pool gets once any method runs as `blocking`.
    pub(super) blocking_threads: usize,

    pub(super) async_executor: Arc<AsyncExecutor<G>>,
}

impl<G: CallTarget> PluginThreads<G> {
    /// Starts the threads that the methods need.
    ///
    /// # Errors
    ///
    /// The system cannot start another thread.
    pub(super) fn start(
        spawner: impl Fn() -> ThreadSpawner,
        methods: &[DeclaredMethod],
        config: &PluginConfig,
    ) -> io::Result<Self> {
        let blocking_pool = start_blocking_pool(spawner(), methods, config)?;
        let async_executor = Arc::new(AsyncExecutor::new(spawner(), config.spare_threads));
        if methods.iter().any(|method| method.run == Run::Async) {
            // A failure is logged, and the first call tries again.
            let _ = async_executor.ensure_thread();
        }
        Ok(Self { blocking_pool, blocking_threads: config.threads, async_executor })
    }

    /// Joins the threads of an instance that was not started. Returns the number of threads that
    /// have not ended.
    pub(super) fn join_unused(self) -> usize {
        let until = Instant::now() + JOIN_LIMIT;
        self.async_executor.join(until) + self.blocking_pool.map_or(0, |pool| pool.join(until))
    }
}

/// Starts the pool for `blocking` methods, if there can be such methods.
fn start_blocking_pool<G: CallTarget>(
    spawner: ThreadSpawner,
    methods: &[DeclaredMethod],
    config: &PluginConfig,
) -> io::Result<Option<BlockingPool<G>>> {
    // An `inline` method may be demoted to a `blocking` one. The pool gets its threads then.
    if methods.iter().all(|method| method.run == Run::Async) {
        return Ok(None);
    }
    let has_blocking_methods = methods.iter().any(|method| method.run == Run::Blocking);
    let threads = if has_blocking_methods { config.threads } else { 0 };
    BlockingPool::start(spawner, threads, config.spare_threads, config.queue).map(Some)
}

impl<G: CallTarget> InProcess<G> {
    pub(super) fn new(threads: PluginThreads<G>, instance: Instance, library: Option<LoadedLibrary>) -> Self {
        Self { instance, threads, unended_threads: AtomicUsize::new(0), library }
    }

    /// Submits calls to the threads that run their methods. All of them must run in the way `run`.
    ///
    /// # Errors
    ///
    /// Why the first call that is left in `calls` was not accepted.
    pub(super) fn submit(
        &self,
        run: Run,
        calls: &mut impl ExactSizeIterator<Item = Arc<Call<G>>>,
    ) -> Result<(), SubmitError> {
        match (run, &self.threads.blocking_pool) {
            (Run::Async, _) => self.threads.async_executor.submit(calls),
            (_, Some(pool)) => pool.submit(calls),
            // Only a generation with nothing but `async` methods has no pool.
            (_, None) => Err(SubmitError::QueueFull),
        }
    }

    /// Continues a call whose future was started on another thread, on the async thread.
    ///
    /// # Errors
    ///
    /// There is no such thread. The future has been dropped.
    pub(super) fn resume(&self, call: &Arc<Call<G>>, future: PluginFuture) -> Result<(), SubmitError> {
        self.threads.async_executor.resume(call, future)
    }

    /// Starts the threads of the pool, so that `inline` methods can run as `blocking`. Returns
    /// `None` if there is no pool.
    pub(super) fn ensure_blocking_threads(&self) -> Option<io::Result<()>> {
        let PluginThreads { blocking_pool, blocking_threads, .. } = &self.threads;
        blocking_pool.as_ref().map(|pool| pool.ensure_threads(*blocking_threads))
    }

    /// Finds the threads of the pool that run calls past their deadline; replaces and reports them.
    pub(super) fn replace_lost_blocking(&self) {
        if let Some(pool) = &self.threads.blocking_pool {
            pool.replace_lost();
        }
    }

    /// As [`InProcess::replace_lost_blocking`], for all threads.
    pub(super) fn replace_lost(&self) {
        self.replace_lost_blocking();
        self.threads.async_executor.replace_lost();
    }

    /// Returns the number of threads of the pool that run calls past their deadline.
    pub(super) fn lost_blocking_threads(&self) -> usize {
        self.threads.blocking_pool.as_ref().map_or(0, |pool| pool.health().lost_threads)
    }

    pub(super) fn health(&self) -> RuntimeHealth {
        let pool = self.threads.blocking_pool.as_ref().map(BlockingPool::health);
        let executor = self.threads.async_executor.health();
        RuntimeHealth {
            lost_threads: pool.map_or(0, |pool| pool.lost_threads) + executor.lost_threads,
            serves_blocking: pool.is_none_or(|pool| pool.has_threads),
            serves_async: executor.has_thread,
        }
    }

    /// Returns why no thread is left that runs calls.
    pub(super) fn reason_without_threads(&self) -> &'static str {
        if self.threads.async_executor.health().has_thread {
            "every thread is stuck in a call past its deadline"
        } else {
            "the thread for async methods is stuck in a call past its deadline"
        }
    }

    /// Returns the signature of the plugin file, if keys were trusted when the file was loaded.
    pub(super) fn signature(&self) -> Option<VerifiedSignature> {
        self.library.as_ref().and_then(|library| library.inspection().signed)
    }

    /// Returns the content of the plugin file; `None` for a built-in plugin.
    pub(super) fn kept_image(&self) -> Option<Result<KeptImage, LoadError>> {
        self.library.as_ref().map(LoadedLibrary::keep_image)
    }

    /// Records that a joined thread which ran code of the generation has not ended. The code stays
    /// in the process.
    pub(super) fn record_unended_thread(&self) {
        self.unended_threads.fetch_add(1, Ordering::Relaxed);
    }
}
