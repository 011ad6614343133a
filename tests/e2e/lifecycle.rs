//! Starting and stopping: configurations that are refused, sockets that are taken or not, the end of a host.
