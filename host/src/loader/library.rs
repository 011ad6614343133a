//! Opens and closes the code of plugins: `dlopen`, `dlsym`, `dlclose`.
#![allow(
    unsafe_code,
    reason = "the dynamic loader takes and returns pointers that only these checks make valid"
)]

use std::ffi::c_void;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::time::{Duration, Instant};

use jackfield_plugin_api::Manifest;
use jackfield_plugin_api::abi::{C_SYMBOL, Root, RootError, root_symbol};
use jackfield_plugin_api::manifest::PluginAbi;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use super::backtrace;
use super::contract_cell::ContractCell;
use super::file_stamp::FileStamp;
use super::inspection::Inspection;
use super::load_error::{LoadError, LoadErrorReason};
use super::memory_map::{self, FileIdentity};
use super::staged::{KeptImage, StagedPlugin};
use super::static_tls;
use super::thread_keys::PluginKeys;
use crate::host_thread::HostThread;
use crate::log::printable;
use crate::system_failure::remedy_of_text;

/// Time for a thread to ask code for its keys. It is long, because the thread cannot start while
/// other code is loaded or unloaded.
const KEYS_LIMIT: Duration = Duration::from_secs(15);

/// The code of a plugin, open in this process.
///
/// If it is dropped without [`LoadedLibrary::close`], the code stays mapped forever, which is
/// always sound.
pub struct LoadedLibrary {
    /// The root module, whose layout was checked. Copies of it are valid until
    /// [`LoadedLibrary::close`].
    pub root: Root,

    inspection: Inspection,
    opened: OpenLibrary,
    stamp: FileStamp,
    stays_loaded: bool,
    contract: ContractCell,

    /// `None` if the thread that asked for the keys of the plugin did not end.
    keys: Option<PluginKeys>,
}

/// The result of closing code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseOutcome {
    /// No part of it is mapped any more.
    Unloaded,

    /// It is still mapped, for this reason. It is harmless, but its memory file stays open.
    Retained(String),
}

impl fmt::Debug for LoadedLibrary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadedLibrary").field("inspection", &self.inspection).finish_non_exhaustive()
    }
}

impl LoadedLibrary {
    /// Returns the declarations of the plugin file.
    #[must_use]
    pub fn inspection(&self) -> &Inspection {
        &self.inspection
    }

    /// Keeps the content for a rollback.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub fn keep_image(&self) -> Result<KeptImage, LoadError> {
        let Some((_, memfd, _)) = &self.opened.0 else {
            return Err(LoadError::new(LoadErrorReason::NoRootModule, "the library is already closed"));
        };
        KeptImage::new(memfd.as_fd(), &self.inspection, self.stamp, self.stays_loaded, &self.contract)
    }

    /// Closes the code.
    ///
    /// The caller must have stopped every [`Instance`](jackfield_plugin_api::abi::Instance) made
    /// from the root and dropped every future of it, and every thread that ran its code must have
    /// ended and been **joined**: a thread that used a thread-local of the plugin
    /// (`thread::current()` is one) runs code of the plugin at its end.
    #[must_use]
    pub fn close(self) -> CloseOutcome {
        self.close_after(|_| true)
    }

    /// Closes the code although threads that ran it live on, which do not run it any more.
    ///
    /// It stays if one of them may run it at its end: if it has a thread-local value with a
    /// destructor there, or may have a key of a library other than the standard one. Apart from
    /// these threads, the caller promises what [`LoadedLibrary::close`] requires.
    #[must_use]
    pub fn close_beside_threads(self) -> CloseOutcome {
        // SAFETY: by the caller's promise, no thread runs the code any more.
        self.close_after(|keys| unsafe { keys.disarm() })
    }

    /// Closes the code if `prepare` agrees.
    fn close_after(self, prepare: impl FnOnce(&PluginKeys) -> bool) -> CloseOutcome {
        // `dlclose` would unmap code that a thread of the plugin still runs. It does not count
        // threads.
        if self.stays_loaded {
            return CloseOutcome::Retained(
                "threads of the plugin run on after stop, as the probe found".to_owned(),
            );
        }
        let Some(keys) = self.keys else {
            return CloseOutcome::Retained("the thread that asks for its keys did not end".to_owned());
        };
        if !prepare(&keys) {
            return CloseOutcome::Retained(
                "a thread of the program ran its inline methods and lives on, and a library that was loaded since may \
                 have a thread-specific key with a destructor there"
                    .to_owned(),
            );
        }

        let outcome = self.opened.close();
        if outcome == CloseOutcome::Unloaded {
            // SAFETY: The code is unmapped. By the contract of this function, all threads that ran
            // it have ended, or the keys were disarmed.
            unsafe { keys.give_back() };
        }
        outcome
    }
}

