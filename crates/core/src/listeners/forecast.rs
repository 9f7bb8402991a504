//! What this kernel will do to a listener when its queues are full, in one sentence. Pure.
//!
//! Comparison by the sysctls of the listener's own network namespace: `tcp_abort_on_overflow`,
//! `tcp_syncookies` and `somaxconn` belong to a namespace and are not inherited by new ones
//! (`tcp_abort_on_overflow` since v4.15, commit 65c9410cf5a2).

use std::cmp::Ordering;

use super::{Listener, Sysctls};
use crate::model::{
    config::{self, Limits},
    features::{Features, SynQueueTest},
};

/// What will happen, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Requests at which the SYN queue counts as full; `None` where nothing shows it.
    pub syn_queue_limit: Option<u32>,
    /// What happens to SYNs and third ACKs once the accept queue is full.
    pub effect: String,
    /// What somebody should know or do, most urgent first.
    pub advice: Vec<String>,
}

/// Forecasts the overflow of `listener` on a kernel with these features. `sysctls` are those of
/// its own namespace; `host` those of this program's, where that is another one.
pub fn forecast(
    features: &Features,
    listener: &Listener,
    sysctls: &Sysctls,
    host: Option<&Sysctls>,
) -> Forecast {
    let limit = listener.send_q.map(|limit| syn_queue_limit(features, limit, sysctls));
    Forecast {
        syn_queue_limit: limit,
        effect: effect(features, sysctls, limit),
        advice: advice(features, listener, sysctls, host, limit),
    }
}

fn syn_queue_limit(features: &Features, max_ack_backlog: u32, asked: &Sysctls) -> u32 {
    let default = config::Sysctls::default();
    let sysctls = config::Sysctls {
        // The kernel has already clamped it.
        somaxconn: Some(u32::MAX),
        max_syn_backlog: asked.max_syn_backlog.unwrap_or(default.max_syn_backlog),
        ..default
    };
    let listener = config::Listener { backlog: max_ack_backlog, ..config::Listener::default() };
    let full_at = Limits::new(features, listener, &sysctls).syn_queue_full_at(features.syn_queue);
    last_quarter(asked).map_or(full_at, |from| full_at.min(from))
}

/// Requests from which on SYNs are dropped without cookies, but for those of peers that are proven
/// (`tcp_peer_is_proven`): `max_syn_backlog - qlen < max_syn_backlog >> 2` in `tcp_conn_request`.
fn last_quarter(sysctls: &Sysctls) -> Option<u32> {
    let backlog = sysctls.max_syn_backlog.filter(|_| sysctls.syncookies == Some(0))?;
    Some((backlog - (backlog >> 2)).saturating_add(1))
}

/// What happens on a kernel with these features in a namespace with these settings, once a
/// listener's accept queue is full; `syn_queue_limit` for the number to be named.
pub fn effect(features: &Features, sysctls: &Sysctls, syn_queue_limit: Option<u32>) -> String {
    let syn = if features.young_rule {
        "new SYNs are dropped once two young requests wait"
    } else {
        "new SYNs are dropped"
    };
    let at = syn_queue_limit.map_or_else(String::new, |n| format!(" (at {n} requests)"));
    let ack = match sysctls.abort_on_overflow {
        Some(0) => {
            let times =
                sysctls.synack_retries.map_or_else(String::new, |n| format!(" up to {n} times"));
            format!("a third ACK is dropped and its SYN-ACK sent again{times} (abort=0)")
        }
        Some(_) => "a third ACK is answered by RST (abort=1)".to_owned(),
        None => "a third ACK is dropped, or answered by RST with abort=1".to_owned(),
    };
    let silent = "whose third ACK is dropped silently, whatever abort says";
    match sysctls.syncookies {
        Some(2) => format!("{syn}; every SYN gets a cookie, {silent}"),
        Some(0) => format!("{syn}; {ack}; a full SYN queue{at} drops SYNs"),
        _ => format!("{syn}; {ack}; a full SYN queue{at} answers with cookies, {silent}"),
    }
}

