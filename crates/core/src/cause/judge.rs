//! Evidence -> causes: what holds, what is ruled out, and what nobody can tell.

use std::fmt::Write as _;

use super::{
    arrivals::{Accepting, Flow},
    candidates::candidates,
    catalog::CauseId,
    evidence::{Evidence, Member},
    processes::{Candidate, Reason},
    task::Holder,
    words,
};
use crate::{explain::Lang, text::duration::period};

/// Fewer SYN cookies are no flood.
const FLOOD: u64 = 20;
/// Of a flood's cookies less than one in so many comes back.
const COMES_BACK: u64 = 20;
/// Cookies of clients that are far away take so long to come back, nanoseconds.
const ROUND_TRIP_NS: u64 = 900_000_000;

/// What came out of one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What holds, in the order of the catalog.
    pub causes: Vec<Finding>,
    /// What does not, each with why.
    pub ruled_out: Vec<(CauseId, String)>,
    /// What cannot be told, each with why.
    pub unknown: Vec<(CauseId, String)>,
}

/// A cause that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub id: CauseId,
    /// What shows it: a sentence each, without a full stop.
    pub evidence: Vec<String>,
    /// The values that carry it, by name.
    pub values: Vec<(&'static str, u64)>,
}

impl Finding {
    /// What to do about it: the catalog's advice, with the process that it is about.
    pub fn advice(&self, lang: Lang) -> String {
        let advice = self.id.advice(lang);
        match self.values.iter().find(|(name, _)| *name == "pid") {
            Some((_, pid)) => advice.replace("PID", &pid.to_string()),
            None => advice,
        }
    }
}

/// What became of one cause.
enum Outcome {
    Holds(Finding),
    RuledOut(String),
    Unknown(String),
}

impl Judgement {
    /// The cause to name first.
    pub fn main(&self) -> Option<&Finding> {
        self.causes.first()
    }

    /// Whether this one holds.
    pub fn holds(&self, id: CauseId) -> bool {
        self.causes.iter().any(|found| found.id == id)
    }
}

/// Judges what was seen of one listener.
pub fn judge(evidence: &Evidence) -> Judgement {
    let case = Case::new(evidence);
    let mut judgement = Judgement::default();
    for id in CauseId::ALL {
        match case.outcome(*id) {
            Outcome::Holds(found) => judgement.causes.push(found),
            Outcome::RuledOut(why) => judgement.ruled_out.push((*id, why)),
            Outcome::Unknown(why) => judgement.unknown.push((*id, why)),
        }
    }
    judgement
}

struct Case<'a> {
    evidence: &'a Evidence,
    flow: Flow,
    candidates: Vec<&'a Holder>,
    /// What holds up the candidates.
    reasons: Vec<Reason>,
    /// Whether too little could be read of what some candidate does.
    dark: bool,
    /// Whether the accept queue was full, or nobody seems to accept.
    accept_queue: bool,
}

impl<'a> Case<'a> {
    fn new(evidence: &'a Evidence) -> Self {
        let flow = Flow::of(evidence);
        let candidates = candidates(evidence);
        let of = |holder: &&'a Holder| Candidate::new(evidence, holder, flow);
        let seen: Vec<Candidate> = candidates.iter().map(of).collect();
        Self {
            evidence,
            flow,
            reasons: seen.iter().flat_map(Candidate::reasons).collect(),
            dark: seen.iter().any(|c| c.is_dark() || (c.is_cut() && c.reasons().is_empty())),
            accept_queue: evidence.waits_for_accept(),
            candidates,
        }
    }

    fn outcome(&self, id: CauseId) -> Outcome {
        match id {
            CauseId::Stopped
            | CauseId::FdLimit
            | CauseId::Memory
            | CauseId::CpuThrottled
            | CauseId::CpuStarved
            | CauseId::Busy
            | CauseId::Blocked
            | CauseId::NoAcceptor => self.of_processes(id),
            CauseId::Overload => self.overload(),
            CauseId::Burst => self.burst(),
            CauseId::Flood => self.flood(),
            CauseId::UnevenGroup => self.uneven_group(),
            CauseId::LimitClamped => self.limit_clamped(),
        }
    }

