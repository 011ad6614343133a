//! The servers of this program. Each does the work of `device.status.update`, or less, behind a
//! Unix socket.

pub(crate) mod abi;
pub(crate) mod echo;
pub(crate) mod floor;
pub(crate) mod tarpc;
pub(crate) mod tonic;
