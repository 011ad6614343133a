//! Reads messages, those of the worker as hostile input: every accepted payload is exactly what
//! writing the message again would give.

use jackfield_plugin_api::Run;

use super::message::{
    CallMessage, HostMessage, InvalidMessage, MessageEnd, WorkerMessage, end_tag, kind, run_tag,
};
use super::message_fields::Fields;

fn read_end(mut fields: Fields<'_>) -> Result<MessageEnd<'_>, InvalidMessage> {
    match fields.byte()? {
        end_tag::DONE => Ok(MessageEnd::Done(fields.rest())),
        end_tag::FAILED => {
            let code = fields.u64()?.cast_signed();
            let message = fields.text()?;
            let has_data = fields.flag()?;
            let data = fields.rest_text()?;
            if !has_data && !data.is_empty() {
                return Err(InvalidMessage::Surplus);
            }
            Ok(MessageEnd::Failed { code, message, data: has_data.then_some(data) })
        }
        end_tag::PANICKED => Ok(MessageEnd::Panicked(fields.rest_text()?)),
        end_tag::CANCELLED => fields.end().map(|()| MessageEnd::Cancelled),
        _ => Err(InvalidMessage::Value),
    }
}

fn read_run(byte: u8) -> Result<Run, InvalidMessage> {
    match byte {
        run_tag::BLOCKING => Ok(Run::Blocking),
        run_tag::ASYNC => Ok(Run::Async),
        _ => Err(InvalidMessage::Value),
    }
}

impl<'a> HostMessage<'a> {
    /// Reads the payload of a frame of this kind.
    ///
    /// # Errors
    ///
    /// It is no message to a worker.
    pub(crate) fn decode(kind: u8, payload: &'a [u8]) -> Result<Self, InvalidMessage> {
        let mut fields = Fields::of(payload);
        match kind {
            kind::START => Ok(Self::Start(payload)),
            kind::CALL => Ok(Self::Call(CallMessage {
                call: fields.u64()?,
                method: fields.u32()?,
                run: read_run(fields.byte()?)?,
                depth: fields.u32()?,
                deadline: fields.u64()?,
                id: fields.text()?,
                params: fields.rest(),
            })),
            kind::CANCEL => {
                let call = fields.u64()?;
                fields.end().map(|()| Self::Cancel(call))
            }
            kind::REPLY => Ok(Self::Reply { nested: fields.u64()?, end: read_end(fields)? }),
            kind::EXPORT => fields.end().map(|()| Self::Export),
            kind::IMPORT => Ok(Self::Import { schema: fields.u32()?, state: fields.rest() }),
            kind::STOP => fields.end().map(|()| Self::Stop),
            other => Err(InvalidMessage::Kind(other)),
        }
    }
}

impl<'a> WorkerMessage<'a> {
    /// Reads the payload of a frame of this kind.
    ///
    /// # Errors
    ///
    /// It is no message of a worker.
    pub(crate) fn decode(kind: u8, payload: &'a [u8]) -> Result<Self, InvalidMessage> {
        let mut fields = Fields::of(payload);
        match kind {
            kind::STEP => Ok(Self::Step(fields.rest_text()?)),
            kind::REFUSED => Ok(Self::Refused { reason: fields.text()?, detail: fields.rest_text()? }),
            kind::READY => Ok(Self::Ready { enforced: fields.rest_text()? }),
            kind::LOG => {
                Ok(Self::Log { level: fields.byte()?, call: fields.u64()?, line: fields.rest_text()? })
            }

            kind::END => Ok(Self::End { call: fields.u64()?, end: read_end(fields)? }),
            kind::NESTED => Ok(Self::Nested {
                nested: fields.u64()?,
                parent: fields.u64()?,
                waits: fields.flag()?,
                timeout: fields.u64()?,
                method: fields.text()?,
                params: fields.rest(),
            }),
            kind::NESTED_CANCELLED => {
                let nested = fields.u64()?;
                fields.end().map(|()| Self::NestedCancelled(nested))
            }
            kind::PHASE_END => Ok(Self::PhaseEnd(read_end(fields)?)),
            other => Err(InvalidMessage::Kind(other)),
        }
    }
}

#[cfg(test)]
mod tests;