    /// What the processes that could accept are held up by.
    fn of_processes(&self, id: CauseId) -> Outcome {
        if !self.accept_queue {
            return Outcome::RuledOut("the accept queue has room".to_owned());
        }
        let of: Vec<&Reason> = self.reasons.iter().filter(|r| r.id == id).collect();
        if let Some(first) = of.first() {
            let mut evidence: Vec<String> = Vec::new();
            for reason in &of {
                if !evidence.contains(&reason.evidence) {
                    evidence.push(reason.evidence.clone());
                }
            }
            return Outcome::Holds(Finding { id, evidence, values: first.values.clone() });
        }
        if self.candidates.is_empty() {
            return self.without_processes(id);
        }
        if self.dark {
            let why = self.evidence.unread.first().cloned();
            let why = why.unwrap_or_else(|| "what its threads do could not be read".to_owned());
            let told = match id {
                CauseId::Stopped | CauseId::FdLimit => self.direct(id),
                _ => None,
            };
            return told.map_or(Outcome::Unknown(why), Outcome::RuledOut);
        }
        if let Some(why) = self.direct(id) {
            return Outcome::RuledOut(why);
        }
        if let Some(other) = self.reasons.first() {
            return Outcome::RuledOut(format!("{} explains what its threads do", other.id));
        }
        match self.flow.accepting {
            Accepting::AtLeast(n) => {
                Outcome::RuledOut(format!("accept() took {n} or more connections meanwhile"))
            }
            Accepting::No | Accepting::Unknown => {
                Outcome::RuledOut("a thread waits on this socket".to_owned())
            }
        }
    }

    fn without_processes(&self, id: CauseId) -> Outcome {
        let unread = self.evidence.unread.first();
        match (id, unread) {
            (_, Some(why)) => Outcome::Unknown(why.clone()),
            (CauseId::NoAcceptor, None) => Outcome::Holds(Finding {
                id,
                evidence: vec!["no process holds this socket any more".to_owned()],
                values: Vec::new(),
            }),
            (_, None) => Outcome::RuledOut("no process holds this socket".to_owned()),
        }
    }

    /// What speaks against a cause by itself.
    fn direct(&self, id: CauseId) -> Option<String> {
        let candidates = || self.candidates.iter();
        match id {
            CauseId::Stopped => {
                Some("no process that could accept is stopped or frozen".to_owned())
            }
            CauseId::FdLimit => {
                let known = candidates().filter_map(|h| h.descriptors);
                let fds =
                    known.max_by_key(|fds| fds.open.saturating_mul(1000) / fds.limit.max(1))?;
                Some(format!("{} of {} file descriptors are open", fds.open, fds.limit))
            }
            CauseId::Memory => {
                let limited = candidates().flat_map(|h| &h.groups).any(|g| g.memory.is_some());
                Some(if limited {
                    "no thread was held up by the memory limit of its control groups".to_owned()
                } else {
                    "no control group limits its memory, and no thread waits for any".to_owned()
                })
            }
            CauseId::CpuThrottled => {
                let quotas = candidates().flat_map(|h| &h.groups).filter_map(|g| g.cpu);
                Some(match quotas.max_by_key(|q| q.throttled) {
                    Some(q) => {
                        format!("it was throttled in {} of {} periods", q.throttled, q.periods)
                    }
                    None => "no control group of it has a CPU quota".to_owned(),
                })
            }
            CauseId::CpuStarved => Some("no thread was kept waiting for a CPU".to_owned()),
            CauseId::Busy
            | CauseId::Blocked
            | CauseId::NoAcceptor
            | CauseId::Overload
            | CauseId::Burst
            | CauseId::Flood
            | CauseId::UnevenGroup
            | CauseId::LimitClamped => None,
        }
    }

