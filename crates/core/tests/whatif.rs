//! Loads that were played at two settings on real kernels, by `cargo xtask whatif --keep`: what is predicted
//! of the second from a recording of the first, against a recording of the second.

use std::{fs, io::Read as _, path::Path};

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

/// The numbers of clients that are compared, each with its name.
const FIGURES: [(&str, fn(&Tally) -> u64); 3] =
    [("refused", |t| t.reset), ("delayed", Tally::delayed), ("not in", |t| t.not_in)];

fn recorded(path: &Path) -> Recorded {
    let packed = fs::read(path).unwrap();
    let mut bytes = Vec::new();
    GzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
    let mut recording = Recording::read(path, &bytes[..]).unwrap();
    let mut collector = Collector::new(recording.header(), |_, _| true);
    while let Some(frame) = recording.next_frame().unwrap() {
        collector.frame(frame);
    }
    collector.finish().unwrap()
}

/// What is predicted at the second setting, and what happened there.
fn played(pair: &Path) -> (Bounds, Tally) {
    let question: Value = serde_json::from_slice(&fs::read(pair).unwrap()).unwrap();
    let (first, second) =
        (recorded(&pair.with_extension("a.rec.gz")), recorded(&pair.with_extension("b.rec.gz")));
    let release = pair.file_name().unwrap().to_str().unwrap().split('-').next().unwrap();
    let features = kernels::by_name(release).unwrap().features;
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
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/whatif");
    let mut pairs = 0;
    let mut off = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        pairs += 1;
        let (bounds, happened) = played(&path);
        assert!(happened.hurt() > 0, "{}: nobody was hurt, which shows nothing", path.display());
        for (name, figure) in FIGURES {
            let (least, most) = bounds.range(figure);
            let (likely, real) = (figure(&bounds.at_pace), figure(&happened));
            let near = likely.abs_diff(real) * NEAR <= happened.clients.max(NEAR);
            if !near || !(least..=most).contains(&real) {
                let pair = path.display();
                off.push(format!("{pair}: {name}: {likely} ({least}-{most}), was {real}"));
            }
        }
    }
    assert!(pairs >= 6, "{pairs} pairs");
    assert!(off.is_empty(), "{off:#?}");
}
