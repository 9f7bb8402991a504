//! The question: a kernel, a listener, sysctls, and who sends what when.

use serde::{Deserialize, Serialize};

use super::{
    application::Application,
    config::{Listener, Sysctls},
    features::Features,
    processor::Processor,
    time::{MS, Nanos, US},
};

/// Time between two `connect()` calls of a burst.
pub(super) const CONNECT_SPACING: Nanos = 30 * US;
/// From `connect()` returning to the client's first data.
const APP_DELAY: Nanos = 300 * US;
/// From the end of one prefill connection to the next, and to the burst.
const PREFILL_GAP: Nanos = 30 * MS;
/// A prefill connection that is not established by then is closed.
const PREFILL_PATIENCE: Nanos = 700 * MS;

/// Which part of the experiment a connection belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Completed before the burst.
    Prefill,
    /// One of the concurrent connects.
    Burst,
}

/// One-way delays between client and server, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Client to server.
    pub to_server: Nanos,
    /// Server to client.
    pub to_client: Nanos,
}

impl Link {
    /// A local link whose server side delays everything that it sends.
    pub(crate) fn delayed_egress(delay: Nanos) -> Self {
        Self { to_server: 10 * US, to_client: 10 * US + delay }
    }

    /// Round trip time.
    pub(crate) fn rtt(&self) -> Nanos {
        self.to_server + self.to_client
    }
}

/// One client connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Prefill or burst.
    pub phase: Phase,
    /// When it calls `connect()`.
    pub connect: Nanos,
    /// Bytes it sends once connected; 0 is none.
    pub payload: u32,
    /// From `connect()` returning to its data being sent.
    pub app_delay: Nanos,
    /// When it closes its socket if that is still not connected.
    pub gives_up: Option<Nanos>,
    /// Its own round trip time, where that is not the link's.
    pub rtt: Option<Nanos>,
}

/// What a client's segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sends {
    /// Its first SYN.
    Syn,
    /// Its third ACK.
    ThirdAck,
    /// Its first data.
    Data,
}

/// A segment that reaches the server at a given time instead of the link's natural time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When it reaches the server.
    pub t: Nanos,
    /// Index into [`Scenario::clients`].
    pub client: usize,
    /// Which of the client's segments. An ACK or data that the client never comes to send, because
    /// its SYN was dropped, does not arrive.
    pub sends: Sends,
}

/// Everything the outcome depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The kernel of both sides.
    pub features: Features,
    /// The listener.
    pub listener: Listener,
    /// The sysctls.
    pub sysctls: Sysctls,
    /// The path between the two.
    pub link: Link,
    /// The clients, in order of `connect()`.
    pub clients: Vec<Client>,
    /// Segments whose arrival is given; all others arrive by the link's delays.
    pub arrivals: Vec<Arrival>,
    /// SYNs sent again, as (time, index into `clients`), where they are known: these reach the
    /// server, and the clients' SYN timers are not played. `None` plays the timers.
    pub repeated_syns: Option<Vec<(Nanos, usize)>>,
    /// When the application calls `accept()`.
    pub accepts: Vec<Nanos>,
    /// An application that calls it whenever something waits, besides.
    pub application: Option<Application>,
    /// When the listener is closed.
    pub closes: Option<Nanos>,
    /// When the observation ends.
    pub until: Nanos,
    /// From one segment that a timer sends to the next one of the same instant: a processor works them off
    /// one after the other.
    pub spacing: Nanos,
    /// The server's processor, if it has only one.
    pub processor: Option<Processor>,
    /// Key of the SYN table's hash, on kernels where it decides something
    /// ([`super::prune`]); 0 takes the most likely spread.
    pub hash_rnd: u32,
}

/// The usual experiment: some connections first, then many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// Connections made one after the other before the burst.
    pub prefill: u32,
    /// Clients that connect at once.
    pub clients: u32,
    /// Delay of everything the server sends.
    pub delay: Nanos,
    /// Bytes every client sends once connected, those of the prefill too.
    pub payload: u32,
}

