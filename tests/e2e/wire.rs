//! Frames, whole and in pieces, in every kind and version, with the running host.
