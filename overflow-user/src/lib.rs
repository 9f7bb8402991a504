//! The product: what attaches to a kernel, what is made of its records, where it is reported.
//!
//! [`probe`] attaches and reads the ring; [`pipeline`] takes records, live or recorded, to
//! verdicts; [`sink`] prints them; [`confine`] gives up rights before anything from the network is
//! read; [`export`] sends to a collector. The command line is the binary's, and so is the lab.

#![warn(unreachable_pub)]
#![deny(clippy::print_stderr, clippy::print_stdout)]

mod say;
pub mod confine;
pub mod probe;
pub mod pipeline;
pub mod sink;
pub mod export;
mod pages;
