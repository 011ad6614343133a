//! The errors of a module: a variant for each declared code, and one for all others.

use super::code::Code;
use crate::model::Module;

/// Returns the name of the variant. It is made of the code alone, because the text of a meaning may
/// change at any time.
pub(super) fn variant(code: i64) -> String {
    let sign = if code < 0 { "Minus" } else { "" };
    format!("Code{sign}{}", code.unsigned_abs())
}

pub(super) fn write(code: &mut Code, module: &Module) {
    write_enum(code, module);
    code.blank();
    write_from_client_error(code, module);
    code.blank();
    write_into_client_error(code, module);
    code.blank();
    write_error_traits(code, module);
}

fn write_enum(code: &mut Code, module: &Module) {
    code.doc(&format!("Why a call of a method `{}.*` has no result.", module.prefix));
    code.line("#[derive(Debug)]");
    code.line("#[non_exhaustive]");
    code.open("pub enum Error {");
    for (number, meanings) in &module.errors {
        for (index, meaning) in meanings.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            code.doc(&format!("{separator}{number}: {meaning}"));
        }
        code.line(&format!("{}(::jackfield_client::RemoteError),", variant(*number)));
    }
    code.doc("Any other error.");
    code.line("Other(::jackfield_client::Error),");
    code.close("}");
}

fn write_from_client_error(code: &mut Code, module: &Module) {
    code.open("impl From<::jackfield_client::Error> for Error {");
    code.open("fn from(error: ::jackfield_client::Error) -> Self {");
    if module.errors.is_empty() {
        code.line("Self::Other(error)");
    } else {
        code.open("match error {");
        code.open("::jackfield_client::Error::Remote(remote) => match remote.code {");
        for (number, _) in &module.errors {
            code.line(&format!("{number} => Self::{}(remote),", variant(*number)));
        }
        code.line("_ => Self::Other(::jackfield_client::Error::Remote(remote)),");
        code.close("},");
        code.line("other => Self::Other(other),");
        code.close("}");
    }
    code.close("}");
    code.close("}");
}

fn write_into_client_error(code: &mut Code, module: &Module) {
    code.open("impl From<Error> for ::jackfield_client::Error {");
    code.open("fn from(error: Error) -> Self {");
    let arm = |variant: &str| format!("Error::{variant}(remote) => Self::Remote(remote),");
    write_match(code, module, "error", arm, "Error::Other(other) => other,");
    code.close("}");
    code.close("}");
}

fn write_error_traits(code: &mut Code, module: &Module) {
    code.open("impl ::std::fmt::Display for Error {");
    code.open("fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {");
    let arm = |variant: &str| format!("Self::{variant}(remote) => ::std::fmt::Display::fmt(remote, f),");
    write_match(code, module, "self", arm, "Self::Other(other) => ::std::fmt::Display::fmt(other, f),");
    code.close("}");
    code.close("}");

    code.blank();
    code.open("impl ::std::error::Error for Error {");
    code.open("fn source(&self) -> Option<&(dyn ::std::error::Error + 'static)> {");
    let arm = |variant: &str| format!("Self::{variant}(_) => None,");
    write_match(code, module, "self", arm, "Self::Other(other) => ::std::error::Error::source(other),");
    code.close("}");
    code.close("}");
}

/// Writes a `match` with an arm for each declared error and one for all others.
fn write_match(code: &mut Code, module: &Module, on: &str, arm: impl Fn(&str) -> String, other: &str) {
    code.open(&format!("match {on} {{"));
    for (number, _) in &module.errors {
        code.line(&arm(&variant(*number)));
    }
    code.line(other);
    code.close("}");
}
