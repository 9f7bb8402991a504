//! One cell of `overflow predict`: a burst at a listener, its settings, and what the application does.

use serde::Deserialize;

use super::{
    config::{Listener, Sysctls},
    features::Features,
    scenario::{Burst, CONNECT_SPACING, Phase, Scenario},
    time::{MS, Nanos, SEC},
};
use crate::text::duration::count;

/// Most calls of `accept()` that are played.
const MOST_ACCEPTS: Nanos = 1_000_000;

/// What is asked, but for the kernel. Its fields are the options of the command, times in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Question {
    /// Clients that connect at once.
    pub clients: u32,
    /// From one client's `connect()` to the next one's.
    pub spacing: Nanos,
    /// The `backlog` argument of `listen(2)`, connections.
    pub backlog: u32,
    /// Delay of everything the server sends.
    pub delay: Nanos,
    /// `net.ipv4.tcp_abort_on_overflow`: 0 or 1.
    pub abort_on_overflow: u8,
    /// `net.ipv4.tcp_syncookies`: 0, 1 or 2.
    pub syncookies: u8,
    /// `net.core.somaxconn`; the kernel's default where `None`.
    pub somaxconn: Option<u32>,
    /// `net.ipv4.tcp_max_syn_backlog`, requests.
    pub max_syn_backlog: u32,
    /// Connections made one after the other before the burst.
    pub prefill: u32,
    /// Bytes every client sends once connected.
    pub payload: u32,
    /// How long it is watched after the burst began; then the listener is closed.
    pub hold: Nanos,
    /// `TCP_DEFER_ACCEPT`, seconds; 0 is off.
    pub defer_accept: u32,
    /// The application takes one connection each time so much has gone by; 0 is never.
    pub accept_every: Nanos,
}

impl Default for Question {
    /// The seed experiment, in its cell `abort=0,syncookies=1`.
    fn default() -> Self {
        Self {
            clients: 5,
            spacing: CONNECT_SPACING,
            backlog: 1,
            delay: 200 * MS,
            abort_on_overflow: 0,
            syncookies: 1,
            somaxconn: None,
            max_syn_backlog: Sysctls::default().max_syn_backlog,
            prefill: 0,
            payload: 0,
            hold: 5 * SEC,
            defer_accept: 0,
            accept_every: 0,
        }
    }
}

impl Question {
    /// What is wrong with it, as a sentence.
    pub fn check(&self) -> Result<(), String> {
        for (name, value, max) in [
            ("syncookies", u64::from(self.syncookies), 2),
            ("abort_on_overflow", u64::from(self.abort_on_overflow), 1),
            ("clients", u64::from(self.clients), 30_000),
            ("prefill", u64::from(self.prefill), 10_000),
            ("backlog", u64::from(self.backlog), 0x7fff_ffff),
        ] {
            if value > max {
                return Err(format!("{name} is {value}; the most is {max}"));
            }
        }
        let times = [
            ("spacing", self.spacing),
            ("delay", self.delay),
            ("hold", self.hold),
            ("accept_every", self.accept_every),
        ];
        for (name, time) in times {
            if !(0..=86_400 * SEC).contains(&time) {
                return Err(format!("{name} is {time} ns; it must be between 0 and a day"));
            }
        }
        if self.accept_every > 0 && self.hold / self.accept_every > MOST_ACCEPTS {
            return Err(format!(
                "the application would call accept() more than {MOST_ACCEPTS} times; let it call \
                 less often, or watch for a shorter time"
            ));
        }
        Ok(())
    }

    /// The cell's name in every output, as the lab names its cells.
    pub fn name(&self) -> String {
        format!("abort={},syncookies={}", self.abort_on_overflow, self.syncookies)
    }

    /// The burst in words, for the page's head.
    pub fn burst_in_words(&self) -> String {
        let clients = count(self.clients as usize, "client");
        let mut words = vec![format!("backlog {}, {clients} at once", self.backlog)];
        if self.spacing != CONNECT_SPACING {
            words[0] =
                format!("backlog {}, {clients}, one every {}", self.backlog, time(self.spacing));
        }
        if self.prefill > 0 {
            words.push(format!("after {}", count(self.prefill as usize, "connection")));
        }
        words.push(format!("server delayed by {}", time(self.delay)));
        if self.payload > 0 {
            words.push(format!("{} bytes each", self.payload));
        }
        if self.defer_accept > 0 {
            words.push(format!("TCP_DEFER_ACCEPT {} s", self.defer_accept));
        }
        if self.accept_every > 0 {
            words.push(format!("accept() every {}", time(self.accept_every)));
        }
        words.join(", ")
    }

    /// The question for the model.
    pub fn scenario(&self, features: Features) -> Scenario {
        let listener = Listener { backlog: self.backlog, defer_accept_secs: self.defer_accept };
        let sysctls = Sysctls {
            syncookies: self.syncookies,
            abort_on_overflow: self.abort_on_overflow,
            somaxconn: self.somaxconn,
            max_syn_backlog: self.max_syn_backlog,
            ..Sysctls::default()
        };
        let burst = Burst {
            prefill: self.prefill,
            clients: self.clients,
            delay: self.delay,
            payload: self.payload,
        };
        let mut scenario = Scenario::burst(features, listener, sysctls, burst, self.hold);
        let of_burst = scenario.clients.iter_mut().filter(|c| c.phase == Phase::Burst);
        for (client, i) in of_burst.zip(0..) {
            client.connect = i * self.spacing;
        }
        if self.accept_every > 0 {
            let calls = self.hold / self.accept_every;
            scenario.accepts = (1..=calls).map(|i| i * self.accept_every).collect();
        }
        scenario.closes = Some(self.hold);
        scenario
    }
}

fn time(nanos: Nanos) -> String {
    format!("{:?}", std::time::Duration::from_nanos(nanos.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::{super::simulate::Simulator, *};

    fn accepted(question: &Question) -> usize {
        let mut simulator = Simulator::default();
        let outcome = simulator.run(&question.scenario(Features::V5_4));
        outcome.paths.iter().filter(|p| p.class().as_str() == "ACCEPTED").count()
    }

    #[test]
    fn an_application_that_accepts_lets_more_in() {
        let slow = Question { spacing: 300 * MS, ..Question::default() };
        assert_eq!(accepted(&slow), 2);
        assert_eq!(accepted(&Question { accept_every: 100 * MS, ..slow }), 5);
    }

    #[test]
    fn what_no_kernel_takes_is_refused() {
        assert_eq!(Question::default().check(), Ok(()));
        for bad in [
            Question { syncookies: 3, ..Question::default() },
            Question { abort_on_overflow: 2, ..Question::default() },
            Question { backlog: u32::MAX, ..Question::default() },
            Question { clients: 30_001, ..Question::default() },
            Question { delay: -1, ..Question::default() },
            Question { hold: i64::MAX, ..Question::default() },
            Question { accept_every: 1, ..Question::default() },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn words_name_what_is_not_usual() {
        assert_eq!(
            Question::default().burst_in_words(),
            "backlog 1, 5 clients at once, server delayed by 200ms"
        );
        let question = Question { spacing: MS, accept_every: SEC, ..Question::default() };
        assert_eq!(
            question.burst_in_words(),
            "backlog 1, 5 clients, one every 1ms, server delayed by 200ms, accept() every 1s"
        );
    }
}
