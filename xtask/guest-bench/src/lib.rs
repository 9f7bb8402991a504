//! What xtask asks of the program in its VMs, and what that program answers.

pub mod job;
pub mod memory;
pub mod soak;
pub mod stat;
pub mod storm;
