//! The namespace's `TcpExt` and `Tcp` counters, by their `nstat` names without prefix.

use std::{collections::BTreeMap, fs};

use super::{LabError, error::During};

/// Names to values.
pub(super) type Counters = BTreeMap<String, u64>;

/// Rows of `Tcp` that are settings or levels rather than counters; a difference of them says
/// nothing.
const NOT_COUNTERS: [&str; 5] = ["RtoAlgorithm", "RtoMin", "RtoMax", "MaxConn", "CurrEstab"];

/// Reads the counters of the calling thread's namespace.
pub(super) fn read() -> Result<Counters, LabError> {
    // /proc/net is a link to /proc/self/net: the main thread's namespace, not ours.
    let mut counters = Counters::new();
    for (file, row) in [("netstat", "TcpExt"), ("snmp", "Tcp")] {
        let path = format!("/proc/thread-self/net/{file}");
        let text = fs::read_to_string(&path).during(format!("reading {path}"))?;
        parse(&text, row, &mut counters)?;
    }
    Ok(counters)
}

/// `later - earlier` for every name of `later`; a name that `earlier` lacks began at 0.
pub(super) fn delta(earlier: &Counters, later: &Counters) -> Counters {
    later
        .iter()
        .map(|(name, now)| {
            (name.clone(), now.wrapping_sub(earlier.get(name).copied().unwrap_or(0)))
        })
        .collect()
}

/// Two lines per protocol, one of names and one of values (`snmp_seq_show_tcp_udp` and
/// `netstat_seq_show` in net/ipv4/proc.c).
fn parse(text: &str, row: &str, into: &mut Counters) -> Result<(), LabError> {
    let malformed = |why: String| LabError::Parse { what: "/proc/thread-self/net/snmp", why };
    let mut rows = text.lines().filter_map(|line| line.split_once(':')).filter(|(r, _)| *r == row);
    let (Some((_, names)), Some((_, values))) = (rows.next(), rows.next()) else {
        return Err(malformed(format!("no two {row} lines")));
    };
    let (names, values) = (names.split_ascii_whitespace(), values.split_ascii_whitespace());
    for (name, value) in names.zip(values) {
        if NOT_COUNTERS.contains(&name) {
            continue;
        }
        let value = value.parse().map_err(|_| malformed(format!("{row} {name} is {value:?}")))?;
        into.insert(name.to_owned(), value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNMP: &str = "Ip: Forwarding DefaultTTL\nIp: 2 64\n\
        Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens CurrEstab OutRsts\n\
        Tcp: 1 200 120000 -1 7 3 2\nUdp: InDatagrams\nUdp: 9\n";

    fn counters(text: &str) -> Counters {
        let mut counters = Counters::new();
        parse(text, "Tcp", &mut counters).unwrap();
        counters
    }

    #[test]
    fn reads_its_row_and_leaves_out_what_does_not_count() {
        let expected = [("ActiveOpens".to_owned(), 7), ("OutRsts".to_owned(), 2)];
        assert_eq!(counters(SNMP), Counters::from(expected));
    }

    #[test]
    fn a_missing_row_is_an_error() {
        assert!(parse("Ip: A\nIp: 1\n", "Tcp", &mut Counters::new()).is_err());
    }

    #[test]
    fn deltas_keep_zeros() {
        let later = counters(&SNMP.replace("7 3 2", "12 3 2"));
        let delta = delta(&counters(SNMP), &later);
        assert_eq!(delta["ActiveOpens"], 5);
        assert_eq!(delta["OutRsts"], 0);
    }
}
