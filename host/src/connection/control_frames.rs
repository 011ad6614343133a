//! Frames that contain no request: heartbeats and hellos, cancellations, and kinds that a client
//! does not send.

use jackfield_protocol::{Hello, Kind, Version, parse_cancel, write_going_away, write_heartbeat};

use super::reply::count_rejection;
use super::session::HostOffer;
use super::state::ConnectionState;
use super::turn::Turn;
use crate::metrics::ThreadTotal;
use crate::routing::RequestError;

impl ConnectionState {
    /// Handles a frame that contains no request.
    pub(super) fn handle_control_frame(
        &mut self,
        turn: &mut Turn<'_>,
        version: Version,
        kind: Kind,
        payload: &[u8],
    ) {
        let cells = &turn.thread.cells;

        match kind {
            Kind::Sync | Kind::AsyncRequest => {}
            Kind::Heartbeat => {
                cells.add(ThreadTotal::Heartbeats, 1);
                match Hello::parse(payload).filter(|hello| !hello.is_ack) {
                    Some(hello) => self.answer_hello(turn, version, &hello),
                    None => write_heartbeat(&mut turn.buffers.out, version),
                }
            }
            Kind::Error | Kind::AsyncResponse => {
                let error = RequestError::ServerKind(kind);
                count_rejection(turn, &error);
                let context = self.requests.reply_context(version, Kind::Error, None);
                context.fail(&mut turn.buffers.out, &error);
            }
            Kind::Cancel if self.requests.session.may_cancel() => {
                self.handle_cancel(turn, version, payload);
            }
            // A kind of a later version, or one that was not agreed on, is no error (protocol
            // section 1).
            Kind::Cancel | Kind::GoingAway | Kind::Other(_) => cells.add(ThreadTotal::UnknownKinds, 1),
        }
    }

    fn answer_hello(&mut self, turn: &mut Turn<'_>, version: Version, hello: &Hello<'_>) {
        let limits = &turn.rules.limits;
        let offer = HostOffer {
            largest_payload: self.reader.framer.limit().min(limits.frame),
            in_flight: limits.in_flight_per_connection,
            instance: turn.thread.dispatcher.instance,
        };
        let ack = self.requests.session.agree(hello, offer);
        ack.write(&mut turn.buffers.out, version);
        self.reader.framer.set_highest_version(self.requests.session.highest_version());
        turn.thread.cells.add(ThreadTotal::Hellos, 1);

        if tracing::enabled!(tracing::Level::DEBUG) {
            let conn = self.identity().number;
            let agent = crate::log::printable(hello.agent.unwrap_or("an unnamed client"));
            let granted = ack.capabilities.bits();
            tracing::debug!(conn, granted, "connection {conn}: hello of {agent}, granted 0x{granted:x}");
        }
        self.announce_end(turn);
    }

    /// Tells the client once that the host shuts down, if it does and the client has asked for
    /// that.
    pub(super) fn announce_end(&mut self, turn: &mut Turn<'_>) {
        if turn.thread.is_draining.get() && self.requests.session.take_end_notice() {
            let grace = turn.rules.timeouts.drain.as_millis();
            let grace = u64::try_from(grace).unwrap_or(u64::MAX);
            write_going_away(&mut turn.buffers.out, "shutdown", grace);
        }
    }

    fn handle_cancel(&mut self, turn: &mut Turn<'_>, version: Version, payload: &[u8]) {
        match parse_cancel(payload) {
            Ok(id) => self.requests.cancel(turn, id.as_json()),
            Err(error) => self.requests.report_error(turn, version, RequestError::Envelope(error)),
        }
    }
}
