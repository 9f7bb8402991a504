//! `overflow trace`: any listener on this host, until Ctrl-C.

mod args;
mod select;

use std::{
    collections::BTreeSet,
    io::{self, BufWriter, IsTerminal, Write},
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Error, Result};
use overflow_common::Rung;

use args::TraceFormat;
pub(super) use args::{Confining, Hooks, TraceArgs, View};
pub(super) use select::Selection;

use super::report::PageFile;
use overflow::{
    confine::{Attribution, Needs, rehearse, rehearse_sender},
    export::{Export, Settings},
    pipeline::{self, Beginning, Ends, Engine, Filter, Live, LiveRecording, Options, Stop},
    probe::{TraceConfig, Tracer},
    sink::{
        metrics::{Endpoint, Measured, Shared},
        offer::{Hurt, offer},
        otlp::Exported,
        page::Page,
        trace::{Opening, Sink},
    },
};
use overflow_core::{
    audit::Cut,
    decode::Decoder,
    hook_point::HookPoint,
    kernel::{Facts, Symbols},
    listeners::Inventory,
    recording::Header,
    wire,
};
use overflow_host::{
    clock, files,
    kernel::{self, Kernel},
    listeners::SynQueues,
    recordings,
};

/// With metrics, however they are read, the queues of quiet listeners are looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Traces until it is asked to stop.
pub(super) fn run(args: &TraceArgs) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(trace(args))?;
    Ok(ExitCode::SUCCESS)
}

async fn trace(args: &TraceArgs) -> Result<()> {
    let stop = Stop::catch().context("cannot catch signals")?;
    let filter = args.view.filter_here()?;
    let endpoint = args.metrics_listen.map(listen).transpose()?;
    let export = args.otlp_endpoint.as_ref().map(|url| export(url.as_deref())).transpose()?;
    if !args.view.quiet {
        if let Some(endpoint) = &endpoint {
            overflow::say!("overflow: metrics are at http://{}/metrics", endpoint.address()?);
        }
        if let Some(settings) = &export {
            overflow::say!("overflow: {}", settings.in_words());
        }
    }
    let every = args.view.all || args.flight.is_some();
    let detail = match (args.view.summary, every) {
        (Some(_), _) => Detail::Counted,
        (None, true) => Detail::Every,
        (None, false) => Detail::Overflows,
    };
    let existing = args.existing();
    if let Some(path) = &args.record {
        // Before anything is attached.
        files::may_create(path, existing).with_context(|| not_recorded(path))?;
    }
    let page = args.report.as_deref().map(|path| PageFile::create(path, existing)).transpose()?;
    let Attached { tracer, attribution, inventory, mut header, beginning } =
        begin(&filter, &args.hooks, detail).await?;
    if export.is_some() && !args.hooks.confining.no_confine {
        let gaps = rehearse_sender()?.sender_gaps();
        let new: Vec<_> = gaps.into_iter().filter(|gap| !header.notes.contains(gap)).collect();
        header.notes.extend(new);
    }
    if args.view.output != TraceFormat::Text && !args.view.quiet {
        // Text has them in its header.
        for note in &header.notes {
            overflow::say!("overflow: {note}");
        }
    }
    let recording = match &args.record {
        Some(path) => {
            let recorder = recordings::create(path, existing, &header);
            Some(LiveRecording::new(recorder.with_context(|| not_recorded(path))?, args.flight))
        }
        None => None,
    };
    let stdout = io::stdout();
    let terminal = stdout.is_terminal();
    let out: Box<dyn Write> = match &recording {
        Some(recording) => Box::new(recording.before(stdout.lock())),
        None => Box::new(stdout.lock()),
    };
    let mut sinks = vec![args.view.sink(BufWriter::new(out), terminal)];
    if let Some(page) = page {
        sinks.push(Box::new(Page::new(page)));
    }
    let hurt = Hurt::default();
    sinks.push(Box::new(hurt.clone()));
    let served = endpoint.is_some();
    let measured = served || export.is_some();
    let numbers = Shared::default();
    if served {
        sinks.push(Box::new(Measured::new(numbers.clone())));
    }
    let mut options = args.view.options(filter);
    options.why = args.why;
    let export = match export {
        Some(settings) => {
            let export = Export::start(&settings, !args.hooks.confining.no_confine)
                .context("cannot start the process that exports")?;
            options.handshakes = settings.logs.is_some();
            sinks.push(Box::new(Exported::new(
                &settings,
                export.outbox(),
                kernel::host_name(),
                Box::new(clock::wall_offset_ns),
            )));
            Some(export)
        }
        None => None,
    };
    let mut engine = engine(options, sinks, &header)?;
    engine.flush()?;
    let ends = Ends { after: args.duration, with: args.cmd.clone() };
    let mut live = Live::new(tracer, engine, recording, attribution)?
        .exporting(export)
        .audited(beginning)
        .asking_why(args.why);
    if !args.hooks.confining.no_confine {
        live = live.confined(served);
    }
    if measured {
        live = live.looking_every(LOOK_EVERY);
    }
    if let Some(seconds) = args.view.summary {
        // What it says of listeners is to be as old as its numbers at most.
        live = live.looking_every(Duration::from_secs(seconds));
    }
    if let Some(endpoint) = endpoint {
        // It begins when something is awaited, and that is after the process is confined: no
        // request is read before.
        tokio::spawn(endpoint.serve(numbers));
    }
    live.run(ends, stop.asked(), inventory).await?;
    if hurt.any() && !args.view.quiet {
        // Only of a recording of every handshake, which --flight makes too.
        let recording = args.record.as_deref().filter(|_| every && args.view.summary.is_none());
        overflow::say!("overflow: {}", offer(recording));
    }
    Ok(())
}

