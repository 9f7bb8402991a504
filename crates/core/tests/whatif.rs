//! Loads that were played at two settings on real kernels, by `cargo xtask whatif --keep`: what is predicted
//! of the second from a recording of the first, against a recording of the second.

use std::{io::Read as _, path::Path};

use flate2::read::GzDecoder;
use overflow_core::{
    model::kernels,
    recording::Recording,
    whatif::{
        collect::Collector,
        fate::Tally,
        recorded::Recorded,
        replay::{Bounds, Player, Surroundings},
        setting::{Clients, Setting},
    },
};
use serde_json::Value;

/// A figure is near if it is off by no more than this part of all clients, or by one.
const NEAR: u64 = 50;

/// Of numbers of clients.
type Figure = fn(&Tally) -> u64;

/// Those that are compared, each with its name.
const FIGURES: [(&str, Figure); 3] =
    [("refused", |t| t.reset), ("delayed", Tally::delayed), ("not in", |t| t.not_in)];

/// What `cargo xtask whatif --kept --cut` wrote of a pair, which is called after kernel, seed and number.
struct Pair {
    name: &'static str,
    question: &'static str,
    first: &'static [u8],
    second: &'static [u8],
}

macro_rules! pairs {
    ($($name:literal)*) => {
        [$(Pair {
            name: $name,
            question: include_str!(concat!("data/whatif/", $name, ".json")),
            first: include_bytes!(concat!("data/whatif/", $name, ".a.rec.gz")),
            second: include_bytes!(concat!("data/whatif/", $name, ".b.rec.gz")),
        }),*]
    };
}

const PAIRS: [Pair; 9] = pairs![
    "5.10.262-2-41" "5.10.262-2-45" "5.10.262-2-62"
    "6.1.192-3-3" "6.1.192-3-20" "6.1.192-3-69"
    "6.12.118-1-5" "6.12.118-1-13" "6.12.118-1-16"
];

fn recorded(packed: &[u8]) -> Recorded {
    let mut bytes = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    let mut recording = Recording::read(Path::new("a pair"), &bytes[..]).unwrap();
    let mut collector = Collector::new(recording.header(), |_, _| true);
    while let Some(frame) = recording.next_frame().unwrap() {
        collector.frame(frame);
    }
    collector.finish().unwrap()
}

/// What is predicted at the second setting, and what happened there.
fn played(pair: &Pair) -> (Bounds, Tally) {
    let question: Value = serde_json::from_str(pair.question).unwrap();
    let (first, second) = (recorded(pair.first), recorded(pair.second));
    let features = kernels::by_name(pair.name.split('-').next().unwrap()).unwrap().features;
    let data = question["data"].as_bool();
    let around = Surroundings { features, clients: Clients { features, data, timeout: None } };
    let asked = |name: &str| u32::try_from(question["predicted"][name].as_u64().unwrap()).unwrap();
    let setting = Setting {
        backlog: Some(asked("backlog")),
        syncookies: u8::try_from(asked("syncookies")).ok(),
        abort: u8::try_from(asked("abort")).ok(),
        ..Setting::default()
    };
    let bounds = Player::default().bounds(&first, &first.places[0], &around, &setting);
    (bounds, Tally::recorded(&second.places[0].members))
}

#[test]
fn what_happened_is_near_what_was_predicted_and_within_its_bounds() {
    let mut off = Vec::new();
    for pair in &PAIRS {
        let (bounds, happened) = played(pair);
        assert!(happened.hurt() > 0, "{}: nobody was hurt, which shows nothing", pair.name);
        for (name, figure) in FIGURES {
            let (least, most) = bounds.range(figure);
            let (likely, real) = (figure(&bounds.at_pace), figure(&happened));
            let near = likely.abs_diff(real) * NEAR <= happened.clients.max(NEAR);
            if !near || !(least..=most).contains(&real) {
                let pair = pair.name;
                off.push(format!("{pair}: {name}: {likely} ({least}-{most}), was {real}"));
            }
        }
    }
    assert!(off.is_empty(), "{off:#?}");
}
