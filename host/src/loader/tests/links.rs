//! Entries of the plugin directory that are symbolic links: accepted if they stay below it and
//! nobody else can change where they lead.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{chown, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::geteuid;

use super::super::{ContentHash, LoadErrorReason, PluginDirectory};
use super::image::Image;
use super::{Scratch, set_mode};

/// A user that is neither root nor the one that runs the tests.
const OTHER_USER: u32 = 54_321;

/// A scratch directory with the plugin directory `plugins` and the directory `outside`.
struct Plugins(Scratch);

impl Plugins {
    fn new() -> Self {
        let this = Self(Scratch::new());
        this.directory("");
        this.install("../outside/p.so");
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.0.join("plugins").join(name)
    }

    fn directory(&self, name: &str) {
        fs::create_dir_all(self.path(name)).unwrap();
        set_mode(&self.path(name), 0o755);
    }

    /// Writes a valid plugin file with mode 0644.
    fn install(&self, name: &str) {
        self.directory(Path::new(name).parent().and_then(Path::to_str).unwrap());
        fs::write(self.path(name), Image::default().bytes()).unwrap();
        set_mode(&self.path(name), 0o644);
    }

    /// Points a link at another target, by renaming a new link over it.
    fn link(&self, target: impl AsRef<Path>, name: &str) {
        symlink(target, self.path("new link")).unwrap();
        fs::rename(self.path("new link"), self.path(name)).unwrap();
    }

    fn open(&self) -> PluginDirectory {
        PluginDirectory::open(&self.path("")).unwrap()
    }

    /// Stages an entry, and checks that `stamp` refuses it for the same reason.
    #[track_caller]
    fn stage(&self, name: &str) -> Result<(), LoadErrorReason> {
        let directory = self.open();
        let stamped = directory.stamp(OsStr::new(name)).map(|_| ()).map_err(|refused| refused.reason);
        let staged = directory.stage(OsStr::new(name), &[]).map(|_| ()).map_err(|refused| refused.reason);
        assert_eq!(stamped, staged, "both make the same checks of {name}");
        staged
    }
}

/// The layout of a ConfigMap: each name is a link through `..data`, which is replaced as a whole.
#[test]
fn stages_files_that_are_replaced_together() {
    let plugins = Plugins::new();
    plugins.install("..1/libp.so");
    plugins.link("..1", "..data");
    plugins.link("..data/libp.so", "libp.so");
    let directory = plugins.open();
    let name = OsStr::new("libp.so");
    let staged = || directory.stage(name, &[]).unwrap().inspection;

    assert_eq!(directory.list().unwrap(), ["libp.so"]);
    assert_eq!(staged().hash, ContentHash::of(&Image::default().bytes()));
    assert_eq!(staged().file, plugins.path("libp.so"));

    let (before, own) = (directory.stamp(name).unwrap(), directory.own_stamp().unwrap());
    plugins.install("..2/libp.so");
    plugins.link("..2", "..data");
    fs::remove_dir_all(plugins.path("..1")).unwrap();

    assert_ne!(directory.stamp(name).unwrap(), before);
    assert_ne!(directory.own_stamp().unwrap(), own);
    assert_eq!(staged().hash, ContentHash::of(&Image::default().bytes()));
}

#[test]
fn accepts_links_that_stay_below_the_directory() {
    let plugins = Plugins::new();
    plugins.install("libp.so.1.2");
    plugins.install("a/b/p.so");
    plugins.link("b", "a/current");
    plugins.link("../libp.so.1.2", "a/up");

    for target in ["libp.so.1.2", "a/b/p.so", "./a//b/p.so", "a/current/p.so", "a/../a/b/../b/p.so", "a/up"] {
        plugins.link(target, "p.so");
        assert_eq!(plugins.stage("p.so"), Ok(()), "{target}");
    }
}

