//! x
use overflow_core::wire::{Line, Lines, prediction};
use std::io::BufRead;
fn main() {
    let mut c = overflow_report::Collector::default();
    for l in std::io::stdin().lock().lines() {
        let l = l.unwrap();
        match serde_json::from_str::<Line<'_>>(&l) {
            Ok(line) => c.line(&line).unwrap(),
            Err(_) => c.prediction(&serde_json::from_str::<prediction::Line<'_>>(&l).unwrap()),
        }
    }
    print!("{}", c.page());
}
