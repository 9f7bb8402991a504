//! What `cargo xtask bench` asks of the program in its VM, and what that program answers.

pub mod job;
pub mod stat;
