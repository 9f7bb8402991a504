//! Clients that were hurt, for people: how many, since when, and what became of them.

use overflow_core::{
    clients::{DELAY_BOUNDS_S, HurtClients},
    text::duration::{count, period},
};

/// One sentence part: `4 clients hurt, 10:00:01 to 10:00:04 (3.0 s): 3 delayed (…), 1 phantom`; `None`
/// where nobody was hurt. `clock` writes a time of the day.
pub(super) fn summary(clients: &HurtClients, clock: impl Fn(u64) -> String) -> Option<String> {
    let (first, last) = clients.period_ns?;
    let number = |n: u64, what: &str| (n > 0).then(|| format!("{n}\u{a0}{what}"));
    let classes = [
        delayed(clients),
        number(clients.never_served, "never\u{a0}served"),
        number(clients.gave_up, "gave\u{a0}up"),
        number(clients.reset, "reset"),
        number(clients.phantom, if clients.phantom == 1 { "phantom" } else { "phantoms" }),
        number(clients.waiting, "still\u{a0}waiting"),
    ];
    let hurt = count(usize::try_from(clients.total()).unwrap_or(usize::MAX), "client");
    let (from, to) = (clock(first), clock(last));
    let when = if from == to {
        format!("at {from}")
    } else {
        format!("{from} to {to} ({})", period(last - first))
    };
    let classes: Vec<String> = classes.into_iter().flatten().collect();
    Some(format!("{hurt} hurt, {when}: {}", classes.join(", ")))
}

fn delayed(clients: &HurtClients) -> Option<String> {
    let by = |(i, n): (usize, &u64)| {
        let range = match (i.checked_sub(1).map(|i| DELAY_BOUNDS_S[i]), DELAY_BOUNDS_S.get(i)) {
            (None, _) => format!("by\u{a0}less\u{a0}than\u{a0}{}\u{a0}s", DELAY_BOUNDS_S[0]),
            (Some(from), Some(to)) => format!("by\u{a0}{from}\u{a0}to\u{a0}{to}\u{a0}s"),
            (Some(from), None) => format!("by\u{a0}more\u{a0}than\u{a0}{from}\u{a0}s"),
        };
        (*n > 0).then(|| format!("{n}\u{a0}{range}"))
    };
    let by: Vec<String> = clients.delayed.iter().enumerate().filter_map(by).collect();
    let total = clients.delayed();
    (total > 0).then(|| format!("{total}\u{a0}delayed ({})", by.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_that_anybody_is_in_is_named() {
        let clock = |t_ns: u64| format!("10:00:{:02}", t_ns / 1_000_000_000);
        let clients = HurtClients {
            delayed: [1, 2, 0, 0, 0, 0, 3],
            longest_delay_ns: 70_000_000_000,
            never_served: 4,
            gave_up: 5,
            reset: 6,
            phantom: 1,
            waiting: 7,
            period_ns: Some((1_000_000_000, 4_500_000_000)),
        };
        let text = summary(&clients, clock).unwrap().replace('\u{a0}', " ");
        assert_eq!(
            text,
            "29 clients hurt, 10:00:01 to 10:00:04 (3.5 s): 6 delayed (1 by less than 1 s, 2 by 1 to 3 \
             s, 3 by more than 63 s), 4 never served, 5 gave up, 6 reset, 1 phantom, 7 still waiting"
        );
        let one = HurtClients {
            reset: 1,
            period_ns: Some((1_000_000_000, 1_000_000_000)),
            ..HurtClients::default()
        };
        let text = summary(&one, clock).unwrap().replace('\u{a0}', " ");
        assert_eq!(text, "1 client hurt, at 10:00:01: 1 reset");
        assert_eq!(summary(&HurtClients::default(), clock), None);
    }
}
