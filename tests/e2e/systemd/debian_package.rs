//! The Debian package: installed, started, replaced and removed on a temporary system.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::json;

use super::continuous_clients::ContinuousClients;
use super::machine::{Machine, SOCKET, missing};
use super::skipped;
use super::supervisor::socket_file_metadata;
use crate::support::build::{artifacts, root};
use crate::support::program::{command, finish, jackfield};
use crate::support::scratch::Scratch;
use crate::support::wait_until;

/// The plugin that an administrator installs.
const DEVICE: &str = "/usr/lib/jackfield/plugins/device.so";

/// Files of the package that users look for, in addition to the program.
const FILES: [&str; 13] = [
    "/etc/jackfield/config.toml",
    "/usr/lib/jackfield/examples/device.so",
    "/usr/lib/jackfield/plugins/README",
    "/usr/lib/systemd/system/jackfield.service",
    "/usr/lib/systemd/system/jackfield.socket",
    "/usr/lib/sysusers.d/jackfield.conf",
    "/usr/share/doc/jackfield/config.toml",
    "/usr/share/doc/jackfield/docs/operate.md",
    "/usr/share/man/man1/jackfield-serve.1.gz",
    "/usr/share/man/man5/jackfield-config.5.gz",
    "/usr/share/bash-completion/completions/jackfield",
    "/usr/share/zsh/site-functions/_jackfield",
    "/usr/share/fish/vendor_completions.d/jackfield.fish",
];

fn missing_for_package() -> Option<&'static str> {
    let programs = ["cargo-deb", "dpkg-deb", "deb-systemd-invoke"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_installed = |name: &&str| std::env::split_paths(&path).any(|place| place.join(name).exists());
    programs.into_iter().find(|name| !is_installed(name))
}

/// Builds the package from the binaries of the tests. One test at a time does, because the script
/// collects the files in a directory of the build.
fn package(to: &Path) -> PathBuf {
    static BUILD: Mutex<()> = Mutex::new(());
    let _building = BUILD.lock().unwrap_or_else(PoisonError::into_inner);
    let built = artifacts().program.parent().expect("a directory");

    let mut script = command("sh");
    script.arg(root().join("scripts/deb")).arg(built).arg(to).args(["device", "hello", "journal"]);
    let finished = finish(script.env_remove("CARGO_TARGET_DIR"));

    assert_eq!(finished.code, 0, "{finished:?}");
    let files = fs::read_dir(to).expect("the directory").flatten().map(|entry| entry.path());
    files.into_iter().find(|path| path.extension().is_some_and(|it| it == "deb")).expect("a package")
}

#[test]
fn installs_replaces_and_removes_the_debian_package() {
    if let Some(missing) = missing().or_else(missing_for_package) {
        return skipped("the Debian package", missing);
    }

    let scratch = Scratch::new();
    let package = package(scratch.path()).display().to_string();
    let machine = Machine::boot(&["sh", "-c", &format!("cp {package} $ROOT/jackfield.deb")]);

    machine.run_successfully(&["dpkg", "--install", "/jackfield.deb"]);
    for file in FILES {
        assert!(machine.path(file).exists(), "{file}");
    }

    wait_until("the service is ready", || machine.property("ActiveState") == "active");
    let info = machine.peer().result("system.info", &json!(null));
    let plugins = info["plugins"].as_array().expect("a list").iter().map(|plugin| plugin["name"].clone());
    assert_eq!(plugins.collect::<Vec<_>>(), [json!("system")], "clients cannot call the examples");

    machine.run_successfully(&["cp", "/usr/lib/jackfield/examples/device.so", DEVICE]);
    wait_until("the example is served", || is_served(&machine));
    let before = socket_file_metadata(&machine.path(SOCKET));
    for unit in ["jackfield.service", "jackfield.socket", "jackfield-admin.socket"] {
        assert_eq!(machine.run_successfully(&["systemctl", "is-enabled", unit]).trim(), "enabled");
    }

    // A newer package is installed while clients send requests. Changes of the administrator are
    // kept.
    machine.write("/etc/jackfield/config.toml", &format!("{}# ours\n", config(&machine)));
    let clients = ContinuousClients::start(&machine.path(SOCKET), 2);
    clients.wait_for(10);

    let process = machine.main_pid();
    machine.run_successfully(&["dpkg", "--force-confold", "--install", "/jackfield.deb"]);
    assert_ne!(machine.main_pid(), process);

    clients.wait_for(10);
    let tally = clients.stop();
    assert_eq!((tally.refused, tally.lost), (0, 0), "{tally:?}");

    assert_eq!(socket_file_metadata(&machine.path(SOCKET)), before, "the socket was not replaced");
    assert!(config(&machine).ends_with("# ours\n"));
    assert!(is_served(&machine), "a plugin of the administrator stays");

    machine.run_successfully(&["dpkg", "--remove", "jackfield"]);
    for path in ["/run/jackfield", "/usr/bin/jackfield"] {
        assert!(!machine.path(path).exists(), "{path}");
    }
    assert_eq!(
        machine.run_successfully(&["systemctl", "list-units", "--no-legend", "jackfield*"]).trim(),
        ""
    );
    assert!(
        machine.path("/etc/jackfield/config.toml").exists(),
        "the configuration stays until it is purged"
    );
    assert!(machine.path(DEVICE).exists(), "a plugin of the administrator stays");
    machine.run_successfully(&["rm", "-r", "/usr/lib/jackfield"]);
    machine.run_successfully(&["dpkg", "--purge", "jackfield"]);
    for place in ["/etc/jackfield", "/var/lib/jackfield", "/usr/lib/jackfield"] {
        assert!(!machine.path(place).exists(), "{place} remains");
    }
}