fn not_recorded(path: &Path) -> String {
    format!("cannot write the recording to {}", path.display())
}

/// Where what is measured will be served; requests wait.
fn listen(address: SocketAddr) -> Result<Endpoint> {
    Endpoint::bind(address).with_context(|| {
        format!("cannot serve metrics at {address}; give another port to --metrics-listen")
    })
}

/// Where to export to, by the flag's URL and the environment.
fn export(url: Option<&str>) -> Result<Settings> {
    Settings::new(url, &|name| std::env::var(name).ok()).map_err(Error::msg)
}

/// A tracer at work, and what was known when it began.
pub(super) struct Attached {
    /// Its programs are attached.
    pub tracer: Tracer,
    /// Who looks at listeners from now on.
    pub attribution: Attribution,
    /// The host's listeners.
    pub inventory: Inventory,
    /// What its frames are to be read with, and what a reader must know.
    pub header: Header,
    /// The kernel's counters around the time when it began.
    pub beginning: Beginning,
}

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// Only what overflows: a healthy handshake costs next to nothing.
    Overflows,
    /// All hooks; healthy events are counted in the kernel, and so are the queues.
    Counted,
    /// All hooks; every event is reported, and counted.
    Every,
}

/// Attaches, looks for listeners, and begins to judge.
pub(super) async fn begin(filter: &Filter, hooks: &Hooks, detail: Detail) -> Result<Attached> {
    let wanted: BTreeSet<u32> = filter.netns.iter().copied().collect();
    let confined = !hooks.confining.no_confine;
    let mut attribution = Attribution::start(confined).context("cannot look for listeners")?;
    let mut beginning = Beginning::default();
    let kernel = Kernel::inspect(hooks.btf.as_deref())?;
    // Listeners are looked for while the programs are loaded.
    let asked = attribution.ask(&wanted, SynQueues::Left).await;
    let mut tracer = attach(hooks, detail, &kernel, filter)?;
    let found = match asked {
        Ok(()) => attribution.answer().await,
        Err(error) => Err(error),
    };
    let known = found.is_ok();
    let inventory = found.unwrap_or_else(|error| {
        // What happens to connections can be told all the same.
        let note = format!("listeners and their owners are not known yet: {error}");
        let mut nothing = Inventory::default();
        nothing.notes.push(note);
        nothing
    });
    beginning.add(Cut::Arming, attribution.counters(&wanted, true).await);
    tracer.arm()?;
    beginning.add(Cut::Armed, attribution.counters(&wanted, false).await);
    let mut header = header(&kernel, &tracer);
    header.notes.extend(inventory.notes.iter().cloned());
    if known {
        header.notes.extend(filter.unmet(&inventory));
        header.notes.extend(filter.unmatched_ports(&inventory.listeners));
    }
    if confined {
        let maps: &(dyn Fn() -> bool + Sync) = &|| tracer.readable();
        header.notes.extend(rehearse(&Needs { maps: Some(maps), ..Needs::default() })?.gaps());
    }
    Ok(Attached { tracer, attribution, inventory, header, beginning })
}

