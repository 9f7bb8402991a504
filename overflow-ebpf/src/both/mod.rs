//! Hook points of either trace, of every handshake or of overflows alone: they are not on a
//! healthy handshake's path; on the tracepoint rung they are the only ones.

mod abort;
mod close;
mod icmp_error;
mod listeners;
mod retransmit;
mod timer;
mod tracepoints;
