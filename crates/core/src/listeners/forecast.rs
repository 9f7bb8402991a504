//! What this kernel will do to a listener when its queues are full, in one sentence. Pure.
//!
//! Comparison by the sysctls of the listener's own network namespace: `tcp_abort_on_overflow`,
//! `tcp_syncookies` and `somaxconn` belong to a namespace and are not inherited by new ones
//! (`tcp_abort_on_overflow` since v4.15, commit 65c9410cf5a2).

use super::{Listener, Sysctls};
use crate::model::{
    config::{self, Limits},
    features::Features,
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
        advice: advice(listener, sysctls, host, limit),
    }
}

fn syn_queue_limit(features: &Features, max_ack_backlog: u32, sysctls: &Sysctls) -> u32 {
    let default = config::Sysctls::default();
    let sysctls = config::Sysctls {
        // The kernel has already clamped it.
        somaxconn: Some(u32::MAX),
        max_syn_backlog: sysctls.max_syn_backlog.unwrap_or(default.max_syn_backlog),
        ..default
    };
    let listener = config::Listener { backlog: max_ack_backlog, ..config::Listener::default() };
    Limits::new(features, listener, &sysctls).syn_queue_full_at(features.syn_queue)
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
    if syn_queue_limit.is_some_and(|limit| limit > 0 && listener.syn_recv >= limit) {
        advice.push("The SYN queue is full now.".to_owned());
    }
    if let (Some(limit), Some(somaxconn)) = (listener.send_q, sysctls.somaxconn)
        && limit == somaxconn
    {
        advice.push(format!(
            "Send-Q equals net.core.somaxconn ({somaxconn}), which probably clamps a larger \
             backlog: raise it in this network namespace, then let the application listen() again."
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
    fn advice_follows_what_is_seen() {
        let features = Features::V6_5.above_backlog();
        let host = Sysctls { abort_on_overflow: Some(1), ..SYSCTLS };
        let overflowing =
            Listener { recv_q: 129, syn_recv: 129, group: 4, ..listener("0.0.0.0:80") };
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
