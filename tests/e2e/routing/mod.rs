//! From a request to the code that runs it: routes, access control, and the thread that polls an
//! `async` method.

pub(crate) mod acl;
mod admin_socket;
mod inline_polling;
mod routes;
