//! How far away the clients are.

use std::{collections::HashMap, net::IpAddr};

use super::recorded::{Arrived, Member};
use crate::model::time::{Nanos, US};

/// Round trip time of clients of which none was measured.
const RTT: Nanos = 100 * US;
/// What differs from the usual one of its address by more than one part in so many is another way; what
/// differs by less was held up on the same one, and would be held up otherwise another time.
const SAME: Nanos = 4;

/// Round trip times, which were measured from a SYN to its third ACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RoundTrips {
    /// The usual one.
    pub(super) usual: Nanos,
    by_address: HashMap<IpAddr, Nanos>,
}

impl RoundTrips {
    pub(super) fn of(member: &Member) -> Self {
        let mut measured: HashMap<IpAddr, Vec<Nanos>> = HashMap::new();
        let mut all = Vec::new();
        for client in &member.clients {
            let Some(rtt) = client.rtt_ns.map(nanos) else { continue };
            measured.entry(client.client.ip()).or_default().push(rtt);
            all.push(rtt);
        }
        let by_address = measured.into_iter().filter_map(|(ip, rtts)| Some((ip, median(rtts)?)));
        Self { by_address: by_address.collect(), usual: median(all).unwrap_or(RTT) }
    }

    /// That of one client.
    pub(super) fn of_client(&self, client: &Arrived) -> Nanos {
        let usual = self.by_address.get(&client.client.ip()).copied().unwrap_or(self.usual);
        let own = client.rtt_ns.map_or(usual, nanos);
        if (own - usual).abs() > usual / SAME { own } else { usual }
    }
}

fn median(mut values: Vec<Nanos>) -> Option<Nanos> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

fn nanos(ns: u64) -> Nanos {
    Nanos::try_from(ns).unwrap_or(Nanos::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whatif::fate::Fate;

    fn client(host: u8, rtt_us: Option<u64>) -> Arrived {
        Arrived {
            client: ([10, 7, 0, host], 1).into(),
            syn_ns: 0,
            rtt_ns: rtt_us.map(|us| us * 1000),
            sent_data: false,
            child_ns: None,
            fate: Fate::AtOnce,
        }
    }

    #[test]
    fn an_address_has_one_unless_it_differs_widely() {
        let clients = [
            client(2, Some(10_070)),
            client(2, Some(10_240)),
            client(2, Some(10_130)),
            client(2, Some(40_000)),
            client(2, None),
            client(3, Some(900)),
            client(4, None),
        ];
        let member = Member { clients: clients.into(), ..Member::default() };
        let rtts = RoundTrips::of(&member);
        let found: Vec<_> = clients.iter().map(|c| rtts.of_client(c) / US).collect();
        assert_eq!(found, [10_240, 10_240, 10_240, 40_000, 10_240, 900, 10_130]);
        assert_eq!(RoundTrips::of(&Member::default()).usual, RTT);
    }
}
