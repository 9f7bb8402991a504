//! What network namespaces count.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result};

/// Counters by name.
pub type Counters = BTreeMap<String, u64>;

/// `TcpExt` of the network namespace that a process is in.
pub fn of(pid: u32) -> Result<Counters> {
    let path = format!("/proc/{pid}/net/netstat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    parse(&text).with_context(|| format!("{path} is of another form"))
}

/// How far they rose, without those that did not.
pub fn risen(before: &Counters, after: Counters) -> Counters {
    let rise = |(name, value): (String, u64)| {
        let before = before.get(&name).copied().unwrap_or(0);
        (name, value - before)
    };
    after.into_iter().map(rise).filter(|(_, rise)| *rise > 0).collect()
}

/// A line of names, then a line of values, each with the group's name first.
fn parse(netstat: &str) -> Option<Counters> {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let names = lines.next()?.split_whitespace().map(str::to_owned);
    let values = lines.next()?.split_whitespace().map(str::parse);
    names.zip(values).map(|(name, value)| Some((name, value.ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_and_compared() {
        let text = "TcpExt: A ListenDrops\nTcpExt: 1 22\nIpExt: A\nIpExt: 9\n";
        let counters = parse(text).unwrap();
        assert_eq!((counters["A"], counters["ListenDrops"]), (1, 22));
        assert_eq!(risen(&parse("TcpExt: A\nTcpExt: 1\n").unwrap(), counters)["ListenDrops"], 22);
        assert!(parse("IpExt: A\n").is_none());
    }
}
