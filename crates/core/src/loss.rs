//! Every way in which something can be lost. A loss has a counter, and reaches every output.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::Untrusted;

macro_rules! losses {
    ($($(#[doc = $doc:literal])+ $variant:ident = $id:literal, $records:literal;)+) => {
        /// What was lost. The text of its row is a contract: output and recordings have it.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Loss {
            /// What the eBPF side could not report.
            Kernel(overflow_common::Loss),
            $($(#[doc = $doc])+ $variant,)+
            /// A cause that this version does not know, from a recording of another.
            Other(String),
        }

        impl Loss {
            /// Those of user space.
            pub(crate) const USER: &[Self] = &[$(Self::$variant,)+];

            /// Its text in output and in recordings.
            pub fn id(&self) -> &str {
                match self {
                    Self::Kernel(loss) => loss.id(),
                    $(Self::$variant => $id,)+
                    Self::Other(text) => text,
                }
            }

            /// What it means, in a sentence.
            pub fn meaning(&self) -> &'static str {
                match self {
                    Self::Kernel(loss) => loss.meaning(),
                    $(Self::$variant => concat!($($doc),+).trim_ascii(),)+
                    Self::Other(_) => "This version does not know what that means.",
                }
            }

            /// Whether records are missing by it, so that something that happened was not seen.
            /// Other losses are of what is reported.
            pub fn hides_records(&self) -> bool {
                match self {
                    Self::Kernel(_) => true,
                    $(Self::$variant => $records,)+
                    // Nothing else is known of it: losses of records begin so.
                    Self::Other(text) => text.starts_with("ebpf ") || text.starts_with("records "),
                }
            }
        }
    };
}

losses! {
    /// The kernel skipped a hook's program because it was already running on that CPU
    /// (`bpf_prog_inc_misses_counter`, since v5.12): what that hook would have seen is missing.
    HookMissed = "ebpf hook_missed", true;
    /// Records of another size than this build's: the eBPF object is of another build.
    OtherBuild = "records of another build", true;
    /// The ring was emptied while listeners were looked for, and more came than is kept meanwhile.
    NoRoomMeanwhile = "records that found no room while listeners were looked for", true;
    /// Records with a kind, rung or family that does not exist.
    Undecoded = "records that could not be decoded", true;
    /// What owns a listener could not be looked up again.
    StaleOwners = "looks for listeners that failed, so owners may be old", false;
    /// Frames of a recording whose sum is wrong.
    DamagedFrames = "damaged frames of the recording", true;
    /// The recording is cut off or damaged: what happened after its last frame is missing, and so is its
    /// last look at the counters.
    CutOff = "end of the recording", true;
    /// The connection table was full: who was quiet for longest was judged early.
    Forgotten = "connections forgotten early, too many at once", false;
    /// A connection's events beyond those that are kept were merged.
    Merged = "moments of one connection, too many to keep", false;
    /// Too many different event templates at once.
    NoTemplate = "moments not kept, of too many different kinds at once", false;
    /// The lab's connection table was full.
    NoRoomInTable = "moments that found no room", false;
    /// `--max-events-per-second` left them out.
    NotShown = "moments not shown for a limit on events", false;
    /// Metrics that never reached the collector.
    MetricsUndelivered = "OTLP exports of metrics that were not delivered", false;
    /// Metrics that the collector did not take.
    MetricsRefused = "OTLP exports of metrics that the collector refused", false;
    /// Log records that never reached the collector.
    LogsUndelivered = "OTLP log records that were not delivered", false;
    /// Log records that the collector did not take.
    LogsRefused = "OTLP log records that the collector refused", false;
    /// Packets that the capture did not get.
    Capture = "packets lost by the capture", false;
    /// More listeners or clients than are counted apart.
    NotApart = "connections of a capture that are in no listener's or client's sum", false;
    /// Packets that the lab's link dropped itself.
    Link = "packets lost by the link", false;
}

impl Loss {
    /// The loss with this text.
    pub fn from_id(id: &str) -> Self {
        let kernel = overflow_common::Loss::ALL.iter().map(|loss| Self::Kernel(*loss));
        let mut known = kernel.chain(Self::USER.iter().cloned());
        known
            .find(|loss| loss.id() == id)
            .unwrap_or_else(|| Self::Other(Untrusted::new(id).to_string()))
    }
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.id())
    }
}

impl Serialize for Loss {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.id())
    }
}

impl<'de> Deserialize<'de> for Loss {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self::from_id(&String::deserialize(d)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_unique_and_parse_back() {
        let kernel = overflow_common::Loss::ALL.iter().map(|loss| Loss::Kernel(*loss));
        let all: Vec<_> = kernel.chain(Loss::USER.iter().cloned()).collect();
        for (i, loss) in all.iter().enumerate() {
            assert_eq!(Loss::from_id(loss.id()), *loss);
            assert!(all[i + 1..].iter().all(|other| other.id() != loss.id()), "{loss}");
            // What a recording of an earlier version can have.
            let records = loss.id().starts_with("ebpf ") || loss.id().starts_with("records ");
            assert!(!records || loss.hides_records(), "{loss}");
        }
    }

    #[test]
    fn causes_of_the_kernel_side_say_so() {
        for loss in overflow_common::Loss::ALL {
            let id = Loss::Kernel(*loss).id().to_owned();
            assert!(id.starts_with("ebpf ") && !id.contains("  "), "{id}");
        }
        assert_eq!(
            Loss::Kernel(overflow_common::Loss::PathInterrupted).id(),
            "ebpf path_interrupted"
        );
    }

    /// `UPDATE_EXPECT=1` writes them.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test may read files")]
    fn the_document_says_what_each_means() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/events.md");
        let text = std::fs::read_to_string(path).unwrap();
        let head = "| `what` | which means |\n|---|---|\n";
        let start = text.find(head).unwrap() + head.len();
        let end = start + text[start..].find("\n\n").unwrap() + 1;
        let kernel = overflow_common::Loss::ALL.iter().map(|loss| Loss::Kernel(*loss));
        let rows: Vec<String> = kernel
            .chain(Loss::USER.iter().cloned())
            .map(|loss| format!("| `{loss}` | {} |\n", loss.meaning()))
            .collect();
        let rows = rows.concat();
        if text[start..end] != rows && std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(path, [&text[..start], &rows, &text[end..]].concat()).unwrap();
            return;
        }
        assert_eq!(&text[start..end], rows, "docs/events.md: run again with UPDATE_EXPECT=1");
    }

    #[test]
    fn a_recording_has_them_as_texts() {
        let read: Vec<(Loss, u64)> =
            serde_json::from_str(r#"[["ebpf ring_full",2],["of tomorrow",1]]"#).unwrap();
        let other = Loss::Other("of tomorrow".to_owned());
        assert_eq!(read, [(Loss::Kernel(overflow_common::Loss::RingFull), 2), (other, 1)]);
        let written = serde_json::to_string(&read).unwrap();
        assert_eq!(written, r#"[["ebpf ring_full",2],["of tomorrow",1]]"#);
        assert!(!Loss::StaleOwners.hides_records());
    }
}
