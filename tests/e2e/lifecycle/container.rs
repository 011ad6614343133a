//! The host under the conditions of `packaging/container`: process 1, no root, a read-only root
//! directory, a volume that containers share, and links to the configuration and the plugins.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use jackfield::config::parse_duration;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::build::{artifacts, root};
use crate::support::host::install;
use crate::support::log::Log;
use crate::support::program::{Finished, command, finish};
use crate::support::scratch::Scratch;
use crate::support::user::{OTHER_USER, is_root};
use crate::support::wait::{wait_for, wait_until};

/// User and group of the host: those of the Containerfile.
const HOST: [&str; 2] = ["10001", "33"];

/// User and group of PHP-FPM.
const PHP: [&str; 2] = ["33", "33"];

const UPDATE: [&str; 2] = ["device.status.update", r#"{"deviceId":"dev_123","status":"online"}"#];

/// Returns a file of `packaging/container`.
fn packaged(name: &str) -> String {
    fs::read_to_string(root().join("packaging/container").join(name)).expect("a packaged file")
}

/// Returns the configuration in the ConfigMap.
fn config_map() -> String {
    let text = packaged("kubernetes.yaml");
    let block = text.split("config.toml: |\n").nth(1).and_then(|rest| rest.split("---\n").next());
    let lines = block.expect("a configuration").lines();
    lines.map(|line| format!("{}\n", line.trim_start_matches("    "))).collect()
}

/// Returns the commands of health checks and probes: all lists that call `system.ping`.
fn probes() -> Vec<Vec<String>> {
    let text = packaged("Containerfile") + &packaged("kubernetes.yaml");
    let lists = text.split('[').filter_map(|rest| rest.split(']').next());
    let probes = lists.filter(|list| list.contains("system.ping"));
    probes.map(|list| list.split(", ").map(|word| word.trim_matches('"').to_owned()).collect()).collect()
}

/// A host in a container.
struct Container {
    _scratch: Scratch,
    outer: Child,
    log: Log,

    /// Process 1 of the container, by its id outside.
    first: u32,
}

impl Container {
    /// Starts a host with the plugin `device`. The volumes for sockets and state have this mode.
    fn start(mode: &str) -> Self {
        let scratch = Scratch::new();
        scratch.write("config.toml", config_map());
        scratch.directory("plugins");
        install(artifacts().library("device"), &scratch.join("plugins/device.so"));

        let mut outer = command("setpriv");
        // The container is killed with the thread that started it.
        outer.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh"]);
        outer.arg(root().join("tests/e2e/lifecycle/container.sh"));
        outer.arg(scratch.path()).arg(&artifacts().program).arg(mode);
        outer.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut outer = outer.spawn().expect("unshare starts");

        let log = Log::follow(outer.stderr.take().expect("its stderr is a pipe"));
        log.wait_for("\"ready on\"", |line| line.contains("ready on "));
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", outer.id()));
        let first = children.expect("the children of unshare").trim().parse().expect("one child");
        Self { _scratch: scratch, outer, log, first }
    }

    /// Returns the path outside of a path inside.
    fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.first))
    }

    /// Runs a command in the container as this user and group.
    fn run<A: AsRef<std::ffi::OsStr>>(&self, [user, group]: [&str; 2], args: &[A]) -> Finished {
        let mut inside = command("nsenter");
        inside.args(["--target", &self.first.to_string(), "--mount", "--pid", "--root", "--wd"]);
        inside.args(["--setuid", user, "--setgid", group, "--"]).args(args).stdin(Stdio::null());
        finish(&mut inside)
    }

    /// Sends a request over the volume that PHP-FPM shares.
    fn call_as(&self, user: [&str; 2], request: &[&str]) -> Finished {
        let call = ["/usr/bin/jackfield", "call", "--socket", "/client/jackfield.sock"];
        self.run(user, &[&call, request].concat())
    }

    /// Replaces the content of a volume as Kubernetes does: a new directory, to which `..data`
    /// points from one moment to the next.
    fn update(&self, volume: &str, write: impl FnOnce(PathBuf)) {
        let volume = self.path(volume);
        fs::create_dir(volume.join("..second")).expect("a directory");
        write(volume.join("..second"));
        symlink("..second", volume.join("..data_tmp")).expect("a link");
        fs::rename(volume.join("..data_tmp"), volume.join("..data")).expect("the link is replaced");
        fs::remove_dir_all(volume.join("..first")).expect("the old content is removed");
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The change of the user has removed the signal that process 1 gets from the kernel when
        // `unshare` ends. Process 1 takes all others of the container with it.
        if matches!(self.outer.try_wait(), Ok(None)) {
            let first = i32::try_from(self.first).ok().and_then(Pid::from_raw);
            let _ = first.map(|first| kill_process(first, Signal::KILL));
        }
        let _ = self.outer.kill();
        let _ = self.outer.wait();
        if std::thread::panicking() {
            eprintln!("--- the host's log ---\n{}", self.log.text());
        }
    }
}

