//! Loads of `cargo xtask whatif`: who connects when, who accepts when, and what is asked about it.

use serde::{Deserialize, Serialize};

/// Loads listen from this port on.
const PORT: u16 = 10_000;

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

/// What `overflow whatif` is asked about a load of a recording: as it was, and at another setting if
/// one is given. `release` is the clients' kernel.
pub fn question(
    pair: &Pair,
    recording: &str,
    port: u16,
    release: &str,
    setting: Option<Setting>,
) -> Vec<String> {
    let data = if pair.data { "yes" } else { "no" };
    let port = port.to_string();
    let mut words = vec!["whatif", recording, "--output", "json", "--port", &port];
    words.extend(["--client-kernel", release, "--client-data", data]);
    let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    if let Some(Setting { backlog, syncookies, abort }) = setting {
        words.extend([format!("--backlog={backlog}"), format!("--syncookies={syncookies}")]);
        words.push(format!("--abort={abort}"));
    }
    words
}

/// The port of a load, by its number among those that are recorded together.
pub fn port(number: usize) -> u16 {
    PORT + u16::try_from(number).unwrap_or(0)
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
