//! What became of each SYN of a cell, from the packets, the counters and the lab's own settings: a
//! request, a cookie, or a drop by one of the two queues.
//!
//! The packets show when requests came and went, but for those that may have been cookies, and not at
//! how many the kernel holds the SYN queue for full. So each limit that kernels have is tried, and those
//! that packets or counters contradict are left out. What all others say alike is known; the rest stays
//! open.

use std::{cmp::Reverse, collections::BinaryHeap, ops::Range};

use overflow_core::verdict::{Counter, VerdictId};

/// What can have become of one SYN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fates(u8);

impl Fates {
    /// A request in the SYN queue.
    pub(super) const REQUEST: Self = Self(1);
    /// Answered by a SYN cookie.
    pub(super) const COOKIE: Self = Self(2);
    /// Dropped, the SYN queue is full.
    pub(super) const SYN_QUEUE_FULL: Self = Self(4);
    /// Dropped, the accept queue is full.
    pub(super) const ACCEPT_QUEUE_FULL: Self = Self(8);
    const ANY: Self = Self(15);
    const NONE: Self = Self(0);

    /// Whether this is one of them.
    pub(super) const fn may_be(self, fate: Self) -> bool {
        self.0 & fate.0 != 0
    }

    /// Whether it may have been answered.
    pub(super) const fn is_answer(self) -> bool {
        self.may_be(Self(Self::REQUEST.0 | Self::COOKIE.0))
    }

    /// The verdict, if only one is left.
    pub(super) const fn verdict(self) -> Option<VerdictId> {
        match self {
            Self::REQUEST => Some(VerdictId::SynQueued),
            Self::COOKIE => Some(VerdictId::SynCookie),
            Self::SYN_QUEUE_FULL => Some(VerdictId::SynDropSynQueueFull),
            Self::ACCEPT_QUEUE_FULL => Some(VerdictId::SynDropAcceptQueueFull),
            _ => None,
        }
    }

    const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// This or that.
    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    const fn when(self, condition: bool) -> Self {
        if condition { self } else { Self::NONE }
    }
}

/// One SYN, as the packets show it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Syn {
    /// Whose, by its place in the list.
    pub(super) connection: usize,
    /// When it came, nanoseconds.
    pub(super) t_ns: u64,
    /// Whether a SYN-ACK answered it.
    pub(super) answered: bool,
    /// Whether it found the accept queue full.
    pub(super) accept_queue_full: bool,
}

/// What the packets show of a connection, if it had a request.
#[derive(Clone, Debug)]
pub(super) struct Life {
    /// What its answered SYNs can have become.
    pub(super) answer: Fates,
    /// When its request ended: not before the first of these times, and before the second.
    pub(super) ended: Range<u64>,
}

/// Everything that is known beforehand.
pub(super) struct Known<'a> {
    /// In order of arrival.
    pub(super) syns: &'a [Syn],
    /// Of each connection.
    pub(super) lives: &'a [Life],
    /// `tcp_syncookies`.
    pub(super) syncookies: u8,
    /// The limit of the accept queue, `sk_max_ack_backlog`.
    pub(super) backlog: usize,
    /// How far a counter rose while SYNs came up to a time; `None` if the kernel has none.
    pub(super) rose: &'a dyn Fn(Counter) -> Option<u64>,
    /// SYNs that came before the first of these times are in the counters, those after the second not.
    pub(super) counted: Range<u64>,
}

/// What became of each SYN; nothing is left of one that nothing explains.
pub(super) fn fates(known: &Known<'_>) -> Vec<Fates> {
    let tried = limits(known).into_iter().filter_map(|limit| known.narrowed(limit));
    let tried: Vec<Vec<Fates>> = tried.collect();
    let unexplained = |fates: &Vec<Fates>| fates.iter().filter(|f| **f == Fates::NONE).count();
    let Some(least) = tried.iter().map(unexplained).min() else {
        // Not what a listener does whom nobody accepts of: nothing can be said.
        return vec![Fates::ANY; known.syns.len()];
    };
    let best = tried.iter().filter(|fates| unexplained(fates) == least);
    best.fold(vec![Fates::NONE; known.syns.len()], |all, fates| {
        all.into_iter().zip(fates).map(|(a, b)| a.or(*b)).collect()
    })
}

