//! The text of generated files, and the errors of the generator.

use std::fs;

use jackfield_client_build::{Error, Generator};

use super::contracts::{Scratch, directory, generate, read};

fn check(name: &str) {
    let generated = generate(&read(&format!("{name}.json")), name).unwrap();
    let path = directory().join(format!("{name}.generated"));
    if std::env::var_os("JACKFIELD_UPDATE").is_some() {
        fs::write(&path, &generated).unwrap();
    }

    let expected = fs::read_to_string(&path).unwrap();
    assert!(generated == expected, "{}: run the tests with JACKFIELD_UPDATE=1", path.display());
}

#[test]
fn generates_the_client_of_a_shop() {
    check("shop");
}

#[test]
fn generates_a_client_that_compiles_for_hostile_names_and_schemas() {
    check("hostile");
}

#[test]
fn writes_its_file_where_cargo_includes_it() {
    let scratch = Scratch::new("write");
    let document = scratch.0.join("contract.json");
    fs::write(&document, r#"{"openrpc":"1.3.2","info":{"title":"a","version":"1"},"methods":[]}"#).unwrap();

    let generator = Generator::new().document(&document).out_dir(&scratch.0).file_name("a.rs");
    generator.generate().unwrap();

    assert_eq!(fs::read_to_string(scratch.0.join("a.rs")).unwrap(), generator.source().unwrap());
}

#[test]
fn names_the_file_at_fault_and_the_remedy() {
    let scratch = Scratch::new("faults");
    let missing = scratch.0.join("missing.json");
    let error = Generator::new().document(&missing).source().unwrap_err();
    assert!(matches!(error, Error::Read { .. }));
    let text = format!("{error:?}");
    assert!(text.contains("missing.json") && text.contains("jackfield describe --openrpc"), "{text}");

    for invalid in ["", "[]", "{}", r#"{"openrpc":"1.3.2","methods":7}"#] {
        fs::write(&missing, invalid).unwrap();
        let error = Generator::new().document(&missing).out_dir(&scratch.0).generate().unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{invalid}: {error}");
    }

    let document = r#"{"openrpc":"1.3.2","info":{"title":"a","version":"1"},"methods":[]}"#;
    fs::write(&missing, document).unwrap();
    let nowhere = Generator::new().document(&missing).out_dir(scratch.0.join("nowhere"));
    assert!(matches!(nowhere.generate().unwrap_err(), Error::Write { .. }));
    assert!(matches!(Generator::new().generate().unwrap_err(), Error::NoDocument));
}
