//! The sysctls and counters of the calling thread's namespace that decide an overflow.

use std::fs;

use overflow_core::listeners::{Counters, Sysctls};

/// Reads them; procfs shows those of the thread's own namespace (`net_ctl_set` in
/// net/sysctl_net.c looks at `current`).
pub(super) fn sysctls() -> Sysctls {
    Sysctls {
        somaxconn: number("core/somaxconn"),
        abort_on_overflow: number("ipv4/tcp_abort_on_overflow"),
        syncookies: number("ipv4/tcp_syncookies"),
        max_syn_backlog: number("ipv4/tcp_max_syn_backlog"),
        synack_retries: number("ipv4/tcp_synack_retries"),
    }
}

/// Reads them; `None` where procfs does not show them.
pub(super) fn counters() -> Option<Counters> {
    // /proc/net is a link to /proc/self/net: the main thread's namespace, not this one's.
    parse(&fs::read_to_string("/proc/thread-self/net/netstat").ok()?)
}

/// Two lines per protocol, one of names and one of values (`netstat_seq_show` in
/// net/ipv4/proc.c).
fn parse(text: &str) -> Option<Counters> {
    let mut rows = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let names: Vec<&str> = rows.next()?.split_ascii_whitespace().collect();
    let values: Vec<&str> = rows.next()?.split_ascii_whitespace().collect();
    let value = |name: &str| -> Option<u64> {
        values.get(names.iter().position(|n| *n == name)?)?.parse().ok()
    };
    Some(Counters {
        listen_overflows: value("ListenOverflows")?,
        listen_drops: value("ListenDrops")?,
        req_q_full_do_cookies: value("TCPReqQFullDoCookies").unwrap_or(0),
        req_q_full_drop: value("TCPReqQFullDrop").unwrap_or(0),
    })
}

fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    fs::read_to_string(format!("/proc/sys/net/{name}")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name() {
        let text = "TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPReqQFullDoCookies\n\
                    TcpExt: 1 18 20 3\nIpExt: A\nIpExt: 1\n";
        let expected = Counters {
            listen_overflows: 18,
            listen_drops: 20,
            req_q_full_do_cookies: 3,
            req_q_full_drop: 0,
        };
        assert_eq!(parse(text), Some(expected));
        assert_eq!(parse("TcpExt: ListenDrops\nTcpExt: 1\n"), None);
    }

    #[test]
    fn this_namespace_has_them() {
        assert!(counters().is_some());
        assert!(sysctls().syncookies.is_some());
    }
}
