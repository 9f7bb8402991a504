//! An event of a live trace as a line of text. There can be millions of them: no memory is asked for,
//! and nothing is formatted that does not differ from the line before.

use std::{fmt::Write as _, net::SocketAddr};

use super::{
    trace::{JudgedEvent, certain_owner},
    trace_text::{clock, elide},
};
use overflow_core::{
    listeners::Listener,
    text::{Untrusted, style::Options},
    verdict::{Known, VerdictId},
};

/// The clock with the space behind it.
const CLOCK: usize = 9;
/// Width of a line's longest columns; the owner takes what is left of 80.
pub(crate) const CLIENT: usize = 21;
pub(crate) const VERDICT: usize = 24;

/// Lines of events.
#[derive(Debug)]
pub(crate) struct Lines {
    opts: Options,
    wall_offset_ns: i64,
    utc_offset_s: i32,
    /// Which second of the wall clock the line begins with.
    second: Option<i64>,
    /// What stands behind the client, and of what it was made.
    tail: String,
    of: Option<TailOf>,
    line: String,
}

/// All that decides what stands behind the client.
#[derive(Debug, PartialEq, Eq)]
struct TailOf {
    id: VerdictId,
    traced: bool,
    port: u16,
    queue: Option<(u32, u32)>,
    /// Of each listener that it can be.
    owners: Vec<Option<Named<Untrusted>>>,
}

/// Name and pid of the process that is named as an owner, if any is, how many there are, and whether
/// it is known only to have called `listen()`.
type Named<Name> = (Option<(Name, u32)>, usize, bool);

impl Lines {
    /// Set with these options; see [`clock`] for the offsets.
    pub(super) fn new(opts: Options, wall_offset_ns: i64, utc_offset_s: i32) -> Self {
        let (tail, line) = (String::new(), String::new());
        Self { opts, wall_offset_ns, utc_offset_s, second: None, tail, of: None, line }
    }

    /// The line of this event, with its end.
    pub(super) fn line(&mut self, judged: &JudgedEvent<'_>) -> &str {
        self.set_clock(judged.t_ns);
        if !self.of.as_ref().is_some_and(|of| of.fits(judged)) {
            self.set_tail(judged);
            self.of = Some(TailOf::new(judged));
        }
        let line = &mut self.line;
        // The clock stays.
        line.truncate(CLOCK);
        let begin = line.len();
        push_address(line, judged.observed.conn.client);
        if self.opts.width <= 80 && line.len() - begin > CLIENT {
            let short = elide(&line[begin..], CLIENT);
            line.replace_range(begin.., &short);
        }
        pad(line, begin + CLIENT);
        line.push_str(&self.tail);
        line
    }

    /// Puts together what stands behind the client.
    fn set_tail(&mut self, judged: &JudgedEvent<'_>) {
        let stage = judged.stage;
        let wide = self.opts.width > 80;
        let tail = &mut self.tail;
        tail.clear();
        tail.push(' ');
        push_number(tail, judged.observed.conn.server.port());
        pad(tail, 7);
        // The client has no more than its column, or else the owner has all the room it wants.
        let mut used = CLOCK + CLIENT + tail.len();
        let (on, off) = stage.id.tone().codes(self.opts.color);
        tail.push_str(on);
        let begin = tail.len();
        if stage.known != Known::Traced {
            tail.push('~');
        }
        tail.push_str(stage.id.as_str());
        let verdict = tail.len() - begin;
        tail.push_str(off);
        let begin = tail.len();
        pad(tail, begin + VERDICT.saturating_sub(verdict) + 1);
        let queue = tail.len();
        match queue_of(judged) {
            Some((len, max)) => {
                push_number(tail, len);
                tail.push('/');
                push_number(tail, max);
            }
            None => tail.push('-'),
        }
        pad(tail, queue + 6);
        used += verdict + tail.len() - begin + 1;
        tail.push(' ');
        let room = if wide { 80 } else { 80_usize.saturating_sub(used) };
        push_owner(tail, judged.listeners, room);
        tail.truncate(tail.trim_end().len());
        tail.push('\n');
    }

