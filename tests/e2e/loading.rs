//! Files that are no plugins, each refused by its own reason, while the others serve.
