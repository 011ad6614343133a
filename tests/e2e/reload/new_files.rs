//! Files put into the directory, in all the ways in which files come: loaded once, when they are
//! whole.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use super::{FILE, Image, Operator, in_plugins, number, put, wait_until_number, with_first, write};
use crate::support::host::install;
use crate::support::{HostProcess, wait_until};

/// How many copies that are seen half-way.
const SLOW_COPIES: u32 = 20;

#[track_caller]
fn run(program: &str, from: &Path, to: &Path) {
    let done = Command::new(program).arg(from).arg(to).status().expect("the program runs");
    assert!(done.success(), "{program}: {done}");
}

/// Puts another plugin there, later in the order than all others: once it serves, those were looked
/// at. It goes again.
#[track_caller]
fn wait_until_looked_at(host: &HostProcess, operator: &mut Operator) {
    put(&host.path("plugins"), &Image::of("hello").0, "libzz.so");
    wait_until("the last file serves", || !operator.row("zz")["generation"].is_null());
    fs::remove_file(in_plugins(host, "libzz.so")).expect("it is there");
    wait_until("it has gone", || operator.row("zz")["generation"].is_null());
}

#[test]
fn however_a_file_comes_it_is_loaded_once() {
    let host = with_first("");
    let (mut operator, file) = (Operator::of(&host), in_plugins(&host, FILE));
    let loaded = host.count("plugins_loaded");
    let beside = host.path("built.so");
    let ways: [&dyn Fn(); 6] = [
        // Over the file that is there.
        &|| run("cp", &beside, &file),
        &|| run("mv", &beside, &file),
        // As scp does, and some builds.
        &|| {
            fs::remove_file(&file).expect("the file is there");
            run("cp", &beside, &file);
        },
        &|| {
            let temporary = in_plugins(&host, "libsubject.so.tmp");
            run("cp", &beside, &temporary);
            run("mv", &temporary, &file);
        },
        // As editors do: the old one becomes a copy to go back to.
        &|| {
            let backup = in_plugins(&host, "libsubject.so~");
            run("mv", &file, &backup);
            run("cp", &beside, &file);
            fs::remove_file(backup).expect("the copy is there");
        },
        &|| {
            let hidden = in_plugins(&host, ".libsubject.so.Xa2B");
            run("cp", &beside, &hidden);
            run("mv", &hidden, &file);
        },
    ];
    for (put, wanted) in ways.iter().zip(2_u32..) {
        let before = operator.generation();
        write(&beside, &Image::numbered(wanted).0);
        put();
        wait_until_number(&host, wanted.into());
        assert_eq!(operator.generation(), before + 1, "way {wanted}");
    }
    wait_until_looked_at(&host, &mut operator);
    let row = operator.wait_until_unloaded();
    assert_eq!(row["unloaded"], ways.len(), "{row}");
    assert_eq!(host.count("plugins_loaded"), loaded + ways.len() as u64 + 1);
}

#[test]
fn a_slow_copy_is_loaded_when_it_is_whole() {
    let host = with_first("");
    let mut operator = Operator::of(&host);
    let mut peer = host.peer();
    for copy in 0..SLOW_COPIES {
        let (before, wanted) = (operator.generation(), 2 + copy);
        let image = Image::numbered(wanted).0;
        let mut file = fs::File::create(in_plugins(&host, FILE)).expect("the file is written over");
        // Cut at other places each time, the first bytes included.
        let piece = image.len() / (3 + copy as usize % 5) + copy as usize;
        for part in image.chunks(piece) {
            file.write_all(part).expect("a part is written");
            assert_eq!(number(&mut peer), u64::from(wanted - 1), "the one before serves meanwhile");
        }
        drop(file);
        wait_until_number(&host, wanted.into());
        assert_eq!(operator.generation(), before + 1);
    }
    // One that rests half-way, for as long as it takes to be looked at.
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
fn names_of_files_that_are_being_written_are_no_plugins() {
    let host = with_first("");
    let mut operator = Operator::of(&host);
    let names = [".libsubject.so", "~libsubject.so", "#libsubject.so#", "#libsubject.so", "libsubject.so~"];
    let more = ["libsubject.so.tmp", "libsubject.so.part", "4913", "libsubject.so.swp"];
    for name in names.iter().chain(&more) {
        write(&in_plugins(&host, name), &Image::numbered(2).0);
    }
    wait_until_looked_at(&host, &mut operator);
    assert_eq!(operator.list().len(), 2, "{:?}", operator.list());
    assert_eq!(number(&mut host.peer()), 1);
}

#[test]
fn the_same_content_again_is_nothing_new() {
    let host = with_first("");
    let (mut operator, file) = (Operator::of(&host), in_plugins(&host, FILE));
    let before = operator.generation();
    let beside = host.path("again.so");
    for round in 0..4 {
        write(&beside, &Image::numbered(1).0);
        match round {
            0 => run("cp", &beside, &file),
            1 => run("mv", &beside, &file),
            2 => assert!(Command::new("touch").arg(&file).status().expect("touch runs").success()),
            // Not even when it was refused in between.
            _ => {
                fs::write(&file, "no plugin").expect("the file is written over");
                operator.wait_until("it is refused", |row| row["refused"].is_object());
                run("mv", &beside, &file);
            }
        }
        wait_until_looked_at(&host, &mut operator);
        let row = operator.row(super::NAME);
        assert_eq!(
            (&row["generation"], &row["unloaded"]),
            (&before.into(), &0.into()),
            "round {round}: {row}"
        );
        assert!(row["refused"].is_null(), "round {round}: {row}");
    }
}

#[test]
fn what_is_done_to_the_file_after_its_load_does_not_matter() {
    let host = with_first("");
    let (mut operator, file) = (Operator::of(&host), in_plugins(&host, FILE));
    let mut peer = host.peer();
    let before = operator.generation();
    let open = || OpenOptions::new().write(true).open(&file).expect("the file is there");
    let spoils: [(&str, &dyn Fn()); 3] = [
        ("a half", &|| open().set_len(1 << 20).expect("it is cut")),
        ("a hole", &|| open().write_all_at(&[0; 4096], 0).expect("a page is written over")),
        ("nothing", &|| open().set_len(0).expect("it is truncated")),
    ];
    for (what, spoil) in spoils {
        let last = operator.row(super::NAME)["refused"].clone();
        spoil();
        let row = operator.wait_until(what, |row| row["refused"].is_object() && row["refused"] != last);
        assert_eq!(row["generation"], before, "{what}: {row}");
        assert_eq!(number(&mut peer), 1, "{what}");
        let later = peer.result("numbered.later", &serde_json::json!(1));
        assert_eq!(later, 1, "{what}");
    }
    install(crate::support::build::artifacts().library("numbered"), &file);
    wait_until_number(&host, 0);
}
