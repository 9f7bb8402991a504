//! What a recording begins with.

use serde::{Deserialize, Serialize};

use crate::text::Untrusted;

/// What decoding and printing need besides the frames.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Name and version of the program that recorded.
    pub tool: String,
    /// `uname -r`.
    pub kernel: String,
    /// `PRETTY_NAME` of os-release, or empty.
    pub distro: String,
    /// CLOCK_REALTIME minus CLOCK_MONOTONIC when the recording began, nanoseconds.
    pub wall_offset_ns: i64,
    /// A CLOCK_MONOTONIC time, nanoseconds, at which `jiffies` was a multiple of 4096: timers expire in
    /// buckets that are counted from there.
    #[serde(default)]
    pub jiffies_ns: Option<i64>,
    /// Processors that were online.
    #[serde(default)]
    pub processors: Option<u32>,
    /// Local time minus UTC then, seconds.
    pub utc_offset_s: i32,
    /// `enum skb_drop_reason` by value.
    pub drop_reasons: Vec<(u32, String)>,
    /// `enum sk_rst_reason` by value.
    pub reset_reasons: Vec<(u32, String)>,
    /// (first address, address after it, name) of the functions that drop locations are named by.
    pub symbols: Vec<(u64, u64, String)>,
    /// (hook point, rung it was traced by); an empty rung where none worked.
    pub rungs: Vec<(String, String)>,
    /// What a reader must know, as sentences.
    pub notes: Vec<String>,
}

impl Header {
    /// The same for showing: a recording can come from anybody, and so can every text in it.
    pub(super) fn escaped(self) -> Self {
        let Self { tool, kernel, distro, wall_offset_ns, jiffies_ns, utc_offset_s, .. } = self;
        let text = |text: String| Untrusted::new(&text).to_string();
        let reasons = |all: Vec<(u32, String)>| {
            all.into_iter().map(|(number, name)| (number, text(name))).collect()
        };
        Self {
            tool: text(tool),
            kernel: text(kernel),
            distro: text(distro),
            wall_offset_ns,
            jiffies_ns,
            processors: self.processors,
            utc_offset_s,
            drop_reasons: reasons(self.drop_reasons),
            reset_reasons: reasons(self.reset_reasons),
            symbols: (self.symbols.into_iter())
                .map(|(start, end, name)| (start, end, text(name)))
                .collect(),
            rungs: self.rungs.into_iter().map(|(point, rung)| (text(point), text(rung))).collect(),
            notes: self.notes.into_iter().map(text).collect(),
        }
    }
}
