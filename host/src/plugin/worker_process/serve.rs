//! Reads the channel of a worker process and starts what the host requests. No code of the plugin
//! runs on this thread.

use std::io;
use std::sync::{Arc, mpsc};

use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::CallerRef;

use super::super::call::CallPermits;
use super::super::caller::Caller;
use super::channel_polling::ChannelPolling;
use super::outgoing_calls::OutgoingCalls;
use super::phases;
use super::received_calls::{EndSink, ReceivedCalls};
use super::start::StartedPlugin;
use super::target::{WorkerCall, facts_of};
use super::worker_channel::WorkerChannel;
use crate::worker::callers::ReceivedCallers;
use crate::worker::channel_reader::{ChannelError, ChannelReader, Received};
use crate::worker::message::{CallMessage, HostMessage, InvalidMessage};
use crate::worker::message_encode::ChannelMessage as _;
use crate::worker::spec::WorkerSpec;

/// Why a worker reads its channel no longer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChannelEnd {
    #[error("the host has closed the channel")]
    Closed,
    #[error("cannot read the channel: {0}")]
    Unreadable(#[from] io::Error),
    #[error("the host sent an invalid frame: {0}")]
    Frame(#[from] ChannelError),
    #[error("the host sent an invalid message: {0}")]
    Message(#[from] InvalidMessage),
    #[error("the specification is invalid: {0}")]
    Spec(#[from] serde_json::Error),
    #[error("the host sent a message out of turn (0x{0:02x})")]
    OutOfTurn(u8),
}

/// Waits for `Start`, the first message, and returns the specification in it.
///
/// # Errors
///
/// The channel ended before, or there is another message.
pub(super) fn read_spec(reader: &mut ChannelReader) -> Result<WorkerSpec, ChannelEnd> {
    loop {
        if let Some((kind, body)) = reader.next_frame()? {
            return match HostMessage::decode(kind, body)? {
                HostMessage::Start(spec) => Ok(serde_json::from_slice(spec)?),
                other => Err(ChannelEnd::OutOfTurn(other.kind())),
            };
        }
        receive(reader)?;
    }
}

/// Waits for something to read, and reads once.
fn receive(reader: &mut ChannelReader) -> Result<(), ChannelEnd> {
    reader.wait();
    match reader.receive(false)? {
        Received::Closed => Err(ChannelEnd::Closed),
        Received::Bytes | Received::Nothing => Ok(()),
    }
}

/// Serves the channel of a worker.
pub(super) struct WorkerServer<E> {
    channel: Arc<WorkerChannel>,
    calls: Arc<ReceivedCalls>,
    callers: ReceivedCallers,
    nested: Arc<OutgoingCalls>,

    /// Brings the plugin before `Ready` is sent.
    started: mpsc::Receiver<StartedPlugin>,

    polling: ChannelPolling,

    /// `None` before it was needed, and once it stops.
    plugin: Option<StartedPlugin>,

    /// Calls that were read and not submitted.
    blocking: Vec<Arc<WorkerCall>>,
    asynchronous: Vec<Arc<WorkerCall>>,

    /// Ends the process after a stop; `None` once it was used.
    end_process: Option<E>,
}

impl<E: FnOnce() + Send + 'static> WorkerServer<E> {
    pub(super) fn new(
        channel: Arc<WorkerChannel>,
        nested: Arc<OutgoingCalls>,
        started: mpsc::Receiver<StartedPlugin>,
        threads: usize,
        polling: ChannelPolling,
        end_process: E,
    ) -> Self {
        Self {
            calls: ReceivedCalls::new(Arc::clone(&channel), threads),
            callers: ReceivedCallers::default(),
            channel,
            nested,
            started,
            polling,
            plugin: None,
            blocking: Vec::new(),
            asynchronous: Vec::new(),
            end_process: Some(end_process),
        }
    }

    /// Serves until the channel ends, and returns why.
    pub(super) fn serve(&mut self, reader: &mut ChannelReader) -> ChannelEnd {
        loop {
            if let Err(end) = self.receive(reader).and_then(|()| self.handle_frames(reader)) {
                return end;
            }
        }
    }

    /// Reads, after polling or waiting for something to read.
    fn receive(&mut self, reader: &mut ChannelReader) -> Result<(), ChannelEnd> {
        if self.polling.is_due(self.calls.open()) {
            let found = self.polling.poll(|| match reader.receive(false)? {
                Received::Closed => Err(ChannelEnd::Closed),
                Received::Bytes => Ok(true),
                Received::Nothing => Ok(false),
            });
            if found? {
                return Ok(());
            }
        }

        receive(reader)
    }

    /// Handles the frames that were read. The calls among them are submitted together.
    fn handle_frames(&mut self, reader: &mut ChannelReader) -> Result<(), ChannelEnd> {
        while let Some((kind, body)) = reader.next_frame()? {
            self.handle(&HostMessage::decode(kind, body)?)?;
        }
        self.submit();
        Ok(())
    }

    fn handle(&mut self, message: &HostMessage<'_>) -> Result<(), ChannelEnd> {
        let out_of_turn = ChannelEnd::OutOfTurn(message.kind());

        match *message {
            HostMessage::Start(_) => return Err(out_of_turn),
            HostMessage::Call(call) => {
                let caller = self.callers.get(call.caller)?;
                return self.add_call(&call, caller).ok_or(out_of_turn);
            }
            HostMessage::Cancel { call, ends_nested } => self.calls.cancel(call, ends_nested),
            HostMessage::Reply { nested, end } => self.nested.reply(nested, end)?,
            HostMessage::Export => {
                let plugin = self.plugin().ok_or(out_of_turn)?;
                let target = Arc::clone(&plugin.target);
                phases::export_state(&self.channel, target);
            }
            HostMessage::Import { schema, state } => {
                let plugin = self.plugin().ok_or(out_of_turn)?;
                let target = Arc::clone(&plugin.target);
                phases::import_state(&self.channel, target, schema, state);
            }
            HostMessage::Stop => {
                self.submit();
                self.plugin();
                let stopping = self.plugin.take().zip(self.end_process.take());
                let (plugin, end_process) = stopping.ok_or(out_of_turn)?;
                phases::stop(&self.channel, plugin, end_process);
            }
        }
        Ok(())
    }

    /// Returns the plugin; `None` if it is not started, or stops.
    fn plugin(&mut self) -> Option<&StartedPlugin> {
        if self.plugin.is_none() {
            self.plugin = self.started.try_recv().ok();
        }
        self.plugin.as_ref()
    }

    /// Adds a call to those that are submitted next; `None` if it cannot be one of this plugin.
    fn add_call(&mut self, message: &CallMessage<'_>, caller: CallerRef<'static>) -> Option<()> {
        let target = Arc::clone(&self.plugin()?.target);
        let call: Arc<WorkerCall> = WorkerCall::new(
            Arc::new(facts_of(message, caller)),
            target,
            message.method,
            message.params,
            EndSink::new(message.call, &self.calls),
            CallPermits::default(),
            // The host logs calls with their callers.
            Caller::Client { connection: 0, peer: None },
        );

        let is_new = self.calls.insert(message.call, &call);

        match message.run {
            Run::Async => self.asynchronous.push(call),
            Run::Inline | Run::Blocking => self.blocking.push(call),
        }
        is_new.then_some(())
    }

    /// Submits the calls that were read. Those that are not accepted are dropped, and end as
    /// cancelled: the threads have ended then.
    fn submit(&mut self) {
        let Some(plugin) = &self.plugin else { return };
        let mut blocking = self.blocking.drain(..);
        if blocking.len() > 0
            && let Some(pool) = &plugin.pool
        {
            let _ = pool.submit(&mut blocking);
        }
        drop(blocking);

        if !self.asynchronous.is_empty() {
            let _ = plugin.executor.submit(&mut self.asynchronous.drain(..));
        }
    }
}