/// Turns a package into one of an earlier version, which had the example plugins in the plugin
/// directory and no preinst.
const MAKE_EARLIER: &str = "set -e; cd $1; dpkg-deb --raw-extract new.deb old; cd old
    mv usr/lib/jackfield/examples/*.so usr/lib/jackfield/plugins/; rm -r usr/lib/jackfield/examples
    rm usr/lib/jackfield/plugins/README; rm -f DEBIAN/preinst; rm -f DEBIAN/md5sums; sed -i 's/^Version: .*/Version: 0.0.1/' DEBIAN/control
    sed -i '/plugins/,/^done/d' DEBIAN/postinst; cd ..; dpkg-deb --build old old.deb";

#[test]
fn keeps_the_plugins_that_an_earlier_package_installed() {
    if let Some(missing) = missing().or_else(missing_for_package) {
        return skipped("the upgrade of an earlier Debian package", missing);
    }
    let scratch = Scratch::new();
    fs::rename(package(scratch.path()), scratch.join("new.deb")).expect("the package");
    let made = finish(command("sh").args(["-c", MAKE_EARLIER, "sh"]).arg(scratch.path()));
    assert_eq!(made.code, 0, "{made:?}");
    let copy = format!("cp {0}/new.deb {0}/old.deb $ROOT", scratch.path().display());
    let machine = Machine::boot(&["sh", "-c", &copy]);
    machine.run_successfully(&["dpkg", "--install", "/old.deb"]);
    wait_until("the service is ready", || machine.property("ActiveState") == "active");
    let before = fs::metadata(machine.path(DEVICE)).expect("the plugin").ino();
    let clients = ContinuousClients::start(&machine.path(SOCKET), 2);
    clients.wait_for(10);

    machine.run_successfully(&["dpkg", "--install", "/new.deb"]);

    clients.wait_for(10);
    let tally = clients.stop();
    assert_eq!((tally.refused, tally.lost), (0, 0), "{tally:?}");
    assert!(is_served(&machine));
    assert_eq!(fs::metadata(machine.path(DEVICE)).expect("the plugin").ino(), before, "it was never removed");
    assert_ne!(machine.run(&["dpkg", "--search", DEVICE]).code, 0, "it belongs to the administrator");
    assert_eq!(machine.run_successfully(&["dpkg-divert", "--list", "/usr/lib/jackfield/*"]).trim(), "");
    assert!(machine.path("/usr/lib/jackfield/examples/device.so").exists());
}

fn is_served(machine: &Machine) -> bool {
    machine.peer().call("device.list", &json!({})).json()["result"].is_object()
}

fn config(machine: &Machine) -> String {
    fs::read_to_string(machine.path("/etc/jackfield/config.toml")).expect("the configuration")
}

#[test]
fn installs_with_another_prefix() {
    let scratch = Scratch::new();
    let built = artifacts().program.parent().expect("a directory");
    let install = || {
        let mut script = command("sh");
        script.arg(root().join("scripts/install")).arg(built).arg("hello");
        script.env("DESTDIR", scratch.path()).env("PREFIX", "/opt/jf").env("SYSCONFDIR", "/opt/jf/etc");
        let installed = finish(&mut script);
        assert_eq!((installed.code, installed.stderr.as_str()), (0, ""), "{installed:?}");
    };

    install();

    let read = |path: &str| fs::read_to_string(scratch.join(path)).expect("the file is installed");
    let unit = read("opt/jf/lib/systemd/system/jackfield.service");

    for line in [
        "ExecStart=/opt/jf/bin/jackfield serve -c /opt/jf/etc/jackfield/config.toml",
        "ExecReload=/opt/jf/bin/jackfield reload --socket /run/jackfield/jackfield-admin.sock",
        "ExecPaths=/opt/jf/bin/jackfield /usr/lib /lib /lib64",
    ] {
        assert!(unit.lines().any(|other| other == line), "{line} in {unit}");
    }

    // The example plugins are not loaded, and plugins of the administrator stay.
    assert!(scratch.join("opt/jf/lib/jackfield/examples/hello.so").exists());
    let plugins = scratch.join("opt/jf/lib/jackfield/plugins");
    let names: Vec<_> =
        fs::read_dir(plugins).expect("the directory").flatten().map(|it| it.file_name()).collect();
    assert_eq!(names, ["README"]);
    assert!(read("opt/jf/share/man/man5/jackfield-config.5").contains(".B in_flight = 16384"));

    // The installed configuration is valid and contains the plugin directory.
    let file = "opt/jf/etc/jackfield/config.toml";
    assert!(read(file).contains("directory = \"/opt/jf/lib/jackfield/plugins\""));
    let checked = jackfield(scratch.path(), &["check", "-c", file]);
    assert_eq!(checked.code, 0, "{checked:?}");

    // The second installation keeps changes of the administrator.
    scratch.write(file, "# ours\n");
    install();
    assert_eq!(read(file), "# ours\n");
    let names = fs::read_dir(scratch.path()).expect("the directory").count();
    assert_eq!(names, 1, "no file is outside of the prefix");
}
