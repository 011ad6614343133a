//! The life-cycle events of plugins, for a program that embeds the host.
//!
//! The plugin owner publishes what happens to generations, and the supervisor of calls publishes
//! changes of their health. Each subscription has a queue of its own. Publishing never waits: a
//! subscriber that does not read misses events, and receives their number.

mod event;
mod publisher;
mod subscription;

pub use event::PluginEvent;
pub(crate) use publisher::EventPublisher;
pub use subscription::PluginEvents;
