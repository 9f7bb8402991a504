//! TCP states: the kernel's numbers, its names and what `ss` writes.

/// A state as numbered in include/net/tcp_states.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TcpState {
    /// `TCP_ESTABLISHED`.
    Established = 1,
    /// `TCP_SYN_SENT`.
    SynSent = 2,
    /// `TCP_SYN_RECV`.
    SynRecv = 3,
    /// `TCP_FIN_WAIT1`.
    FinWait1 = 4,
    /// `TCP_FIN_WAIT2`.
    FinWait2 = 5,
    /// `TCP_TIME_WAIT`.
    TimeWait = 6,
    /// `TCP_CLOSE`.
    Close = 7,
    /// `TCP_CLOSE_WAIT`.
    CloseWait = 8,
    /// `TCP_LAST_ACK`.
    LastAck = 9,
    /// `TCP_LISTEN`.
    Listen = 10,
    /// `TCP_CLOSING`.
    Closing = 11,
    /// `TCP_NEW_SYN_RECV`, a request: the kernel's own distinction, shown as `SYN_RECV`.
    NewSynRecv = 12,
    /// `TCP_BOUND_INACTIVE`, of `sock_diag` only: a socket that was bound and nothing more.
    BoundInactive = 13,
}

impl TcpState {
    /// Every state, in order of its number.
    pub const ALL: [Self; 13] = [
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
        Self::NewSynRecv,
        Self::BoundInactive,
    ];

    /// Its number.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kernel's name, `TCP_ESTABLISHED`.
    pub(crate) const fn kernel_name(self) -> &'static str {
        match self {
            Self::Established => "TCP_ESTABLISHED",
            Self::SynSent => "TCP_SYN_SENT",
            Self::SynRecv => "TCP_SYN_RECV",
            Self::FinWait1 => "TCP_FIN_WAIT1",
            Self::FinWait2 => "TCP_FIN_WAIT2",
            Self::TimeWait => "TCP_TIME_WAIT",
            Self::Close => "TCP_CLOSE",
            Self::CloseWait => "TCP_CLOSE_WAIT",
            Self::LastAck => "TCP_LAST_ACK",
            Self::Listen => "TCP_LISTEN",
            Self::Closing => "TCP_CLOSING",
            Self::NewSynRecv => "TCP_NEW_SYN_RECV",
            Self::BoundInactive => "TCP_BOUND_INACTIVE",
        }
    }

    /// As user space sees it: the kernel's name without `TCP_`, and a request as `SYN_RECV`.
    pub(crate) fn name(self) -> &'static str {
        let shown = if self == Self::NewSynRecv { Self::SynRecv } else { self };
        shown.kernel_name().trim_start_matches("TCP_")
    }

    /// What `ss` writes.
    pub const fn ss(self) -> &'static str {
        match self {
            Self::Established => "ESTAB",
            Self::SynSent => "SYN-SENT",
            Self::SynRecv | Self::NewSynRecv => "SYN-RECV",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::TimeWait => "TIME-WAIT",
            Self::Close => "UNCONN",
            Self::CloseWait => "CLOSE-WAIT",
            Self::LastAck => "LAST-ACK",
            Self::Listen => "LISTEN",
            Self::Closing => "CLOSING",
            Self::BoundInactive => "BOUND-INACTIVE",
        }
    }

    /// The state of this number; `None` for one that was not known when this was written.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.number() == number)
    }

    /// The state of this [`name`](Self::name).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// The name of a number, `UNKNOWN_14` where it is none of these.
    pub fn name_of(number: u8) -> String {
        Self::from_number(number)
            .map_or_else(|| format!("UNKNOWN_{number}"), |state| state.name().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_kernels_names() {
        let names: Vec<_> = (0..=14).map(TcpState::name_of).collect();
        let expected = [
            "UNKNOWN_0",
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
            "SYN_RECV",
            "BOUND_INACTIVE",
            "UNKNOWN_14",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn names_are_understood_again_but_a_request_stays_syn_recv() {
        for state in TcpState::ALL {
            let known = TcpState::from_name(state.name());
            let shown = if state == TcpState::NewSynRecv { TcpState::SynRecv } else { state };
            assert_eq!(known, Some(shown));
        }
        assert_eq!(TcpState::from_name("ESTAB"), None);
    }
}