/// Asks the plugin for the keys of its standard library, on a thread that has run none of its code.
///
/// If no thread can be started, the keys stay unknown. Returns `None` if the thread does not end.
fn with_own_keys(mut keys: PluginKeys, root: Root) -> Option<PluginKeys> {
    if let Ok(thread) = HostThread::spawn("keys", move || root.thread_keys()) {
        let own = thread.join_before(Instant::now() + KEYS_LIMIT).ok()?;
        keys.set_own(own.unwrap_or_default());
    }
    Some(keys)
}

impl StagedPlugin {
    /// Opens the copy in this process, and checks that it is the plugin that was inspected.
    ///
    /// Its constructors run here, so [`Prober::probe`](super::Prober::probe) comes first. Blocks
    /// for about as long as the constructors do.
    ///
    /// # Errors
    ///
    /// The process has no static thread-local storage left for it, the dynamic loader or the ABI
    /// check refuses it, or the running code is not the code of the copy. Nothing stays loaded, as
    /// far as the dynamic loader unloads it.
    pub fn load(self) -> Result<LoadedLibrary, LoadError> {
        let Self { inspection, stamp, memfd, stays_loaded, contract } = self;
        static_tls::count_load(&inspection)?;
        let keys = PluginKeys::before_load();
        let opened = OpenLibrary::open(memfd)?;

        match opened.root(&inspection.manifest) {
            Ok(root) => {
                let stays_loaded = stays_loaded.into_inner();
                let keys = with_own_keys(keys, root);
                Ok(LoadedLibrary { root, inspection, opened, stamp, stays_loaded, contract, keys })
            }
            Err(refused) => {
                // The host made no instance and started no thread, so the code can be closed. If it
                // stays mapped, it is harmless.
                if let CloseOutcome::Retained(why) = opened.close() {
                    let (plugin, shown) = (&inspection.name, printable(&why));
                    tracing::warn!(
                        plugin,
                        "plugin {plugin}: refused code could not be unloaded ({shown}); restart when convenient"
                    );
                }
                Err(refused)
            }
        }
    }
}

/// An open library and the memory file that it was opened from.
///
/// `dlopen` identifies a library by its inode and by the name it was opened by, here
/// `/proc/self/fd/N`. If N were closed and reused for another file, `dlopen` would return the old
/// code without an error. The memory file therefore stays open for as long as its code is mapped.
pub(crate) struct OpenLibrary(Option<(Library, OwnedFd, FileIdentity)>);

impl OpenLibrary {
    /// Opens the library; its constructors run.
    pub(crate) fn open(memfd: OwnedFd) -> Result<Self, LoadError> {
        let name = format!("/proc/self/fd/{}", memfd.as_raw_fd());
        let identity = FileIdentity::of(memfd.as_fd()).map_err(|error| unproven(&error))?;

        // NOW binds all symbols: a missing one is an error here instead of a crash at its first
        // call. LOCAL hides the symbols of a plugin from the others.
        //
        // SAFETY: Constructors are as trusted as all other code of the plugin. The file came from a
        // directory to which only root and the host's user can write, its structure was checked,
        // and a probe has run it.
        let library = unsafe { Library::open(Some(&name), RTLD_NOW | RTLD_LOCAL) }.map_err(|error| {
            let message = loader_message(&error);
            // The name is that of the copy, which tells the operator nothing.
            let message = message.strip_prefix(&format!("{name}: ")).unwrap_or(&message);
            let remedy = remedy_of_text(message).unwrap_or_default();
            let detail = format!("the dynamic loader cannot open the file: {message}{remedy}");
            LoadError::new(LoadErrorReason::LoadFailed, detail)
        })?;
        Ok(Self(Some((library, memfd, identity))))
    }

