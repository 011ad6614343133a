//! The arguments of the command line.

use std::path::PathBuf;

use crate::server::{Server, V1_0, V1_1, V1_2};

pub(crate) const USAGE: &str = "jackfield-conformance SOCKET [--version 1.0|1.1|1.2] [--ping METHOD] [--echo METHOD] \
                                [--slow METHOD] [--slow-params JSON] [--only TEXT] [--vectors DIRECTORY]";

/// The vectors of the source tree that this program was built from.
const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../protocol/vectors");

pub(crate) struct Arguments {
    pub(crate) server: Server,
    pub(crate) vectors: PathBuf,
    /// A part of the names of the checks that are made.
    pub(crate) only: String,
}

impl Arguments {
    /// Parses the words after the name of the program.
    ///
    /// # Errors
    ///
    /// A word is unknown or has no value, or the socket is missing.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
        let mut socket = None;
        let mut vectors = PathBuf::from(VECTORS);
        let mut version = V1_2;
        let mut ping = "system.ping".to_owned();
        let mut echo = "system.echo".to_owned();
        let mut only = String::new();
        let mut slow = None;
        let mut slow_params = "null".to_owned();

        while let Some(word) = words.next() {
            if !word.starts_with("--") {
                if socket.replace(PathBuf::from(&word)).is_some() {
                    return Err(format!("{word}: there is one socket already"));
                }
                continue;
            }
            let value = words.next().ok_or_else(|| format!("{word} takes a value"))?;
            match word.as_str() {
                "--version" => version = parse_version(&value)?,
                "--ping" => ping = value,
                "--echo" => echo = value,
                "--slow" => slow = Some(value),
                "--slow-params" => slow_params = value,
                "--only" => only = value,
                "--vectors" => vectors = PathBuf::from(value),
                _ => return Err(format!("{word}: unknown option")),
            }
        }

        let socket = socket.ok_or("the socket is missing")?;
        let slow = slow.map(|method| (method, slow_params));
        Ok(Arguments { server: Server { socket, version, ping, echo, slow }, vectors, only })
    }
}

fn parse_version(text: &str) -> Result<u16, String> {
    match text {
        "1.0" => Ok(V1_0),
        "1.1" => Ok(V1_1),
        "1.2" => Ok(V1_2),
        _ => Err(format!("--version {text}: known are 1.0, 1.1 and 1.2")),
    }
}
