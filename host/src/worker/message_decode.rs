//! Reads messages, those of the worker as hostile input: every accepted payload is exactly what
//! writing the message again would give.

use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::{Content, Credentials};

use super::message::{
    CallMessage, HostMessage, InvalidMessage, MessageEnd, WorkerMessage, call_flags, end_tag, kind,
    nested_flags, origin_tag,
};
use super::message_context::{SentCaller, SentOrigin, SentTrace};
use super::message_fields::Fields;

fn read_end(mut fields: Fields<'_>) -> Result<MessageEnd<'_>, InvalidMessage> {
    match fields.byte()? {
        end_tag::DONE => Ok(MessageEnd::Done(fields.rest())),
        end_tag::DONE_BYTES => Ok(MessageEnd::DoneBytes(fields.rest())),
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

fn read_content(flags: u8, bytes: u8) -> Content {
    if flags & bytes == 0 { Content::Json } else { Content::Bytes }
}

fn read_call(mut fields: Fields<'_>) -> Result<CallMessage<'_>, InvalidMessage> {
    let (call, method) = (fields.u64()?, fields.u32()?);
    let flags = fields.byte()?;
    let run = match flags & call_flags::RUN {
        call_flags::BLOCKING => Run::Blocking,
        call_flags::ASYNC => Run::Async,
        _ => return Err(InvalidMessage::Value),
    };
    if flags & !call_flags::ALL != 0 {
        return Err(InvalidMessage::Value);
    }

    Ok(CallMessage {
        call,
        method,
        run,
        depth: fields.u32()?,
        deadline: fields.u64()?,
        content: read_content(flags, call_flags::BYTES),
        id: fields.text()?,
        caller: read_caller(flags, &mut fields)?,
        trace: read_trace(flags, &mut fields)?,
        meta: if flags & call_flags::META == 0 { None } else { Some(fields.text()?) },
        params: fields.rest(),
    })
}

fn read_caller<'a>(flags: u8, fields: &mut Fields<'a>) -> Result<SentCaller<'a>, InvalidMessage> {
    let place = fields.byte()?;
    if flags & call_flags::ORIGIN == 0 {
        return Ok(SentCaller { place, origin: None });
    }

    let origin = match fields.byte()? {
        origin_tag::LOCAL => {
            let listener = fields.text()?;
            let credentials = Credentials { uid: fields.u32()?, gid: fields.u32()?, pid: fields.u32()? };
            SentOrigin::Local { listener, credentials: Some(credentials) }
        }
        origin_tag::UNKNOWN => SentOrigin::Local { listener: fields.text()?, credentials: None },
        origin_tag::REMOTE => SentOrigin::Remote { listener: fields.text()? },
        origin_tag::PROGRAM => SentOrigin::Program,
        _ => return Err(InvalidMessage::Value),
    };
    Ok(SentCaller { place, origin: Some(origin) })
}

fn read_trace<'a>(flags: u8, fields: &mut Fields<'a>) -> Result<Option<SentTrace<'a>>, InvalidMessage> {
    let has_state = flags & call_flags::STATE != 0;
    if flags & call_flags::TRACE == 0 {
        return if has_state { Err(InvalidMessage::Value) } else { Ok(None) };
    }

    Ok(Some(SentTrace {
        trace_id: fields.array()?,
        span_id: fields.array()?,
        flags: fields.byte()?,
        state: if has_state { Some(fields.text()?) } else { None },
    }))
}

fn read_nested(mut fields: Fields<'_>) -> Result<WorkerMessage<'_>, InvalidMessage> {
    let (nested, parent) = (fields.u64()?, fields.u64()?);
    let flags = fields.byte()?;
    if flags & !(nested_flags::WAITS | nested_flags::BYTES) != 0 {
        return Err(InvalidMessage::Value);
    }

    Ok(WorkerMessage::Nested {
        nested,
        parent,
        waits: flags & nested_flags::WAITS != 0,
        timeout: fields.u64()?,
        content: read_content(flags, nested_flags::BYTES),
        method: fields.text()?,
        params: fields.rest(),
    })
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
            kind::CALL => Ok(Self::Call(read_call(fields)?)),
            kind::CANCEL => {
                let call = fields.u64()?;
                let ends_nested = fields.flag()?;
                fields.end().map(|()| Self::Cancel { call, ends_nested })
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
            kind::DESCRIBED => Ok(Self::Described { is_known: fields.flag()?, text: fields.rest_text()? }),
            kind::REFUSED => Ok(Self::Refused { reason: fields.text()?, detail: fields.rest_text()? }),
            kind::READY => Ok(Self::Ready { enforced: fields.rest_text()? }),
            kind::LOG => {
                Ok(Self::Log { level: fields.byte()?, call: fields.u64()?, line: fields.rest_text()? })
            }

            kind::END => Ok(Self::End { call: fields.u64()?, end: read_end(fields)? }),
            kind::NESTED => read_nested(fields),
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
