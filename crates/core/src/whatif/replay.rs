//! A recording's clients through the model, with another setting.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{
    fate::{self, Tally},
    pace,
    recorded::{Arrived, Member, Place, Recorded},
    round_trips::RoundTrips,
    setting::{Clients, Setting},
    shake::{Lot, SHAKES, shake},
};
use crate::{
    model::{
        application::{Application, Pace},
        condition::Condition,
        config::Listener,
        features::Features,
        path::Path,
        processor::{HOLD, Processor},
        release::Release,
        scenario::{Client, Link, Phase, Scenario},
        simulate::Simulator,
        time::{MS, Nanos, US},
    },
    verdict::VerdictId,
};

/// From `connect()` returning to the client's first data.
const APP_DELAY: Nanos = 300 * US;
/// The data of a client that sends any, bytes: one segment.
const PAYLOAD: u32 = 100;

/// What was played is widened by one part of all clients in so many.
const FURTHER: u64 = 50;
/// And by one part in so many of those that are hurt: the more are, the more chance has a say in how.
const FURTHER_OF_HURT: u64 = 10;

/// The model counts the buckets of the timer wheel from 0, and they are this long at most, where a
/// timer is shorter than RTO_MAX: 512 jiffies.
const WHEEL: Nanos = 512 * 4 * MS;

/// What a setting would have meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// If the application had gone on at the pace that it showed while it was busy, held up by what
    /// held it up: at its time, or after so many connections, as was seen.
    pub at_pace: Tally,
    /// The same, held up in the other way.
    pub otherwise: Tally,
    /// If it had taken no more by any time than it was seen to: the least that it can do for certain.
    pub as_seen: Tally,
    /// Where `accept()` was not traced, if it had taken everything as early as the segments' records
    /// allow; else the same as `at_pace`.
    pub early: Tally,
    /// As `at_pace`, each time with other small differences ([`shake`]).
    pub shaken: [Tally; SHAKES],
    /// By how much each figure is off where it is known: the model at the recorded setting against the
    /// recording.
    pub error: Tally,
}

impl Bounds {
    /// Between which values a figure is: all of the above, and further by as much as the model is off where
    /// that is known, and by a little, for a few of all that may be otherwise do not show everything. What
    /// is 0 in all of them, as it is where nobody is hurt, is 0.
    pub fn range(&self, figure: impl Fn(&Tally) -> u64) -> (u64, u64) {
        let Self { at_pace, otherwise, as_seen, early, shaken, error } = self;
        let all = [at_pace, otherwise, as_seen, early].into_iter().chain(shaken).map(&figure);
        let (least, most) = all.fold((u64::MAX, 0), |(a, b), n| (a.min(n), b.max(n)));
        let further = match (least, most) {
            (0, 0) => 0,
            _ if least == most => figure(error),
            _ => 1 + at_pace.clients / FURTHER + at_pace.hurt() / FURTHER_OF_HURT + figure(error),
        };
        (least.saturating_sub(further), (most + further).min(at_pace.clients.max(most)))
    }

    /// Whether nobody is hurt if the application goes on at its pace, whatever else may be otherwise.
    pub fn hurts_nobody_at_pace(&self) -> bool {
        [&self.at_pace, &self.otherwise].into_iter().chain(&self.shaken).all(|t| t.hurt() == 0)
    }

    /// The same of every number of clients at once.
    pub fn ranges(&self) -> (Tally, Tally) {
        let of = Tally { longest_wait_ns: None, deepest: None, ..self.at_pace };
        let (mut least, mut most) = (of, of);
        (least.reset, most.reset) = self.range(|t| t.reset);
        (least.not_in, most.not_in) = self.range(|t| t.not_in);
        (least.gave_up, most.gave_up) = self.range(|t| t.gave_up);
        for i in 0..least.delayed.len() {
            (least.delayed[i], most.delayed[i]) = self.range(|t| t.delayed[i]);
        }
        (least, most)
    }

