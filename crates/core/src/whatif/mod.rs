//! What would have been enough: a recording's real arrivals through the kernel model with another
//! backlog, sysctl, kernel or application.
//!
//! [`collect`] reads a recording's frames and keeps of each listener who came when ([`recorded`]) and
//! when the application accepted ([`accepts`], [`pace`]). A [`setting`] is what is asked about;
//! [`replay`] plays it, [`fate`] says what became of each client, for what was recorded and for what
//! is predicted alike, and [`advise`] looks for the smallest change that hurts nobody.
//!
//! What is not in a recording is assumed, and said: who the clients are after the first SYN (their
//! timers, whether they send first), and what the application would have done while it was idle; and
//! no load is the same twice ([`shake`]). An answer is therefore several: [`replay::Bounds`].

mod accepts;
pub mod advise;
pub mod assumed;
pub mod collect;
pub mod fate;
mod pace;
pub mod recorded;
pub mod replay;
mod round_trips;
pub mod setting;
pub mod shake;
mod spacing;
#[cfg(test)]
mod tests;
