//! Where two runs of the same question part ways.

use super::{condition::Decision, path::Path, time::Nanos};

/// The first decision that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// Index of the connection it is about.
    pub client: usize,
    /// The decision of the first run; `None` where it decided nothing more.
    pub left: Option<Decision>,
    /// The decision of the second run.
    pub right: Option<Decision>,
}

impl Divergence {
    /// When: the earlier of both decisions.
    pub(crate) fn t_ns(&self) -> Nanos {
        let times = [self.left, self.right].map(|d| d.map_or(Nanos::MAX, |d| d.t_ns));
        times[0].min(times[1])
    }
}

/// The earliest stage, over all connections, at which two runs did something else.
///
/// Times do not count: kernels round their timers differently.
pub fn first_divergence(left: &[Path], right: &[Path]) -> Option<Divergence> {
    let pairs = left.iter().zip(right).enumerate();
    pairs.filter_map(|(i, (l, r))| of_paths(i, l, r)).min_by_key(Divergence::t_ns)
}

fn of_paths(client: usize, left: &Path, right: &Path) -> Option<Divergence> {
    let (mut left, mut right) = (left.stages(), right.stages());
    loop {
        let (left, right) = (left.next(), right.next());
        if left.is_none() && right.is_none() {
            return None;
        }
        if left.map(|d| d.id) != right.map(|d| d.id) {
            return Some(Divergence { client, left: left.copied(), right: right.copied() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            config::{Listener, Sysctls},
            features::Features,
            scenario::{Burst, Scenario},
            simulate::Simulator,
            time::{MS, SEC},
        },
        *,
    };
    use crate::verdict::VerdictId;

    fn paths(features: Features) -> Vec<Path> {
        let listener = Listener { backlog: 1, ..Listener::default() };
        let burst = Burst { prefill: 0, clients: 5, delay: 200 * MS, payload: 0 };
        let sysctls = Sysctls { abort_on_overflow: 1, ..Sysctls::default() };
        let scenario = Scenario::burst(features, listener, sysctls, burst, 5 * SEC);
        Simulator::default().run(&scenario).paths.to_vec()
    }

    #[test]
    fn centos7_and_ubuntu_part_at_the_second_syn() {
        let (el7, ubuntu) = (paths(Features::EL7), paths(Features::V4_15));
        let first = first_divergence(&el7, &ubuntu).unwrap();
        assert_eq!(first.client, 1);
        assert_eq!(first.left.unwrap().id, VerdictId::SynQueued);
        let right = first.right.unwrap();
        assert_eq!(right.id, VerdictId::SynCookie);
        assert_eq!(right.condition.to_string(), "reqsk_queue_len 1 >= sk_max_ack_backlog 1");
    }

    #[test]
    fn equal_runs_do_not_diverge() {
        let paths = paths(Features::V5_4);
        assert_eq!(first_divergence(&paths, &paths), None);
    }
}