#[test]
fn serves_php_in_a_container_with_a_read_only_root() {
    if !is_root("the host in a container") {
        return;
    }
    // The volumes as kubernetes.yaml prepares them, and where a policy forbids that.
    for mode in ["1777", "0777"] {
        let mut container = Container::start(mode);

        for probe in probes() {
            let probed = container.run(HOST, &probe);
            assert_eq!((probed.code, probed.stdout.trim()), (0, "\"pong\""), "{probe:?}: {probed:?}");
        }

        let called = container.call_as(PHP, &UPDATE);
        assert_eq!(called.code, 0, "{called:?}");
        let stranger = container.call_as([&OTHER_USER.to_string(), &OTHER_USER.to_string()], &UPDATE);
        assert!(stranger.stderr.contains("permission denied"), "{stranger:?}");

        let first = Pid::from_raw(i32::try_from(container.first).expect("an id")).expect("an id");
        kill_process(first, Signal::TERM).expect("the signal is sent");
        let ended = wait_for("the end of the container", || container.outer.try_wait().expect("our child"));
        assert_eq!(ended.code(), Some(0), "{}", container.log.text());
        assert!(container.log.text().contains("all requests answered"), "{}", container.log.text());
    }
}

#[test]
fn follows_updates_of_the_volumes_for_configuration_and_plugins() {
    if !is_root("updates of volumes") {
        return;
    }
    let container = Container::start("1777");

    container.update("/etc/jackfield", |directory| {
        let disabled = "\n[[route]]\nmethod = \"device.*\"\nplugin = \"device\"\nenabled = false\n";
        fs::write(directory.join("config.toml"), config_map() + disabled).expect("a configuration");
    });
    wait_until("the route is disabled", || container.call_as(PHP, &UPDATE).code != 0);

    container.update("/plugins", |directory| {
        for plugin in ["device", "hello"] {
            install(artifacts().library(plugin), &directory.join(format!("{plugin}.so")));
        }
    });
    symlink("..data/hello.so", container.path("/plugins/hello.so")).expect("a link");
    let greet = ["hello.greet", r#"{"name":"Ada"}"#];
    wait_until("the new plugin serves", || container.call_as(PHP, &greet).code == 0);

    let listed = container.run(HOST, &["/usr/bin/jackfield", "plugin", "list", "--json"]);
    assert!(listed.code == 0 && listed.stdout.contains("\"hello\""), "{listed:?}");
}

#[test]
fn packages_one_configuration_and_more_time_than_the_host_takes_to_end() {
    assert_eq!(config_map(), packaged("config.toml"));

    // Without timeouts.drain, its default is that of the commented configuration.
    let defaults = fs::read_to_string(root().join("config.toml")).expect("the defaults");
    let drain = defaults.split("\ndrain = \"").nth(1).and_then(|rest| rest.split('"').next());
    let needed = parse_duration(drain.expect("a default")).expect("a duration").as_secs() + 10;

    let number = |text: &str, key: &str| -> u64 {
        let value = text.split(key).nth(1).unwrap_or_else(|| panic!("no {key}")).trim_start();
        value.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a number")
    };
    assert!(number(&packaged("compose.yaml"), "stop_grace_period:") > needed);
    assert!(number(&packaged("kubernetes.yaml"), "terminationGracePeriodSeconds:") > needed);

    let [user, group] = HOST;
    assert!(packaged("Containerfile").contains(&format!("USER {user}:{group}\n")));
    assert!(packaged("compose.yaml").contains(&format!("user: \"{user}:{group}\"\n")));
    assert!(
        packaged("kubernetes.yaml")
            .contains(&format!("runAsUser: {user}\n            runAsGroup: {group}\n"))
    );
}
