//! The contract between overflow's eBPF programs and its user space: records and load-time facts,
//! and the pure part of the eBPF side, so that the host can test it.
//!
//! What travels is `#[repr(C)]` without padding, with its size asserted, because the two sides are
//! compiled for different targets.
#![no_std]
#![warn(unreachable_pub)]
#![expect(
    clippy::inline_always,
    reason = "a BPF program has no calls into other crates: what it uses must be inlined"
)]

mod audit;
mod event;
mod field;
pub mod filter;
mod layout;
mod loss;
mod opener;
mod path;
mod plain;
pub mod segment;
mod tally;

pub use audit::{Counted, CountersRead, CpuCounters, LeftOut, LeftOutKey, Phase, SetAside};
pub use event::{Kind, Queue, RawEvent, Rung, valid};
pub use field::{Field, Slot};
pub use layout::{Counter, ENUMERATORS, EnumeratorRow, FIELDS, FieldRow, Reading, SLOTS, SlotRow};
pub use loss::Loss;
pub use opener::Opener;
pub use path::Path;
pub use plain::Plain;
pub use tally::{Counting, Healthy, Place, Signature, Socket, Tally, Waiting};
