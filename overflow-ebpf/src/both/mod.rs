//! Hook points of either trace, of every handshake or of overflows alone: they are off a healthy
//! handshake's way, or, by tracepoints, all there is.

mod abort;
mod close;
mod retransmit;
mod timer;
mod tracepoints;
