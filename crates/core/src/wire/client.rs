//! `client`: what one client of `overflow client` believes.

use std::{borrow::Cow, net::SocketAddr};

use serde::{Deserialize, Serialize};

/// A `client` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client<'a> {
    /// Format version.
    pub v: u32,
    /// The client's end.
    pub client: SocketAddr,
    /// The server's end.
    pub server: SocketAddr,
    /// From `connect()` to established, nanoseconds.
    pub connect_ns: Option<u64>,
    /// How `connect()` ended otherwise: an errno name, or `pending`.
    pub connect_error: Option<Cow<'a, str>>,
    /// TCP state at the end of the hold, in `ss` words.
    pub state: Cow<'a, str>,
    /// The socket's error at the end of the hold, an errno name.
    pub error: Option<Cow<'a, str>>,
}
