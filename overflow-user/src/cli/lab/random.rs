//! `--random N`: what was drawn, what disagrees, and the commands that run it again.

use std::{fmt::Write as _, process::ExitCode};

use anyhow::Result;

use super::LabArgs;
use overflow_lab::{
    CellConfig, Family, HostModel,
    random::{self, Found, Lot},
    run::Finished,
};

/// Runs `n` scenarios drawn at random, and shows every disagreement, between witnesses or with the
/// model, by the smallest scenario that has it.
pub(super) fn run(
    args: &LabArgs,
    n: u32,
    model: Option<HostModel>,
    lab: impl Fn(Vec<CellConfig>) -> Result<Finished>,
) -> Result<ExitCode> {
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..=u64::from(u32::MAX)));
    overflow::show!("overflow lab --random {n} --seed {seed}");
    let mut lot = Lot::new(seed, args.cells().remove(0));
    let configs: Vec<CellConfig> = (0..n).map(|_| lot.draw()).collect();
    let what = if model.is_some() { "witnesses and model" } else { "witnesses" };
    let checked = random::run(&configs, model, lab, |found| print(&found))?;
    let (wrong, connections) = (checked.wrong, checked.connections);
    if checked.interrupted {
        let scenarios = checked.scenarios;
        overflow::say!("overflow: interrupted; seed {seed}, {scenarios} scenarios were checked");
        return Ok(ExitCode::from(1));
    }
    if wrong == 0 {
        overflow::show!("✓ {what} agree on {connections} connections of {n} scenarios");
    } else {
        overflow::show!("✗ {what} disagree in {wrong} of {n} scenarios, {connections} connections");
    }
    Ok(ExitCode::from(u8::from(wrong > 0)))
}

fn print(found: &Found<'_>) {
    let faults = match found {
        Found::Disagreement { number, config, faults } => {
            overflow::show!("✗ scenario {number}: {}", command_line(config));
            faults
        }
        Found::Smallest { config, faults } => {
            overflow::show!("  smallest that shows it: {}", command_line(config));
            faults
        }
    };
    for fault in *faults {
        overflow::show!("  {fault}");
    }
}

/// The command that runs this scenario again.
fn command_line(config: &CellConfig) -> String {
    let mut words = format!(
        "overflow lab --check-model --backlog {} --clients {} --delay {}ms --abort-on-overflow {} \
         --syncookies {} --hold {}",
        config.backlog,
        config.clients,
        config.delay.as_millis(),
        config.abort_on_overflow,
        config.syncookies,
        config.hold.as_secs_f64(),
    );
    if config.family != Family::default() {
        let _ = write!(words, " --family {}", config.family.as_str());
    }
    if let Some(somaxconn) = config.somaxconn {
        let _ = write!(words, " --somaxconn {somaxconn}");
    }
    if config.prefill > 0 {
        let _ = write!(words, " --prefill {}", config.prefill);
    }
    if config.payload > 0 {
        let _ = write!(words, " --payload {}", config.payload);
    }
    words
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_command_line_names_what_was_drawn() {
        let config = CellConfig {
            somaxconn: Some(3),
            prefill: 2,
            payload: 9,
            delay: Duration::from_millis(17),
            hold: Duration::from_millis(2500),
            ..CellConfig::SEED
        };
        let line = command_line(&config);
        for word in ["--somaxconn 3", "--prefill 2", "--payload 9", "--delay 17ms", "--hold 2.5"] {
            assert!(line.contains(word), "{line}");
        }
    }
}
