//! From a request to the code that runs it: routes, access control, and the thread that polls an
//! `async` method.

mod acl;
mod admin_socket;
mod inline_polling;
mod routes;
