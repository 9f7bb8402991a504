//! Both ends of a connection: addresses, the listener, the clients, and the options of their sockets.

pub(crate) mod clients;
pub(crate) mod crafted;
pub(crate) mod listener;
pub(crate) mod sockopt;
pub(crate) mod watched;
pub mod two_hosts;
pub(crate) mod family;
