//! A worker process as the host sees it: started, and killed with everything that it started.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{ChildStderr, Command, ExitStatus, Stdio};
use std::sync::Arc;

use jackfield_plugin_api::abi::ProcessEnd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::worker_options::WorkerProgram;
use crate::process_group::ProcessGroup;
use crate::worker::channel_reader::ChannelReader;
use crate::worker::channel_writer::{ChannelWriter, WhenFull};
use crate::worker::message::HostMessage;
use crate::worker::sandboxed_groups::SandboxedGroup;
use crate::worker::spec::PROCESS_NAME;

/// A running worker process, and its channel. Dropping it kills the process.
pub(super) struct WorkerProcess {
    pub(super) process: ProcessGroup,
    pub(super) socket: Arc<OwnedFd>,
    pub(super) reader: ChannelReader,
    pub(super) writer: Arc<ChannelWriter>,
    /// The pipe to which the plugin prints; `None` once it is closed.
    pub(super) output: Option<ChildStderr>,
    /// Dropped after the process.
    _sandboxed: Option<SandboxedGroup>,
}

impl WorkerProcess {
    /// Starts `program` with the plugin in `image`, and sends the specification, which has a
    /// sandbox or not. `title` is
    /// `NAME/GENERATION`; `limit` is the largest message that it may send, in bytes.
    ///
    /// # Errors
    ///
    /// The system cannot start it.
    pub(super) fn spawn(
        program: &WorkerProgram,
        variables: Option<&[String]>,
        title: &str,
        image: BorrowedFd<'_>,
        spec: &[u8],
        is_sandboxed: bool,
        limit: usize,
    ) -> io::Result<Self> {
        let (socket, child_socket) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        let (process, output) = ProcessGroup::spawn(
            "worker process",
            Command::new(program.path())
                .arg0(format!("{PROCESS_NAME}{title}"))
                .env_clear()
                .envs(program.environment(variables))
                .stdin(Stdio::from(image.try_clone_to_owned()?))
                .stdout(Stdio::from(child_socket))
                .stderr(Stdio::piped()),
        )?;

        let _sandboxed = is_sandboxed.then(|| SandboxedGroup::add(process.pid()));
        let socket = Arc::new(socket);
        let reader = ChannelReader::new(Arc::clone(&socket), limit);
        let writer = Arc::new(ChannelWriter::new(Arc::clone(&socket), WhenFull::Return));
        writer.send(|out| out.push_host(&HostMessage::Start(spec)));
        Ok(Self { process, socket, reader, writer, output, _sandboxed })
    }

    /// Returns a descriptor that is readable once the process has ended.
    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.process.pidfd()
    }

    pub(super) fn output_fd(&self) -> Option<BorrowedFd<'_>> {
        self.output.as_ref().map(|output| output.as_fd())
    }

    /// Kills the process if it runs, and returns how it ended.
    pub(super) fn end(&mut self) -> ProcessEnd {
        describe(self.process.end())
    }
}

fn describe(status: Option<ExitStatus>) -> ProcessEnd {
    let Some(status) = status else { return ProcessEnd::Unknown };
    match (status.signal(), status.code()) {
        (Some(signal), _) => ProcessEnd::Signal(signal),
        (None, Some(code)) => ProcessEnd::ExitCode(code),
        (None, None) => ProcessEnd::Unknown,
    }
}
