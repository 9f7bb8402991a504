//! What this host reports of its kernel, its network namespaces, its TCP sockets and who holds them.
//!
//! The one place that reads it: nothing here is traced, and nothing is changed.

#![warn(unreachable_pub)]

pub mod causes;
pub mod cgroup;
pub mod clock;
pub mod counters;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod kernel;
pub mod listeners;
mod looker;
mod model_kernel;
pub mod netns;
pub mod own_status;
mod owner;
pub mod own_thread;
pub mod files;
pub mod recordings;
pub mod sockets;
pub mod sysctl;

pub use error::ReadError;
pub use looker::Looker;
pub use owner::in_initial_pid_namespace;
