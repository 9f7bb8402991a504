//! Two runs of the same question step by step, as the page draws them.

use overflow_core::{
    explain::{Lang, topics},
    model::{
        compare::{self, Divergence},
        condition::Decision,
        config::Limits,
        counters::Counters,
        film::Step,
        kernels::Kernel,
        path::Path,
        question::Question,
        scenario::{Phase, Scenario},
        simulate::Simulator,
        source,
    },
    text::style::Tone,
};
use serde::Serialize;

/// Both runs, and where they part.
#[derive(Debug, Serialize)]
pub(crate) struct Play {
    /// The experiment in words.
    burst: String,
    clients: Vec<Client>,
    /// One-way delays, nanoseconds.
    to_server: i64,
    to_client: i64,
    sides: Vec<Side>,
    /// Index of the client that is the first to be treated differently, and of the step of each side
    /// that shows it, if it has one.
    parting: Option<Parting>,
}

#[derive(Debug, Serialize)]
struct Client {
    phase: Phase,
    /// From 1 within the phase.
    number: usize,
    connect: i64,
}

#[derive(Debug, Serialize)]
struct Parting {
    client: usize,
    steps: [Option<usize>; 2],
}

#[derive(Debug, Serialize)]
struct Side {
    kernel: String,
    regime: &'static str,
    doubt: Option<String>,
    /// Another kernel that the name may stand for does something else with this question.
    alternative: bool,
    /// The kernel draws the outcome by lot.
    undetermined: bool,
    /// The release whose source is linked.
    tag: String,
    /// Topics of `overflow explain` that say why it does so.
    topics: Vec<&'static str>,
    syn_queue_holds: u32,
    accept_queue_holds: u64,
    steps: Vec<Shown>,
    fates: Vec<Fate>,
    counters: Counters,
}

/// A step with its words.
#[derive(Debug, Serialize)]
struct Shown {
    t: i64,
    client: usize,
    what: &'static str,
    /// Requests in the SYN queue and connections in the accept queue, once it was over.
    queues: [u32; 2],
    /// What the server kept for the client then.
    server: Option<&'static str>,
    decision: Option<Decided>,
}

#[derive(Debug, Serialize)]
struct Decided {
    id: &'static str,
    /// In English and Chinese.
    label: [&'static str; 2],
    tone: &'static str,
    function: &'static str,
    url: String,
    expression: &'static str,
    condition: String,
}

#[derive(Debug, Serialize)]
struct Fate {
    class: &'static str,
    outcome: Option<[&'static str; 2]>,
    tone: &'static str,
    client: &'static str,
    server: Option<&'static str>,
}

/// Plays both; where a name does not tell which kernel it is, the first of those that it may be.
pub(crate) fn play(kernels: &[Kernel; 2], question: &Question) -> Play {
    let scenarios = [0, 1].map(|i| question.scenario(kernels[i].features));
    let films = [0, 1].map(|i| {
        let mut simulator = Simulator::default();
        let (outcome, steps) = simulator.film(&scenarios[i]);
        let run = Run {
            paths: outcome.paths.to_vec(),
            counters: outcome.counters,
            limits: outcome.limits,
            steps,
            undetermined: false,
        };
        let undetermined = simulator.depends_on_hash(&mut scenarios[i].clone());
        Run { undetermined, ..run }
    });
    let [left, right] = &films;
    let parting = compare::first_divergence(&left.paths, &right.paths);
    Play {
        burst: question.burst_in_words(),
        clients: clients(&scenarios[0]),
        to_server: scenarios[0].link.to_server,
        to_client: scenarios[0].link.to_client,
        parting: parting.map(|parting| Parting {
            client: parting.client,
            steps: steps_of(&parting, [&left.steps, &right.steps]),
        }),
        sides: [0, 1].map(|i| side(&kernels[i], question, &films[i])).into(),
    }
}

struct Run {
    paths: Vec<Path>,
    counters: Counters,
    limits: Limits,
    steps: Vec<Step>,
    undetermined: bool,
}

fn clients(scenario: &Scenario) -> Vec<Client> {
    let mut numbers = [0, 0];
    let numbered = scenario.clients.iter().map(|client| {
        let number = &mut numbers[usize::from(client.phase == Phase::Burst)];
        *number += 1;
        Client { phase: client.phase, number: *number, connect: client.connect }
    });
    numbered.collect()
}

fn steps_of(parting: &Divergence, steps: [&[Step]; 2]) -> [Option<usize>; 2] {
    let place = |steps: &[Step], decision: Option<Decision>| {
        let decision = decision?;
        let is = |s: &Step| s.client == parting.client && s.decision == Some(decision);
        steps.iter().position(is)
    };
    [place(steps[0], parting.left), place(steps[1], parting.right)]
}

fn side(kernel: &Kernel, question: &Question, run: &Run) -> Side {
    let tag = source::tag(kernel);
    let alternative = kernel.alternative.is_some_and(|features| {
        let mut simulator = Simulator::default();
        let other = simulator.run(&question.scenario(features));
        compare::first_divergence(&run.paths, other.paths).is_some()
    });
    Side {
        kernel: kernel.name.clone(),
        regime: kernel.features.regime(),
        doubt: kernel.doubt.clone(),
        alternative,
        undetermined: run.undetermined,
        topics: topics::of_features(&kernel.features),
        syn_queue_holds: run.limits.syn_queue_full_at(kernel.features.syn_queue),
        accept_queue_holds: u64::from(run.limits.max_ack_backlog) + 1,
        steps: run.steps.iter().map(|step| shown(step, &tag)).collect(),
        fates: run.paths.iter().map(fate).collect(),
        counters: run.counters,
        tag,
    }
}

fn shown(step: &Step, tag: &str) -> Shown {
    let decided = |decision: Decision| {
        let function = decision.condition.function();
        Decided {
            id: decision.id.as_str(),
            label: [decision.id.label(Lang::En), decision.id.label(Lang::Zh)],
            tone: tone(decision.id.tone()),
            function,
            url: source::function_url(tag, function),
            expression: decision.condition.expression(),
            condition: decision.condition.to_string(),
        }
    };
    Shown {
        t: step.t,
        client: step.client,
        what: step.what.as_str(),
        queues: [step.queues.syn, step.queues.accept],
        server: step.server.as_str(),
        decision: step.decision.map(decided),
    }
}

fn fate(path: &Path) -> Fate {
    let outcome = path.outcome();
    Fate {
        class: path.class().as_str(),
        outcome: outcome.map(|id| [id.label(Lang::En), id.label(Lang::Zh)]),
        tone: outcome.map_or("plain", |id| tone(id.tone())),
        client: path.client.as_str(),
        server: path.server.as_str(),
    }
}

/// Tones as the page's style knows them.
const fn tone(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Bad => "bad",
        Tone::Warn => "warn",
        Tone::Plain | Tone::Dim | Tone::Strong => "plain",
    }
}
