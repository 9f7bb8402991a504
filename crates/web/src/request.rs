//! What a page can ask, and the answers. Whatever is asked, there is an answer: `{"error": "…"}` at worst.

use std::io;

use overflow_core::{
    model::{
        batch::Batch,
        compare,
        kernels::{self, Kernel},
        question::Question,
        scenario::Phase,
        simulate::Simulator,
    },
    wire::prediction::{Line, line as line_to, lines},
};
use serde::Deserialize;
use serde_json::json;

use crate::play;

/// A request, by its field `ask`.
#[derive(Debug, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
enum Request {
    /// `overflow predict --kernel KERNEL --output json`, one cell.
    Predict { kernel: String, question: Question },
    /// `overflow predict --compare A,B --output json`, one cell.
    Compare { kernels: [String; 2], question: Question },
    /// `overflow predict --batch -`, lines.
    Batch { lines: String },
    /// Both kernels step by step.
    Play { kernels: [String; 2], question: Question },
    /// The kernels that are known by name.
    Kernels,
}

/// The answer to a request.
pub(crate) fn answer(request: &str) -> String {
    let request = serde_json::from_str(request).map_err(|e| e.to_string());
    request.and_then(respond).unwrap_or_else(|error| json!({"error": error}).to_string())
}

fn respond(request: Request) -> Result<String, String> {
    match request {
        Request::Predict { kernel, question } => predict(&named(&kernel)?, &question),
        Request::Compare { kernels: [a, b], question } => {
            compare_two(&[named(&a)?, named(&b)?], &question)
        }
        Request::Batch { lines } => Ok(batch(&lines)),
        Request::Play { kernels: [a, b], question } => {
            question.check()?;
            let play = play::play(&[named(&a)?, named(&b)?], &question);
            serde_json::to_string(&play).map_err(|e| e.to_string())
        }
        Request::Kernels => {
            let known = kernels::list()
                .map(|(names, rule, note)| json!({"names": names, "rule": rule, "note": note}));
            Ok(json!({"kernels": known.collect::<Vec<_>>()}).to_string())
        }
    }
}

fn named(name: &str) -> Result<Kernel, String> {
    kernels::by_name(name).map_err(|error| error.to_string())
}

/// As `overflow predict` does: where it is not known which of two kernels it is, both answers.
fn predict(kernel: &Kernel, question: &Question) -> Result<String, String> {
    question.check()?;
    let mut out = Vec::new();
    let mut simulator = Simulator::default();
    for kernel in kernel.possible() {
        let mut scenario = question.scenario(kernel.features);
        let by_lot = simulator.depends_on_hash(&mut scenario);
        let outcome = simulator.run(&scenario);
        let mut to = |line: &Line<'_>| line_to(&mut out, line);
        lines::cell(&mut to, &kernel, &question.name(), &outcome, by_lot).map_err(|e| text(&e))?;
    }
    String::from_utf8(out).map_err(|e| e.to_string())
}

fn compare_two(kernels: &[Kernel; 2], question: &Question) -> Result<String, String> {
    question.check()?;
    let mut out = Vec::new();
    let (mut left, mut right) = (Simulator::default(), Simulator::default());
    for a in kernels[0].possible() {
        for b in kernels[1].possible() {
            let names = [a.title(), b.title()];
            let names = [names[0].as_str(), names[1].as_str()];
            let (a, b) = (question.scenario(a.features), question.scenario(b.features));
            let (a, b) = (left.run(&a), right.run(&b));
            let first = compare::first_divergence(a.paths, b.paths);
            let prefill = a.paths.iter().filter(|p| p.phase == Phase::Prefill).count();
            let mut to = |line: &Line<'_>| line_to(&mut out, line);
            let name = question.name();
            lines::divergence(&mut to, names, &name, prefill, first.as_ref())
                .map_err(|e| text(&e))?;
        }
    }
    String::from_utf8(out).map_err(|e| e.to_string())
}

/// One JSON line out for each line in.
fn batch(lines: &str) -> String {
    let mut batch = Batch::default();
    let mut out = String::new();
    for (line, number) in lines.lines().zip(1u64..) {
        let scenario = line.trim();
        if !scenario.is_empty() {
            out += &batch.line(scenario).unwrap_or_else(|error| {
                json!({"line": number, "error": error.to_string()}).to_string()
            });
            out.push('\n');
        }
    }
    out
}

fn text(error: &io::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn asked(request: &Value) -> String {
        answer(&request.to_string())
    }

    #[test]
    fn a_request_that_is_none_gets_a_sentence() {
        for (request, part) in [
            (json!({"ask": "nothing"}), "unknown variant"),
            (
                json!({"ask": "predict", "kernel": "beos", "question": {}}),
                "does not know the kernel",
            ),
            (
                json!({"ask": "predict", "kernel": "centos7", "question": {"hold": -1}}),
                "hold is -1",
            ),
            (
                json!({"ask": "predict", "kernel": "centos7", "question": {"typo": 1}}),
                "unknown field",
            ),
        ] {
            let answer: Value = serde_json::from_str(&asked(&request)).unwrap();
            let error = answer["error"].as_str().unwrap();
            assert!(error.contains(part), "{error}");
        }
        assert!(answer("\u{0}{").contains("error"));
    }

    #[test]
    fn a_kernel_that_may_be_two_gets_both_answers() {
        let one = asked(&json!({"ask": "predict", "kernel": "centos7", "question": {}}));
        let two = asked(&json!({"ask": "predict", "kernel": "rhel9", "question": {}}));
        assert_eq!((one.lines().count(), two.lines().count()), (6, 12));
        let kernels = ["rhel9", "rhel10"];
        let both = asked(&json!({"ask": "compare", "kernels": kernels, "question": {}}));
        assert_eq!(both.lines().count(), 4);
        assert!(both.contains("rhel9 (rule B)"), "{both}");
    }

    #[test]
    fn a_batch_goes_on_after_a_bad_line() {
        let good = r#"{"kernel":"centos7","backlog":1,"syncookies":1,"abort":1,"burst":3}"#;
        let out = asked(&json!({"ask": "batch", "lines": format!("{good}\nnone\n\n{good}")}));
        let lines: Vec<Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[1]["line"], 2);
        assert_eq!(lines[0]["classes"], lines[2]["classes"]);
    }
}
