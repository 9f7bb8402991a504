//! What this host says of its kernel, its network namespaces, its TCP listeners and who holds them.
//!
//! The one place that reads it: nothing here is traced, and nothing is changed.

pub mod kernel;
pub mod listeners;
pub mod owner;
pub mod recordings;
