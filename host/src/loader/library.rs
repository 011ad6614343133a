//! Opening and closing a plugin's code: `dlopen`, `dlsym`, `dlclose`. The only `unsafe` code of the host.
#![allow(unsafe_code, reason = "the dynamic loader: what it opens and gives is true only by these checks")]

use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::thread;

use jackfield_plugin_api::Manifest;
use jackfield_plugin_api::abi::{Root, RootError, root_symbol};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use super::load_error::{LoadError, LoadErrorReason};
use super::memory_map::{self, FileIdentity};
use super::{FileStamp, Inspection, KeptImage};

/// A plugin's code, open in this process.
///
/// Dropped without [`LoadedLibrary::close`], the code stays mapped for ever: that is always sound.
pub struct LoadedLibrary {
    /// The root module, its layout checked. Copies of it are good until [`LoadedLibrary::close`].
    pub root: Root,
    inspection: Inspection,
    opened: OpenLibrary,
    stamp: FileStamp,
    keep: bool,
}

/// What became of closed code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseOutcome {
    /// Nothing of it is mapped any more.
    Unloaded,
    /// It is still mapped, and why that may be so. It does no harm, but keeps its memory: its copy stays open.
    Retained(String),
}

impl std::fmt::Debug for LoadedLibrary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded").field("inspection", &self.inspection).finish_non_exhaustive()
    }
}

impl LoadedLibrary {
    /// What its file says of itself.
    #[must_use]
    pub fn inspection(&self) -> &Inspection {
        &self.inspection
    }

    /// Its content, to come back to it one day.
    ///
    /// # Errors
    /// There is no descriptor for it.
    pub fn kept(&self) -> Result<KeptImage, LoadError> {
        let Some((_, memfd, _)) = &self.opened.0 else {
            return Err(LoadError::new(LoadErrorReason::NoRootModule, "the library is closed"));
        };
        KeptImage::of(memfd.as_fd(), &self.inspection, self.stamp, self.keep)
    }

    /// Closes the code.
    ///
    /// By now, every [`Instance`](jackfield_plugin_api::abi::Instance) made from the root must have been stopped,
    /// every future of it dropped, and every thread that ran its code must have ended and been **joined**: a thread
    /// that used a thread-local of the plugin's (`thread::current()` is one) runs code of the plugin at its end.
    #[must_use]
    pub fn close(self) -> CloseOutcome {
        // `dlclose` would unmap code that a thread of the plugin's is about to run: nothing counts those threads.
        if self.keep {
            return CloseOutcome::Retained(
                "threads of it run on after its stop, as the probe has found".to_owned(),
            );
        }
        let root = self.root;
        // Without a thread to ask on, a key is lost, and noticed when there are few left.
        let asked = thread::Builder::new().name("keys".into()).spawn(move || root.thread_keys());
        let keys = asked.ok().and_then(|asked| asked.join().ok()).unwrap_or_default();
        let closed = self.opened.close();
        if closed == CloseOutcome::Unloaded {
            // SAFETY: the code has just gone, and by the terms of this function all threads that ran it.
            unsafe { keys.give_back() };
        }
        closed
    }
}

/// Opens the sealed copy behind `memfd`, and lets it through if it is the plugin that `inspection` describes.
/// With `keep`, its code is never unloaded.
pub(super) fn load(
    memfd: OwnedFd,
    inspection: Inspection,
    stamp: FileStamp,
    keep: bool,
) -> Result<LoadedLibrary, LoadError> {
    let opened = OpenLibrary::open(memfd)?;
    match opened.root(&inspection.manifest) {
        Ok(root) => Ok(LoadedLibrary { root, inspection, opened, stamp, keep }),
        Err(refused) => {
            // No instance was made and no thread started by us, so it can go; if it does not, it is harmless.
            if let CloseOutcome::Retained(why) = opened.close() {
                tracing::warn!(plugin = inspection.name, "refused code stays mapped: {why}");
            }
            Err(refused)
        }
    }
}

/// An open library and the memory file it was opened from.
///
/// `dlopen` knows a library by the name it was opened by, and by its inode. The name is `/proc/self/fd/N`: it means
/// another file once N is closed and used again, and would give the old code with every sign of success. So the
/// memory file stays open for as long as its code is mapped, and then N is no other file's.
pub(super) struct OpenLibrary(Option<(Library, OwnedFd, FileIdentity)>);

