//! The errors on the wire.

use super::*;

fn plugin_error(code: i64, message: &str, data: Option<&str>) -> RequestError {
    RequestError::Plugin { code, message: message.to_owned(), data: data.map(str::to_owned) }
}

#[test]
fn passes_on_the_code_of_a_plugin_unless_the_protocol_reserves_it() {
    assert_eq!(plugin_error(7, "", None).code(), 7);
    let reserved = Code::Overloaded.as_i64();
    assert_eq!(plugin_error(reserved, "", None).code(), Code::InternalError.as_i64());
}

#[test]
fn cuts_a_long_message_of_a_plugin_at_a_character() {
    let message = "ü".repeat(MAX_MESSAGE);
    let error = plugin_error(7, &message, None);
    assert_eq!(error.message().len(), MAX_MESSAGE);
    let error = plugin_error(7, &format!("x{message}"), None);
    assert_eq!(error.message().len(), MAX_MESSAGE - 1);
}

#[test]
fn drops_data_of_a_plugin_that_is_not_json() {
    assert_eq!(plugin_error(7, "", Some("{\"a\": 1}")).data().as_deref(), Some("{\"a\": 1}"));
    assert_eq!(plugin_error(7, "", Some("{")).data(), None);
}

#[test]
fn names_the_limit_and_the_time_in_the_message() {
    let error = RequestError::not_submitted(SubmitError::QueueFull, "p");
    assert_eq!(error.message(), "overloaded: the queue of the plugin is full (plugin.NAME.queue)");
    let error = RequestError::unavailable("p");
    assert_eq!(error.message(), "plugin p is unavailable; retry in 1 s");
    let error = RequestError::DeadlineExceeded(Duration::from_millis(20));
    assert_eq!(error.message(), "the request had no result within 20 ms");
    let error = RequestError::DeadlineExceeded(Duration::ZERO);
    assert_eq!(error.message(), "the deadline had passed before the call");
}

#[test]
fn reports_how_the_process_of_a_plugin_ended() {
    let crashed = |end| {
        let error = RequestError::PluginCrashed { plugin: "p".to_owned(), end };
        assert_eq!((error.code(), error.rejection().is_none()), (Code::PluginCrashed.as_i64(), true));
        (error.message().into_owned(), error.data().unwrap())
    };
    let (message, data) = crashed(ProcessEnd::Signal(11));
    assert_eq!(message, "the process of plugin p ended during this call: signal 11 (SIGSEGV)");
    assert_eq!(data, r#"{"plugin":"p","signal":11,"signal_name":"SIGSEGV"}"#);
    assert_eq!(crashed(ProcessEnd::Signal(40)).1, r#"{"plugin":"p","signal":40}"#);

    let (message, data) = crashed(ProcessEnd::ExitCode(1));
    assert_eq!(message, "the process of plugin p ended during this call: exit code 1");
    assert_eq!(data, r#"{"exit_code":1,"plugin":"p"}"#);

    let (message, data) = crashed(ProcessEnd::Unknown);
    assert_eq!(message, "the process of plugin p ended during this call");
    assert_eq!(data, r#"{"plugin":"p"}"#);
}

#[test]
fn reports_when_to_retry() {
    let error = RequestError::not_submitted(SubmitError::QueueFull, "p");
    assert_eq!(error.data().as_deref(), Some(r#"{"retry_after_ms":100}"#));
    let error = RequestError::not_submitted(SubmitError::ThreadsLost, "p");
    assert_eq!(error.data().as_deref(), Some(r#"{"plugin":"p","retry_after_ms":1000}"#));
}
