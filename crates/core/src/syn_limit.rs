//! Where a kernel's SYN queue limit is, learnt from what it does.

use overflow_common::{Kind, Path};

use crate::{
    decode::Observed,
    verdict::{Stage, VerdictId},
};

/// When this kernel holds the SYN queue for full. Not a matter of major versions: commit
/// 3479c7549fb1 (v6.13) was taken into 5.4.290, 5.10.234, 5.15.177, 6.1.125 and 6.12.10, so it is
/// learnt from what the kernel did.
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
    /// Takes what a moment shows, if anything.
    pub fn learn(&mut self, moment: &Observed) {
        match shown(moment) {
            Some(SynQueueLimit::AtBacklog) => self.at_backlog += 1,
            Some(SynQueueLimit::AboveBacklog) => self.above_backlog += 1,
            None => {}
        }
    }

    /// What most of them showed, if any did.
    pub fn limit(&self) -> Option<SynQueueLimit> {
        match (self.at_backlog, self.above_backlog) {
            (0, 0) => None,
            (at, above) if at >= above => Some(SynQueueLimit::AtBacklog),
            _ => Some(SynQueueLimit::AboveBacklog),
        }
    }
}

/// A SYN that came when the queue held exactly `backlog` requests shows where its limit is.
fn shown(moment: &Observed) -> Option<SynQueueLimit> {
    let (_, max) = moment.before.accept?;
    if moment.kind != Kind::Syn || moment.before.qlen? != max || moment.syncookies? == 2 {
        return None;
    }
    if moment.path.has(Path::REQSK_HASHED | Path::TP_SYNACK_REQUEST) {
        Some(SynQueueLimit::AboveBacklog)
    } else if moment.path.has(Path::COOKIE_INIT | Path::TP_SYNACK_COOKIE) {
        Some(SynQueueLimit::AtBacklog)
    } else {
        None
    }
}

/// The same of a judged stage: what a SYN that met exactly as many requests as the backlog shows.
pub fn shown_by(stage: &Stage) -> Option<SynQueueLimit> {
    let values = &stage.values;
    if values.syn_queue_len? != values.sk_max_ack_backlog? || values.syncookies == Some(2) {
        return None;
    }
    match stage.id {
        VerdictId::SynQueued => Some(SynQueueLimit::AboveBacklog),
        VerdictId::SynDropSynQueueFull => Some(SynQueueLimit::AtBacklog),
        VerdictId::SynCookie if values.syncookies == Some(1) => Some(SynQueueLimit::AtBacklog),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use overflow_common::Rung;

    use super::*;
    use crate::decode::{ConnKey, QueueView};

    const QUEUED: u32 = Path::REQSK_HASHED;
    const COOKIE: u32 = Path::COOKIE_INIT;

    fn syn(qlen: u32, path: u32) -> Observed {
        Observed {
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
            freed_in: None,
        }
    }

    /// SYNs at a backlog of 8, each with the requests it found and what was done.
    fn check(syns: &[(u32, u32)], expect: Option<SynQueueLimit>) {
        let mut learner = SynLimitEstimator::default();
        for (qlen, path) in syns {
            learner.learn(&syn(*qlen, *path));
        }
        assert_eq!(learner.limit(), expect, "{syns:?}");
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
}