    /// Arrivals outrun accepts and nothing else explains it.
    fn overload(&self) -> Outcome {
        let Accepting::AtLeast(accepted) = self.flow.accepting else {
            return self.nobody_accepts();
        };
        if let Some(other) = self.explained() {
            return Outcome::RuledOut(format!("{other} explains why it accepts so slowly"));
        }
        let late = self.flow.dropped_late.unwrap_or(0);
        if self.flow.drained || late == 0 {
            return Outcome::RuledOut("the queue emptied, or nothing more was dropped".to_owned());
        }
        let dropped = self.flow.dropped.unwrap_or(0);
        let evidence = format!(
            "accept() took {} in {} while {dropped} segments were dropped, \
             until the end",
            self.taken(accepted),
            self.lasted()
        );
        let values = vec![("accepted_at_least", accepted), ("dropped", dropped.into())];
        Outcome::Holds(Finding { id: CauseId::Overload, evidence: vec![evidence], values })
    }

    fn burst(&self) -> Outcome {
        let Accepting::AtLeast(accepted) = self.flow.accepting else {
            return self.nobody_accepts();
        };
        if let Outcome::Holds(_) = self.overload() {
            return Outcome::RuledOut("it is more than is accepted, all the time".to_owned());
        }
        if let Some(other) = self.explained() {
            return Outcome::RuledOut(format!("{other} explains why it accepts so slowly"));
        }
        if !self.accept_queue {
            return Outcome::RuledOut("the accept queue has room".to_owned());
        }
        let left = self.evidence.queue.last().map_or(0, |s| s.recv_q);
        let mut evidence = format!(
            "accept() took {} in {}, and {left} are left in the queue",
            self.taken(accepted),
            self.lasted()
        );
        let mut values = vec![("accepted_at_least", accepted), ("recv_q", left.into())];
        let limit = self.evidence.listener.send_q;
        if let (Some(limit), Some(dropped)) = (limit, self.flow.dropped.filter(|n| *n > 0)) {
            let enough = limit.saturating_add(dropped);
            let _ = write!(evidence, "; a backlog of {enough} would have held it");
            values.push(("backlog_enough", enough.into()));
        }
        Outcome::Holds(Finding { id: CauseId::Burst, evidence: vec![evidence], values })
    }

    /// What neither a burst nor overload is told from.
    fn nobody_accepts(&self) -> Outcome {
        match self.flow.accepting {
            Accepting::Unknown if self.accept_queue && self.reasons.is_empty() => {
                Outcome::Unknown("whether accept() is called could not be seen".to_owned())
            }
            Accepting::Unknown | Accepting::No | Accepting::AtLeast(_) => {
                Outcome::RuledOut("accept() took nothing meanwhile".to_owned())
            }
        }
    }

    /// What makes accepts slow by itself.
    fn explained(&self) -> Option<CauseId> {
        self.reasons.first().map(|reason| reason.id)
    }

    /// How many connections `accept()` took, of which so many are certain.
    fn taken(&self, at_least: u64) -> String {
        match self.flow.at_most.filter(|most| *most >= at_least) {
            Some(most) if most == at_least => format!("{most} connections"),
            Some(most) => format!("{at_least} to {most} connections"),
            None => format!("{at_least} or more connections"),
        }
    }

    fn lasted(&self) -> String {
        let queue = &self.evidence.queue;
        let (Some(first), Some(last)) = (queue.first(), queue.last()) else { return String::new() };
        period(last.t_ns.saturating_sub(first.t_ns))
    }

    fn flood(&self) -> Outcome {
        let Evidence { listener, rises, resent, .. } = self.evidence;
        let Some(syn_recv) = listener.syn_recv.filter(|_| self.evidence.syn_queue_full()) else {
            return Outcome::RuledOut("the SYN queue has room".to_owned());
        };
        let Some(rises) = rises else {
            return Outcome::Unknown("the SYN cookies could not be counted".to_owned());
        };
        let (sent, back) = (rises.cookies_sent, rises.cookies_back);
        if sent >= FLOOD && self.evidence.apart_ns >= ROUND_TRIP_NS {
            if back.saturating_mul(COMES_BACK) >= sent {
                return Outcome::RuledOut(format!("{back} of {sent} SYN cookies came back"));
            }
            let evidence = format!(
                "the SYN queue is full ({syn_recv} requests), and {back} of {sent} SYN cookies that its \
                 network namespace sent came back"
            );
            let values =
                vec![("syn_recv", syn_recv.into()), ("cookies_sent", sent), ("cookies_back", back)];
            return Outcome::Holds(Finding {
                id: CauseId::Flood,
                evidence: vec![evidence],
                values,
            });
        }
        // A full accept queue keeps requests, too: their third ACKs are dropped.
        let silent = resent.filter(|_| !self.accept_queue).unwrap_or(0);
        if silent > 0 && u64::from(silent) * 10 >= u64::from(syn_recv) * 9 {
            let evidence = format!(
                "{silent} of {syn_recv} requests in the SYN queue got their SYN-ACK more than once, and \
                 none of them was answered"
            );
            let values = vec![("syn_recv", syn_recv.into()), ("resent", silent.into())];
            return Outcome::Holds(Finding {
                id: CauseId::Flood,
                evidence: vec![evidence],
                values,
            });
        }
        Outcome::RuledOut(format!("only {sent} SYN cookies were sent meanwhile"))
    }

