//! `cause`: why a listener's queue is full, by one look at its holders.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use super::{Counts, Owner, VERSION};
use crate::{
    cause::{CauseId, Change, Evidence, Finding, Judgement},
    explain::Lang,
};

/// A `cause` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause<'a> {
    /// Format version.
    pub v: u32,
    /// When the second reading was finished, CLOCK_MONOTONIC nanoseconds.
    pub t_ns: u64,
    /// From the first reading to the second, nanoseconds.
    pub looked_ns: u64,
    /// Inode number of its network namespace.
    pub netns: u32,
    /// Where it listens, as `ss` writes it.
    pub listener: Cow<'a, str>,
    /// Its inode.
    pub inode: u64,
    /// Accept queue length, `ss` Recv-Q, connections.
    pub recv_q: u32,
    /// Accept queue limit, `ss` Send-Q, connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_q: Option<u32>,
    /// Requests in SYN_RECV.
    pub syn_recv: u32,
    /// For how long the accept queue has been full at least, nanoseconds; absent where it is not,
    /// or that does not show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_ns: Option<u64>,
    /// For how long the first in the accept queue has waited, nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_ns: Option<u64>,
    /// Who holds it, `null` if nobody visible does.
    pub owner: Option<Owner<'a>>,
    /// The look before had other causes: these. Absent at the first, empty if it is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Vec<CauseId>>,
    /// What holds, the first to look at first.
    pub causes: Vec<Found<'a>>,
    /// What does not, and why.
    pub ruled_out: BTreeMap<CauseId, Cow<'a, str>>,
    /// What cannot be told, and why.
    pub unknown: BTreeMap<CauseId, Cow<'a, str>>,
    /// What could not be read, as sentences.
    pub unread: Cow<'a, [String]>,
}

/// A cause that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found<'a> {
    /// Which.
    pub id: CauseId,
    /// What shows it, in words.
    pub evidence: Cow<'a, [String]>,
    /// The values that carry it.
    pub values: Counts<'a>,
    /// What to do about it.
    pub advice: Cow<'a, str>,
}

impl<'a> Cause<'a> {
    /// What one look found.
    pub fn of(evidence: &'a Evidence, judgement: &'a Judgement, change: Option<&Change>) -> Self {
        let listener = &evidence.listener;
        let each = |of: &'a [(CauseId, String)]| {
            of.iter().map(|(id, why)| (*id, why.as_str().into())).collect()
        };
        Self {
            v: VERSION,
            t_ns: evidence.t_ns,
            looked_ns: evidence.apart_ns,
            netns: listener.netns,
            listener: listener.place().into(),
            inode: listener.inode,
            recv_q: listener.recv_q,
            send_q: listener.send_q,
            syn_recv: listener.syn_recv.unwrap_or_default(),
            full_ns: evidence.full_for_ns(),
            oldest_ns: evidence.waiting.map(|waiting| waiting.oldest_ns),
            owner: Owner::of(listener.owner.as_ref()),
            before: change.and_then(|change| match change {
                Change::Began => None,
                Change::Same => Some(Vec::new()),
                Change::Changed(before) => Some(before.clone()),
            }),
            causes: judgement.causes.iter().map(Found::of).collect(),
            ruled_out: each(&judgement.ruled_out),
            unknown: each(&judgement.unknown),
            unread: (&*evidence.unread).into(),
        }
    }
}

impl<'a> Found<'a> {
    fn of(found: &'a Finding) -> Self {
        let values = found.values.iter();
        Self {
            id: found.id,
            evidence: (&*found.evidence).into(),
            values: values.map(|(name, value)| ((*name).into(), *value)).collect(),
            advice: found.advice(Lang::En).into(),
        }
    }
}