    /// Of what is known for certain: what was seen.
    pub fn certain(tally: Tally) -> Self {
        let shaken = [tally; SHAKES];
        let error = Tally::default();
        Self { at_pace: tally, otherwise: tally, as_seen: tally, early: tally, shaken, error }
    }
}

/// Plays recordings; keeps its memory between runs.
#[derive(Debug, Default)]
pub struct Player {
    simulator: Simulator,
}

/// What all settings of a recording have in common.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The recording machine's kernel.
    pub features: Features,
    /// What is assumed of the clients.
    pub clients: Clients,
}

impl Player {
    /// What becomes of the clients of `place` with this setting.
    pub fn bounds(
        &mut self,
        recorded: &Recorded,
        place: &Place,
        around: &Surroundings,
        setting: &Setting,
    ) -> Bounds {
        let mut shaken = [Tally::default(); SHAKES];
        for (seed, tally) in (1..).zip(&mut shaken) {
            let mut lot = Lot::new(seed);
            let belief = Belief::AtPace;
            *tally = self.shaken(recorded, place, around, setting, belief, Some(&mut lot));
        }
        let error = self.error(recorded, place, around);
        let mut play = |belief| self.play(recorded, place, around, setting, belief);
        if setting.accept_rate.is_some() {
            return Bounds { shaken, error, ..Bounds::certain(play(Belief::AtPace)) };
        }
        let (at_pace, otherwise) = (play(Belief::AtPace), play(Belief::Otherwise));
        let as_seen = play(Belief::AsSeen);
        let traced = place.members.iter().all(|member| member.accepts.traced);
        let early = if traced { at_pace } else { play(Belief::Early) };
        Bounds { at_pace, otherwise, as_seen, early, shaken, error }
    }

    /// See [`Bounds::error`].
    fn error(&mut self, recorded: &Recorded, place: &Place, around: &Surroundings) -> Tally {
        let mut around = around.clone();
        // Nobody knows when those that were recorded gave up.
        around.clients.timeout = None;
        let model = self.play(recorded, place, &around, &Setting::default(), Belief::AtPace);
        model.distance(&Tally::recorded(&place.members))
    }

    /// The same if the application acts as is believed.
    pub fn play(
        &mut self,
        recorded: &Recorded,
        place: &Place,
        around: &Surroundings,
        setting: &Setting,
        belief: Belief,
    ) -> Tally {
        self.shaken(recorded, place, around, setting, belief, None)
    }

    fn shaken(
        &mut self,
        recorded: &Recorded,
        place: &Place,
        around: &Surroundings,
        setting: &Setting,
        belief: Belief,
        mut lot: Option<&mut Lot>,
    ) -> Tally {
        let mut sum = Tally::default();
        for member in members(place, setting.members).iter() {
            let jiffies_ns = match &mut lot {
                Some(lot) => lot.jiffies(recorded.jiffies_ns, WHEEL),
                None => recorded.jiffies_ns.unwrap_or(0),
            };
            let place_at = (place, origin(place.period_ns.0, jiffies_ns));
            let mut scenario = scenario(recorded, place_at, member, around, setting, belief);
            if let Some(lot) = &mut lot {
                shake(&mut scenario, lot);
            }
            let outcome = self.simulator.run(&scenario);
            let patience = around.clients.timeout;
            sum.add(&tally(&scenario, outcome.paths, patience));
        }
        sum
    }
}

/// What is believed of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belief {
    /// See [`Bounds::at_pace`].
    AtPace,
    /// See [`Bounds::otherwise`].
    Otherwise,
    /// See [`Bounds::as_seen`].
    AsSeen,
    /// See [`Bounds::early`].
    Early,
}