#[test]
fn refuses_links_that_leave_the_directory_or_lead_to_nothing() {
    let plugins = Plugins::new();
    plugins.install("file");
    plugins.directory("a");
    plugins.link("../..", "a/out");
    plugins.link("p.so", "loop");

    for target in [
        "../outside/p.so",
        "a/../../outside/p.so",
        "a/out/outside/p.so",
        // These return, but another directory decides where to.
        "../plugins/file",
        "a/out/plugins/file",
        plugins.path("file").to_str().unwrap(),
        "/proc/self/exe",
        "missing",
        "a/missing",
        "file/p.so",
        "loop",
        "..",
    ] {
        plugins.link(target, "p.so");
        assert_eq!(plugins.stage("p.so"), Err(LoadErrorReason::Symlink), "{target}");
    }
    for target in [".", "a", "a/.."] {
        plugins.link(target, "p.so");
        assert_eq!(plugins.stage("p.so"), Err(LoadErrorReason::NotARegularFile), "{target}");
    }
}

#[test]
fn refuses_a_link_if_others_can_change_where_it_leads() {
    let plugins = Plugins::new();
    plugins.install("a/b/p.so");
    plugins.link("a/b/p.so", "p.so");
    let set = |name: &str, mode: u32| set_mode(&plugins.path(name), mode);

    for directory in ["a", "a/b"] {
        // Even in a sticky directory, every user could add an entry.
        for mode in [0o775, 0o757, 0o1777] {
            set(directory, mode);
            assert_eq!(
                plugins.stage("p.so"),
                Err(LoadErrorReason::DirectoryWritable),
                "{directory} {mode:o}"
            );
        }
        set(directory, 0o755);
    }
    for (mode, reason) in [(0o664, LoadErrorReason::WritableByOthers), (0o4755, LoadErrorReason::SetId)] {
        set("a/b/p.so", mode);
        assert_eq!(plugins.stage("p.so"), Err(reason), "{mode:o}");
    }
    set("a/b/p.so", 0o644);

    fs::hard_link(plugins.path("a/b/p.so"), plugins.path("second-name")).unwrap();
    assert_eq!(plugins.stage("p.so"), Err(LoadErrorReason::HardLinked));
    fs::remove_file(plugins.path("second-name")).unwrap();
    assert_eq!(plugins.stage("p.so"), Ok(()));

    // The test would hang if the FIFO were opened without O_NONBLOCK.
    mknodat(CWD, plugins.path("fifo"), FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
    plugins.link("fifo", "fifo.so");
    assert_eq!(plugins.stage("fifo.so"), Err(LoadErrorReason::NotARegularFile));

    if !geteuid().is_root() {
        eprintln!("skipped, because it needs root: links, directories and files of another user");
        return;
    }
    lchown(plugins.path("p.so"), Some(OTHER_USER), None).unwrap();
    assert_eq!(plugins.stage("p.so"), Err(LoadErrorReason::WrongOwner), "the link");
    lchown(plugins.path("p.so"), Some(0), None).unwrap();
    for name in ["a", "a/b", "a/b/p.so"] {
        chown(plugins.path(name), Some(OTHER_USER), None).unwrap();
        assert_eq!(plugins.stage("p.so"), Err(LoadErrorReason::WrongOwner), "{name}");
        chown(plugins.path(name), Some(0), None).unwrap();
    }
    assert_eq!(plugins.stage("p.so"), Ok(()));
}

/// The mount point of a projected volume is sticky and writable for all.
#[test]
fn opens_the_directory_behind_a_link_in_a_sticky_directory_of_root() {
    let plugins = Plugins::new();
    plugins.install("..1/p.so");
    plugins.link("..1", "..data");
    set_mode(&plugins.path(""), 0o1777);
    if !geteuid().is_root() {
        eprintln!("skipped, because it needs root: a sticky directory of root");
        return;
    }

    let directory = PluginDirectory::open(&plugins.path("..data")).unwrap();
    assert_eq!(directory.list().unwrap(), ["p.so"]);
    let refused = PluginDirectory::open(&plugins.path("")).unwrap_err();
    assert_eq!(refused.reason, LoadErrorReason::DirectoryWritable);
    plugins.install("..2/p.so");
    plugins.link("..2", "..data");
    assert!(!directory.is_current());
}
