//! From a request to the code that runs it: routes, access control, and the thread that runs the
//! code.

mod acl;
mod inline_polling;
mod routes;
