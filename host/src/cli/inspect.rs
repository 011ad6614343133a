//! `jackfield plugin inspect`: what a plugin's file says of itself, read without running any of it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use jackfield::load::{self, Inspection};

use super::{failed, fault};

/// The words of `plugin inspect`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The plugin's file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the manifest; exit code 1 with the reason when the file would be refused.
pub(crate) fn inspect(words: &Inspect) -> ExitCode {
    let inspection = match load::inspect(&words.file) {
        Ok(inspection) => inspection,
        Err(refused) if words.json => {
            return failed(1, &serde_json::json!({ "file": words.file, "refused": refused }));
        }
        Err(refused) => return failed(1, &fault(&words.file, &refused)),
    };
    if words.json {
        println!("{}", serde_json::to_value(&inspection).unwrap_or_default());
    } else {
        print_table(&inspection);
    }
    ExitCode::SUCCESS
}

fn print_table(inspection: &Inspection) {
    let Inspection { name, hash, size, build_id, manifest, needed, .. } = inspection;
    println!("plugin    {name}");
    println!("package   {} {}", manifest.package, manifest.version);
    println!("api       {}", manifest.api);
    println!("hash      {hash}");
    println!("build id  {}", build_id.as_deref().unwrap_or("none"));
    println!("size      {size} bytes");
    println!("needs     {}", needed.join(", "));
    let width = manifest.methods.iter().map(|method| method.name.len()).max().unwrap_or(0);
    for method in &manifest.methods {
        println!("method    {:width$}  {}", method.name, method.run.word());
    }
}
