//! Writes the seeds of every target to `corpus/TARGET/`, where cargo-fuzz reads them.

use std::fs;
use std::path::Path;

fn main() -> std::io::Result<()> {
    for (target, _) in jackfield_fuzz::TARGETS {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        fs::create_dir_all(&corpus)?;
        let seeds = jackfield_fuzz::seeds::of(target);
        for (name, input) in &seeds {
            fs::write(corpus.join(format!("seed-{name}")), input)?;
        }
        println!("{target}: {} seeds", seeds.len());
    }
    Ok(())
}
