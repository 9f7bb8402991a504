//! Every handshake, as `--all`, the lab and `--summary` ask for it: one hook point per file, a body
//! that every rung shares, and the attach points of each rung.

mod accept;
mod timestamps;
mod ack;
mod child;
mod ended;
mod listen;
mod request;
mod reset;
mod syn;
