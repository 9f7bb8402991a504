//! What a tool and the processes it started have in memory.

use serde::{Deserialize, Serialize};

/// Memory of all its processes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// How many processes.
    pub processes: u64,
    /// Resident, KiB.
    pub rss_kib: u64,
    /// Of these, pages of no file, KiB.
    pub anon_kib: u64,
    /// The most that each ever had resident, summed, KiB.
    pub most_kib: u64,
}
