//! Loads of `cargo xtask whatif`: who connects when, who accepts when, and what is asked about it.

use serde::{Deserialize, Serialize};

/// What is to be played: every pair at two settings, and what `overflow whatif` says of the second,
/// which it has not seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WhatifJob {
    /// The program.
    pub overflow: String,
    /// The rung that it records by, if not the best that attaches.
    pub rung: Option<String>,
    /// Pairs that are recorded at the same time.
    pub together: usize,
    /// How long a segment is on its way between a client and its server, microseconds; 0 for none,
    /// so that a client's handshake is over before the next one connects.
    pub delay_us: u64,
    /// Whether recordings are left in the working directory.
    pub keep: bool,
    /// All of them.
    pub pairs: Vec<Pair>,
}

/// The same load at two settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// Who connects.
    pub arrivals: Vec<Arrivals>,
    /// Whether each client sends data as soon as it is connected.
    pub data: bool,
    /// Who accepts.
    pub server: Server,
    /// Where it is recorded.
    pub recorded: Setting,
    /// Where it is predicted, and played again.
    pub predicted: Setting,
    /// How long each run is watched, milliseconds.
    pub hold_ms: u64,
}

/// Clients that connect one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrivals {
    /// The first, milliseconds after the beginning.
    pub at_ms: u64,
    /// How many.
    pub clients: u32,
    /// From one to the next, microseconds; 0 is as fast as `connect()` returns.
    pub every_us: u64,
}

/// An application that calls `accept()`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Its first call, milliseconds after the beginning.
    pub late_ms: u64,
    /// What it does between two calls, microseconds: one after the other, and again from the first.
    pub work_us: Vec<u64>,
}

/// A listener's setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The backlog argument of listen(2).
    pub backlog: u32,
    /// net.ipv4.tcp_syncookies.
    pub syncookies: u8,
    /// net.ipv4.tcp_abort_on_overflow.
    pub abort: u8,
}

impl Pair {
    /// Clients in all.
    pub fn clients(&self) -> u32 {
        self.arrivals.iter().map(|arrivals| arrivals.clients).sum()
    }
}

/// What became of a pair.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Played {
    /// What `overflow whatif` printed about the first run's recording, a line each: as it was, and at
    /// the second setting.
    pub predicted: Vec<serde_json::Value>,
    /// And about the second run's.
    pub happened: Vec<serde_json::Value>,
    /// Why it was not played to its end.
    pub failed: Option<String>,
}
