//! The clients of a module: a struct with one function for each method.

use super::code::Code;
use super::error_enum;
use super::types::TypeWriter;
use crate::model::{Body, Method, Module, Type};
use crate::names::identifier;
use crate::source_text::literal;

/// Writes the client for async code.
pub(super) fn write_async(code: &mut Code, module: &Module, types: &TypeWriter<'_>) {
    code.doc(&format!("Calls the methods `{}.*`, in async code. Clones are cheap.", module.prefix));
    write_struct(code, "::jackfield_client::Client");
    code.open("impl Client {");
    write_constructors(code, "::jackfield_client::Client");

    for method in &module.methods {
        code.blank();
        write_docs(code, method);
        let output = format!(
            "impl ::std::future::Future<Output = Result<{}, Error>> + Send + use<>",
            output(&method.result, types)
        );
        write_head(code, method, types, &output);
        write_request(code, method);
        match method.result {
            Body::Json(_) => {
                code.line("let call = with_timeout(request, self.timeout).send();");
                code.line("async move { Ok(call.await?) }");
            }
            Body::Bytes => {
                code.line("let call = with_timeout(request, self.timeout).reply();");
                code.line("async move { Ok(call.await.result?.into_bytes().into()) }");
            }
        }
        code.close("}");
    }
    code.close("}");
}

/// Writes the client for threads.
pub(super) fn write_blocking(code: &mut Code, module: &Module, types: &TypeWriter<'_>) {
    code.doc(&format!("Calls the methods `{}.*`. Clones are cheap.", module.prefix));
    write_struct(code, "::jackfield_client::blocking::Client");
    code.open("impl Client {");
    write_constructors(code, "::jackfield_client::blocking::Client");

    for method in &module.methods {
        code.blank();
        write_docs(code, method);
        write_head(code, method, types, &format!("Result<{}, Error>", output(&method.result, types)));
        write_request(code, method);
        code.line(match method.result {
            Body::Json(_) => "Ok(with_timeout(request, self.timeout).send()?)",
            Body::Bytes => "Ok(with_timeout(request, self.timeout).reply().result?.into_bytes().into())",
        });
        code.close("}");
    }
    code.close("}");
}

/// Writes the function that both clients apply their settings with.
pub(super) fn write_settings(code: &mut Code) {
    code.open("fn with_timeout<'a, C, P: ::serde::Serialize + ?Sized>(");
    code.line("request: ::jackfield_client::Request<'a, C, P>,");
    code.line("timeout: Option<::std::time::Duration>,");
    code.close(") -> ::jackfield_client::Request<'a, C, P> {");
    code.body(&[
        "match timeout {",
        "    Some(timeout) => request.timeout(timeout),",
        "    None => request,",
        "}",
    ]);
    code.line("}");
}

fn write_struct(code: &mut Code, client: &str) {
    code.line("#[derive(Clone, Debug)]");
    code.open("pub struct Client {");
    code.line(&format!("client: {client},"));
    code.line("timeout: Option<::std::time::Duration>,");
    code.close("}");
    code.blank();
}

fn write_constructors(code: &mut Code, client: &str) {
    code.doc("Returns a client that uses the connections and settings of another one.");
    code.open(&format!("pub fn new(client: {client}) -> Self {{"));
    code.line("Self { client, timeout: None }");
    code.close("}");
    code.blank();
    code.doc("Returns this client with another time-out for each call as a whole.");
    code.open("pub fn with_timeout(self, timeout: ::std::time::Duration) -> Self {");
    code.line("Self { timeout: Some(timeout), ..self }");
    code.close("}");
}

fn write_docs(code: &mut Code, method: &Method) {
    let idempotent = if method.idempotent {
        ". It is idempotent: a call whose connection is lost is sent again."
    } else {
        "."
    };
    let calls = format!("Calls `{}`{idempotent}", method.name);
    let paragraphs = [method.summary.as_deref(), method.description.as_deref(), Some(&*calls)];
    code.doc_paragraphs(paragraphs.into_iter().flatten());

    code.doc("\n# Errors\n\n");
    for (number, meaning) in &method.errors {
        code.doc(&format!("- [`Error::{}`]: {meaning}", error_enum::variant(*number)));
    }
    code.doc("- [`Error::Other`]: any other error.");
    if let Some(note) = &method.deprecated {
        match note.trim() {
            "" => code.line("#[deprecated]"),
            note => code.line(&format!("#[deprecated(note = {})]", literal(note))),
        }
    }
}

fn write_head(code: &mut Code, method: &Method, types: &TypeWriter<'_>, output: &str) {
    let mut arguments = vec!["&self".to_owned()];
    arguments.extend(method.params.as_ref().map(|params| format!("params: {}", argument(params, types))));
    code.open_function(&format!("pub fn {}", identifier(&method.function)), &arguments, output);
}

/// Writes the request as a variable.
fn write_request(code: &mut Code, method: &Method) {
    let name = literal(&method.name);
    let call = match &method.params {
        None => format!("request({name}, &())"),
        Some(Body::Bytes) => format!("request_bytes({name}, params)"),
        Some(Body::Json(ty)) if is_passed_by_value(ty) => format!("request({name}, &params)"),
        Some(Body::Json(_)) => format!("request({name}, params)"),
    };
    let idempotent = if method.idempotent { ".idempotent(true)" } else { "" };
    code.line(&format!("let request = self.client.{call}{idempotent};"));
}

/// Returns the type of the argument. Small values are passed by value, and so are optional ones:
/// the future of a call borrows nothing, not even through the type of its params.
fn argument(params: &Body, types: &TypeWriter<'_>) -> String {
    match params {
        Body::Bytes => "&[u8]".to_owned(),
        Body::Json(ty) if is_passed_by_value(ty) => types.path(ty),
        Body::Json(Type::Text) => "&str".to_owned(),
        Body::Json(Type::List(inner)) => format!("&[{}]", types.path(inner)),
        Body::Json(ty) => format!("&{}", types.path(ty)),
    }
}

fn is_passed_by_value(ty: &Type) -> bool {
    matches!(ty, Type::Bool | Type::Integer(_) | Type::Float(_) | Type::Optional(_))
}

fn output(result: &Body, types: &TypeWriter<'_>) -> String {
    match result {
        Body::Json(ty) => types.path(ty),
        Body::Bytes => "Vec<u8>".to_owned(),
    }
}
