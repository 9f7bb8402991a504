//! `overflow`: which path the Linux kernel took when a TCP listener's queue was full, and why.
//!
//! Read top to bottom, the modules are the life of a record: [`kernel`] says what this kernel is,
//! [`probe`] attaches and reads the ring, [`decode`] makes events of bytes, [`correlate`] stories
//! of events, [`verdict`] judges, [`witness`] compares with counters and packets, [`sink`] prints.
//! [`lab`] makes the overflows; [`model`] predicts them.

pub mod cli;
pub mod confine;
pub mod kernel;
pub mod probe;
pub mod decode;
pub mod correlate;
pub mod verdict;
pub mod witness;
pub mod explain;
pub mod sink;
pub mod export;
pub mod lab;
pub mod model;
pub mod owner;
pub mod listeners;
pub mod record;
pub mod aggregates;
pub mod pipeline;
pub mod packet;
mod pages;
