//! TCP states by the kernel's names without their `TCP_` prefix.

/// The name of a state as numbered in include/net/tcp_states.h.
pub(super) fn name(state: u8) -> String {
    const NAMES: [&str; 13] = [
        "ESTABLISHED",
        "SYN_SENT",
        "SYN_RECV",
        "FIN_WAIT1",
        "FIN_WAIT2",
        "TIME_WAIT",
        "CLOSE",
        "CLOSE_WAIT",
        "LAST_ACK",
        "LISTEN",
        "CLOSING",
        // TCP_NEW_SYN_RECV is the kernel's own distinction; to user space it is SYN_RECV.
        "SYN_RECV",
        "BOUND_INACTIVE",
    ];
    state
        .checked_sub(1)
        .and_then(|i| NAMES.get(usize::from(i)))
        .map_or_else(|| format!("UNKNOWN_{state}"), |name| (*name).to_owned())
}

/// `TCP_LISTEN`.
pub(super) const LISTEN: u8 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_kernels_names() {
        assert_eq!(name(1), "ESTABLISHED");
        assert_eq!(name(2), "SYN_SENT");
        assert_eq!(name(7), "CLOSE");
        assert_eq!(name(LISTEN), "LISTEN");
        assert_eq!(name(12), "SYN_RECV");
        assert_eq!((name(0), name(14)), ("UNKNOWN_0".into(), "UNKNOWN_14".into()));
    }
}
