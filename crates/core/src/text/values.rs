//! The kernel values of a stage in `ss` words, as text and capture show them.

use super::duration::period;
use crate::verdict::{DecidedBy, Stage, Values, VerdictId};

/// The one comparison that decided a stage, short: `Recv-Q 2 > 1`.
pub fn decided_by(stage: &Stage) -> String {
    comparison(stage.id, &stage.values)
}

/// The values that matter to a stage, the deciding comparison first.
pub fn values(stage: &Stage) -> String {
    of_verdict(stage.id, &stage.values)
}

/// The one comparison that decided a verdict, empty where its values were not read.
pub fn comparison(id: VerdictId, values: &Values) -> String {
    match id.decided_by() {
        DecidedBy::SynQueueRoom => syn_queue(values, false),
        DecidedBy::SynQueueFull => syn_queue(values, true),
        DecidedBy::AcceptQueue => recv_q(values),
    }
}

/// The values that matter to a verdict, the deciding comparison first.
pub fn of_verdict(id: VerdictId, values: &Values) -> String {
    let mut all = vec![comparison(id, values)];
    if id.decided_by() == DecidedBy::SynQueueFull {
        all.extend(values.syncookies.map(|n| format!("tcp_syncookies={n}")));
    }
    if id.is_ack() {
        let read = values.abort_on_overflow_read.map(|r| if r { "read" } else { "not read" });
        match (values.abort_on_overflow, read) {
            (Some(n), Some(read)) => all.push(format!("tcp_abort_on_overflow={n} {read}")),
            (None, Some(read)) => all.push(format!("tcp_abort_on_overflow {read}")),
            (_, None) => {}
        }
    }
    all.extend(values.num_timeout.filter(|n| *n > 0).map(|n| format!("num_timeout={n}")));
    all.extend(values.queue_wait_ns.map(|ns| format!("{} in the accept queue", period(ns))));
    all.extend(values.drop_reason.as_ref().map(|r| format!("drop reason {r}")));
    all.extend(values.reset_reason.as_ref().map(|r| format!("reset reason {r}")));
    all.retain(|text| !text.is_empty());
    all.join(", ")
}

fn recv_q(values: &Values) -> String {
    match (values.sk_ack_backlog, values.sk_max_ack_backlog) {
        (Some(len), Some(max)) => {
            format!("Recv-Q {len} {} {max}", if len > max { ">" } else { "≤" })
        }
        (Some(len), None) => format!("Recv-Q {len}"),
        (None, _) => String::new(),
    }
}

/// Full is `>` or, before 3479c7549fb1, `>=`: at equality the verdict itself says which.
fn syn_queue(values: &Values, full: bool) -> String {
    match (values.syn_queue_len, values.sk_max_ack_backlog) {
        (Some(len), Some(max)) => {
            let sign = match len.cmp(&max) {
                std::cmp::Ordering::Greater => ">",
                std::cmp::Ordering::Equal if full => "≥",
                std::cmp::Ordering::Equal | std::cmp::Ordering::Less => "≤",
            };
            format!("SYN-Q {len} {sign} {max}")
        }
        (Some(len), None) => format!("SYN-Q {len}"),
        (None, _) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{Known, VerdictId};

    fn stage(id: VerdictId, syn: Option<u32>, ack: Option<u32>) -> Stage {
        let values = Values {
            sk_ack_backlog: ack,
            sk_max_ack_backlog: Some(1),
            syn_queue_len: syn,
            abort_on_overflow: Some(1),
            abort_on_overflow_read: Some(false),
            ..Values::default()
        };
        let path = &[];
        Stage { id, t_ns: 0, known: Known::Traced, path, values, repeats_ns: Vec::new() }
    }

    #[test]
    fn the_deciding_comparison_has_the_kernels_sign() {
        use VerdictId as V;
        let check = |id, syn, ack, expect| assert_eq!(decided_by(&stage(id, syn, ack)), expect);
        check(V::SynCookie, Some(2), Some(0), "SYN-Q 2 > 1");
        check(V::SynCookie, Some(1), Some(0), "SYN-Q 1 ≥ 1");
        check(V::SynQueued, Some(1), Some(0), "SYN-Q 1 ≤ 1");
        check(V::SynDropAcceptQueueFull, Some(0), Some(2), "Recv-Q 2 > 1");
        check(V::AckAccepted, Some(2), Some(1), "Recv-Q 1 ≤ 1");
        check(V::AckDropOverflow, None, None, "");
    }

    #[test]
    fn values_say_whether_the_sysctl_was_read() {
        let text = values(&stage(VerdictId::AckDropOverflowCookie, Some(2), Some(2)));
        assert_eq!(text, "Recv-Q 2 > 1, tcp_abort_on_overflow=1 not read");
        let text = values(&stage(VerdictId::SynQueued, Some(0), Some(0)));
        assert_eq!(text, "SYN-Q 0 ≤ 1");
        let accepted = Stage {
            values: Values { queue_wait_ns: Some(1_234_000_000), ..Values::default() },
            ..stage(VerdictId::LaterAcceptedByApp, None, None)
        };
        assert_eq!(values(&accepted), "1.2\u{a0}s in the accept queue");
        let cookie = Stage {
            values: Values {
                syncookies: Some(1),
                ..stage(VerdictId::SynCookie, Some(2), None).values
            },
            ..stage(VerdictId::SynCookie, None, None)
        };
        assert_eq!(values(&cookie), "SYN-Q 2 > 1, tcp_syncookies=1");
    }
}
