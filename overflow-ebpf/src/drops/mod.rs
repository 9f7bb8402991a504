//! Overflows alone, the default trace, at a cost nobody notices: two hooks on a healthy handshake's
//! way, which look and return, and a few where only those pass that were dropped.
//!
//! A SYN is judged at `tcp_v4_conn_request`'s exit (or its twins'), a third ACK at `tcp_v4_syn_recv_sock`'s. Whether it
//! was this segment that was dropped, and for which queue, this CPU's counters prove
//! (`counters.rs`): no other hook has to see the way in between.
//!
//! # Minimum kernel version
//! fexit and kprobe: 5.10. `tcp_v4_syn_recv_sock` with seven arguments as in `all/child.rs`.

mod state;
mod gate;
mod mode;
mod listener;
mod syn;
mod ack;
mod reset;
mod fentry;
mod kprobe;
