//! Where a kernel's SYN queue limit is, estimated from what it does.

use overflow_common::{Kind, Path};

use crate::{
    decode::Event,
    verdict::{DecidedBy, Stage},
};

/// When this kernel holds the SYN queue for full. Not a matter of major versions: commit
/// 3479c7549fb1 (v6.13) was taken into 5.4.290, 5.10.234, 5.15.177, 6.1.125 and 6.12.10, so it is
/// estimated from what the kernel did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SynQueueLimit {
    /// `qlen >= sk_max_ack_backlog` (v4.4 to v6.12).
    AtBacklog,
    /// `qlen > sk_max_ack_backlog` (since 3479c7549fb1).
    AboveBacklog,
}

/// Weighs what SYNs show of it. No single one proves it: a SYN that meets a TIME_WAIT socket is
/// queued whatever the queue holds (`isn` of `tcp_conn_request` is not 0), and on another CPU the
/// queue may grow between our reading and the kernel's test.
#[derive(Clone, Copy, Debug, Default)]
pub struct SynLimitEstimator {
    at_backlog: u64,
    above_backlog: u64,
}

impl SynLimitEstimator {
    /// Takes what an event shows, if anything. A SYN that was dropped shows nothing: which queue
    /// dropped it is judged with the help of this estimate.
    pub fn learn(&mut self, event: &Event) {
        if event.kind != Kind::Syn {
            return;
        }
        let full = if event.path.has(Path::REQSK_HASHED | Path::TP_SYNACK_REQUEST) {
            false
        } else if event.path.has(Path::COOKIE_INIT | Path::TP_SYNACK_COOKIE) {
            true
        } else {
            return;
        };
        let limit = event.before.accept.map(|(_, limit)| limit);
        self.add(shown(event.before.qlen, limit, event.syncookies, full));
    }

    /// Takes what a judged stage shows, if anything.
    pub(crate) fn learn_stage(&mut self, stage: &Stage) {
        let full = match stage.id.decided_by() {
            DecidedBy::SynQueueRoom => false,
            DecidedBy::SynQueueFull => true,
            DecidedBy::AcceptQueue => return,
        };
        let values = &stage.values;
        let (len, limit) = (values.syn_queue_len, values.sk_max_ack_backlog);
        self.add(shown(len, limit, values.syncookies, full));
    }

    /// What most of them showed, if any did.
    pub fn limit(&self) -> Option<SynQueueLimit> {
        match (self.at_backlog, self.above_backlog) {
            (0, 0) => None,
            (at, above) if at >= above => Some(SynQueueLimit::AtBacklog),
            _ => Some(SynQueueLimit::AboveBacklog),
        }
    }

    fn add(&mut self, shown: Option<SynQueueLimit>) {
        match shown {
            Some(SynQueueLimit::AtBacklog) => self.at_backlog += 1,
            Some(SynQueueLimit::AboveBacklog) => self.above_backlog += 1,
            None => {}
        }
    }
}

/// The limit that these stages show, if any of them does.
pub fn of_stages<'a>(stages: impl IntoIterator<Item = &'a Stage>) -> Option<SynQueueLimit> {
    let mut estimator = SynLimitEstimator::default();
    stages.into_iter().for_each(|stage| estimator.learn_stage(stage));
    estimator.limit()
}

/// A SYN that came when the queue held exactly `limit` requests shows where its limit is: it was
/// held for `full`, or not. With `tcp_syncookies=2` every SYN gets a cookie.
fn shown(
    len: Option<u32>,
    limit: Option<u32>,
    syncookies: Option<u8>,
    full: bool,
) -> Option<SynQueueLimit> {
    if len? != limit? || syncookies? == 2 {
        return None;
    }
    Some(if full { SynQueueLimit::AtBacklog } else { SynQueueLimit::AboveBacklog })
}

#[cfg(test)]
mod tests {
    use overflow_common::Rung;

    use super::*;
    use crate::decode::{ConnKey, QueueView};

    const QUEUED: u32 = Path::REQSK_HASHED;
    const COOKIE: u32 = Path::COOKIE_INIT;

    fn syn(qlen: u32, path: u32) -> Event {
        Event {
            t_ns: 0,
            kind: Kind::Syn,
            rung: Rung::Fentry,
            path: Path(path),
            conn: ConnKey {
                netns: 1,
                client: ([10, 7, 0, 2], 30001).into(),
                server: ([10, 7, 0, 1], 12345).into(),
            },
            sk: 1,
            sk_state: 10,
            req: 0,
            segment: None,
            before: QueueView { accept: Some((0, 8)), qlen: Some(qlen), young: None },
            after: None,
            abort_on_overflow: None,
            syncookies: Some(1),
            num_timeout: None,
            defer_accept: None,
            drop_reason: None,
            reset_reason: None,
            ino: None,
            in_window: None,
            timestamps: None,
            freed_in: None,
        }
    }

    /// SYNs at a backlog of 8, each with the requests it found and what was done.
    fn check(syns: &[(u32, u32)], expect: Option<SynQueueLimit>) {
        let mut estimator = SynLimitEstimator::default();
        for (qlen, path) in syns {
            estimator.learn(&syn(*qlen, *path));
        }
        assert_eq!(estimator.limit(), expect, "{syns:?}");
    }

    #[test]
    fn what_is_done_at_the_limit_shows_where_it_is() {
        check(&[(7, QUEUED), (9, COOKIE)], None);
        check(&[(8, COOKIE)], Some(SynQueueLimit::AtBacklog));
        check(&[(8, QUEUED)], Some(SynQueueLimit::AboveBacklog));
    }

    #[test]
    fn one_syn_that_the_test_spared_misleads_nobody() {
        check(&[(8, COOKIE), (8, COOKIE), (8, QUEUED)], Some(SynQueueLimit::AtBacklog));
        check(&[(8, COOKIE), (8, QUEUED), (8, QUEUED)], Some(SynQueueLimit::AboveBacklog));
    }

    #[test]
    fn stages_show_what_their_events_do() {
        use crate::verdict::{Known, Values, VerdictId};
        let check = |id, qlen, syncookies, expect| {
            let values = Values {
                sk_max_ack_backlog: Some(8),
                syn_queue_len: Some(qlen),
                syncookies,
                ..Values::default()
            };
            let (known, path) = (Known::Traced, &[][..]);
            let stage = Stage { id, t_ns: 0, known, path, values, repeats_ns: Vec::new() };
            assert_eq!(of_stages([&stage]), expect, "{id} {qlen} {syncookies:?}");
        };
        let (at, above) = (Some(SynQueueLimit::AtBacklog), Some(SynQueueLimit::AboveBacklog));
        check(VerdictId::SynQueued, 8, Some(1), above);
        check(VerdictId::SynQueued, 7, Some(1), None);
        check(VerdictId::SynCookie, 8, Some(1), at);
        check(VerdictId::SynCookie, 8, Some(2), None);
        check(VerdictId::SynDropSynQueueFull, 8, Some(0), at);
        check(VerdictId::SynDropAcceptQueueFull, 8, Some(0), None);
        check(VerdictId::SynCookie, 8, None, None);
    }
}
