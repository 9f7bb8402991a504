//! A host's listeners: what its kernel does when one of them overflows, and what to do about it.

use std::net::SocketAddr;

use super::{Counts, Lang, predict_burst::Question};
use crate::model::{config::Sysctls, features::Features};

/// Larger bursts than this show nothing new.
const MAX_CLIENTS: u32 = 20_000;

/// A listener as `sock_diag` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Where it listens.
    pub address: SocketAddr,
    /// `ss` Recv-Q: connections in the accept queue.
    pub recv_q: u32,
    /// `ss` Send-Q: the accept queue's limit, `sk_max_ack_backlog`.
    pub send_q: u32,
}

/// What an overflow of one listener would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Clients that connect at once while nobody accepts.
    pub clients: u32,
    /// How they end at first.
    pub counts: Counts,
    /// Its accept queue is full now.
    pub full: bool,
    /// Its limit is `net.core.somaxconn`, so the application may have asked for more.
    pub clamped: bool,
}

/// Asks the model: a burst of twice as many clients as its accept queue holds.
pub fn forecast(features: Features, listener: &Listening, sysctls: Sysctls) -> Forecast {
    let limit = listener.send_q;
    let clients = limit.saturating_add(1).saturating_mul(2).clamp(4, MAX_CLIENTS);
    let queued = listener.recv_q.min(limit.saturating_add(1));
    let question = Question { limit, queued, clients, sysctls };
    Forecast {
        clients,
        counts: question.counts(features),
        full: listener.recv_q > limit,
        clamped: sysctls.somaxconn == Some(limit),
    }
}

/// Advice for these listeners, a sentence each, the most urgent first.
pub fn advice(forecasts: &[Forecast], lang: Lang) -> Vec<String> {
    let any = |test: fn(&Forecast) -> bool| forecasts.iter().any(test);
    let cases = [
        (
            any(|f| f.full),
            "A listener is full now: its application does not accept. Look at that process \
             first; every new client is lost or waits.",
            "有监听套接字的队列已满：应用没有 accept。先查这个进程；此刻每个新客户端要么连不上，要么在等待。",
        ),
        (
            any(|f| f.counts.cookie_dropped > 0),
            "Clients that such a burst loses silently would believe they are connected, whatever \
             tcp_abort_on_overflow says. Where bursts of that size do come, a backlog of listen() above \
             the largest of them helps (overflow explain ack.drop.overflow.cookie); an idle server needs \
             nothing.",
            "这样的突发中 ACK 被静默丢弃的客户端会以为已连接，tcp_abort_on_overflow 对此不起作用。只有确实会来\
             这么大的突发时，才需要把 listen() 的 backlog 调到大于最大的突发连接数（overflow explain \
             ack.drop.overflow.cookie）；空闲的服务器不必改动。",
        ),
        (
            any(|f| f.counts.syn_dropped > 0),
            "Clients without SYN-ACK hang in connect() and retransmit their SYN (overflow explain \
             syn.drop).",
            "没有收到 SYN-ACK 的客户端停在 connect() 并重传 SYN（overflow explain syn.drop）。",
        ),
        (
            any(|f| f.counts.reset > 0),
            "tcp_abort_on_overflow=1 resets clients that 0 would let in a second later (overflow \
             explain ack.reset.overflow).",
            "tcp_abort_on_overflow=1 会重置那些设为 0 时一秒后就能进来的客户端（overflow explain \
             ack.reset.overflow）。",
        ),
        (
            any(|f| f.clamped),
            "* The limit is net.core.somaxconn itself: the application may have asked for more \
             (overflow explain somaxconn).",
            "* 上限正好等于 net.core.somaxconn：应用要求的可能更大（overflow explain somaxconn）。",
        ),
    ];
    let applicable = cases.into_iter().filter(|(is, ..)| *is);
    applicable.map(|(_, en, zh)| lang.pick(en, zh).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(features: Features, recv_q: u32, send_q: u32, abort_on_overflow: u8) -> Forecast {
        let listener = Listening { address: ([0, 0, 0, 0], 80).into(), recv_q, send_q };
        let sysctls = Sysctls { abort_on_overflow, somaxconn: Some(128), ..Sysctls::default() };
        forecast(features, &listener, sysctls)
    }

    #[test]
    fn the_kernel_at_hand_decides() {
        let c = Features::V6_5.above_backlog();
        assert_eq!(of(c, 0, 1, 1).counts.to_string(), "2 accepted, 2 silent");
        assert_eq!(of(Features::EL7, 0, 1, 1).counts.to_string(), "2 accepted, 2 reset");
        assert_eq!(of(c, 2, 1, 0).counts.to_string(), "4 no SYN-ACK");
        assert_eq!(of(c, 0, 128, 0).counts.to_string(), "129 accepted, 129 silent");
    }

    #[test]
    fn advice_follows_what_would_happen() {
        let c = Features::V6_5.above_backlog();
        let text = |forecast| advice(&[forecast], Lang::En).join(" ");
        assert!(text(of(c, 0, 1, 1)).starts_with("Clients that such a burst loses"));
        assert!(!text(of(c, 0, 1, 1)).contains("somaxconn"));
        assert!(text(of(c, 2, 1, 0)).starts_with("A listener is full now"));
        assert!(text(of(c, 0, 128, 0)).contains("somaxconn itself"));
        assert!(text(of(Features::EL7, 0, 1, 1)).starts_with("tcp_abort_on_overflow=1 resets"));
        assert_eq!(advice(&[], Lang::Zh), [""; 0]);
    }
}
