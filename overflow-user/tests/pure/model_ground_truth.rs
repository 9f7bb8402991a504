//! The model against real kernels: every measured scenario, per kernel, variant and delay.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use flate2::read::GzDecoder;
use overflow_core::model::{
    batch,
    path::{Class, Path as ConnPath},
    scenario::{Phase, Scenario},
    simulate::Simulator,
};
use serde_json::{Map, Value};

const KERNELS: [&str; 9] = [
    "el7-3.10.0-1160",
    "van4.4.155",
    "el8-4.18.0-147",
    "van5.4.273",
    "deb5.10",
    "deb6.1",
    "deb6.12",
    "deb6.18",
    "deb7.3",
];
/// The only kernel whose outcome can depend on a random number, `hash_rnd`.
const RANDOM: &str = "el7-3.10.0-1160";

struct Measured {
    line: String,
    fields: Map<String, Value>,
    scenario: Scenario,
}

impl Measured {
    fn text(&self, field: &str) -> &str {
        self.fields[field].as_str().unwrap_or_else(|| panic!("{field} is no string"))
    }

    fn number(&self, field: &str) -> u64 {
        self.fields[field].as_u64().unwrap_or_else(|| panic!("{field} is no number"))
    }

    fn list(&self, field: &str) -> &[Value] {
        self.fields[field].as_array().unwrap_or_else(|| panic!("{field} is no list"))
    }

    fn classes(&self) -> Vec<&str> {
        self.list("classes").iter().filter_map(Value::as_str).collect()
    }

    fn group(&self) -> (&str, u64) {
        (self.text("variant"), self.number("delay_ms"))
    }
}

fn measured(kernel: &str) -> Vec<Measured> {
    let name = format!("tests/data/ground-truth/{kernel}.jsonl.gz");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let file = File::open(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    BufReader::new(GzDecoder::new(file))
        .lines()
        .map(|line| {
            let line = line.unwrap();
            let fields: Map<String, Value> = serde_json::from_str(&line).unwrap();
            let scenario = batch::read(&fields).unwrap_or_else(|e| panic!("{e}: {line}"));
            Measured { line, fields, scenario }
        })
        .collect()
}

fn burst(paths: &[ConnPath]) -> impl Iterator<Item = &ConnPath> {
    paths.iter().filter(|p| p.phase == Phase::Burst)
}

fn classes(simulator: &mut Simulator, scenario: &Scenario) -> Vec<&'static str> {
    burst(simulator.run(scenario).paths).map(ConnPath::class).map(Class::as_str).collect()
}

/// Two of the 8595 measurements met an accident that is not in the scenario: a burst that
/// straddled two buckets of the timer wheel, and a prefill connection that did not come about.
#[test]
fn classes_of_every_determined_scenario_are_right() {
    let mut simulator = Simulator::default();
    let mut misses = Vec::new();
    let mut table = String::new();
    for kernel in KERNELS {
        let mut groups: BTreeMap<(String, u64), [u32; 3]> = BTreeMap::new();
        let all = measured(kernel);
        assert!(all.len() > 900, "{kernel} has only {} scenarios", all.len());
        for mut m in all {
            let right = classes(&mut simulator, &m.scenario) == m.classes();
            let undetermined = simulator.depends_on_hash(&mut m.scenario);
            assert!(!undetermined || kernel == RANDOM, "{}", m.line);
            let (variant, delay) = m.group();
            let [total, good, by_lot] = groups.entry((variant.to_owned(), delay)).or_default();
            *total += 1;
            *good += u32::from(right);
            *by_lot += u32::from(!right && undetermined);
            if !right && !undetermined {
                misses.push(m.line);
            }
        }
        for ((variant, delay), [total, good, by_lot]) in groups {
            let line = format!("{kernel:16} {variant:7} {delay:3} ms: {good:3} of {total:3} right");
            let drawn = if by_lot > 0 { format!(", {by_lot} drawn by lot") } else { String::new() };
            table = table + &line + &drawn + "\n";
            let wrong = total - good - by_lot;
            assert!(wrong * 100 <= total, "more than 1 % wrong:\n{line}\n{}", misses.join("\n"));
        }
    }
    println!("{table}misses:\n{}", misses.join("\n"));
    assert!(misses.len() <= 2, "{}", misses.join("\n"));
}

/// Where RHEL 7 draws the outcome by lot, what it did is among what the model says it can do, and
/// the model's first answer is the measured one as often as the most likely one can be.
#[test]
fn outcomes_drawn_by_lot_on_el7_are_among_the_possible_ones() {
    let mut simulator = Simulator::default();
    let (mut drawn, mut first_right) = (0, 0);
    for mut m in measured(RANDOM) {
        if !simulator.depends_on_hash(&mut m.scenario) {
            continue;
        }
        let mut possible = BTreeSet::new();
        for key in 0..300 {
            m.scenario.hash_rnd = key;
            let classes = classes(&mut simulator, &m.scenario);
            first_right += u32::from(key == 0 && classes == m.classes());
            possible.insert(classes);
        }
        assert!(possible.contains(&m.classes()), "{}", m.line);
        assert!(possible.len() <= 30, "{} outcomes tell nothing: {}", possible.len(), m.line);
        drawn += 1;
    }
    println!("{drawn} drawn by lot, {first_right} of them as the model says first");
    assert!(drawn > 50 && first_right * 5 >= drawn * 2, "{first_right} of {drawn}");
}

/// Counters and packets are a finer sieve than classes: every retransmission must be there.
#[test]
fn counters_and_packets_are_right_where_nothing_is_random() {
    let mut simulator = Simulator::default();
    let (mut total, mut wrong_counters, mut wrong_packets) = (0, Vec::new(), Vec::new());
    for kernel in KERNELS.into_iter().filter(|k| *k != RANDOM) {
        for m in measured(kernel) {
            total += 1;
            let outcome = simulator.run(&m.scenario);
            let counters = serde_json::to_value(outcome.counters).unwrap();
            let measured = m.fields["counters"].as_object().unwrap();
            // The measured deltas begin with the burst, the model's with the prefill.
            let same = counters.as_object().unwrap().iter().all(|(name, value)| {
                measured.get(name).and_then(Value::as_u64).unwrap_or(0) == value.as_u64().unwrap()
            });
            if m.number("prefill") == 0 && !same {
                wrong_counters.push(m.line.clone());
            }
            let syns = burst(outcome.paths).map(|p| u64::from(p.syns));
            let synacks = burst(outcome.paths).map(|p| u64::from(p.synacks));
            if !syns.eq(m.list("syns").iter().filter_map(Value::as_u64))
                || !synacks.eq(m.list("synacks").iter().filter_map(Value::as_u64))
            {
                wrong_packets.push(m.line.clone());
            }
        }
    }
    println!(
        "of {total}: counters wrong in {}, packets in {}",
        wrong_counters.len(),
        wrong_packets.len()
    );
    // The wheel of 4.4 is exact: what was sent at 0, 1 and 7 s is sent again at 8.00 s, on the very
    // end of the measurement.
    assert!(wrong_counters.len() * 1000 <= total, "{}", wrong_counters.join("\n"));
    assert!(wrong_packets.len() * 200 <= total, "{}", wrong_packets.join("\n"));
}
