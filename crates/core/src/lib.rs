//! What the Linux kernel did to a TCP connection at a full queue: everything from a raw record to
//! a verdict and its words, as pure functions.
//!
//! No I/O, no clock, nothing of Linux: `cargo build --target wasm32-unknown-unknown` proves it.
//!
//! Read top to bottom, the modules are the life of a record: [`kernel`] knows this kernel's types,
//! [`decode`] makes events of bytes, [`connections`] and [`histories`] keep the history of each
//! connection, [`verdict`] judges, [`text`] and [`wire`] say it. [`model`] predicts it.

#![warn(unreachable_pub)]

mod table_enum;

pub mod kernel;
pub mod packet;
pub mod tcp_state;
pub mod decode;
pub mod loss;
pub mod recording;
pub mod syn_limit;
pub mod histories;
pub mod connections;
pub mod hook_point;
pub mod verdict;
pub mod clients;
pub mod aggregates;
pub mod audit;
pub mod capture;
pub mod owner;
pub mod listeners;
pub mod cause;
pub mod model;
pub mod whatif;
pub mod explain;
pub mod text;
pub mod wire;
