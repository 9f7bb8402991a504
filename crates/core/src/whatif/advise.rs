//! The smallest change that hurts nobody.

use super::{
    recorded::{Place, Recorded},
    replay::{Belief, Bounds, Player, Surroundings, seen_rate},
    setting::Setting,
};

/// The largest backlog that is tried, connections: `sk_max_ack_backlog` was 16 bits wide before v5.5.
pub const LARGEST_BACKLOG: u32 = 65_535;
/// The fastest application that is tried, connections a second.
const FASTEST: f64 = 1e6;
/// The answer to which rate is needed is within this part of it.
const NEAR: f64 = 1.01;

/// What would have hurt nobody.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// The smallest backlog that hurts nobody if the application goes on at its pace, with whatever small
    /// differences, and what it means; `None` where none suffices.
    pub backlog: Option<(u32, Bounds)>,
    /// The smallest one that suffices even if it takes no more than it was seen to.
    pub certain: Option<u32>,
    /// At the recorded backlog, the connections that it has to take a second, evenly; `None` where no
    /// rate suffices.
    pub accept_rate: Option<f64>,
    /// Connections that it took a second while something waited; `None` where nothing shows it.
    pub seen_rate: Option<f64>,
    /// Clients that came a second.
    pub arrival_rate: f64,
}

/// Looks for it. `like`: everything but backlog, `somaxconn` and accept rate is as there.
pub fn advise(
    player: &mut Player,
    recorded: &Recorded,
    place: &Place,
    around: &Surroundings,
    like: &Setting,
) -> Advice {
    let with_backlog = |backlog| {
        let somaxconn = place.sysctls.somaxconn.unwrap_or(backlog).max(backlog);
        Setting { backlog: Some(backlog), somaxconn: Some(somaxconn), ..like.clone() }
    };
    let recorded_backlog = place.members.iter().map(|m| m.max_ack_backlog).max().unwrap_or(0);
    let mut smallest = |belief| {
        let mut enough = |backlog| {
            player.play(recorded, place, around, &with_backlog(backlog), belief).hurt() == 0
        };
        smallest_backlog(recorded_backlog, &mut enough)
    };
    let (at_pace, certain) = (smallest(Belief::AtPace), smallest(Belief::AsSeen));
    let backlog = at_pace.and_then(|least| {
        smallest_backlog(least, &mut |backlog| {
            let bounds = player.bounds(recorded, place, around, &with_backlog(backlog));
            bounds.hurts_nobody_at_pace()
        })
    });
    let with_rate =
        |rate| Setting { backlog: None, somaxconn: None, accept_rate: Some(rate), ..like.clone() };
    let accept_rate = smallest_rate(&mut |rate| {
        player.play(recorded, place, around, &with_rate(rate), Belief::AtPace).hurt() == 0
    });
    let bounds = backlog.map(|n| player.bounds(recorded, place, around, &with_backlog(n)));
    let clients: usize = place.members.iter().map(|member| member.clients.len()).sum();
    let seconds = seconds(arrival_period(place));
    Advice {
        backlog: backlog.zip(bounds),
        certain,
        accept_rate,
        seen_rate: seen_rate(place),
        #[allow(clippy::cast_precision_loss)] // for people
        arrival_rate: if seconds > 0.0 { clients as f64 / seconds } else { 0.0 },
    }
}

/// From the first client's SYN to the last one's, nanoseconds.
fn arrival_period(place: &Place) -> u64 {
    let syns = || place.members.iter().flat_map(|m| &m.clients).map(|client| client.syn_ns);
    syns().max().unwrap_or(0) - syns().min().unwrap_or(0)
}

#[allow(clippy::cast_precision_loss)] // for people
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// The smallest backlog from `least` on that is enough: a larger one does no harm.
fn smallest_backlog(least: u32, enough: &mut impl FnMut(u32) -> bool) -> Option<u32> {
    let mut too_small = None;
    let mut large = least.min(LARGEST_BACKLOG);
    while !enough(large) {
        if large == LARGEST_BACKLOG {
            return None;
        }
        too_small = Some(large);
        large = (large.max(1) * 2).min(LARGEST_BACKLOG);
    }
    let Some(mut small) = too_small else { return Some(large) };
    while large - small > 1 {
        let middle = small + (large - small) / 2;
        if enough(middle) {
            large = middle;
        } else {
            small = middle;
        }
    }
    Some(large)
}

/// The smallest rate that is enough.
fn smallest_rate(enough: &mut impl FnMut(f64) -> bool) -> Option<f64> {
    let (mut slow, mut fast) = (0.01, FASTEST);
    if !enough(fast) {
        return None;
    }
    while fast / slow > NEAR {
        let middle = (slow * fast).sqrt();
        if enough(middle) {
            fast = middle;
        } else {
            slow = middle;
        }
    }
    Some(fast)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_backlog_is_found() {
        for needed in [0, 1, 7, 8, 9, 511, 512, 4097, LARGEST_BACKLOG] {
            assert_eq!(smallest_backlog(0, &mut |n| n >= needed), Some(needed));
            assert_eq!(smallest_backlog(8, &mut |n| n >= needed), Some(needed.max(8)));
        }
        assert_eq!(smallest_backlog(8, &mut |_| false), None);
    }

    #[test]
    fn the_smallest_rate_is_near() {
        let found = smallest_rate(&mut |rate| rate >= 100.0).unwrap();
        assert!((100.0..=101.0).contains(&found), "{found}");
        assert_eq!(smallest_rate(&mut |_| false), None);
    }
}
