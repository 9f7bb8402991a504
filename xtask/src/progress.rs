//! Says on standard error what is being done and how long it took.

use std::time::{Duration, Instant};

use anyhow::Result;

/// Announces a step, does it, and says how long it took if that was noticeable.
pub fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("==> {what}");
    let start = Instant::now();
    let result = work();
    let took = start.elapsed();
    if result.is_ok() && took > Duration::from_secs(1) {
        eprintln!("    done in {}", seconds(took));
    }
    result
}

/// One line that is not a step.
pub fn note(text: &str) {
    eprintln!("    {text}");
}

/// `12.3 s`, or `2 min 5 s` from a minute on.
pub fn seconds(took: Duration) -> String {
    let whole = took.as_secs();
    if whole < 60 {
        format!("{:.1} s", took.as_secs_f64())
    } else {
        format!("{} min {} s", whole / 60, whole % 60)
    }
}
