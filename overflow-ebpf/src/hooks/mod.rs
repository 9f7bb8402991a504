//! One kernel moment per file: a body that every rung shares, and the attach points of each rung.

mod accept;
mod ack;
mod child;
mod close;
mod ended;
mod request;
mod reset;
mod retransmit;
mod syn;
mod tracepoints;
mod watch;
