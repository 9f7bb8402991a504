//! The contract between overflow's eBPF programs and its user space: records and load-time facts.
//!
//! No logic beyond encoding. Everything here is `#[repr(C)]` without padding, with its size
//! asserted, because the two sides are compiled for different targets.
#![no_std]
#![expect(
    clippy::inline_always,
    reason = "a BPF program has no calls into other crates: what it uses must be inlined"
)]

mod event;
mod layout;
mod loss;
mod path;
mod tally;

pub use event::{Event, Kind, Queue, Rung, valid};
pub use layout::{EXACT_FIELDS, Field, OPTIONAL_FIELDS, Slot};
pub use loss::Loss;
pub use path::Path;
pub use tally::{Signature, Standing, Tally, Waiting};
