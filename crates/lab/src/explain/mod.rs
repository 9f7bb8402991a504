//! The knowledge base ([`topics`]), and what decided a set of bursts, in plain words, from the
//! verdicts at hand.
//!
//! Every sentence has its reason in the data: a path is only mentioned when a connection took it.
//! What the kernel's rules are, and what CentOS 7 would have made of the same burst, is asked of
//! the [`overflow_core::model`].

mod centos7;
mod question;

pub(crate) use question::counts;

use crate::{CellConfig, model_check};
use overflow_core::{
    explain::Counts,
    model::{
        features::{Features, SynQueueTest},
        kernels,
    },
    verdict::{Connection, DecidedBy, Stage, VerdictId},
};

/// One cell, as far as the explanation needs it.
#[derive(Clone, Debug)]
pub(crate) struct Facts<'a> {
    /// What was set.
    pub config: &'a CellConfig,
    /// The listener's real limit, `sk_max_ack_backlog`, connections.
    pub limit: u32,
    /// The burst's connections.
    pub connections: Vec<&'a Connection>,
    /// How far ListenOverflows rose, prefill and retries included; `None` when unknown.
    pub listen_overflows: Option<u64>,
}

/// A titled paragraph without line breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Paragraph {
    /// Heading.
    pub title: &'static str,
    /// Sentences.
    pub text: String,
}

