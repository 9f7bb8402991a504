//! Counts by socket as they are shown: those of a `SO_REUSEPORT` group together, and each of them.

use std::{borrow::Cow, cmp::Reverse, collections::BTreeMap, net::SocketAddr};

use super::listener_totals::{Counted, ListenerKey, ListenerTotals};
use crate::sink::trace::{Listened, Totals, Whose};
use overflow_core::listeners::{Inventory, Listener};

/// Those of a group: network namespace, address, and whether it takes IPv6 alone.
type Group = (u32, SocketAddr, bool);

/// Listeners where something happened, those with the most overflows first. Of a group all members
/// are shown, also those where nothing happened.
pub(crate) fn listened<'a>(
    totals: &'a ListenerTotals,
    inventory: &'a Inventory,
    which: impl Fn(&'a Counted) -> &'a Totals,
) -> Vec<Listened<'a>> {
    let mut alone = Vec::new();
    let mut groups: BTreeMap<Group, Vec<Listened<'a>>> = BTreeMap::new();
    let mut closed = Vec::new();
    for (key, counted) in totals.all() {
        let happened = which(counted);
        if happened.verdicts.is_empty()
            && happened.synack_retransmits == 0
            && happened.full_by_cause.is_empty()
        {
            continue;
        }
        let one = shown(key, counted, happened);
        match (key, group_of(counted)) {
            (ListenerKey::Closed(netns, local, v6only), _) => {
                closed.push(((netns, local, v6only), one));
            }
            (_, Some(group)) => groups.entry(group).or_default().push(one),
            (_, None) => alone.push(one),
        }
    }
    // One that is left of a group is shown with those that are gone.
    let (left, mut alone): (Vec<_>, Vec<_>) = alone.into_iter().partition(|one: &Listened<'a>| {
        one.listeners.first().is_some_and(|l| groups.contains_key(&place_of(l)))
    });
    for one in left {
        if let Some(members) = one.listeners.first().and_then(|l| groups.get_mut(&place_of(l))) {
            members.push(one);
        }
    }
    for (place, one) in closed {
        match groups.get_mut(&place) {
            Some(members) => members.push(one),
            None => alone.push(one),
        }
    }
    alone.extend(groups.into_values().map(|members| group(members, inventory)));
    alone.sort_by_key(|l| Reverse(l.totals.overflows()));
    alone
}

fn shown<'a>(key: ListenerKey, counted: &'a Counted, totals: &'a Totals) -> Listened<'a> {
    let (netns, whose) = match key {
        ListenerKey::Socket(netns, ino) => (netns, Whose::Socket(ino)),
        ListenerKey::Address(netns, _) => (netns, Whose::Unknown),
        ListenerKey::Closed(netns, ..) => (netns, Whose::Closed),
        ListenerKey::Elsewhere => (0, Whose::Elsewhere),
    };
    Listened {
        netns,
        local: counted.local,
        whose,
        open: counted.open,
        sockets: counted.sockets,
        place: match key {
            ListenerKey::Elsewhere => "other".to_owned(),
            _ => counted.place(),
        },
        // Of many that are gone, none is named.
        listeners: match key {
            ListenerKey::Socket(..) | ListenerKey::Address(..) => {
                counted.listeners.iter().collect()
            }
            ListenerKey::Closed(..) if counted.sockets == 1 => counted.listeners.iter().collect(),
            ListenerKey::Closed(..) | ListenerKey::Elsewhere => Vec::new(),
        },
        sysctls: counted.sysctls,
        totals: Cow::Borrowed(totals),
        members: Vec::new(),
    }
}

/// The group that these counts are of, if they are of one.
fn group_of(counted: &Counted) -> Option<Group> {
    counted.listeners.first().filter(|l| l.group > 1).map(place_of)
}

fn place_of(listener: &Listener) -> Group {
    (listener.netns, listener.local, listener.v6only)
}

fn group<'a>(mut members: Vec<Listened<'a>>, inventory: &'a Inventory) -> Listened<'a> {
    // Those that are gone have their listener too, but the ones that are there come first.
    members.sort_by_key(|m| (Reverse(m.totals.overflows()), !m.open));
    let found = members.iter().find_map(|m| m.listeners.first().copied());
    let quiet: Vec<&Listener> = found.map_or_else(Vec::new, |of| {
        let known = |l: &Listener| {
            members
                .iter()
                .any(|m| u32::try_from(l.inode).is_ok_and(|ino| m.whose == Whose::Socket(ino)))
        };
        inventory.group(of).filter(|l| !known(l)).collect()
    });
    let mut sum = Totals::default();
    for member in &members {
        sum.add(&member.totals);
    }
    let (netns, local, place, sysctls) =
        (members[0].netns, members[0].local, members[0].place.clone(), members[0].sysctls);
    members.extend(quiet.into_iter().filter_map(|l| {
        Some(Listened {
            netns,
            local,
            whose: Whose::Socket(u32::try_from(l.inode).ok()?),
            open: true,
            sockets: 1,
            place: place.clone(),
            listeners: vec![l],
            sysctls,
            totals: Cow::Owned(Totals::default()),
            members: Vec::new(),
        })
    }));
    let room = |(len, limit): (u32, u32)| i64::from(limit) - i64::from(len);
    let queues = members.iter().filter(|m| m.open).filter_map(Listened::queue);
    sum.recv_q = queues.min_by_key(|queue| room(*queue)).or(sum.recv_q);
    let sockets =
        |m: &Listened<'a>| matches!(m.whose, Whose::Socket(_)).then_some(m.listeners.clone());
    Listened {
        netns,
        local,
        whose: Whose::Group,
        open: members.iter().any(|m| m.open),
        sockets: members.iter().filter(|m| m.open).map(|m| m.sockets).sum(),
        place,
        listeners: members.iter().filter_map(sockets).flatten().collect(),
        sysctls,
        totals: Cow::Owned(sum),
        members,
    }
}
