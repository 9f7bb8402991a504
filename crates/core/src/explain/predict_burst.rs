//! What a kernel makes of a burst at first, before anything is sent again: asked of the model.

use super::Counts;
use crate::model::{
    config::{Limits, Listener, Sysctls},
    features::Features,
    path::Path,
    scenario::{Burst, Phase, Scenario},
    simulate::Simulator,
    time::{MS, Nanos},
};

/// Long enough for every SYN of a burst to come before the first third ACK, and too short for any
/// retransmission.
const DELAY: Nanos = 400 * MS;
/// Before the first timer of SYN or SYN-ACK.
const WATCH: Nanos = 900 * MS;

/// A burst, all of whose SYNs come before the first third ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The listener's limit, `sk_max_ack_backlog`, connections.
    pub limit: u32,
    /// Connections in the accept queue before the burst.
    pub queued: u32,
    /// Clients that connect at once.
    pub clients: u32,
    /// The namespace's sysctls; `somaxconn` has no say any more.
    pub sysctls: Sysctls,
}

impl Question {
    /// The burst's connections on a kernel.
    pub fn paths(&self, features: Features) -> Vec<Path> {
        let scenario = self.scenario(features);
        let mut simulator = Simulator::default();
        let paths = simulator.run(&scenario).paths.iter();
        paths.filter(|p| p.phase == Phase::Burst).cloned().collect()
    }

    /// How they end at first on a kernel.
    pub fn counts(&self, features: Features) -> Counts {
        let mut counts = Counts::default();
        for path in &self.paths(features) {
            counts.add(path.handshake().map(|d| d.id));
        }
        counts
    }

    /// Requests that the SYN queue holds on a kernel.
    pub fn syn_queue(&self, features: Features) -> u32 {
        let sysctls = Sysctls { somaxconn: Some(u32::MAX), ..self.sysctls };
        let limits = Limits::new(&features, self.listener(), &sysctls);
        limits.syn_queue_full_at(features.syn_queue)
    }

    fn listener(&self) -> Listener {
        Listener { backlog: self.limit, ..Listener::default() }
    }

    fn scenario(&self, features: Features) -> Scenario {
        let sysctls = Sysctls { somaxconn: Some(u32::MAX), ..self.sysctls };
        let burst = Burst { prefill: 0, clients: self.clients, delay: DELAY, payload: 0 };
        let mut scenario = Scenario::burst(features, self.listener(), sysctls, burst, WATCH);
        // What is queued already came one by one, whatever the link was then.
        let early = Burst { prefill: self.queued, clients: 0, delay: 0, payload: 0 };
        let early = Scenario::burst(features, self.listener(), sysctls, early, WATCH).clients;
        let before = early.into_iter().map(|mut client| {
            client.connect -= 2 * DELAY;
            client.gives_up = None;
            client
        });
        scenario.clients = before.chain(scenario.clients).collect();
        scenario
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(backlog: u32, prefill: u32, clients: u32, syncookies: u8, abort: u8, expect: &str) {
        let sysctls = Sysctls { abort_on_overflow: abort, syncookies, ..Sysctls::default() };
        let question = Question { limit: backlog, queued: prefill, clients, sysctls };
        assert_eq!(question.counts(Features::EL7).to_string(), expect);
    }

    /// Each line was measured on 3.10.0-1160: see the ground truth of the kernel model.
    #[test]
    fn as_measured_on_3_10_0_1160() {
        check(1, 0, 5, 1, 1, "2 accepted, 3 reset");
        check(1, 0, 5, 1, 0, "2 accepted, 3 retried");
        check(1, 0, 5, 0, 1, "2 accepted, 3 reset");
        check(1, 1, 5, 1, 1, "1 accepted, 4 reset");
        check(1, 0, 20, 1, 0, "2 accepted, 14 retried, 4 silent");
        check(4, 4, 10, 1, 1, "1 accepted, 9 reset");
        check(16, 0, 20, 1, 0, "17 accepted, 3 retried");
        check(1, 2, 5, 1, 1, "2 reset, 3 no SYN-ACK");
    }

    #[test]
    fn the_syn_queue_has_a_floor_of_16() {
        for (limit, expect) in [(0, 16), (1, 16), (8, 16), (16, 32), (120, 128), (128, 256)] {
            let question = Question {
                limit,
                queued: 0,
                clients: 1,
                sysctls: Sysctls { max_syn_backlog: 4096, ..Sysctls::default() },
            };
            assert_eq!(question.syn_queue(Features::EL7), expect);
            assert_eq!(question.syn_queue(Features::V5_4), limit);
        }
    }

    #[test]
    fn a_long_queue_is_predicted_before_anything_is_sent_again() {
        let question =
            Question { limit: 4096, queued: 0, clients: 8194, sysctls: Sysctls::default() };
        let counts = question.counts(Features::V6_5.above_backlog());
        assert_eq!(counts.to_string(), "4097 accepted, 4097 silent");
    }
}