    /// Returns the root module, after it was proved that the code is that of the memory file, has
    /// this host's ABI, and has the manifest of its file.
    pub(crate) fn root(&self, manifest: &Manifest) -> Result<Root, LoadError> {
        let Some((library, memfd, identity)) = &self.0 else {
            return Err(LoadError::new(LoadErrorReason::NoRootModule, "the library is already closed"));
        };

        let name = match manifest.abi {
            None => root_symbol(),
            Some(PluginAbi::C) => C_SYMBOL,
        };
        // SAFETY: Only the address of the symbol is used; what it points to is checked next.
        let symbol = unsafe { library.get::<*const c_void>(name) }
            .map_err(|error| {
                let detail = format!("the dynamic loader finds no root module: {}", loader_message(&error));
                LoadError::new(LoadErrorReason::NoRootModule, detail)
            })?
            .as_raw_ptr()
            .cast_const();
        // Checked before any of it is called: a needed library can export the same symbol.
        prove_origin(symbol as usize, *identity)?;

        // SAFETY: `symbol` is the address of the symbol that the manifest stands for. The library
        // stays open in `self`; `LoadedLibrary::close` states the conditions for closing it.
        let root = unsafe {
            match manifest.abi {
                None => Root::from_symbol(symbol),
                Some(PluginAbi::C) => Root::from_c_symbol(symbol),
            }
        };
        let root = root.map_err(|error| {
            let reason = match error {
                RootError::Version { .. } => LoadErrorReason::ApiVersion,
                RootError::Header(_)
                | RootError::Layout(_)
                | RootError::Constructor(_)
                | RootError::Table(_) => LoadErrorReason::AbiMismatch,
            };
            LoadError::new(reason, error)
        })?;
        prove_origin(root.code_address(), *identity)?;
        backtrace::register(*identity, memfd).map_err(|error| unproven(&error))?;

        // Calls name a method by its number in the manifest, so the running code must have the same
        // manifest as the file.
        match Manifest::parse(&root.manifest()) {
            Ok(running) if running == *manifest => Ok(root),
            Ok(_) => Err(manifest_mismatch(
                "the code returns another manifest than the file contains; build the file again",
            )),
            Err(error) => Err(manifest_mismatch(&format!("the code returns an invalid manifest: {error}"))),
        }
    }

    /// Closes the library, and checks whether it was unmapped.
    pub(super) fn close(mut self) -> CloseOutcome {
        let Some((library, memfd, identity)) = self.0.take() else { return CloseOutcome::Unloaded };
        backtrace::unregister(identity);

        // `dlclose` returns 0 even if it unmaps nothing, so the mappings are checked.
        let closed = library.close().map_err(|error| loader_message(&error));
        let why = match (closed, memory_map::is_mapped(identity)) {
            (Ok(()), Ok(false)) => return CloseOutcome::Unloaded,
            (Err(error), _) => error,
            (_, Err(error)) => format!("cannot read /proc/self/maps: {error}"),
            (Ok(()), Ok(true)) => {
                "it started a thread that was not joined, has a thread-local value with a destructor on a living \
                 thread, or was linked so that it cannot be unloaded"
                    .to_owned()
            }
        };

        // The memory file stays open for as long as the code is mapped: see `OpenLibrary`.
        let _ = memfd.into_raw_fd();
        CloseOutcome::Retained(why)
    }
}

impl Drop for OpenLibrary {
    fn drop(&mut self) {
        // Dropping does not unload: nobody has promised here that the conditions of `close` hold.
        if let Some((library, memfd, _)) = self.0.take() {
            let _ = (library.into_raw(), memfd.into_raw_fd());
        }
    }
}

/// Checks that `address` lies in a mapping of the file that was opened.
fn prove_origin(address: usize, identity: FileIdentity) -> Result<(), LoadError> {
    match memory_map::file_at(address).map_err(|error| unproven(&error))? {
        Some(found) if found == identity => Ok(()),
        _ => {
            let detail = "the dynamic loader returned code of another file: one with the same name is loaded, or a \
                          required library is a plugin, too; do not link plugins against each other";
            Err(LoadError::new(LoadErrorReason::StaleCode, detail))
        }
    }
}

fn unproven(error: &std::io::Error) -> LoadError {
    let detail = format_args!("cannot determine to which file the loaded code belongs: {error}");
    LoadError::new(LoadErrorReason::StaleCode, detail)
}

fn manifest_mismatch(why: &str) -> LoadError {
    LoadError::new(LoadErrorReason::ManifestMismatch, why)
}

/// Returns the message of `dlerror`, which libloading keeps as the source of its error.
fn loader_message(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
