//! From lines to what a page is made of. What is kept does not grow with what is taken.

mod connection;
mod listener;
mod prediction;
mod whatif;

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

pub(crate) use whatif::{Asked, Number};

use overflow_core::wire::{self, Line, Lines};

use crate::{
    fate::{Fate, Fates},
    page,
    scene::{Fact, Scene},
};

/// Listeners that a page shows apart.
const SCENES: usize = 48;
/// Losses, namespaces of an audit, scenarios, open questions: of each a page has so many rows.
const ROWS: usize = 64;

/// Takes the lines of a run, and makes a page of them.
#[derive(Debug, Default)]
pub struct Collector {
    pub(crate) about: About,
    pub(crate) scenes: Vec<Scene>,
    places: HashMap<Place, usize>,
    /// Clients of listeners that found no room.
    pub(crate) elsewhere: Fates,
    /// What was lost: how many, and what that means.
    pub(crate) losses: BTreeMap<String, (u64, String)>,
    /// Namespaces whose counters were compared.
    pub(crate) audits: Vec<Audit>,
    pub(crate) more_audits: u64,
    /// How scenarios ended.
    pub(crate) scenarios: Vec<Scenario>,
    /// What a capture leaves open: what, for how many, what would tell.
    pub(crate) doubts: Vec<(String, u64, String)>,
    pub(crate) summary: Option<Summary>,
    /// What other settings would have meant.
    pub(crate) whatifs: Vec<Asked>,
}

/// What ran.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    pub(crate) kind: Kind,
    pub(crate) tool: String,
    /// The machine, the kernel, what was asked for.
    pub(crate) facts: Vec<Fact>,
    /// Hook point, rung, and the functions where they are known.
    pub(crate) hooks: BTreeMap<(String, String), Vec<String>>,
    pub(crate) notes: Vec<String>,
    /// Whether healthy handshakes were told as well.
    pub(crate) all: bool,
}

/// Whose lines they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of a trace, or a recording of one.
    #[default]
    Trace,
    /// Of the lab.
    Lab,
    /// Of a capture.
    Capture,
    /// Of the model.
    Prediction,
    /// Of a recording's clients at other settings.
    Whatif,
}

/// The counters of one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    pub(crate) netns: u32,
    pub(crate) unread: bool,
    pub(crate) rows: Vec<AuditRow>,
}

/// One counter: its parts add up to what it rose by.
#[derive(Clone, Debug)]
pub(crate) struct AuditRow {
    pub(crate) counter: String,
    pub(crate) rose: u64,
    pub(crate) told: u64,
    pub(crate) left_out: u64,
    pub(crate) lost: u64,
    pub(crate) unwatched: u64,
    pub(crate) unaccounted: i64,
    pub(crate) why: Vec<String>,
}

/// A scenario of the lab.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) shows: String,
    pub(crate) holds: Option<bool>,
    pub(crate) remarks: Vec<String>,
}

/// The last line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) connections: u64,
    /// Clients that were hurt, and how, where a trace counted them.
    pub(crate) clients: Option<(u64, Vec<(Fate, u64)>)>,
    pub(crate) disagreements: Option<u64>,
    pub(crate) unaccounted: Option<u64>,
}

/// What tells a scene from others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// A cell of the lab.
    Run(String),
    /// A listener: its namespace, its address, and of a `SO_REUSEPORT` group the socket.
    Listener(Option<u32>, String, Option<u64>),
    /// A cell of the model: kernel, regime, cell.
    Cell(String, String, String),
}