/// The numbers of requests at which kernels hold the SYN queue for full: the backlog since v4.4
/// (ef547f2ac16b), one more since 3479c7549fb1; before, a power of two of at least 8, by
/// `tcp_max_syn_backlog` (`reqsk_queue_alloc`). And any number, where that many never came.
fn limits(known: &Known<'_>) -> Vec<usize> {
    let most = known.lives.len();
    let powers = (3..).map(|power| 1usize << power).take_while(|limit| *limit <= most);
    let mut limits: Vec<usize> = [known.backlog, known.backlog.saturating_add(1), usize::MAX]
        .into_iter()
        .chain(powers)
        .collect();
    limits.sort_unstable();
    limits.dedup();
    limits
}

impl Known<'_> {
    /// What became of each SYN if the SYN queue is full at `limit` requests; `None` if that cannot be.
    fn narrowed(&self, limit: usize) -> Option<Vec<Fates>> {
        let mut fates = vec![Fates::ANY; self.syns.len()];
        // Each time less is open, or it ends.
        loop {
            let mut next = self.play(limit, &fates)?;
            self.count(&mut next, Fates::COOKIE, Counter::SyncookiesSent)?;
            self.count(&mut next, Fates::SYN_QUEUE_FULL, Counter::ReqQFullDrop)?;
            if next == fates {
                return Some(fates);
            }
            fates = next;
        }
    }

    /// Goes through the SYNs in order, in the order of `tcp_conn_request`'s tests: SYN queue (a cookie,
    /// or a drop without cookies), then accept queue.
    fn play(&self, limit: usize, before: &[Fates]) -> Option<Vec<Fates>> {
        let cookies = self.syncookies != 0;
        let (mut surely, mut maybe) = (Open::default(), Open::default());
        let mut request: Vec<bool> = vec![false; self.lives.len()];
        let mut fates = Vec::with_capacity(self.syns.len());
        for (syn, before) in self.syns.iter().zip(before) {
            let life = &self.lives[syn.connection];
            let repeated = request[syn.connection] && syn.t_ns < life.ended.end;
            // A request answers its client's next SYN itself (tcp_check_req), however full the queue.
            if repeated && syn.answered {
                fates.push(Fates::REQUEST.and(*before));
                continue;
            }
            let full = self.syncookies == 2 || maybe.at(syn.t_ns) >= limit;
            let room = self.syncookies != 2 && surely.at(syn.t_ns) < limit;
            let fate = if syn.answered {
                let fate = Fates::REQUEST.when(room).or(Fates::COOKIE.when(full && cookies));
                Some(fate.and(life.answer).and(*before)).filter(|fate| *fate != Fates::NONE)?
            } else {
                let by_syn_queue = Fates::SYN_QUEUE_FULL.when(full && !cookies);
                let past = syn.accept_queue_full && (cookies || room);
                by_syn_queue.or(Fates::ACCEPT_QUEUE_FULL.when(past)).and(*before)
            };
            if fate.may_be(Fates::REQUEST) {
                request[syn.connection] = true;
                maybe.until(life.ended.end);
                if fate == Fates::REQUEST {
                    surely.until(life.ended.start);
                }
            }
            fates.push(fate);
        }
        Some(fates)
    }

    /// Leaves out what a counter of one fate leaves no room for; `None` if it contradicts.
    fn count(&self, fates: &mut [Fates], fate: Fates, counter: Counter) -> Option<()> {
        let Some(rose) = (self.rose)(counter) else { return Some(()) };
        let of = |fates: &[Fates], until: u64, wanted: &dyn Fn(Fates) -> bool| -> u64 {
            let all = self.syns.iter().zip(fates);
            all.filter(|(syn, fates)| syn.t_ns < until && wanted(**fates)).count() as u64
        };
        let surely = of(fates, self.counted.start, &|f| f == fate);
        let maybe = of(fates, self.counted.end, &|f| f.may_be(fate));
        if !(surely..=maybe).contains(&rose) {
            return None;
        }
        // What came just as the counter was read may be in it or not, and then nothing follows.
        let late = of(fates, self.counted.end, &|f| f.may_be(fate))
            - of(fates, self.counted.start, &|f| f.may_be(fate));
        if late > 0 || surely == maybe {
            return Some(());
        }
        for (syn, fates) in self.syns.iter().zip(fates) {
            if syn.t_ns < self.counted.start && fates.may_be(fate) && *fates != fate {
                if rose == maybe {
                    *fates = fate;
                } else if rose == surely {
                    *fates = fates.without(fate);
                }
            }
        }
        Some(())
    }
}

