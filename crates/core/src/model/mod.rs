//! The kernel model: a pure function from kernel features, listener, sysctls and arrivals to the
//! stages of every connection, with the kernel condition that decided each.
//!
//! [`kernels`] maps names to [`features`]; a [`scenario`] is the question; [`simulate`] plays it,
//! event by event, asking [`syn`] and [`ack`] what the kernel would do; [`path`] is the answer for
//! one connection. [`batch`] does this for JSON lines, [`question`] for the options of a command;
//! [`film`] keeps every step on the way.
//!
//! Not modelled, and so to be kept in mind: packet loss, SYNs that hit a `TIME_WAIT` socket, peers
//! proven by TCP metrics (`tcp_peer_is_proven`), Fast Open, MPTCP, SO_REUSEPORT groups, a backlog
//! changed by a second `listen()`, failures of memory or routing, rate limits of challenge ACKs,
//! and the age of a single cookie, which real kernels stop believing up to a minute before
//! [`features::Features::cookie_window`] ends.

mod ack;
pub mod application;
pub mod batch;
mod client;
pub mod compare;
pub mod condition;
pub mod config;
pub mod counters;
pub mod features;
pub mod film;
pub mod kernels;
mod listener;
pub mod path;
pub mod processor;
mod prune;
mod queue;
pub mod question;
pub mod release;
pub mod scenario;
pub mod simulate;
pub mod source;
mod syn;
pub mod time;
mod timers;