fn advice(
    features: &Features,
    listener: &Listener,
    sysctls: &Sysctls,
    host: Option<&Sysctls>,
    syn_queue_limit: Option<u32>,
) -> Vec<String> {
    let mut advice = Vec::new();
    if listener.full() {
        advice.push(
            "The accept queue is full now: the application does not call accept(), or not often \
             enough."
                .to_owned(),
        );
    }
    if listener.syn_queue_full(syn_queue_limit) {
        advice.push("The SYN queue is full now.".to_owned());
    }
    let dropped = listener.drops.filter(|drops| *drops > 0);
    if let Some(drops) = dropped.filter(|_| !listener.full()) {
        advice.push(format!(
            "Segments dropped since it was opened: {drops}, although there is room now. It was full at \
             times, or something else was wrong: `overflow trace -P {}` shows what, and whom it hurts.",
            listener.local.port()
        ));
    }
    if listener.send_q == Some(0) {
        advice.push(no_backlog(features, sysctls));
    }
    // Who set the limit matters to those alone that reach it.
    if let (Some(limit), Some(somaxconn)) = (listener.send_q, sysctls.somaxconn)
        && (listener.full() || dropped.is_some())
    {
        advice.push(who_set(limit, somaxconn));
    }
    if let Some((from, limit)) = last_quarter(sysctls).zip(syn_queue_limit)
        && from == limit
        && (dropped.is_some() || listener.syn_recv.is_some_and(|requests| requests >= limit / 2))
    {
        advice.push(format!(
            "With tcp_syncookies=0 the last quarter of tcp_max_syn_backlog ({}) is kept for peers that \
             the kernel has proven: other SYNs are dropped from {from} requests on, whatever the \
             backlog.",
            sysctls.max_syn_backlog.unwrap_or_default()
        ));
    }
    let mine = sysctls.abort_on_overflow;
    if let Some(host) = host
        && let (Some(mine), Some(theirs)) = (mine, host.abort_on_overflow)
        && mine != theirs
    {
        advice.push(format!(
            "tcp_abort_on_overflow is {theirs} on the host but {mine} here: each network namespace \
             has its own and inherits none, so the host's setting does nothing for this listener."
        ));
    }
    if mine == Some(1) && sysctls.syncookies != Some(0) {
        advice.push(
            "tcp_abort_on_overflow=1 resets only handshakes that have a request; after a cookie \
             the client still believes it is connected."
                .to_owned(),
        );
    }
    if listener.group > 1 {
        advice.push(format!(
            "One of {} listeners that share this address (SO_REUSEPORT): each has a queue of its \
             own, and one can overflow while the others are empty.",
            listener.group
        ));
    }
    advice
}

fn no_backlog(features: &Features, sysctls: &Sysctls) -> String {
    let nobody = features.syn_queue == SynQueueTest::AtBacklog && sysctls.syncookies == Some(0);
    let then = if nobody {
        "and with tcp_syncookies=0 this kernel drops every SYN"
    } else {
        "so that a second client that comes before accept() finds it full"
    };
    format!("Send-Q is 0, as listen(0) asks for: the queue takes one connection, {then}.")
}

