//! The connection of one client: reads its frames, has its requests answered, writes the replies.
//!
//! A connection is one task on one I/O thread. A turn of the task takes the replies that other
//! threads left, reads once, decodes every whole frame that has arrived, runs or submits the
//! requests, and sends everything that is ready with one write. It repeats this as long as there is
//! progress and the [quota](turn_quota) of the turn is not used up. An idle connection holds no
//! buffer: it reads and writes through the buffers of its thread and keeps only what is left over.
//!
//! ```text
//!   transport                                 requests (RequestPipeline)
//!
//!   socket ──► reader ──► framing ──► ingest ──► admission ──► execution ──► generation
//!                                                    │             │             │
//!                                                    ▼             ▼             ▼
//!   socket ◄── outbox ◄── TurnBuffers ◄─────────── reply ◄──── in_flight ◄──── mailbox
//! ```
//!
//! Three values divide what a connection needs by lifetime:
//!
//! - [`state::ConnectionState`] is everything that follows the connection to another I/O thread.
//! - [`Connection`] adds what is bound to one thread: the registered stream, the timer entry, and
//!   the [`ThreadContext`] that all connections of the thread share.
//! - [`turn::Turn`] lasts for one turn: the clock, the quota, and the buffers lent by the thread.
//!
//! The module [`phase`] shows how a connection ends.

mod abandonment;
mod accepted_request;
mod activity;
mod admission;
mod control_frames;
mod deadlines;
mod execution;
mod extended_request;
mod finished_request;
mod framing;
mod identity;
mod in_flight;
mod ingest;
mod line_end;
mod mailbox;
mod migration;
mod outbox;
mod phase;
mod pipeline;
mod reader;
mod reply;
mod request_key;
mod request_log;
mod session;
mod slow_log;
mod socket;
mod span;
mod state;
mod submission_batch;
mod sync_queue;
mod task;
mod thread_context;
mod turn;
mod turn_loop;
mod turn_quota;

pub(crate) use self::identity::ListenerOptions;
pub(crate) use self::migration::MigratingConnection;
pub(crate) use self::task::{Connection, ConnectionEnd, ConnectionNotifier};
pub(crate) use self::thread_context::ThreadContext;
