//! What the eBPF side could not report, counted by cause in a per-CPU array.

/// A row per cause, in map order: variant, name in output, what it means for the results (the
/// variant's documentation).
macro_rules! losses {
    ($($loss:ident $name:literal $meaning:literal;)+) => {
        /// Index into the `LOSSES` map; a loss is shown to the user, never swallowed.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Loss {
            $(#[doc = $meaning] $loss,)+
        }

        impl Loss {
            /// All causes, in map order.
            pub const ALL: &[Self] = &[$(Self::$loss),+];
            /// How many causes there are.
            pub const COUNT: usize = Self::ALL.len();

            /// What it means for the results, in a sentence.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$loss => $meaning,)+
                }
            }

            /// Its text in output and in recordings, where losses of user space stand beside it.
            pub const fn id(self) -> &'static str {
                match self {
                    $(Self::$loss => concat!("ebpf ", $name),)+
                }
            }
        }
    };
}

losses! {
    RingFull "ring_full"
        "The ring was full: a record was thrown away, and the connection that it was about may \
         lack a stage or be missing altogether. Counts made in the kernel are not affected: with \
         --all, --summary and top those of SYNs and of accept queues, and those of third ACKs but on \
         the tracepoint rung, where only the connection's records tell what became of one.";
    BadHeader "bad_header"
        "A segment that TCP was handed had no IP header that is understood: it is not reported.";
    PathInterrupted "path_interrupted"
        "The path state belonged to another segment when an exit was reached, an exit was not seen \
         because its return probe had no instance left, or the RST that was to end a record did not \
         follow: that decision is not reported.";
    BadRead "bad_read"
        "A kernel structure could not be read: values of the records at that time may be zero, or \
         the record is missing.";
    Uncounted "uncounted"
        "A count or a listener found no room in its map, or two network namespaces had to share \
         the place where their counters are remembered: counts made in the kernel are too low, a \
         drop may be missing, or a listener that was closed at once may have no owner.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_place_and_its_name() {
        for (place, loss) in Loss::ALL.iter().enumerate() {
            assert_eq!(*loss as usize, place);
            let same = Loss::ALL.iter().filter(|other| other.id() == loss.id());
            assert_eq!(same.count(), 1, "{loss:?}");
        }
        assert_eq!(Loss::COUNT, Loss::ALL.len());
    }
}