/// Whose the limit of a queue is that overflows, and what raises it.
fn who_set(limit: u32, somaxconn: u32) -> String {
    match limit.cmp(&somaxconn) {
        Ordering::Equal => format!(
            "Send-Q equals net.core.somaxconn ({somaxconn}): a larger backlog was clamped, or just that \
             was asked for. A longer queue takes a larger somaxconn in this network namespace, and \
             then a restart of the application: listen() alone reads it."
        ),
        Ordering::Less => format!(
            "Send-Q ({limit}) is not net.core.somaxconn ({somaxconn}): it is the backlog that the \
             application asked for, or what somaxconn was when it called listen(). A somaxconn that \
             was raised since does nothing for it until a restart; if its backlog is smaller, that \
             is what to raise."
        ),
        Ordering::Greater => format!(
            "Send-Q ({limit}) is above net.core.somaxconn, which was lowered to {somaxconn} since: \
             after a restart the queue is shorter."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::sample::listener, *};

    const SYSCTLS: Sysctls = Sysctls {
        somaxconn: Some(4096),
        abort_on_overflow: Some(0),
        syncookies: Some(1),
        max_syn_backlog: Some(512),
        synack_retries: Some(5),
    };

    #[test]
    fn the_settings_of_the_namespace_decide() {
        let features = Features::V6_5.above_backlog();
        let forecast_of = |sysctls| forecast(&features, &listener("0.0.0.0:80"), &sysctls, None);
        let plain = forecast_of(SYSCTLS);
        assert_eq!(plain.syn_queue_limit, Some(129));
        assert_eq!(
            plain.effect,
            "new SYNs are dropped; a third ACK is dropped and its SYN-ACK sent again up to 5 times \
             (abort=0); a full SYN queue (at 129 requests) answers with cookies, whose third ACK \
             is dropped silently, whatever abort says"
        );
        assert!(plain.advice.is_empty(), "{:?}", plain.advice);
        let abort = forecast_of(Sysctls { abort_on_overflow: Some(1), ..SYSCTLS });
        assert!(abort.effect.contains("RST (abort=1)"), "{}", abort.effect);
        let no_cookies = forecast_of(Sysctls { syncookies: Some(0), ..SYSCTLS });
        assert!(no_cookies.effect.ends_with("(at 129 requests) drops SYNs"));
        let always = forecast_of(Sysctls { syncookies: Some(2), ..SYSCTLS });
        assert!(!always.effect.contains("abort="), "{}", always.effect);
    }

    #[test]
    fn the_syn_queue_is_the_kernels() {
        let limit = |features: &Features, send_q| {
            let listener = Listener { send_q: Some(send_q), ..listener("0.0.0.0:80") };
            forecast(features, &listener, &SYSCTLS, None).syn_queue_limit
        };
        assert_eq!(limit(&Features::EL7, 1), Some(16));
        assert_eq!(limit(&Features::EL7, 4096), Some(1024));
        assert_eq!(limit(&Features::V5_4, 1), Some(1));
        let unknown = Listener { send_q: None, ..listener("0.0.0.0:80") };
        assert_eq!(forecast(&Features::V5_4, &unknown, &SYSCTLS, None).syn_queue_limit, None);
    }

    #[test]
    fn without_cookies_the_last_quarter_is_the_limit() {
        let features = Features::V6_5.above_backlog();
        let limit = |max_syn_backlog, syncookies| {
            let sysctls = Sysctls {
                max_syn_backlog: Some(max_syn_backlog),
                syncookies: Some(syncookies),
                ..SYSCTLS
            };
            forecast(&features, &listener("0.0.0.0:80"), &sysctls, None).syn_queue_limit
        };
        // 128 - qlen < 32 from 97 on; a backlog of 128 is full at 129.
        assert_eq!((limit(128, 0), limit(128, 1)), (Some(97), Some(129)));
        assert_eq!((limit(1024, 0), limit(3, 0)), (Some(129), Some(4)));
    }

    fn advice_of(listener: &Listener, sysctls: Sysctls) -> String {
        forecast(&Features::V5_4, listener, &sysctls, None).advice.join("\n")
    }

    #[test]
    fn who_set_the_limit_is_said_of_queues_that_overflow() {
        let at = |send_q, drops| Listener {
            send_q: Some(send_q),
            drops: Some(drops),
            ..listener("0.0.0.0:80")
        };
        // Many servers ask for just somaxconn: of one that never dropped anything nothing is said.
        assert_eq!(advice_of(&at(4096, 0), SYSCTLS), "");
        assert_eq!(advice_of(&at(128, 0), SYSCTLS), "");
        let clamped = advice_of(&at(4096, 7), SYSCTLS);
        assert!(clamped.starts_with("Segments dropped since it was opened: 7"), "{clamped}");
        assert!(clamped.contains("equals net.core.somaxconn (4096)"), "{clamped}");
        // Somebody has raised it since.
        let raised = advice_of(&at(128, 7), SYSCTLS);
        assert!(raised.contains("Send-Q (128) is not net.core.somaxconn (4096)"), "{raised}");
        assert!(raised.contains("until a restart"), "{raised}");
        let lowered = advice_of(&at(8192, 7), SYSCTLS);
        assert!(lowered.contains("lowered to 4096"), "{lowered}");
        let full = advice_of(&Listener { recv_q: 129, ..at(128, 7) }, SYSCTLS);
        assert!(full.starts_with("The accept queue is full now"), "{full}");
        assert!(full.contains("is not net.core.somaxconn") && !full.contains("room now"), "{full}");
    }

    #[test]
    fn a_backlog_of_nothing_is_said() {
        let none = Listener { send_q: Some(0), ..listener("0.0.0.0:80") };
        let cookies = advice_of(&none, SYSCTLS);
        assert!(cookies.contains("takes one connection, so that a second"), "{cookies}");
        let without = Sysctls { syncookies: Some(0), ..SYSCTLS };
        assert!(advice_of(&none, without).contains("drops every SYN"));
        // 3479c7549fb1.
        let mended = forecast(&Features::V5_4.above_backlog(), &none, &without, None).advice;
        assert!(!mended.join(" ").contains("drops every SYN"), "{mended:?}");
    }

    #[test]
    fn the_last_quarter_is_said_where_it_drops() {
        let sysctls = Sysctls { syncookies: Some(0), max_syn_backlog: Some(128), ..SYSCTLS };
        let dropping = Listener { drops: Some(1), ..listener("0.0.0.0:80") };
        let advice = advice_of(&dropping, sysctls);
        assert!(advice.contains("tcp_max_syn_backlog (128)"), "{advice}");
        assert!(advice.contains("dropped from 97 requests on"), "{advice}");
        assert!(!advice_of(&listener("0.0.0.0:80"), sysctls).contains("last quarter"));
        assert!(!advice_of(&dropping, SYSCTLS).contains("last quarter"));
    }

    #[test]
    fn advice_follows_what_is_seen() {
        let features = Features::V6_5.above_backlog();
        let host = Sysctls { abort_on_overflow: Some(1), ..SYSCTLS };
        let overflowing =
            Listener { recv_q: 129, syn_recv: Some(129), group: 4, ..listener("0.0.0.0:80") };
        let sysctls = Sysctls { somaxconn: Some(128), ..SYSCTLS };
        let advice = forecast(&features, &overflowing, &sysctls, Some(&host)).advice;
        let begins: Vec<_> =
            advice.iter().map(|a| a.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            begins,
            [
                "The accept queue",
                "The SYN queue",
                "Send-Q equals net.core.somaxconn",
                "tcp_abort_on_overflow is 1",
                "One of 4"
            ]
        );
    }
}