impl OpenLibrary {
    /// Opens the library; its constructors run.
    pub(super) fn open(memfd: OwnedFd) -> Result<Self, LoadError> {
        let name = format!("/proc/self/fd/{}", memfd.as_raw_fd());
        let identity = FileIdentity::of(memfd.as_fd()).map_err(|error| no_proof(&error))?;
        // All symbols are bound now: a missing one is an error here, not a dead process at the first call. LOCAL:
        // plugins do not see each other's symbols.
        // SAFETY: constructors are code like any other of the plugin's. They are trusted since the file came from a
        // directory that only root and our user can write; its structure has been checked, and a probe has run it.
        let library = unsafe { Library::open(Some(name), RTLD_NOW | RTLD_LOCAL) }
            .map_err(|error| LoadError::new(LoadErrorReason::LoadFailed, loader_words(&error)))?;
        Ok(Self(Some((library, memfd, identity))))
    }

    /// The root module of the code, once the code is proved to be that of the memory file, of our ABI, and the one
    /// that its manifest describes.
    pub(super) fn root(&self, manifest: &Manifest) -> Result<Root, LoadError> {
        let Some((library, _, identity)) = &self.0 else {
            return Err(LoadError::new(LoadErrorReason::NoRootModule, "the library is closed"));
        };
        // SAFETY: only the address is taken; what lies there is checked by `from_symbol`.
        let symbol = unsafe { library.get::<*const c_void>(root_symbol()) }
            .map_err(|error| LoadError::new(LoadErrorReason::NoRootModule, loader_words(&error)))?
            .as_raw_ptr()
            .cast_const();
        // Before anything of it is called. A library that came with it can have the symbol too.
        prove(symbol as usize, *identity)?;
        // SAFETY: the address of the symbol, and the library stays open in `self`: `LoadedLibrary::close` has the terms.
        let root = unsafe { Root::from_symbol(symbol) }.map_err(|error| {
            let reason = match error {
                RootError::Version { .. } => LoadErrorReason::ApiVersion,
                RootError::Header(_) | RootError::Layout(_) | RootError::Constructor(_) => {
                    LoadErrorReason::AbiMismatch
                }
            };
            LoadError::new(reason, error)
        })?;
        prove(root.code_address(), *identity)?;
        // Calls name a method by its number in the manifest: it must be the manifest of the code that runs.
        match Manifest::parse(&root.manifest()) {
            Ok(running) if running == *manifest => Ok(root),
            Ok(_) => Err(mismatch("its code gives another manifest than its file")),
            Err(error) => Err(mismatch(&error.to_string())),
        }
    }

    /// Closes the library, and looks whether it has gone.
    pub(super) fn close(mut self) -> CloseOutcome {
        let Some((library, memfd, identity)) = self.0.take() else { return CloseOutcome::Unloaded };
        // `dlclose` returns 0 also when it leaves everything in place, so the mappings are asked.
        let closed = library.close().map_err(|error| loader_words(&error));
        let why = match (closed, memory_map::has(identity)) {
            (Ok(()), Ok(false)) => return CloseOutcome::Unloaded,
            (Err(error), _) => error,
            (_, Err(error)) => format!("/proc/self/maps cannot be read: {error}"),
            (Ok(()), Ok(true)) => {
                "it started a thread that is not joined, keeps a thread-local with a destructor on \
                                   a living thread, or is linked so that it cannot be unloaded"
                    .to_owned()
            }
        };
        // Kept open for ever: see `OpenLibrary`.
        let _ = memfd.into_raw_fd();
        CloseOutcome::Retained(why)
    }
}

impl Drop for OpenLibrary {
    fn drop(&mut self) {
        // Unloading is `close`'s: it has terms that nobody has promised here.
        if let Some((library, memfd, _)) = self.0.take() {
            let _ = (library.into_raw(), memfd.into_raw_fd());
        }
    }
}

/// Whether `address` lies in a mapping of the very file that was to be opened.
fn prove(address: usize, identity: FileIdentity) -> Result<(), LoadError> {
    match memory_map::file_at(address).map_err(|error| no_proof(&error))? {
        Some(found) if found == identity => Ok(()),
        _ => {
            let detail = "the dynamic loader gave code of another file: one that is loaded has the same name";
            Err(LoadError::new(LoadErrorReason::StaleCode, detail))
        }
    }
}

fn no_proof(error: &std::io::Error) -> LoadError {
    LoadError::new(LoadErrorReason::StaleCode, format_args!("whose code it is cannot be told: {error}"))
}

fn mismatch(why: &str) -> LoadError {
    LoadError::new(LoadErrorReason::ManifestMismatch, why)
}

/// What `dlerror` said: libloading keeps it as the source of its error.
fn loader_words(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
