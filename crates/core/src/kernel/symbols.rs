//! Which function a code address lies in, by `/proc/kallsyms`.

/// Functions of the running kernel that drop locations are told apart by.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    /// (start address, name), sorted, of every text symbol.
    starts: Vec<(u64, &'static str)>,
}

/// Locations in any other function are of no interest.
const WANTED: &[&str] = &[
    "tcp_v4_rcv",
    "tcp_v6_rcv",
    "tcp_v4_do_rcv",
    "tcp_v6_do_rcv",
    "cookie_v4_check",
    "cookie_v6_check",
    "tcp_rcv_state_process",
];

impl Symbols {
    /// Reads the text of `/proc/kallsyms`, one symbol a line: address, kind, name.
    pub fn parse(text: &str) -> Self {
        let mut starts: Vec<(u64, &'static str)> = text
            .lines()
            .filter_map(|line| {
                let mut words = line.split_ascii_whitespace();
                let address = u64::from_str_radix(words.next()?, 16).ok()?;
                let kind = words.next()?;
                let name = words.next()?;
                // The end of a function is the start of the next, whatever that is.
                let name = WANTED.iter().find(|w| **w == name).copied().unwrap_or("");
                (address != 0 && matches!(kind, "t" | "T")).then_some((address, name))
            })
            .collect();
        starts.sort_unstable();
        Self { starts }
    }

    /// (first address, address after it, name) of every wanted function, for a recording.
    pub fn ranges(&self) -> Vec<(u64, u64, &'static str)> {
        let next = self.starts.iter().skip(1).map(|(start, _)| *start).chain([u64::MAX]);
        let ranges = self.starts.iter().zip(next);
        ranges
            .filter(|((_, name), _)| !name.is_empty())
            .map(|((start, name), end)| (*start, end, *name))
            .collect()
    }

    /// The symbols of a recording; functions that are not wanted are left out.
    pub fn from_ranges<'a>(ranges: impl IntoIterator<Item = (u64, u64, &'a str)>) -> Self {
        let mut starts = Vec::new();
        for (start, end, name) in ranges {
            if let Some(name) = WANTED.iter().find(|w| **w == name) {
                starts.extend([(start, *name), (end, "")]);
            }
        }
        // Of two at one address, the name comes after the end of the function before it.
        starts.sort_unstable();
        Self { starts }
    }

    /// The wanted function that `address` lies in.
    pub fn function(&self, address: u64) -> Option<&'static str> {
        let after = self.starts.partition_point(|(start, _)| *start <= address);
        let (_, name) = self.starts.get(after.checked_sub(1)?)?;
        (!name.is_empty()).then_some(*name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_the_symbol_before_it() {
        let symbols = Symbols::parse(
            "ffff10 t other\nffff20 T cookie_v4_check\nffff40 t tcp_x\nffff20 D data\n0 t hidden\n",
        );
        assert_eq!(symbols.function(0xff_ff20), Some("cookie_v4_check"));
        assert_eq!(symbols.function(0xff_ff3f), Some("cookie_v4_check"));
        assert_eq!(symbols.function(0xff_ff40), None);
        assert_eq!(symbols.function(0xff_ff1f), None);
        assert_eq!(symbols.function(1), None);
    }

    #[test]
    fn ranges_make_the_same_symbols_again() {
        let symbols = Symbols::parse("10 T tcp_v4_rcv\n20 T tcp_v6_rcv\n30 t x\n40 t y\n");
        let ranges = symbols.ranges();
        assert_eq!(ranges, [(0x10, 0x20, "tcp_v4_rcv"), (0x20, 0x30, "tcp_v6_rcv")]);
        let again = Symbols::from_ranges(ranges);
        for address in 0..0x50 {
            assert_eq!(again.function(address), symbols.function(address), "{address:x}");
        }
    }
}