impl Scenario {
    /// A burst, watched for `watch` after it began, on a listener that never accepts.
    pub fn burst(
        features: Features,
        listener: Listener,
        sysctls: Sysctls,
        burst: Burst,
        watch: Nanos,
    ) -> Self {
        let mut scenario = Self {
            features,
            listener,
            sysctls,
            link: Link::delayed_egress(burst.delay),
            clients: Vec::with_capacity((burst.prefill + burst.clients) as usize),
            arrivals: Vec::new(),
            repeated_syns: None,
            accepts: Vec::new(),
            application: None,
            closes: None,
            until: watch,
            spacing: 0,
            processor: None,
            hash_rnd: 0,
        };
        let step = burst.delay + PREFILL_GAP;
        for i in 0..burst.prefill {
            let connect = -Nanos::from(burst.prefill - i) * step;
            scenario.clients.push(Client {
                phase: Phase::Prefill,
                connect,
                payload: burst.payload,
                app_delay: APP_DELAY,
                gives_up: Some((connect + burst.delay + PREFILL_PATIENCE).min(-1)),
                rtt: None,
            });
        }
        for i in 0..burst.clients {
            scenario.clients.push(Client {
                phase: Phase::Burst,
                connect: Nanos::from(i) * CONNECT_SPACING,
                payload: burst.payload,
                app_delay: APP_DELAY,
                gives_up: None,
                rtt: None,
            });
        }
        scenario
    }

    /// Lets the first segments of the burst reach the server in the order of `order`: tokens `S3`
    /// (SYN of the burst's third client), `A3` (its third ACK), `D3` (its first data).
    ///
    /// Given an order, it decides; delays then only say when. Clients connect early enough for it.
    /// Segments that it does not name arrive by the link's delays.
    pub(crate) fn arrive_in_order(&mut self, order: &str) -> Result<(), String> {
        let prefill = self.clients.iter().take_while(|c| c.phase == Phase::Prefill).count();
        let burst = self.clients.len() - prefill;
        let mut named = vec![[None; 3]; burst];
        let mut t = 0;
        for (i, token) in order.split_ascii_whitespace().enumerate() {
            let bad = || {
                format!(
                    "rx_order names `{token}`; a token is S, A or D with a client's number from 1 \
                     to {burst}"
                )
            };
            let early = || {
                format!(
                    "rx_order names `{token}` too early; give the segments in the order in which \
                     they reached the server, SYN, ACK and data of each client"
                )
            };
            let sends = match token.as_bytes()[0] {
                b'S' => Sends::Syn,
                b'A' => Sends::ThirdAck,
                b'D' => Sends::Data,
                _ => return Err(bad()),
            };
            let number: usize = token.get(1..).and_then(|n| n.parse().ok()).ok_or_else(bad)?;
            let client = number.checked_sub(1).filter(|n| *n < burst).ok_or_else(bad)?;
            let given: &mut [Option<Nanos>; 3] = &mut named[client];
            let natural = match sends {
                Sends::Syn => Nanos::try_from(i).unwrap_or(0) * CONNECT_SPACING,
                Sends::ThirdAck => given[0].ok_or_else(early)? + self.link.rtt(),
                Sends::Data => given[1].ok_or_else(early)? + US,
            };
            t = natural.max(t + 10 * US);
            given[sends as usize] = Some(t);
            if sends == Sends::Syn {
                let connect = &mut self.clients[prefill + client].connect;
                *connect = (*connect).min(t - self.link.to_server);
            }
            self.arrivals.push(Arrival { t, client: prefill + client, sends });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::time::SEC, *};

    fn burst(delay: Nanos) -> Scenario {
        let burst = Burst { prefill: 2, clients: 3, delay, payload: 0 };
        let (listener, sysctls) = (Listener::default(), Sysctls::default());
        Scenario::burst(Features::V5_4, listener, sysctls, burst, 8 * SEC)
    }

    #[test]
    fn order_counts_the_burst_from_one_and_keeps_the_delay() {
        let mut scenario = burst(200 * MS);
        scenario.arrive_in_order("S1 S3 S2 A3").unwrap();
        let clients: Vec<_> = scenario.arrivals.iter().map(|a| a.client).collect();
        assert_eq!(clients, [2, 4, 3, 4]);
        assert!(scenario.arrivals.is_sorted_by_key(|a| a.t));
        assert!(scenario.arrivals[2].t < MS && scenario.arrivals[3].t > 200 * MS);
    }

    #[test]
    fn a_later_client_can_be_first() {
        let mut scenario = burst(0);
        scenario.arrive_in_order("S3 S1 S2").unwrap();
        for arrival in &scenario.arrivals {
            assert!(scenario.clients[arrival.client].connect < arrival.t);
        }
    }

    #[test]
    fn wrong_orders_are_refused() {
        for order in ["S0", "S4", "X1", "S", "é1", "A1", "S1 D1"] {
            assert!(burst(0).arrive_in_order(order).is_err(), "{order}");
        }
    }

    #[test]
    fn prefill_ends_before_the_burst() {
        let scenario = burst(200 * MS);
        assert_eq!(scenario.clients[1].connect, -230 * MS);
        assert_eq!(scenario.clients[2].connect, 0);
    }
}