/// The pipeline for frames recorded under `header`, which begins to report to `sinks`. Whether accept()
/// is traced follows from the header.
pub(super) fn engine(
    mut options: Options,
    sinks: Vec<Box<dyn Sink>>,
    header: &Header,
) -> Result<Engine> {
    let accept = HookPoint::Accept.as_str();
    options.accepts = header.rungs.iter().any(|(m, rung)| m == accept && !rung.is_empty());
    let opening = Opening {
        kernel: header.kernel.clone(),
        distro: header.distro.clone(),
        rungs: header.rungs.clone(),
        filter: options.filter.in_words(),
        all: options.all,
        summary: options.summary,
        notes: header.notes.clone(),
        wall_offset_ns: header.wall_offset_ns,
        utc_offset_s: header.utc_offset_s,
    };
    let facts = Facts {
        drop_reasons: header.drop_reasons.clone(),
        reset_reasons: header.reset_reasons.clone(),
        ..Facts::default()
    };
    let ranges = header.symbols.iter().map(|(start, end, name)| (*start, *end, name.as_str()));
    let decoder = Decoder::new(&facts, Symbols::from_ranges(ranges));
    Ok(Engine::new(options, decoder, sinks, &opening)?)
}

/// Attaches. Healthy events are asked for if they are to be shown or counted, or are needed to
/// judge the rest.
fn attach(hooks: &Hooks, detail: Detail, kernel: &Kernel, filter: &Filter) -> Result<Tracer> {
    let mut config = TraceConfig {
        all: detail != Detail::Overflows,
        aggregate: detail != Detail::Overflows,
        quiet: detail == Detail::Counted,
        rung: hooks.rung,
        ring_bytes: hooks.ring_size,
        ..TraceConfig::default()
    };
    filter.push_down(&mut config);
    let tracer = Tracer::attach(kernel, &config)?;
    if config.all || !pipeline::needs_healthy(third_ack(&tracer), &kernel.facts.drop_reasons) {
        return Ok(tracer);
    }
    drop(tracer);
    Ok(Tracer::attach(kernel, &TraceConfig { all: true, ..config })?)
}

fn third_ack(tracer: &Tracer) -> Option<Rung> {
    tracer.hook_points().iter().find(|s| s.hook_point == HookPoint::ThirdAck)?.rung
}

/// How many are online.
fn processors() -> Option<u32> {
    u32::try_from(aya::util::online_cpus().ok()?.len()).ok()
}

/// What decoding needs besides the records.
pub(super) fn header(kernel: &Kernel, tracer: &Tracer) -> Header {
    let located = third_ack(tracer) == Some(Rung::Tracepoint);
    let symbols = if located { kernel.symbols().ranges() } else { Vec::new() }.into_iter();
    let rung = |r: Option<Rung>| r.map_or("", Rung::as_str).to_owned();
    let mut notes = tracer.notes().to_vec();
    let unseen = tracer.hook_points().iter().filter(|s| s.rung.is_none());
    let blind: Vec<_> = unseen.map(|s| s.hook_point.as_str()).collect();
    if !blind.is_empty() {
        notes.push(format!("not observable here: {}; see `overflow doctor`", blind.join(", ")));
    }
    Header {
        tool: wire::TOOL.to_owned(),
        kernel: kernel.release.clone(),
        distro: kernel.distro.clone(),
        wall_offset_ns: clock::wall_offset_ns(),
        jiffies_ns: clock::jiffies_ns(),
        processors: processors(),
        utc_offset_s: jiff::Zoned::now().offset().seconds(),
        drop_reasons: kernel.facts.drop_reasons.clone(),
        reset_reasons: kernel.facts.reset_reasons.clone(),
        symbols: symbols.map(|(start, end, name)| (start, end, name.to_owned())).collect(),
        rungs: tracer
            .hook_points()
            .iter()
            .map(|s| (s.hook_point.as_str().to_owned(), rung(s.rung)))
            .collect(),
        notes,
    }
}
