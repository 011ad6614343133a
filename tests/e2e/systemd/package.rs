//! The Debian package: installed, started, replaced and removed on a system that is thrown away.