    fn uneven_group(&self) -> Outcome {
        let members = &self.evidence.members;
        if members.is_empty() {
            return Outcome::RuledOut("it shares its address with no other socket".to_owned());
        }
        if !self.accept_queue {
            return Outcome::RuledOut("the accept queue has room".to_owned());
        }
        let has_room = |m: &&Member| m.send_q.is_some_and(|limit| m.recv_q <= limit / 2);
        let roomy: Vec<&Member> = members.iter().filter(has_room).collect();
        let Some(most) = roomy.iter().min_by_key(|m| m.recv_q) else {
            return Outcome::RuledOut("the other sockets of its group are as full".to_owned());
        };
        let evidence = format!(
            "{} of the {} other sockets of its SO_REUSEPORT group have room, such as that of {} \
             ({}/{}): the kernel chooses by the client's address and port, not by who has room",
            roomy.len(),
            members.len(),
            words::escaped(&most.owner),
            most.recv_q,
            most.send_q.unwrap_or_default()
        );
        let values = vec![("members", members.len() as u64), ("with_room", roomy.len() as u64)];
        Outcome::Holds(Finding { id: CauseId::UnevenGroup, evidence: vec![evidence], values })
    }

    fn limit_clamped(&self) -> Outcome {
        let sysctls = &self.evidence.sysctls;
        let listener = &self.evidence.listener;
        if let Some(found) = self.syn_backlog() {
            return Outcome::Holds(found);
        }
        let (Some(limit), Some(somaxconn)) = (listener.send_q, sysctls.somaxconn) else {
            return Outcome::Unknown(
                "its limit or net.core.somaxconn could not be read".to_owned(),
            );
        };
        if limit != somaxconn {
            return Outcome::RuledOut(format!(
                "its limit {limit} is not net.core.somaxconn ({somaxconn})"
            ));
        }
        if !matches!(self.burst(), Outcome::Holds(_)) {
            return Outcome::RuledOut(format!(
                "its limit is net.core.somaxconn ({somaxconn}), but a larger one would only have \
                 filled later"
            ));
        }
        let evidence =
            format!("its limit {limit} is net.core.somaxconn, so listen() may have asked for more");
        let values = vec![("send_q", limit.into()), ("somaxconn", somaxconn.into())];
        Outcome::Holds(Finding { id: CauseId::LimitClamped, evidence: vec![evidence], values })
    }

    /// Without SYN cookies the last quarter of `tcp_max_syn_backlog` is kept for clients that are
    /// known (`tcp_conn_request`).
    fn syn_backlog(&self) -> Option<Finding> {
        let sysctls = &self.evidence.sysctls;
        let max = sysctls.max_syn_backlog.filter(|_| sysctls.syncookies == Some(0))?;
        let syn_recv = self.evidence.listener.syn_recv?;
        let clamped = syn_recv >= max - max / 4 && !self.evidence.syn_queue_full() && max > 0;
        let evidence = format!(
            "{syn_recv} requests are in the SYN queue, and without SYN cookies the last quarter of \
             net.ipv4.tcp_max_syn_backlog ({max}) is kept for known clients"
        );
        let values = vec![("syn_recv", syn_recv.into()), ("tcp_max_syn_backlog", max.into())];
        let found = Finding { id: CauseId::LimitClamped, evidence: vec![evidence], values };
        clamped.then_some(found)
    }
}
