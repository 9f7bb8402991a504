//! What an event has in common with many others, kept once: all that judging reads of it but the
//! time and the numbers of its own.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;
use overflow_common::{Kind, Rung};

use crate::decode::{Event, Timestamps};

/// A kind of events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Template {
    pub kind: Kind,
    pub rung: Rung,
    pub path: u32,
    pub sk: u64,
    pub ino: Option<u32>,
    pub in_window: Option<bool>,
    pub timestamps: Option<Timestamps>,
    pub sk_state: u8,
    /// TCP flags, if there is a segment, and whether it has payload.
    pub segment: Option<(u8, bool)>,
    /// The accept queue's limit, if its length is known.
    pub limit: Option<u32>,
    pub after: After,
    pub qlen: bool,
    pub young: bool,
    pub abort_on_overflow: Option<u8>,
    pub syncookies: Option<u8>,
    pub num_timeout: Option<u8>,
    pub defer_accept: Option<u8>,
    pub drop_reason: Option<Arc<str>>,
    pub reset_reason: Option<Arc<str>>,
    pub freed_in: Option<&'static str>,
}

/// The accept queue when the decision was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum After {
    /// Not read at all.
    Unread,
    /// Read, but not this queue.
    Unknown,
    /// As before.
    Same,
    /// Of this limit; its length is a number of the event's own.
    Limit(u32),
}

impl Template {
    /// The template of this event. Left out is what no rule reads: `req`, `ack_seq`, the SYN queue
    /// after the decision; the socket where it is no listener, but for the state of a child that is
    /// reset or accepted, and of whoever answers by RST; and of a timer's events all but which it was and how the request stood.
    pub(super) fn of(m: &Event) -> Self {
        let bare = Self {
            kind: m.kind,
            rung: m.rung,
            path: 0,
            sk: 0,
            sk_state: 0,
            segment: None,
            limit: None,
            after: After::Unread,
            qlen: false,
            young: false,
            abort_on_overflow: None,
            syncookies: None,
            num_timeout: None,
            defer_accept: None,
            drop_reason: None,
            reset_reason: None,
            freed_in: None,
            ino: None,
            in_window: None,
            timestamps: None,
        };
        match m.kind {
            Kind::SynAckRetransmit => return bare,
            Kind::RequestRemoved => {
                let (path, sk_state, num_timeout) = (m.path.0, m.sk_state, m.num_timeout);
                return Self { path, sk_state, num_timeout, ..bare };
            }
            Kind::Syn
            | Kind::Ack
            | Kind::Reset
            | Kind::ActiveReset
            | Kind::Accept
            | Kind::IcmpError
            | Kind::Destroyed
            | Kind::PeerReset => {}
        }
        let after = match m.after.map(|queue| queue.accept) {
            None => After::Unread,
            Some(None) => After::Unknown,
            Some(accept) if accept == m.before.accept => After::Same,
            Some(Some((_, limit))) => After::Limit(limit),
        };
        Self {
            path: m.path.0,
            sk: if matches!(m.kind, Kind::Syn | Kind::Ack) { m.sk } else { 0 },
            ino: m.ino,
            in_window: m.in_window,
            timestamps: m.timestamps,
            sk_state: match m.kind {
                Kind::ActiveReset | Kind::Reset | Kind::Accept => m.sk_state,
                // There it says whether the listener is known or presumed.
                Kind::Ack if m.rung == Rung::Tracepoint => m.sk_state,
                Kind::Syn
                | Kind::Ack
                | Kind::SynAckRetransmit
                | Kind::RequestRemoved
                | Kind::IcmpError
                | Kind::Destroyed
                | Kind::PeerReset => 0,
            },
            segment: m.segment.map(|s| (s.flags, s.payload_len > 0)),
            limit: m.before.accept.map(|(_, limit)| limit),
            after,
            qlen: m.before.qlen.is_some(),
            young: m.before.young.is_some(),
            abort_on_overflow: m.abort_on_overflow,
            syncookies: m.syncookies,
            num_timeout: m.num_timeout,
            defer_accept: m.defer_accept,
            drop_reason: m.drop_reason.clone(),
            reset_reason: m.reset_reason.clone(),
            freed_in: m.freed_in,
            ..bare
        }
    }
}

/// Templates by number, as long as an event has them.
pub(crate) struct Templates {
    by_number: Vec<Option<(Arc<Template>, u32)>>,
    numbers: HashMap<Arc<Template>, u32, RandomState>,
    free: Vec<u32>,
    /// The latest of each kind: mostly the next one's too.
    latest: [u32; Self::KINDS],
    most: usize,
}

impl Templates {
    /// More than there are kinds.
    const KINDS: usize = Kind::ALL.len() + 1;

    /// At most so many.
    pub(super) fn new(most: usize) -> Self {
        Self {
            by_number: Vec::new(),
            numbers: HashMap::default(),
            free: Vec::new(),
            latest: [0; Self::KINDS],
            most,
        }
    }

    /// The number of an event's template, which one event more has now; `None` if there is no room
    /// for it.
    pub(super) fn number(&mut self, template: &Template) -> Option<u32> {
        let kind = template.kind as usize % Self::KINDS;
        let latest = self.latest[kind];
        let known = match self.by_number.get(latest as usize) {
            Some(Some((there, _))) if **there == *template => Some(latest),
            _ => self.numbers.get(template).copied(),
        };
        let number = match known {
            Some(number) => number,
            None => self.add(template.clone())?,
        };
        self.latest[kind] = number;
        if let Some(Some((_, uses))) = self.by_number.get_mut(number as usize) {
            *uses += 1;
        }
        Some(number)
    }

    /// The template with this number.
    pub(super) fn template(&self, number: u32) -> &Template {
        let slot = &self.by_number[number as usize];
        &slot.as_ref().expect("a number is good as long as an event has it").0
    }

    /// One event less has this template.
    pub(super) fn release(&mut self, number: u32) {
        let Some(slot) = self.by_number.get_mut(number as usize) else { return };
        let Some((template, uses)) = slot else { return };
        *uses -= 1;
        if *uses == 0 {
            self.numbers.remove(template);
            *slot = None;
            self.free.push(number);
        }
    }

    fn add(&mut self, template: Template) -> Option<u32> {
        if self.numbers.len() >= self.most {
            return None;
        }
        let template = Arc::new(template);
        let slot = Some((Arc::clone(&template), 0));
        let number = if let Some(number) = self.free.pop() {
            self.by_number[number as usize] = slot;
            number
        } else {
            self.by_number.push(slot);
            u32::try_from(self.by_number.len() - 1).ok()?
        };
        self.numbers.insert(template, number);
        Some(number)
    }
}
