//! Pairs drawn at random: a load, and two settings of its listener.

use guest_cases::load::{Arrivals, Pair, Server, Setting};

/// Largest backlog.
const MAX_BACKLOG: u32 = 512;
/// Most clients of one load.
const MAX_CLIENTS: u32 = 400;
/// From one client of a burst to the next, microseconds, at least. Closer together than the machine's
/// only processor needs for both ends of a handshake, it would be up to its scheduler when the server
/// gets its turn, and the same load would not have the same end twice.
const CLOSEST_US: u64 = 200;
/// How long each run is watched, milliseconds: long enough for the third time that a SYN is sent.
const HOLD_MS: u64 = 8_000;

/// Draws pairs; the same seed draws the same ones.
pub struct Lot(fastrand::Rng);

impl Lot {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// The next pair.
    pub fn draw(&mut self) -> Pair {
        let arrivals = self.arrivals();
        let clients: u32 = arrivals.iter().map(|a| a.clients).sum();
        let recorded = self.setting(clients);
        let mut predicted = Setting { backlog: self.backlog(clients), ..recorded };
        // The backlog is what people change; now and then something else changes as well.
        let rng = &mut self.0;
        if rng.u8(0..6) == 0 {
            predicted.abort = 1 - predicted.abort;
        }
        if rng.u8(0..8) == 0 {
            predicted.syncookies = 1 - predicted.syncookies;
        }
        Pair {
            arrivals,
            data: self.0.bool(),
            server: self.server(),
            recorded,
            predicted,
            hold_ms: HOLD_MS,
        }
    }

    /// Small ones are as likely as large ones, up to what the load can fill.
    fn backlog(&mut self, clients: u32) -> u32 {
        let most = (2 * clients).clamp(2, MAX_BACKLOG);
        let bits = 32 - most.leading_zeros();
        let below = 1 << self.0.u32(1..=bits);
        self.0.u32(1..=below.min(most))
    }

    fn setting(&mut self, clients: u32) -> Setting {
        Setting {
            backlog: self.backlog(clients),
            syncookies: u8::from(self.0.u8(0..4) > 0),
            abort: u8::from(self.0.u8(0..4) == 0),
        }
    }

    /// A burst, several, a steady load, or a burst in a steady load.
    fn arrivals(&mut self) -> Vec<Arrivals> {
        let rng = &mut self.0;
        let burst = |rng: &mut fastrand::Rng| Arrivals {
            at_ms: rng.u64(0..=2_000),
            clients: rng.u32(2..=MAX_CLIENTS / 4),
            every_us: rng.u64(CLOSEST_US..=1_000),
        };
        let steady = |rng: &mut fastrand::Rng| {
            let every_us = rng.u64(5_000..=50_000);
            // For three seconds at most.
            let most = u32::try_from(3_000_000 / every_us).unwrap_or(MAX_CLIENTS);
            Arrivals { at_ms: 0, clients: rng.u32(20..=most.clamp(21, MAX_CLIENTS)), every_us }
        };
        match rng.u8(0..4) {
            0 => vec![burst(rng)],
            1 => (0..rng.usize(2..=4)).map(|_| burst(rng)).collect(),
            2 => vec![steady(rng)],
            _ => vec![steady(rng), burst(rng)],
        }
    }

    /// One that accepts at once, late, slowly, or unevenly.
    fn server(&mut self) -> Server {
        let rng = &mut self.0;
        let late_ms = if rng.u8(0..3) == 0 { rng.u64(100..=3_000) } else { 0 };
        let work_us = match rng.u8(0..4) {
            0 => vec![0],
            1 => vec![rng.u64(1_000..=40_000)],
            2 => (0..8).map(|_| rng.u64(200..=40_000)).collect(),
            // Many quick ones, then one that takes long.
            _ => {
                let quick = rng.u64(100..=5_000);
                let mut all = vec![quick; rng.usize(5..=30)];
                all.push(rng.u64(200_000..=1_500_000));
                all
            }
        };
        Server { late_ms, work_us }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64, n: usize) -> Vec<Pair> {
        let mut lot = Lot::new(seed);
        (0..n).map(|_| lot.draw()).collect()
    }

    #[test]
    fn a_seed_draws_the_same_pairs_again() {
        assert_eq!(drawn(7, 50), drawn(7, 50));
        assert_ne!(drawn(7, 50), drawn(8, 50));
    }

    #[test]
    fn every_pair_can_be_played() {
        for pair in drawn(1, 2000) {
            assert!((2..=2 * MAX_CLIENTS).contains(&pair.clients()), "{pair:?}");
            for setting in [pair.recorded, pair.predicted] {
                assert!((1..=MAX_BACKLOG).contains(&setting.backlog), "{pair:?}");
                assert!(setting.abort <= 1 && setting.syncookies <= 1, "{pair:?}");
            }
            let last =
                pair.arrivals.iter().map(|a| a.at_ms * 1000 + u64::from(a.clients) * a.every_us);
            assert!(last.max().unwrap() < pair.hold_ms * 1000, "{pair:?}");
        }
    }

    #[test]
    fn all_kinds_are_drawn() {
        let pairs = drawn(2, 400);
        let some = |test: &dyn Fn(&Pair) -> bool| pairs.iter().filter(|p| test(p)).count() > 20;
        assert!(some(&|p| p.recorded.backlog > p.predicted.backlog));
        assert!(some(&|p| p.recorded.backlog < p.predicted.backlog));
        assert!(some(&|p| p.recorded.abort != p.predicted.abort));
        assert!(some(&|p| p.recorded.syncookies != p.predicted.syncookies));
        assert!(some(&|p| p.server.late_ms > 0) && some(&|p| p.server.work_us == [0]));
        assert!(some(&|p| p.server.work_us.len() > 2) && some(&|p| p.arrivals.len() > 1));
    }
}
