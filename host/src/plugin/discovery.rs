//! `rpc.discover`: the OpenRPC document of what a caller may call.

use std::future::poll_fn;
use std::task::Poll;

use jackfield_contract::Contract;
use jackfield_contract::openrpc::{DocumentInfo, write};
use serde_json::Value;

/// The name that OpenRPC gives to the method.
pub(crate) const DISCOVER: &str = "rpc.discover";

/// Writes the document of a contract, on the async thread of the plugin.
///
/// A document takes milliseconds if there are many methods. A future that was never ready at its
/// first poll is not polled on an I/O thread (`inline_polling.rs`), so the first poll does nothing.
pub(crate) async fn document(contract: impl FnOnce() -> Contract) -> Value {
    let mut is_polled = false;
    let second_poll = poll_fn(|cx| {
        if std::mem::replace(&mut is_polled, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    second_poll.await;

    let info = DocumentInfo { title: "jackfield", version: env!("CARGO_PKG_VERSION") };
    write(&info, &contract())
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn writes_nothing_at_the_first_poll() {
        let mut is_asked = false;
        {
            let mut cx = Context::from_waker(Waker::noop());
            let mut document = pin!(document(|| {
                is_asked = true;
                Contract::of_names(["a.b"])
            }));

            assert!(document.as_mut().poll(&mut cx).is_pending());
            let Poll::Ready(document) = document.as_mut().poll(&mut cx) else { panic!("not ready") };
            assert_eq!(document["methods"][0]["name"], "a.b");
        }
        assert!(is_asked);
    }
}