impl Lines for Collector {
    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        match line {
            Line::Run(run) => self.run(run),
            Line::Event(event) => self.event(event),
            Line::Connection(connection) => self.connection(connection),
            Line::Listener(listener) => self.listener(listener),
            Line::Loss(loss) => self.loss(loss),
            Line::Audit(audit) => self.audit(audit),
            Line::Cause(cause) => self.cause(cause),
            Line::Scenario(scenario) => self.scenario(scenario),
            Line::Handshake(handshake) => self.handshake(handshake),
            Line::Capture(capture) => self.capture(capture),
            Line::Summary(summary) => self.sum_up(summary),
            Line::Whatif(whatif) => self.whatif(whatif),
            // What an endpoint sums up is in its connections; the others are of commands without a
            // page.
            Line::Endpoint(_) | Line::Client(_) | Line::Doctor(_) | Line::Topic(_) => {}
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Collector {
    /// The page of all that was taken.
    pub fn page(&self) -> String {
        page::page(self)
    }

    /// The scene of a place; nothing where a page has no room for more.
    fn scene(&mut self, place: Place, title: impl FnOnce() -> String) -> Option<&mut Scene> {
        let n = match self.places.get(&place) {
            Some(n) => *n,
            None if self.scenes.len() < SCENES => {
                self.places.insert(place, self.scenes.len());
                self.scenes.push(Scene { title: title(), ..Scene::default() });
                self.scenes.len() - 1
            }
            None => return None,
        };
        self.scenes.get_mut(n)
    }

    fn run(&mut self, run: &wire::Run<'_>) {
        let about = &mut self.about;
        if about.facts.is_empty() {
            about.tool = run.tool.to_string();
            about.facts.push(("Kernel".into(), run.kernel.to_string()));
            about.facts.extend(run.distro.as_ref().map(|d| ("System".into(), d.to_string())));
        }
        for hook in &run.hooks {
            let functions = about.hooks.entry((hook.moment.to_string(), hook.rung.to_string()));
            let functions = functions.or_default();
            let function = hook.hook.as_ref().map(ToString::to_string);
            functions.extend(function.filter(|f| !functions.contains(f)));
        }
        if let Some(trace) = &run.trace {
            about.all = trace.all;
            let filter = if trace.filter.is_empty() { "every listener" } else { &*trace.filter };
            about.facts.push(("Traced".into(), filter.to_owned()));
            about.notes.extend(run.notes.iter().cloned());
        }
        let (Some(cell), Some(name)) = (&run.cell, &run.run) else { return };
        self.about.kind = Kind::Lab;
        self.about.all = true;
        let Some(scene) = self.scene(Place::Run(name.to_string()), || name.to_string()) else {
            return;
        };
        let prefill = match cell.prefill {
            0 => String::new(),
            n => format!(" after {n} earlier"),
        };
        scene.facts = vec![
            ("listener".into(), cell.listener.server.to_string()),
            ("backlog".into(), cell.listener.backlog.to_string()),
            ("clients".into(), format!("{} at once{prefill}", cell.clients)),
            ("server delayed by".into(), format!("{} ms", cell.delay_ms)),
            ("watched for".into(), format!("{} ms", cell.hold_ms)),
        ];
        scene.facts.extend(cell.listener.somaxconn.map(|n| ("somaxconn".into(), n.to_string())));
        scene.sysctls = cell.sysctls.iter().map(|(name, n)| (name.to_string(), *n)).collect();
        scene.notes = run.notes.to_vec();
        if !cell.concurrent {
            scene.notes.push(
                "Not all SYNs reached the server before its first third ACK: the burst was not \
                 concurrent."
                    .to_owned(),
            );
        }
    }

    fn loss(&mut self, loss: &wire::Loss<'_>) {
        if self.losses.len() < ROWS || self.losses.contains_key(&*loss.what) {
            let meaning = loss.meaning.as_deref().unwrap_or_default();
            let entry = self.losses.entry(loss.what.to_string());
            entry.or_insert_with(|| (0, meaning.to_owned())).0 += loss.count;
        }
    }

    fn audit(&mut self, audit: &wire::Audit<'_>) {
        if audit.t_ns.is_some() {
            // Before the end; the last one says it all.
            return;
        }
        if self.audits.len() == ROWS {
            self.more_audits += 1;
            return;
        }
        let rows = audit.counters.iter().map(|(name, counter)| AuditRow {
            counter: name.to_string(),
            rose: counter.rose,
            told: counter.told,
            left_out: counter.left_out,
            lost: counter.lost,
            unwatched: counter.unwatched,
            unaccounted: counter.unaccounted,
            why: counter.why.to_vec(),
        });
        let rows =
            rows.filter(|row| row.rose > 0 || row.told > 0 || row.unaccounted != 0).collect();
        self.audits.push(Audit { netns: audit.netns, unread: audit.unread, rows });
    }

    fn scenario(&mut self, scenario: &wire::Scenario<'_>) {
        let Some(ended) = &scenario.ended else { return };
        if self.scenarios.len() < ROWS {
            let unavailable = ended.unavailable.iter().map(ToString::to_string);
            self.scenarios.push(Scenario {
                name: scenario.scenario.to_string(),
                shows: scenario.shows.to_string(),
                holds: ended.holds,
                remarks: ended.differences.iter().cloned().chain(unavailable).collect(),
            });
        }
    }

    fn capture(&mut self, capture: &wire::Capture<'_>) {
        let about = &mut self.about;
        about.kind = Kind::Capture;
        about.tool = capture.tool.to_string();
        let facts = [
            ("Capture", capture.file.to_string()),
            ("Packets", capture.packets.to_string()),
            ("TCP segments", capture.segments.to_string()),
            ("Copies of those", capture.copies.to_string()),
            ("Without TCP", capture.others.to_string()),
            ("Connected before it began", capture.without_handshake.to_string()),
        ];
        about.facts.extend(facts.map(|(name, value)| (name.to_owned(), value)));
        let doubts = capture.doubts.iter().take(ROWS);
        self.doubts.extend(doubts.map(|d| (d.what.to_string(), d.connections, d.ask.to_string())));
    }

    fn sum_up(&mut self, summary: &wire::Summary<'_>) {
        let clients = summary.clients.as_ref().and_then(|clients| {
            let harm = clients.harm.as_ref()?;
            let each = [
                (Fate::Phantom, harm.phantom),
                (Fate::Reset, harm.reset),
                (Fate::NeverServed, harm.never_served),
                (Fate::GaveUp, harm.gave_up),
                (Fate::Waiting, harm.waiting),
                (Fate::Delayed, harm.delayed),
            ];
            Some((clients.hurt, each.into_iter().filter(|(_, n)| *n > 0).collect()))
        });
        self.summary = Some(Summary {
            connections: summary.connections as u64,
            clients,
            disagreements: summary.disagreements.map(|n| n as u64),
            unaccounted: summary.unaccounted,
        });
    }
}