/// Requests that are open, by when they end.
#[derive(Default)]
struct Open(BinaryHeap<Reverse<u64>>);

impl Open {
    fn until(&mut self, t_ns: u64) {
        self.0.push(Reverse(t_ns));
    }

    /// How many there are at a time, which does not go back.
    fn at(&mut self, t_ns: u64) -> usize {
        while self.0.peek().is_some_and(|Reverse(end)| *end <= t_ns) {
            self.0.pop();
        }
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1000;

    /// SYNs by words: `A` answered, `S` dropped, a second after `|`; `F`, `f`: the same on a full accept
    /// queue. Requests end after half a second.
    fn check(script: &str, syncookies: u8, backlog: usize, counters: [u64; 2], expect: &str) {
        let mut syns = Vec::new();
        let mut second = 0;
        for word in script.split(' ') {
            if word == "|" {
                second += 1;
                continue;
            }
            syns.push(Syn {
                connection: syns.len(),
                t_ns: second * SECOND + syns.len() as u64,
                answered: matches!(word, "A" | "F"),
                accept_queue_full: matches!(word, "F" | "f"),
            });
        }
        let lives: Vec<Life> = syns
            .iter()
            .map(|syn| Life {
                answer: Fates::REQUEST.or(Fates::COOKIE.when(syncookies != 0)),
                ended: syn.t_ns + SECOND / 2..syn.t_ns + SECOND / 2,
            })
            .collect();
        let rose = |counter| match counter {
            Counter::SyncookiesSent => Some(counters[0]),
            Counter::ReqQFullDrop => Some(counters[1]),
            _ => None,
        };
        let counted = u64::MAX..u64::MAX;
        let known = Known { syns: &syns, lives: &lives, syncookies, backlog, rose: &rose, counted };
        let words = fates(&known).into_iter().map(|fates| match fates {
            Fates::REQUEST => "request",
            Fates::COOKIE => "cookie",
            Fates::SYN_QUEUE_FULL => "syn_queue",
            Fates::ACCEPT_QUEUE_FULL => "accept_queue",
            Fates::NONE => "-",
            _ => "?",
        });
        assert_eq!(words.collect::<Vec<_>>().join(" "), expect, "{script}");
    }

    #[test]
    fn the_number_of_cookies_shows_who_had_them() {
        // 5.4 (`>=`), 6.12 (`>`), CentOS 7 (16).
        check("A A A A A", 1, 1, [4, 0], "request cookie cookie cookie cookie");
        check("A A A A A", 1, 1, [3, 0], "request request cookie cookie cookie");
        check("A A A A A", 1, 1, [0, 0], "request request request request request");
        check("A", 1, 0, [1, 0], "cookie");
        // No kernel does that with a backlog of 1.
        check("A A A A A", 1, 1, [2, 0], "? ? ? ? ?");
    }

    #[test]
    fn every_answer_is_a_cookie_where_the_sysctl_says_so() {
        check("A A", 2, 8, [2, 0], "cookie cookie");
        check("A A", 2, 8, [1, 0], "? ?");
    }

    #[test]
    fn a_dropped_syn_tells_by_which_queue() {
        check(
            "A A S S S | f f",
            0,
            1,
            [0, 3],
            "request request syn_queue syn_queue syn_queue \
             accept_queue accept_queue",
        );
        check("A S S | f f", 0, 1, [0, 2], "request syn_queue syn_queue accept_queue accept_queue");
        check("f f", 1, 1, [0, 0], "accept_queue accept_queue");
    }

    #[test]
    fn syns_that_the_syn_queue_dropped_on_a_full_accept_queue() {
        // CentOS 7 answers some SYNs on a full accept queue: they fill the SYN queue.
        let script = "F F F F F F F F f f";
        let expect = format!("{} syn_queue syn_queue", ["request"; 8].join(" "));
        check(script, 0, 1, [0, 2], &expect);
        let expect = format!("{} accept_queue accept_queue", ["request"; 8].join(" "));
        check(script, 0, 1, [0, 0], &expect);
    }

    #[test]
    fn a_drop_that_no_queue_explains_stays_open() {
        check("A A S", 1, 8, [0, 0], "request request -");
    }
}
