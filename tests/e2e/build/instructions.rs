//! `scripts/instructions`: it computes the cost of a request from the difference of two runs and
//! fails if that cost has changed. Valgrind and the program are fakes here; the real ones run in
//! `make instructions`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::build::root;
use crate::support::program::{Finished, command, finish};
use crate::support::scratch::Scratch;

/// A fake of valgrind that counts 500,000 instructions for the start and `EACH` for each request.
const VALGRIND: &str = r#"#!/bin/sh
for word; do case $word in --callgrind-out-file=*) out=${word#*=} ;; esac; done
trap 'echo "totals: $((500000 + EACH * $(cat "$SERVED")))" >"$out"; rm "$SERVED"; exit 0' TERM
echo 0 >"$SERVED.new" && mv "$SERVED.new" "$SERVED"
while :; do sleep 0.01; done
"#;

/// A fake of the program that adds the value of `--count` to the number of served requests. It
/// fails if no fake host runs, which it recognizes by the file `$SERVED`.
const JACKFIELD: &str = r#"#!/bin/sh
[ -f "$SERVED" ] || exit 69
echo $(($(cat "$SERVED") + $5)) >"$SERVED.new" && mv "$SERVED.new" "$SERVED"
"#;

const RUSTC: &str = "#!/bin/sh\necho rustc 1.2.3\n";

/// A directory with a copy of the script and the fakes that it runs.
struct Fakes(Scratch);

impl Fakes {
    fn new() -> Self {
        let scratch = Scratch::new();
        for directory in ["scripts", "bench", "programs"] {
            scratch.directory(directory);
        }

        fs::copy(root().join("scripts/instructions"), scratch.join("scripts/instructions"))
            .expect("the script is copied");
        for (name, text) in [("valgrind", VALGRIND), ("jackfield", JACKFIELD), ("rustc", RUSTC)] {
            let file = format!("programs/{name}");
            scratch.write(&file, text);
            fs::set_permissions(scratch.join(&file), fs::Permissions::from_mode(0o755))
                .expect("the fake becomes executable");
        }
        Self(scratch)
    }

    /// Runs the script with a cost of `each` instructions per request.
    fn run(&self, mode: &str, each: u32) -> Finished {
        let programs = self.0.join("programs");
        let path = std::env::var("PATH").expect("PATH is set");

        let mut command = command("sh");
        command.arg(self.0.join("scripts/instructions")).arg(&programs).arg(mode);
        command.env("PATH", format!("{}:{path}", programs.display())).env_remove("RUSTC");
        command.env("EACH", each.to_string()).env("SERVED", self.0.join("served"));
        finish(&mut command)
    }

    fn recorded(&self) -> String {
        fs::read_to_string(self.0.join("bench/instructions.txt")).expect("the recorded number is readable")
    }
}

#[test]
fn fails_if_the_instructions_per_request_have_changed() {
    let fakes = Fakes::new();

    let written = fakes.run("--write", 11_000);
    assert_eq!(written.code, 0, "{written:?}");
    assert_eq!(fakes.recorded(), "11000 instructions per request, rustc 1.2.3\n");

    for (each, code) in [(11_500, 0), (10_500, 0), (11_600, 1), (10_400, 1)] {
        let checked = fakes.run("--check", each);
        assert_eq!(checked.code, code, "{each}: {checked:?}");
        assert!(checked.stdout.starts_with(&format!("{each} instructions per request")), "{checked:?}");
    }

    assert_eq!(fakes.recorded(), "11000 instructions per request, rustc 1.2.3\n", "a check writes nothing");
    fakes.0.write("bench/instructions.txt", "5 instructions per request, rustc 1.1.0\n");

    let other = fakes.run("--check", 11_000);
    assert_eq!(other.code, 0, "{other:?}");
    assert!(other.stdout.contains("not compared: 5 were counted with another rustc"), "{other:?}");
}