/// Explains all cells together. Empty when nothing was lost in any of them.
///
/// `kernel_release` is `uname -r`; a release that the model does not know is taken for a kernel of
/// today. What the release leaves open is estimated from the stages.
pub(crate) fn explain(cells: &[Facts<'_>], kernel_release: &str) -> Vec<Paragraph> {
    let features = features(cells, kernel_release);
    let mut found = Vec::new();
    found.extend(cookie_path(cells, &features));
    found.extend(request_path(cells));
    found.extend(dropped_syns(cells, &features));
    if found.is_empty() {
        return found;
    }
    found.extend(sysctl_effect(cells));
    found.extend(counter_is_blind(cells));
    if backlog_limits_syns(&features) {
        found.extend(centos7::paragraph(cells, features));
    }
    found
}

/// What this kernel does.
fn features(cells: &[Facts<'_>], release: &str) -> Features {
    let today = Features::V6_5.above_backlog();
    let named = kernels::by_name(release).map_or(today, |kernel| kernel.features);
    let connections = cells.iter().flat_map(|c| c.connections.iter());
    model_check::as_observed(named, connections.flat_map(|c| &c.stages))
}

/// Whether the SYN queue's limit is the listener's backlog (ef547f2ac16b, 4.4).
fn backlog_limits_syns(features: &Features) -> bool {
    features.syn_queue != SynQueueTest::MaxQlenLog
}

fn cookie_path(cells: &[Facts<'_>], features: &Features) -> Option<Paragraph> {
    let lost = stages(cells, VerdictId::AckDropOverflowCookie);
    let (connection, stage) = *lost.first()?;
    let ipv6 = connection.server.is_ipv6() && !connection.server.ip().to_canonical().is_ipv4();
    let check = if ipv6 { "cookie_v6_check" } else { "cookie_v4_check" };
    let child = if ipv6 { "tcp_v6_syn_recv_sock" } else { "tcp_v4_syn_recv_sock" };
    let forced = cells.iter().any(|c| {
        c.config.syncookies == 2 && c.connections.iter().any(|c| has(c, VerdictId::SynCookie))
    });
    let why = if forced {
        "Their SYNs were answered by SYN cookies, because tcp_syncookies=2 answers every SYN so"
            .to_owned()
    } else if backlog_limits_syns(features) {
        format!(
            "Their SYNs found the SYN queue full{}, because since 4.4 (ef547f2ac16b) its limit is \
             the listener's own backlog, and were answered by SYN cookies",
            comparison(cells, features, VerdictId::SynCookie),
        )
    } else {
        "Their SYNs found the SYN queue full and were answered by SYN cookies".to_owned()
    };
    Some(Paragraph {
        title: "Lost in the cookie path",
        text: format!(
            "{} here. {why}: the kernel keeps no request for them. Their third ACK goes through \
             {check} → tcp_get_cookie_sock → {child}, and that returns NULL, because the accept \
             queue is full{}. This path never reads tcp_abort_on_overflow: it drops the ACK \
             silently, sends no RST, and has no request whose SYN-ACK it could send again. The \
             client believes it is connected, the server has nothing.",
            ended(lost.len()),
            accept_queue(stage),
        ),
    })
}

fn request_path(cells: &[Facts<'_>]) -> Option<Paragraph> {
    let dropped = stages(cells, VerdictId::AckDropOverflow);
    let reset = stages(cells, VerdictId::AckResetOverflow);
    let (connection, stage) = *dropped.first().or(reset.first())?;
    let ipv6 = connection.server.is_ipv6() && !connection.server.ip().to_canonical().is_ipv4();
    let (child, send) = if ipv6 {
        ("tcp_v6_syn_recv_sock", "tcp_v6_send_reset")
    } else {
        ("tcp_v4_syn_recv_sock", "tcp_v4_send_reset")
    };
    let mut sentences = vec![format!(
        "{} here. Their SYNs were queued as requests, so their third ACK goes through \
         tcp_check_req → {child}, which returns NULL, because the accept queue is full{}. \
         tcp_check_req then jumps to listen_overflow, the only place that reads \
         tcp_abort_on_overflow.",
        ended(dropped.len() + reset.len()),
        accept_queue(stage),
    )];
    if !dropped.is_empty() {
        let resent: usize = dropped.iter().map(|(c, _)| c.synack_retransmits_ns.len()).sum();
        sentences.push(format!(
            "With 0 it drops the ACK and keeps the request ({}); its timer sends the SYN-ACK \
             again{}, and each ACK that answers it is judged anew.",
            connections(dropped.len()),
            match resent {
                0 => String::new(),
                1 => " (once here)".to_owned(),
                n => format!(" ({n} times here)"),
            },
        ));
    }
    if !reset.is_empty() {
        sentences.push(format!(
            "With 1 it removes the request and answers by RST through {send} ({}).",
            connections(reset.len()),
        ));
    }
    Some(Paragraph { title: "Lost in the request path", text: sentences.join(" ") })
}

fn dropped_syns(cells: &[Facts<'_>], features: &Features) -> Option<Paragraph> {
    let by_syn_queue = stages(cells, VerdictId::SynDropSynQueueFull).len();
    let by_accept_queue = stages(cells, VerdictId::SynDropAcceptQueueFull).len();
    let mut sentences = Vec::new();
    if by_syn_queue > 0 {
        let limit = if backlog_limits_syns(features) {
            ", whose limit is the listener's own backlog since 4.4 (ef547f2ac16b),"
        } else {
            ""
        };
        sentences.push(format!(
            "The SYNs of {} found the SYN queue{limit} full{}; with tcp_syncookies=0, \
             tcp_conn_request drops such a SYN.",
            connections(by_syn_queue),
            comparison(cells, features, VerdictId::SynDropSynQueueFull),
        ));
    }
    if by_accept_queue > 0 {
        sentences.push(format!(
            "A SYN that comes, or is sent again, once the accept queue is full{} is \
             dropped{}, cookies or not{}; that happened to {}.",
            comparison(cells, features, VerdictId::SynDropAcceptQueueFull),
            if by_syn_queue > 0 { " as well" } else { "" },
            if features.young_rule {
                ", if more than one request is young"
            } else {
                " (without exception since 4.10, 5ea8ea2cb7f1)"
            },
            connections(by_accept_queue),
        ));
    }
    if sentences.is_empty() {
        return None;
    }
    sentences.push(
        "Without a SYN-ACK there is no third ACK, so tcp_abort_on_overflow has nothing to decide; \
         the client sends its SYN again until it gives up or a slot is free."
            .to_owned(),
    );
    Some(Paragraph { title: "Lost before any ACK", text: sentences.join(" ") })
}

/// What tcp_abort_on_overflow changed, wherever two cells differ in nothing else.
fn sysctl_effect(cells: &[Facts<'_>]) -> Option<Paragraph> {
    let (mut nothing, mut the_ack, mut more) = (Vec::new(), Vec::new(), Vec::new());
    for (at, cell) in cells.iter().enumerate() {
        let Some(twin) = cells[at + 1..].iter().find(|c| twins(cell.config, c.config)) else {
            continue;
        };
        let (a, b) = (counts(cell), counts(twin));
        let list = if a == b {
            &mut nothing
        } else if a.without_abort() == b.without_abort() {
            &mut the_ack
        } else {
            &mut more
        };
        list.push(format!("tcp_syncookies={}", cell.config.syncookies));
    }
    let mut sentences = Vec::new();
    if !nothing.is_empty() {
        sentences.push(format!(
            "Nothing with {}: 0 and 1 gave the same result, because no third ACK that met a full \
             queue belonged to a request.",
            nothing.join(" and with "),
        ));
    }
    if !the_ack.is_empty() {
        sentences.push(format!(
            "With {}, it decided between dropping and resetting the third ACKs that belonged to a \
             request, and nothing else.",
            the_ack.join(" and with "),
        ));
    }
    if !more.is_empty() {
        sentences.push(format!(
            "With {}, 0 and 1 differ in more than what became of such third ACKs: the bursts \
             themselves did not run alike.",
            more.join(" and with "),
        ));
    }
    let text = sentences.join(" ");
    (!text.is_empty()).then_some(Paragraph { title: "What tcp_abort_on_overflow changed", text })
}

/// Whether two cells differ in tcp_abort_on_overflow alone.
fn twins(a: &CellConfig, b: &CellConfig) -> bool {
    let like_b = CellConfig { abort_on_overflow: b.abort_on_overflow, ..a.clone() };
    a.abort_on_overflow != b.abort_on_overflow && like_b == *b
}

/// Explains that ListenOverflows cannot tell the paths apart, where it rose alike on different ones.
fn counter_is_blind(cells: &[Facts<'_>]) -> Option<Paragraph> {
    let losing = |cell: &Facts<'_>| {
        let counts = counts(cell);
        [counts.reset, counts.dropped, counts.cookie_dropped, counts.syn_dropped]
            .iter()
            .filter(|n| **n > 0)
            .count()
    };
    let overflowed: Vec<&Facts<'_>> =
        cells.iter().filter(|c| c.listen_overflows.unwrap_or(0) > 0).collect();
    let kinds: std::collections::BTreeSet<_> =
        overflowed.iter().map(|c| counts(c).kinds()).collect();
    let mixed = overflowed.iter().any(|c| losing(c) > 1);
    (mixed || kinds.len() > 1).then(|| Paragraph {
        title: "Why counters do not tell",
        text: "ListenOverflows and ListenDrops rise by one for each third ACK and each SYN that \
               meets a full accept queue, whichever path the kernel takes: `nstat` shows that the \
               queue overflowed, not what the client was told."
            .to_owned(),
    })
}

/// What CentOS 7 would have made of the same burst at first, before any retransmission; `None`
/// where more happened than a burst. It is predicted, not run.
pub(crate) fn on_centos7(cell: &Facts<'_>) -> Option<Counts> {
    question::of_cell(cell.config, cell.limit).map(|q| q.counts(Features::EL7))
}

/// Every first stage with this id, with its connection.
fn stages<'a>(cells: &[Facts<'a>], id: VerdictId) -> Vec<(&'a Connection, &'a Stage)> {
    let connections = cells.iter().flat_map(|c| c.connections.iter().copied());
    connections.filter_map(|c| Some((c, c.stages.iter().find(|s| s.id == id)?))).collect()
}

fn has(connection: &Connection, id: VerdictId) -> bool {
    connection.stages.iter().any(|s| s.id == id)
}

/// The queue comparison of the first stage of this id that could read it, in brackets.
fn comparison(cells: &[Facts<'_>], features: &Features, id: VerdictId) -> String {
    let read = stages(cells, id).into_iter().find_map(|(_, stage)| {
        let (values, max) = (&stage.values, stage.values.sk_max_ack_backlog?);
        let len = match id.decided_by() {
            DecidedBy::AcceptQueue => values.sk_ack_backlog?,
            DecidedBy::SynQueueRoom | DecidedBy::SynQueueFull => values.syn_queue_len?,
        };
        Some((len, max))
    });
    let at_limit = features.syn_queue == SynQueueTest::AtBacklog;
    let sign = if at_limit && id.decided_by() == DecidedBy::SynQueueFull { "≥" } else { ">" };
    read.map_or_else(String::new, |(len, max)| format!(" ({len} {sign} {max})"))
}

fn accept_queue(stage: &Stage) -> String {
    match (stage.values.sk_ack_backlog, stage.values.sk_max_ack_backlog) {
        (Some(len), Some(max)) => format!(" (sk_ack_backlog {len} > sk_max_ack_backlog {max})"),
        _ => String::new(),
    }
}

fn connections(n: usize) -> String {
    if n == 1 { "1 connection".to_owned() } else { format!("{n} connections") }
}

fn ended(n: usize) -> String {
    if n == 1 { "1 connection ended".to_owned() } else { format!("{n} connections ended") }
}

#[cfg(test)]
mod tests;