/// The sockets of the group: those that were recorded, or so many with the clients dealt anew.
///
/// The kernel deals them by a hash with a key of its own (`reuseport_select_sock`), so which client
/// comes to which socket cannot be known, only that it is as good as by lot.
fn members(place: &Place, wanted: Option<u32>) -> std::borrow::Cow<'_, [Member]> {
    let wanted = wanted.map(|n| usize::try_from(n.max(1)).unwrap_or(1));
    let Some(wanted) = wanted.filter(|n| *n != place.members.len()) else {
        return place.members.as_slice().into();
    };
    let like = |i: usize| &place.members[i % place.members.len()];
    let mut dealt: Vec<Member> =
        (0..wanted).map(|i| Member { clients: Vec::new(), ..like(i).clone() }).collect();
    let mut clients: Vec<&Arrived> = place.members.iter().flat_map(|m| &m.clients).collect();
    clients.sort_by_key(|client| client.syn_ns);
    for client in clients {
        let mut hasher = DefaultHasher::new();
        client.client.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % (wanted as u64)).unwrap_or(0);
        dealt[at].clients.push(*client);
    }
    dealt.into()
}

fn scenario(
    recorded: &Recorded,
    (place, begin_ns): (&Place, u64),
    member: &Member,
    around: &Surroundings,
    setting: &Setting,
    belief: Belief,
) -> Scenario {
    let end_ns = place.period_ns.1;
    let end_ns = member.closed_ns.map_or(end_ns, |closed| closed.min(end_ns));
    let until = Nanos::try_from(end_ns.saturating_sub(begin_ns)).unwrap_or(Nanos::MAX / 4);
    let features = setting.features(recorded, around.features);
    let features = Features {
        // The clients' timers are theirs, whatever the server runs.
        syn_linear_timeouts: around.clients.features.syn_linear_timeouts,
        ..features
    };
    let backlog = setting.backlog(member.max_ack_backlog, place.sysctls.somaxconn);
    let application = match (setting.accept_rate, belief) {
        (Some(rate), _) => Application::AtPace(Pace::steady(rate)),
        (None, Belief::AtPace | Belief::Otherwise) => {
            let as_shown = belief == Belief::AtPace;
            paced(place, member, &member.accepts.likely_ns, (begin_ns, until), as_shown)
        }
        (None, Belief::Early) => {
            paced(place, member, &member.accepts.earliest_ns, (begin_ns, until), true)
        }
        (None, Belief::AsSeen) => Application::AsSeen(
            member.accepts.latest_ns.iter().map(|t| relative(*t, begin_ns)).collect(),
        ),
    };
    let rtts = RoundTrips::of(member);
    let link = Link { to_server: rtts.usual / 2, to_client: rtts.usual - rtts.usual / 2 };
    Scenario {
        features,
        listener: Listener { backlog, defer_accept_secs: seconds(member.defer_accept) },
        sysctls: setting.sysctls(place),
        link,
        clients: clients(member, (begin_ns, place.period_ns.0), &rtts, around),
        arrivals: Vec::new(),
        repeated_syns: None,
        accepts: Vec::new(),
        application: Some(application),
        closes: None,
        until,
        // What a timer sends leaves as fast as what it sends costs least.
        spacing: match recorded.processors {
            Some(1) => recorded.costs.least(),
            _ => relative(recorded.spacing_ns, 0),
        },
        processor: (recorded.processors == Some(1)).then(|| Processor {
            costs: recorded.costs,
            hold: HOLD,
            preempts: Release::parse(&recorded.kernel).is_some_and(|r| (r.major, r.minor) < (6, 6)),
            clients: member.clients.iter().all(|client| client.client.ip().is_loopback()),
        }),
        hash_rnd: 0,
    }
}

/// Connections that the sockets' applications took a second, together, while something waited; `None`
/// where nothing shows it.
pub fn seen_rate(place: &Place) -> Option<f64> {
    let rates = place.members.iter().map(|member| {
        let accepts = &member.accepts.likely_ns;
        let pace = pace::of(member, accepts, place.period_ns.0, Nanos::MAX / 4);
        let spent: Nanos = pace.gaps.iter().map(|(_, gap)| gap).sum();
        #[allow(clippy::cast_precision_loss)] // for people
        let rate = pace.gaps.len() as f64 * 1e9 / spent as f64;
        (spent > 0).then_some(rate)
    });
    let rates: Vec<f64> = rates.flatten().collect();
    (!rates.is_empty()).then(|| rates.iter().sum())
}

