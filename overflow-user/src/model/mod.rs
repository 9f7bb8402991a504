//! The kernel model: a pure function from kernel features, listener, sysctls and arrivals to the
//! stages of every connection, with the kernel condition that decided each.

pub mod ack;
pub mod batch;
pub mod client;
pub mod compare;
pub mod condition;
pub mod config;
pub mod counters;
pub mod features;
pub mod kernels;
pub mod listener;
pub mod path;
pub mod prune;
pub mod queue;
pub mod release;
pub mod scenario;
pub mod simulate;
pub mod syn;
pub mod time;
pub mod timers;
