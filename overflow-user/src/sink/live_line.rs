//! A moment of a live trace as a line of text. There can be millions of them: no memory is asked for,
//! and nothing is formatted that does not differ from the line before.

use std::{fmt::Write as _, net::SocketAddr};

use super::{
    live::Moment,
    live_text::{clock, elide, tone},
    text::{Options, style::Tone},
};
use crate::{listeners::Listener, verdict::Known};

/// Width of a line's longest columns; the owner takes what is left of 80.
pub const CLIENT: usize = 21;
pub const VERDICT: usize = 24;

/// Lines of moments.
#[derive(Debug)]
pub struct Lines {
    opts: Options,
    wall_offset_ns: i64,
    utc_offset_s: i32,
    /// Which second of the wall clock `clock` tells.
    second: Option<i64>,
    clock: String,
    line: String,
}

impl Lines {
    /// Set with these options; see [`clock`] for the offsets.
    pub fn new(opts: Options, wall_offset_ns: i64, utc_offset_s: i32) -> Self {
        let (clock, line) = (String::new(), String::new());
        Self { opts, wall_offset_ns, utc_offset_s, second: None, clock, line }
    }

    /// The line of this moment, with its end.
    pub fn moment(&mut self, moment: &Moment<'_>) -> &str {
        let stage = moment.stage;
        let wide = self.opts.width > 80;
        self.tell(moment.t_ns);
        let line = &mut self.line;
        line.clear();
        line.push_str(&self.clock);
        line.push(' ');
        let begin = line.len();
        push_address(line, moment.observed.conn.client);
        if !wide && line.len() - begin > CLIENT {
            let short = elide(&line[begin..], CLIENT);
            line.replace_range(begin.., &short);
        }
        pad(line, begin + CLIENT + 1);
        let begin = line.len();
        push_number(line, moment.observed.conn.server.port());
        pad(line, begin + 6);
        let (color, code) = (self.opts.color, tone(stage.id).code());
        let color = color && tone(stage.id) != Tone::Plain;
        let mut used = line.len();
        if color {
            line.push_str("\x1b[");
            line.push_str(code);
            line.push('m');
        }
        let begin = line.len();
        if stage.known != Known::Traced {
            line.push('~');
        }
        line.push_str(stage.id.as_str());
        let verdict = line.len() - begin;
        if color {
            line.push_str("\x1b[0m");
        }
        let begin = line.len();
        pad(line, begin + VERDICT.saturating_sub(verdict) + 1);
        let queue = line.len();
        match (stage.values.sk_ack_backlog, stage.values.sk_max_ack_backlog) {
            (Some(len), Some(max)) => {
                push_number(line, len);
                line.push('/');
                push_number(line, max);
            }
            _ => line.push('-'),
        }
        pad(line, queue + 6);
        used += verdict + line.len() - begin + 1;
        line.push(' ');
        let room = if wide { 80 } else { 80_usize.saturating_sub(used) };
        push_owner(line, moment.listeners, room, wide);
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }

    /// Sets the clock.
    fn tell(&mut self, t_ns: u64) {
        let wall = i64::try_from(t_ns).ok().and_then(|t_ns| t_ns.checked_add(self.wall_offset_ns));
        let second = wall.map(|ns| ns.div_euclid(1_000_000_000));
        if second.is_none() || second != self.second {
            self.clock = clock(t_ns, self.wall_offset_ns, self.utc_offset_s);
            self.second = second;
        }
    }
}

/// The owner in `room` characters; of listeners that share an address, how many there are.
pub fn push_owner(out: &mut String, listeners: &[&Listener], room: usize, group: bool) {
    let Some(first) = listeners.first() else { return out.push('?') };
    let Some(owner) = &first.owner else { return out.push('?') };
    let others = listeners.len() - 1;
    owner.push_short(out, room);
    if group && others > 0 {
        let _ = write!(out, " (or {others} more by SO_REUSEPORT)");
    }
}

/// As `Display` has it.
fn push_address(out: &mut String, address: SocketAddr) {
    let SocketAddr::V4(v4) = address else {
        let _ = write!(out, "{address}");
        return;
    };
    for (octet, mark) in v4.ip().octets().into_iter().zip(['.', '.', '.', ':']) {
        push_number(out, octet);
        out.push(mark);
    }
    push_number(out, v4.port());
}

fn push_number(out: &mut String, number: impl itoa::Integer) {
    out.push_str(itoa::Buffer::new().format(number));
}

/// Spaces until the text has so many bytes.
fn pad(out: &mut String, to: usize) {
    const SPACES: &str = "                                ";
    while out.len() < to {
        out.push_str(&SPACES[..(to - out.len()).min(SPACES.len())]);
    }
}
