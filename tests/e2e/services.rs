//! What the host does for plugins: logs, settings, sleeping, calling other methods.
