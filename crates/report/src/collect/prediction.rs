//! What the model says.

use overflow_core::{
    explain::Lang,
    model::scenario::Phase,
    verdict::{Connection, Known, Stage, Values},
    wire::prediction::{Divergence, Line, Prediction, Summary},
};

use super::{Collector, Kind, Place};
use crate::{
    fate::Fate,
    scene::{Parting, Scene, is_refusal},
    step,
    story::{Example, Told},
};

impl Collector {
    /// Takes a line of `overflow predict`, whose format is one of its own.
    pub fn prediction(&mut self, line: &Line<'_>) {
        self.about.kind = Kind::Prediction;
        self.about.all = true;
        overflow_core::wire::TOOL.clone_into(&mut self.about.tool);
        match line {
            Line::Prediction(prediction) => self.predicted(prediction),
            Line::PredictionSummary(summary) => self.predicted_in_sum(summary),
            Line::Divergence(divergence) => self.parting(divergence),
        }
    }

    fn predicted(&mut self, line: &Prediction<'_>) {
        let connection = verdicts(line);
        let fate = Fate::of(&connection, true);
        let server = line.server_view.as_ref();
        let told = Told {
            fate,
            chain: line.stages.iter().map(|s| s.id.label(Lang::En).to_owned()).collect(),
            outcome: line.outcome,
            example: Example {
                client: name(line.phase, line.number),
                server: "server".to_owned(),
                steps: step::of_prediction(line),
                more_steps: 0,
                ends: vec![
                    ("client has", line.client_view.to_string()),
                    ("server has", server.map_or("nothing".into(), ToString::to_string)),
                ],
            },
            disagreement: None,
        };
        let Some(scene) = self.cell(&line.kernel, line.regime.as_deref(), &line.run) else {
            self.elsewhere.add(fate);
            return;
        };
        for stage in &line.stages {
            if is_refusal(stage.id) {
                (0..=stage.repeats_ns.len())
                    .for_each(|_| scene.refused(stage.id, stage.condition.clone()));
            }
        }
        scene.tell(told);
    }

    fn predicted_in_sum(&mut self, line: &Summary<'_>) {
        let Some(scene) = self.cell(&line.kernel, Some(&line.regime), &line.run) else { return };
        scene.facts = vec![
            ("kernel".to_owned(), format!("{}, rule {}", line.kernel, line.regime)),
            ("SYN queue holds".to_owned(), line.syn_queue_holds.to_string()),
            ("accept queue holds".to_owned(), line.accept_queue_holds.to_string()),
        ];
        scene.notes.extend(line.doubt.iter().map(ToString::to_string));
        if line.undetermined {
            let note = "The kernel draws the outcome by lot; this is the most likely one.";
            scene.notes.push(note.to_owned());
        }
        let counters = serde_json::to_value(line.counters).unwrap_or_default();
        let counters = counters.as_object().into_iter().flatten();
        let counters = counters.filter_map(|(name, n)| Some((name.clone(), n.as_u64()?)));
        scene.counters = counters.filter(|(_, n)| *n > 0).collect();
    }

    fn parting(&mut self, line: &Divergence<'_>) {
        let kernels = line.kernels.each_ref().map(ToString::to_string);
        let both = kernels.join(" and ");
        let Some(scene) = self.cell(&both, None, &line.run) else { return };
        let place = line.phase.zip(line.number);
        let mut stages = line.stages.iter().flatten().map(|s| s.as_ref().map(step::of_decision));
        let steps = [stages.next().flatten(), stages.next().flatten()];
        let connection = place.map(|(phase, number)| name(phase, number));
        scene.parting = Some(Parting { kernels, connection, steps });
    }

    fn cell(&mut self, kernel: &str, regime: Option<&str>, run: &str) -> Option<&mut Scene> {
        let regime = regime.unwrap_or_default().to_owned();
        let place = Place::Cell(kernel.to_owned(), regime, run.to_owned());
        self.scene(place, || format!("{run} on {kernel}"))
    }
}

fn name(phase: Phase, number: usize) -> String {
    match phase {
        Phase::Prefill => format!("earlier connection {number}"),
        Phase::Burst => format!("client {number}"),
    }
}

fn verdicts(line: &Prediction<'_>) -> Connection {
    let stages = line.stages.iter().map(|stage| Stage {
        id: stage.id,
        t_ns: u64::try_from(stage.t_ns).unwrap_or_default(),
        known: Known::Traced,
        path: &[],
        values: Values::default(),
        repeats_ns: Vec::new(),
    });
    Connection { stages: stages.collect(), outcome: line.outcome, ..Connection::default() }
}