/// An application that took connections at these times, held up as was seen, or not so.
fn paced(
    place: &Place,
    member: &Member,
    accepts: &[u64],
    (begin_ns, until): (u64, Nanos),
    as_shown: bool,
) -> Application {
    // Of those that were recorded there, whoever is dealt to it: an application's pace is its own.
    let seen = place.members.iter().find(|one| one.accepts == member.accepts).unwrap_or(member);
    let pace = pace::of(seen, accepts, begin_ns, until);
    if pace::comes_in_turn(&pace) == as_shown {
        Application::InTurn(pace::turns(&pace, until))
    } else {
        Application::AtPace(pace)
    }
}

fn clients(
    member: &Member,
    (begin_ns, recorded_since): (u64, u64),
    rtts: &RoundTrips,
    around: &Surroundings,
) -> Vec<Client> {
    let seen = member.clients.iter().any(|client| client.sent_data);
    // Of a client that got in at once nothing shows it.
    let shown = seen || member.clients.iter().all(|client| client.child_ns.is_some());
    let sends = around.clients.data.unwrap_or(shown);
    let before = (0..member.waiting_before).map(|_| Client {
        phase: Phase::Prefill,
        connect: relative(recorded_since, begin_ns) - MS - rtts.usual,
        payload: 0,
        app_delay: 0,
        gives_up: None,
        rtt: None,
    });
    let arrived = member.clients.iter().map(|client| {
        let rtt = rtts.of_client(client);
        let connect = relative(client.syn_ns, begin_ns) - rtt / 2;
        Client {
            phase: Phase::Burst,
            connect,
            payload: if sends { PAYLOAD } else { 0 },
            app_delay: APP_DELAY,
            gives_up: around.clients.timeout.map(|timeout| connect + timeout),
            rtt: Some(rtt),
        }
    });
    before.chain(arrived).collect()
}

fn tally(scenario: &Scenario, paths: &[Path], patience: Option<Nanos>) -> Tally {
    let mut tally = Tally::default();
    let mut longest = 0;
    for (client, path) in scenario.clients.iter().zip(paths) {
        let room = path.decisions.iter().filter_map(|decision| match decision.condition {
            Condition::Room { ack_backlog, .. } => Some(ack_backlog + 1),
            _ => None,
        });
        tally.deepest = tally.deepest.max(room.max());
        if client.phase == Phase::Prefill || client.connect > scenario.until {
            continue;
        }
        tally.count(fate::of_path(path, (client.connect, scenario.until), patience));
        let accepted = path.decisions.iter().find(|d| d.id == VerdictId::LaterAcceptedByApp);
        let waited = accepted.map_or(scenario.until, |d| d.t_ns) - client.connect;
        longest = longest.max(waited);
    }
    tally.longest_wait_ns = u64::try_from(longest).ok();
    tally
}

/// The time that the model calls 0: as near before `begin_ns` as the timer wheel allows.
fn origin(begin_ns: u64, jiffies_ns: i64) -> u64 {
    let begin = begin_ns.cast_signed();
    let origin = begin - (begin - jiffies_ns).rem_euclid(WHEEL);
    // Of a machine that has not run for as long.
    u64::try_from(origin).unwrap_or(begin_ns)
}

fn relative(t_ns: u64, begin_ns: u64) -> Nanos {
    t_ns.cast_signed() - begin_ns.cast_signed()
}

/// `TCP_DEFER_ACCEPT` seconds that make so many SYN-ACK timeouts (`secs_to_retrans`).
fn seconds(timeouts: u8) -> u32 {
    match timeouts {
        0 => 0,
        n => (1_u32 << u32::from(n.min(20))) - 1,
    }
}