    /// Sets the clock.
    fn set_clock(&mut self, t_ns: u64) {
        let wall = i64::try_from(t_ns).ok().and_then(|t_ns| t_ns.checked_add(self.wall_offset_ns));
        let second = wall.map(|ns| ns.div_euclid(1_000_000_000));
        if second.is_none() || second != self.second {
            self.line = clock(t_ns, self.wall_offset_ns, self.utc_offset_s) + " ";
            self.second = second;
        }
    }
}

impl TailOf {
    fn new(judged: &JudgedEvent<'_>) -> Self {
        let owned = |(main, count, opener): Named<&Untrusted>| {
            (main.map(|(name, pid)| (name.clone(), pid)), count, opener)
        };
        Self {
            id: judged.stage.id,
            traced: judged.stage.known == Known::Traced,
            port: judged.observed.conn.server.port(),
            queue: queue_of(judged),
            owners: judged.listeners.iter().map(|l| main_of(l).map(owned)).collect(),
        }
    }

    fn fits(&self, judged: &JudgedEvent<'_>) -> bool {
        let of = |owner: &Option<Named<Untrusted>>, listener: &Listener| {
            let owner = owner.as_ref().map(|(main, count, opener)| {
                (main.as_ref().map(|(name, pid)| (name, *pid)), *count, *opener)
            });
            owner == main_of(listener)
        };
        self.id == judged.stage.id
            && self.traced == (judged.stage.known == Known::Traced)
            && self.port == judged.observed.conn.server.port()
            && self.queue == queue_of(judged)
            && self.owners.len() == judged.listeners.len()
            && self.owners.iter().zip(judged.listeners).all(|(owner, l)| of(owner, l))
    }
}

fn main_of(listener: &Listener) -> Option<Named<&Untrusted>> {
    let owner = listener.owner.as_ref()?;
    let main = owner.main().map(|main| (&main.comm, main.pid));
    Some((main, owner.pids.len(), owner.called_listen))
}

fn queue_of(judged: &JudgedEvent<'_>) -> Option<(u32, u32)> {
    judged.stage.values.sk_ack_backlog.zip(judged.stage.values.sk_max_ack_backlog)
}

/// The owner in `room` characters; where it is not known which of several listeners it is, how many
/// there are, and their owners as far as there is room.
pub(crate) fn push_owner(out: &mut String, listeners: &[&Listener], room: usize) {
    if let Some(owner) = certain_owner(listeners.iter().copied()) {
        return owner.push_short(out, room);
    }
    if listeners.len() < 2 {
        return out.push('?');
    }
    let begin = out.len();
    let _ = write!(out, "1 of {}", listeners.len());
    let mut named: Vec<String> = Vec::new();
    for listener in listeners {
        let name = listener.owner.as_ref().map_or_else(|| "?".to_owned(), |o| o.short(24));
        if !named.contains(&name) {
            named.push(name);
        }
    }
    for (i, name) in named.iter().enumerate() {
        let mark = if i == 0 { ": " } else { ", " };
        // What does not fit is left out, and that it is shown.
        let more = if i + 1 < named.len() { 4 } else { 0 };
        if out[begin..].chars().count() + mark.len() + name.chars().count() + more > room {
            if i > 0 {
                out.push_str(", ..");
            }
            break;
        }
        out.push_str(mark);
        out.push_str(name);
    }
}

/// As `Display` has it.
fn push_address(out: &mut String, address: SocketAddr) {
    let SocketAddr::V4(v4) = address else {
        let _ = write!(out, "{address}");
        return;
    };
    for (octet, mark) in v4.ip().octets().into_iter().zip(['.', '.', '.', ':']) {
        push_short(out, octet.into());
        out.push(mark);
    }
    push_short(out, v4.port());
}

/// Digit by digit: quicker than copying so few.
fn push_short(out: &mut String, number: u16) {
    let mut begun = false;
    for unit in [10_000, 1000, 100, 10, 1] {
        begun |= number >= unit || unit == 1;
        if begun {
            out.push(char::from(b'0' + (number / unit % 10).to_le_bytes()[0]));
        }
    }
}

fn push_number(out: &mut String, number: impl itoa::Integer) {
    out.push_str(itoa::Buffer::new().format(number));
}

/// Spaces until the text has so many bytes.
fn pad(out: &mut String, to: usize) {
    while out.len() < to {
        out.push(' ');
    }
}

#[cfg(test)]
mod tests {
    use overflow_common::RawEvent;

