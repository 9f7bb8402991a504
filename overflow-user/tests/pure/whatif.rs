//! `overflow whatif` on a recording of the lab on 6.12: the model repeats what was recorded.

use std::{env, fs, io::Read as _, path::PathBuf, process::Command};

use flate2::read::GzDecoder;
use overflow_core::wire::{Line, Whatif};

use crate::{support::schema, trace_replay::Recorded};

fn lab(name: &str) -> Recorded {
    let packed = include_bytes!("../data/lab-6.12.rec.gz");
    let mut bytes = Vec::new();
    GzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
    let file = format!("overflow-whatif-{}-{name}.rec", std::process::id());
    let path: PathBuf = env::temp_dir().join(file);
    fs::write(&path, bytes).unwrap();
    Recorded(path)
}

fn overflow(recorded: &Recorded, options: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_overflow"));
    let output = command.arg("whatif").arg(&recorded.0).args(options).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// Five clients at backlog 1, whose server answers 200 ms late, so that three get cookies.
#[test]
fn the_model_repeats_what_was_recorded_and_a_larger_backlog_helps() {
    let recorded = lab("repeats");
    let options = ["--addr", "10.7.1.1", "--backlog", "4", "--advise", "--output", "json"];
    let (good, printed, errors) = overflow(&recorded, &options);
    assert!(good, "{errors}");
    let root = schema::shipped();
    for line in printed.lines() {
        let value = serde_json::from_str(line).unwrap();
        schema::check(&root, &root, &value).unwrap_or_else(|e| panic!("{line}: {e}"));
    }
    let lines: Vec<Whatif<'_>> = printed
        .lines()
        .map(|line| match serde_json::from_str(line) {
            Ok(Line::Whatif(line)) => line,
            other => panic!("{other:?}"),
        })
        .collect();
    let [as_it_was, larger, advice] = &lines[..] else { panic!("{printed}") };
    let (seen, model) = (as_it_was.recorded.as_ref().unwrap(), as_it_was.at_pace.as_ref().unwrap());
    assert_eq!((seen.clients, seen.not_in, seen.reset), (5, 3, 0));
    assert_eq!((model.clients, model.not_in, model.reset), (5, 3, 0));
    assert_eq!(larger.at_pace.as_ref().unwrap().not_in, 0);
    let advice = advice.advice.as_ref().unwrap();
    assert_eq!((advice.backlog, advice.certain_backlog), (Some(4), Some(4)));
}

#[test]
fn text_has_a_row_for_each_setting() {
    let recorded = lab("text");
    let options = ["--addr", "10.7.1.1", "--backlog", "1,2", "--abort", "0,1", "--advise"];
    let (good, printed, errors) = overflow(&recorded, &options);
    assert!(good, "{errors}");
    for begin in ["  recorded ", "  the same, by the model ", "  abort 1 backlog 2 ", "advice "] {
        assert!(printed.lines().any(|line| line.starts_with(begin)), "{begin}: {printed}");
    }
    assert!(printed.contains("assumed   "), "{printed}");
    assert!(printed.lines().all(|line| line.chars().count() <= 80), "{printed}");
}

#[test]
fn what_is_not_in_the_recording_is_said_in_one_sentence() {
    let recorded = lab("empty");
    let (good, printed, errors) = overflow(&recorded, &["-P", "9"]);
    assert!(!good && printed.is_empty());
    assert!(errors.contains("holds no handshake with a listener that was asked for"), "{errors}");
    let (good, _, errors) = overflow(&recorded, &["--backlog", "x"]);
    assert!(!good && errors.contains("--backlog"), "{errors}");
}
