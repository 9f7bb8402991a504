//! The sysctls and counters of the calling thread's namespace that decide an overflow.

use overflow_core::listeners::{Counters, Sysctls};

use crate::{
    counters::{self, Group},
    sysctl,
};

/// Reads the sysctls; one that this kernel or namespace does not show is `None`.
pub fn sysctls() -> Sysctls {
    Sysctls {
        somaxconn: sysctl::read("core.somaxconn").ok(),
        abort_on_overflow: sysctl::read("ipv4.tcp_abort_on_overflow").ok(),
        syncookies: sysctl::read("ipv4.tcp_syncookies").ok(),
        max_syn_backlog: sysctl::read("ipv4.tcp_max_syn_backlog").ok(),
        synack_retries: sysctl::read("ipv4.tcp_synack_retries").ok(),
    }
}

/// Reads the counters; `None` where procfs does not show them.
pub(super) fn counters() -> Option<Counters> {
    of_overflows(&Group::TcpExt.read().ok()?)
}

fn of_overflows(counters: &counters::Counters) -> Option<Counters> {
    let value = |name| counters.get(name).copied();
    Some(Counters {
        listen_overflows: value("ListenOverflows")?,
        listen_drops: value("ListenDrops")?,
        req_q_full_do_cookies: value("TCPReqQFullDoCookies").unwrap_or(0),
        req_q_full_drop: value("TCPReqQFullDrop").unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name() {
        let read = [("ListenOverflows", 18), ("ListenDrops", 20), ("TCPReqQFullDoCookies", 3)]
            .map(|(name, value)| (name.to_owned(), value));
        let expected = Counters {
            listen_overflows: 18,
            listen_drops: 20,
            req_q_full_do_cookies: 3,
            req_q_full_drop: 0,
        };
        assert_eq!(of_overflows(&read.into()), Some(expected));
        assert_eq!(of_overflows(&[("ListenDrops".to_owned(), 1)].into()), None);
    }

    #[test]
    fn this_namespace_has_them() {
        assert!(counters().is_some());
        assert!(sysctls().syncookies.is_some());
    }
}
