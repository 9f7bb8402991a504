//! The calling thread's namespace's counters, by their `nstat` names without prefix.

use std::{collections::BTreeMap, fs};

use crate::{ReadError, own_thread};

/// Names to values.
pub type Counters = BTreeMap<String, u64>;

/// A group of counters: two lines of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// `TcpExt` of `netstat`.
    TcpExt,
    /// `Tcp` of `snmp`.
    Tcp,
}

/// Columns of `Tcp` that are settings or levels rather than counters; a difference of them says
/// nothing.
const NOT_COUNTERS: [&str; 5] = ["RtoAlgorithm", "RtoMin", "RtoMax", "MaxConn", "CurrEstab"];

impl Group {
    /// Its name at the beginning of both lines, and the file of the thread that has them.
    const fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::TcpExt => ("TcpExt", "net/netstat"),
            Self::Tcp => ("Tcp", "net/snmp"),
        }
    }

    /// Reads its counters.
    pub fn read(self) -> Result<Counters, ReadError> {
        let (name, file) = self.place();
        let path = own_thread::file(file);
        let text = fs::read_to_string(&path).map_err(ReadError::io(&path.to_string_lossy()))?;
        parse(&text, name).map_err(|why| ReadError::form(file, why))
    }
}

/// `later - earlier` for every name of `later`; a name that `earlier` lacks began at 0.
pub fn delta(earlier: &Counters, later: &Counters) -> Counters {
    later
        .iter()
        .map(|(name, now)| {
            (name.clone(), now.wrapping_sub(earlier.get(name).copied().unwrap_or(0)))
        })
        .collect()
}

/// Two lines per group, one of names and one of values (`snmp_seq_show_tcp_udp` and
/// `netstat_seq_show` in net/ipv4/proc.c).
pub(crate) fn parse(text: &str, group: &str) -> Result<Counters, String> {
    let mut rows =
        text.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| *name == group);
    let (Some((_, names)), Some((_, values))) = (rows.next(), rows.next()) else {
        return Err(format!("no two {group} lines"));
    };
    let (names, values) = (names.split_ascii_whitespace(), values.split_ascii_whitespace());
    let counters = names.zip(values).filter(|(name, _)| !NOT_COUNTERS.contains(name));
    counters
        .map(|(name, value)| {
            let value = value.parse().map_err(|_| format!("{group} {name} is {value:?}"))?;
            Ok((name.to_owned(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNMP: &str = "Ip: Forwarding DefaultTTL\nIp: 2 64\n\
        Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens CurrEstab OutRsts\n\
        Tcp: 1 200 120000 -1 7 3 2\nUdp: InDatagrams\nUdp: 9\n";

    fn counters(text: &str) -> Counters {
        parse(text, "Tcp").unwrap()
    }

    #[test]
    fn reads_its_row_and_leaves_out_what_does_not_count() {
        let expected = [("ActiveOpens".to_owned(), 7), ("OutRsts".to_owned(), 2)];
        assert_eq!(counters(SNMP), Counters::from(expected));
    }

    #[test]
    fn a_missing_row_is_an_error() {
        assert_eq!(parse("Ip: A\nIp: 1\n", "Tcp").unwrap_err(), "no two Tcp lines");
    }

    #[test]
    fn a_value_that_is_no_number_is_an_error() {
        let text = SNMP.replace("7 3 2", "x 3 2");
        assert_eq!(parse(&text, "Tcp").unwrap_err(), "Tcp ActiveOpens is \"x\"");
    }

    #[test]
    fn deltas_keep_zeros() {
        let later = counters(&SNMP.replace("7 3 2", "12 3 2"));
        let delta = delta(&counters(SNMP), &later);
        assert_eq!(delta["ActiveOpens"], 5);
        assert_eq!(delta["OutRsts"], 0);
    }

    #[test]
    fn this_namespace_has_both() {
        assert!(Group::TcpExt.read().unwrap().contains_key("ListenOverflows"));
        assert!(Group::Tcp.read().unwrap().contains_key("PassiveOpens"));
    }
}
