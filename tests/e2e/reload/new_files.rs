//! Files that are put into the plugin directory in all the ways in which programs write: each is
//! loaded once, when it is complete.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{FILE, Image, Operator, in_plugins, number, put, wait_until_number, with_first, write};
use crate::support::host::install;
use crate::support::program::command;
use crate::support::{HostProcess, wait_until};

/// Number of copies that the host sees incomplete.
const SLOW_COPIES: u32 = 20;

/// Runs a program with two paths.
#[track_caller]
fn run(program: &str, from: &Path, to: &Path) {
    let done = command(program).arg(from).arg(to).status().expect("the program runs");
    assert!(done.success(), "{program}: {done}");
}

/// Waits until the directory was scanned after this call: adds a plugin that is the last one by
/// name, waits until it serves, and removes it.
#[track_caller]
fn wait_for_directory_scan(host: &HostProcess, operator: &mut Operator) {
    put(&host.path("plugins"), &Image::of("hello").0, "libzz.so");
    wait_until("the last file serves", || !operator.row("zz")["generation"].is_null());

    fs::remove_file(in_plugins(host, "libzz.so")).expect("the file exists");
    wait_until("the last file is unloaded", || operator.row("zz")["generation"].is_null());
}

#[test]
fn loads_a_file_once_however_it_is_written() {
    let host = with_first("");
    let (mut operator, file) = (Operator::connect(&host), in_plugins(&host, FILE));
    let loaded = host.count("plugins_loaded");
    let source = host.path("built.so");

    let writes: [&dyn Fn(); 6] = [
        // Over the existing file.
        &|| run("cp", &source, &file),
        &|| run("mv", &source, &file),
        // As scp and some build tools do.
        &|| {
            fs::remove_file(&file).expect("the file is there");
            run("cp", &source, &file);
        },
        &|| {
            let temporary = in_plugins(&host, "libsubject.so.tmp");
            run("cp", &source, &temporary);
            run("mv", &temporary, &file);
        },
        // As editors do: the previous file becomes a backup.
        &|| {
            let backup = in_plugins(&host, "libsubject.so~");
            run("mv", &file, &backup);
            run("cp", &source, &file);
            fs::remove_file(backup).expect("the copy is there");
        },
        &|| {
            let hidden = in_plugins(&host, ".libsubject.so.Xa2B");
            run("cp", &source, &hidden);
            run("mv", &hidden, &file);
        },
    ];

    for (put, wanted) in writes.iter().zip(2_u32..) {
        let before = operator.generation();
        write(&source, &Image::numbered(wanted).0);
        put();
        wait_until_number(&host, wanted.into());
        assert_eq!(operator.generation(), before + 1, "write {wanted}");
    }

    wait_for_directory_scan(&host, &mut operator);
    let row = operator.wait_until_unloaded();
    assert_eq!(row["unloaded"], writes.len(), "{row}");
    assert_eq!(host.count("plugins_loaded"), loaded + writes.len() as u64 + 1);
}

#[test]
fn loads_a_slow_copy_when_it_is_complete() {
    let host = with_first("");
    let mut operator = Operator::connect(&host);
    let mut peer = host.peer();

    for copy in 0..SLOW_COPIES {
        let (before, wanted) = (operator.generation(), 2 + copy);
        let image = Image::numbered(wanted).0;
        let mut file = fs::File::create(in_plugins(&host, FILE)).expect("the file is written over");

        // Cut at different positions each time, including the first bytes.
        let piece = image.len() / (3 + copy as usize % 5) + copy as usize;
        for part in image.chunks(piece) {
            file.write_all(part).expect("a part is written");
            assert_eq!(number(&mut peer), u64::from(wanted - 1), "the previous generation serves meanwhile");
        }
        drop(file);

        wait_until_number(&host, wanted.into());
        assert_eq!(operator.generation(), before + 1);
    }

    // An incomplete file that is not written to for long enough is refused.
    let image = Image::numbered(900).0;
    let (half, rest) = image.split_at(image.len() / 2);
    let mut file = fs::File::create(in_plugins(&host, FILE)).expect("the file is written over");
    file.write_all(half).expect("a half is written");
    let before = operator.generation();

    let row = operator.wait_until("the half is refused", |row| row["refused"].is_object());
    assert_eq!(row["generation"], before, "{row}");

    file.write_all(rest).expect("the other half is written");
    drop(file);
    wait_until_number(&host, 900);

    let row = operator.wait_until_unloaded();
    assert_eq!((&row["generation"], &row["refused"]), (&(before + 1).into(), &serde_json::Value::Null));
}

#[test]
fn ignores_temporary_files() {
    let host = with_first("");
    let mut operator = Operator::connect(&host);
    let names = [".libsubject.so", "~libsubject.so", "#libsubject.so#", "#libsubject.so", "libsubject.so~"];
    let more = ["libsubject.so.tmp", "libsubject.so.part", "4913", "libsubject.so.swp"];

    for name in names.iter().chain(&more) {
        write(&in_plugins(&host, name), &Image::numbered(2).0);
    }

    wait_for_directory_scan(&host, &mut operator);
    assert_eq!(operator.list().len(), 2, "{:?}", operator.list());
    assert_eq!(number(&mut host.peer()), 1);
}

#[test]
fn keeps_serving_when_the_loaded_file_is_damaged() {
    let host = with_first("");
    let (mut operator, file) = (Operator::connect(&host), in_plugins(&host, FILE));
    let mut peer = host.peer();
    let before = operator.generation();
    let open = || OpenOptions::new().write(true).open(&file).expect("the file is there");

    let changes: [(&str, &dyn Fn()); 3] = [
        ("a half", &|| open().set_len(1 << 20).expect("the file is truncated")),
        ("a hole", &|| open().write_all_at(&[0; 4096], 0).expect("a page is written over")),
        ("nothing", &|| open().set_len(0).expect("the file is truncated")),
    ];

    for (what, change) in changes {
        let last = operator.row(super::NAME)["refused"].clone();
        change();

        let row = operator.wait_until(what, |row| row["refused"].is_object() && row["refused"] != last);
        assert_eq!(row["generation"], before, "{what}: {row}");
        assert_eq!(number(&mut peer), 1, "{what}");
        let later = peer.result("numbered.later", &serde_json::json!(1));
        assert_eq!(later, 1, "{what}");
    }

    install(crate::support::build::artifacts().library("numbered"), &file);
    wait_until_number(&host, 0);
}