    use super::*;
    use overflow_core::{
        decode::Decoder,
        listeners::sample::listener,
        owner::{Cgroup, Owner, Process},
        text::style::Options,
        verdict::{Stage, Values},
    };

    #[test]
    fn candidates_are_named_together_or_not_at_all() {
        let owned = |pid: u32| {
            let process =
                Process { pid, ppid: 1, comm: "nginx".into(), start: 1, cgroup: Cgroup::default() };
            let owner = Some(Owner::new(vec![pid], vec![process]));
            Listener { owner, ..listener("0.0.0.0:80") }
        };
        let (a, b, c, nobody) = (owned(7), owned(8), owned(9), listener("0.0.0.0:80"));
        let named = |listeners: &[&Listener], room| {
            let mut text = String::new();
            push_owner(&mut text, listeners, room);
            assert!(text.len() <= room, "{text}");
            text
        };
        assert_eq!(named(&[&a], 11), "nginx/7");
        assert_eq!(named(&[&a, &b], 11), "1 of 2");
        assert_eq!(named(&[&a, &b], 40), "1 of 2: nginx/7, nginx/8");
        assert_eq!(named(&[&a, &b, &c], 29), "1 of 3: nginx/7, nginx/8, ..");
        assert_eq!(named(&[&nobody, &a], 40), "1 of 2: ?, nginx/7");
        // Whichever it is, it is this one's.
        assert_eq!(named(&[&a, &a], 11), "nginx/7");
        assert_eq!((named(&[], 11), named(&[&nobody], 11)), ("?".to_owned(), "?".to_owned()));
    }

    /// What is kept from the line before must not be seen.
    #[test]
    fn a_line_does_not_depend_on_those_before_it() {
        let mut rng = fastrand::Rng::with_seed(11);
        let owned = |comm: &str, pids: &[u32]| {
            let process = Process {
                pid: pids[0],
                ppid: 1,
                comm: comm.into(),
                start: 1,
                cgroup: Cgroup::default(),
            };
            let owner = Some(Owner::new(pids.to_vec(), vec![process]));
            Listener { owner, ..listener("0.0.0.0:80") }
        };
        let (a, b, c) = (owned("nginx", &[7]), owned("a-long-name", &[7]), owned("nginx", &[7, 8]));
        let nobody = listener("0.0.0.0:80");
        let mut opener = a.clone();
        opener.owner.as_mut().unwrap().called_listen = true;
        let groups: [&[&Listener]; 7] =
            [&[], &[&nobody], &[&a], &[&b], &[&c], &[&a, &b], &[&opener]];
        for options in [(80, false), (80, true), (200, false)] {
            let opts = Options { width: options.0, color: options.1, unicode: true };
            let mut kept = Lines::new(opts, 5, 3600);
            for _ in 0..2000 {
                let mut event = RawEvent {
                    t_ns: rng.u64(..3_000_000_000),
                    client_port: rng.u16(..),
                    server_port: [80, 65_535][rng.usize(..2)],
                    kind: 1,
                    rung: 1,
                    family: [4, 6][rng.usize(..2)],
                    ..RawEvent::EMPTY
                };
                event.client.fill_with(|| rng.u8(..) >> rng.u8(..8));
                let observed = Decoder::default().decode(&event).unwrap();
                let read = rng.u8(..4) > 0;
                let stage = Stage {
                    id: [VerdictId::SynQueued, VerdictId::AckDropOverflow][rng.usize(..2)],
                    t_ns: event.t_ns,
                    known: [Known::Traced, Known::Inferred("why".into())][rng.usize(..2)].clone(),
                    path: &[],
                    values: Values {
                        sk_ack_backlog: read.then_some(rng.u32(128..130)),
                        sk_max_ack_backlog: Some(128),
                        ..Values::default()
                    },
                    repeats_ns: Vec::new(),
                };
                let listeners = groups[rng.usize(..groups.len())];
                let judged = JudgedEvent {
                    t_ns: event.t_ns,
                    observed: &observed,
                    stage: &stage,
                    socket: None,
                    listeners,
                };
                let fresh = Lines::new(opts, 5, 3600).line(&judged).to_owned();
                assert_eq!(kept.line(&judged), fresh);
                let client = observed.conn.client.to_string();
                assert!(client.len() > CLIENT || fresh[CLOCK..].starts_with(&client), "{fresh}");
            }
        }
    }
}
