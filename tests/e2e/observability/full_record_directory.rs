//! A record directory whose file system becomes full: printing does not make calls fail.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::start_script::StartScript;
use crate::support::user::is_root;
use crate::support::{HostProcess, wait_until};

/// Starts a host whose record directory is a file system of `kib` KiB, of which `filled` KiB are
/// used already. `None` without root.
fn host(kib: u32, filled: u32) -> Option<HostProcess> {
    if !is_root("a record directory on a full file system") {
        return None;
    }
    let fill = format!("head -c {filled}k /dev/zero > run/recorder/filled");
    let mount =
        format!("mkdir -p run/recorder; mount -t tmpfs -o mode=700,size={kib}k tmpfs run/recorder; {fill}");
    Some(HostProcess::builder().plugin("prints").script(StartScript::in_mount_namespace(&mount)).start())
}

/// Returns the path of a file in the record directory of the host, as other processes see it.
fn in_record_directory(host: &HostProcess, name: &str) -> PathBuf {
    let path = host.path("run/recorder").join(name);
    PathBuf::from(format!("/proc/{}/root{}", host.pid(), path.display()))
}

/// Prints a line of 100,000 bytes with `println!`, which panics if it cannot write.
#[track_caller]
fn print_much(host: &HostProcess) {
    let reply = host.peer().call("prints.line_async", &json!("x".repeat(100_000)));
    assert_eq!(reply.result(), Value::Null);
}

/// Prints a line until it is logged: the rate limit drops lines of a second in which much was
/// written.
#[track_caller]
fn wait_until_logged(host: &HostProcess, line: &str) {
    wait_until(format!("the line {line:?} is logged"), || {
        assert_eq!(host.peer().call("prints.line_async", &json!(line)).result(), Value::Null);
        host.log_contains(&format!("jackfield::output: {line}"))
    });
}

#[test]
fn answers_calls_that_print_while_the_record_directory_is_full() {
    let Some(mut host) = host(8 * 1024, 0) else { return };
    wait_until_logged(&host, "on the disk");
    let output = in_record_directory(&host, "output");
    assert!(output.exists());

    let filler = in_record_directory(&host, "filler");
    let mut file = File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    print_much(&host);
    host.wait_for_log("KiB left; the output stays in memory");
    assert!(!output.exists());
    assert_eq!(host.peer().call("prints.much", &json!(8)).result(), Value::Null);
    wait_until("the output in memory is read", || host.count("output_dropped") > 15 << 20);
    wait_until_logged(&host, "in memory");

    drop(file);
    fs::remove_file(&filler).unwrap();
    host.wait_for_log("the output of plugins is kept in the record directory again");
    assert!(output.exists());
    wait_until_logged(&host, "on the disk again");
    host.terminate();
}

#[test]
fn starts_with_output_in_memory_if_the_record_directory_is_almost_full() {
    // The record of the threads has room, and the reserve of the output has none.
    let Some(host) = host(4 * 1024, 4 * 1024 - 256) else { return };

    assert_eq!(host.peer().call("prints.much", &json!(2)).result(), Value::Null);
    assert!(host.log_contains("KiB left; the output stays in memory"), "{}", host.log());
    assert!(!host.log_contains("cannot write the crash record"), "{}", host.log());
}
