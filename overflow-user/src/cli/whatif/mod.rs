//! `overflow whatif`: what would have been enough.

mod args;
mod text;

use std::{
    io::{self, BufWriter, IsTerminal, Read, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Result};

pub(super) use args::WhatifArgs;

use super::{OutputFormat, style};
use overflow::confine::Needs;
use overflow_core::{
    loss::Loss,
    model::{features::Features, kernels},
    recording::{Frame, Recording},
    whatif::{
        advise::advise,
        assumed::assumptions,
        collect::Collector,
        fate::Tally,
        recorded::{Place, Recorded},
        replay::{Player, Surroundings},
        setting::{Clients, Setting},
    },
    wire::{self, Asked, Line, Lines, Whatif, WhatifClients},
};
use overflow_report as report;

/// Listeners that are answered for; those at which most clients were hurt come first.
const PLACES: usize = 16;
/// Settings that are played.
const SETTINGS: usize = 1024;

pub(super) fn run(args: &WhatifArgs) -> Result<ExitCode> {
    let settings = Setting::combinations(&args.choices());
    anyhow::ensure!(
        settings.len() <= SETTINGS,
        "these are {} settings, each with each; at most {SETTINGS} are played, so give fewer values",
        settings.len()
    );
    let file: Box<dyn Read> = if args.file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(overflow_host::recordings::file(&args.file)?)
    };
    let mut page = args.report.create()?;
    let mut found = page.is_some().then(report::Collector::default);
    // Everything from here on depends on bytes that anybody may have written.
    args.confining.confine(&Needs::default())?;
    let recorded = read(args, file)?;
    let (features, doubt) = features(&recorded);
    let linear = recorded.linear_syns == Some(true);
    let its_own = if linear { Features::V6_5 } else { Features::V5_4 };
    let mut around = Surroundings {
        features,
        clients: Clients { features: its_own, data: None, timeout: None },
    };
    args.clients(&mut around);

    let mut places: Vec<&Place> = recorded.places.iter().collect();
    places.sort_by_key(|place| {
        let tally = Tally::recorded(&place.members);
        std::cmp::Reverse((tally.hurt(), tally.clients))
    });
    let left_out = places.len().saturating_sub(PLACES);
    places.truncate(PLACES);

    let stdout = io::stdout();
    let options = style::options(stdout.is_terminal());
    let mut out = BufWriter::new(stdout.lock());
    let mut player = Player::default();
    for (number, place) in places.into_iter().enumerate() {
        let as_it_was = Setting::default();
        let mut answers =
            vec![(as_it_was.clone(), player.bounds(&recorded, place, &around, &as_it_was))];
        for setting in settings.iter().filter(|setting| **setting != as_it_was) {
            answers.push((setting.clone(), player.bounds(&recorded, place, &around, setting)));
        }
        let mut assumed = assumptions(&recorded, place, &around);
        assumed.extend(doubt.clone());
        let advice =
            args.advise.then(|| advise(&mut player, &recorded, place, &around, &as_it_was));
        let answer =
            text::Answer { place, answers: &answers, assumed: &assumed, advice: advice.as_ref() };
        if let Some(found) = &mut found {
            lines(&answer, found)?;
        }
        match args.output {
            OutputFormat::Json => lines(&answer, &mut wire::Json::new(&mut out))?,
            OutputFormat::Text => {
                if number > 0 {
                    writeln!(out)?;
                }
                text::print(&mut out, options, &answer)?;
            }
        }
    }
    out.flush()?;
    if let (Some(page), Some(found)) = (&mut page, &found) {
        page.write_page(found)?;
    }
    if left_out > 0 {
        overflow::say!(
            "overflow: {left_out} more listeners are in the recording; -P PORT asks about one of them"
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// What the recording holds of the listeners that are asked for.
fn read(args: &WhatifArgs, file: Box<dyn Read>) -> Result<Recorded> {
    let mut recording = Recording::read(&args.file, file)?;
    // Namespaces are asked for by the names that the recording has for them.
    let mut first = Vec::new();
    let mut inventory = None;
    while inventory.is_none() {
        match recording.next_frame() {
            Ok(Some(Frame::Inventory(found))) => inventory = Some(*found),
            Ok(Some(frame)) => {
                first.push(frame);
                if first.len() > 64 {
                    break;
                }
            }
            // What cannot be read is said below.
            Ok(None) | Err(_) => break,
        }
    }
    let inventory = inventory.unwrap_or_default();
    let filter = args.selection.resolve_recorded(&inventory)?;
    let header = recording.header().clone();
    let mut collector = Collector::new(&header, move |listener, conn| {
        filter.takes(listener, conn.netns, conn.server)
    });
    collector.frame(Frame::Inventory(Box::new(inventory)));
    for frame in first {
        collector.frame(frame);
    }
    loop {
        match recording.next_frame() {
            Ok(Some(frame)) => collector.frame(frame),
            Ok(None) => break,
            Err(error) => {
                overflow::say!("overflow: {error}; this is about what comes before");
                break;
            }
        }
    }
    if recording.damaged() > 0 {
        collector.frame(Frame::Losses(vec![(Loss::DamagedFrames, recording.damaged())]));
    }
    let path = args.file.display();
    collector.finish().with_context(|| format!("{path} does not tell what would have been enough"))
}

/// The recorded kernel's, and what is not known of it.
fn features(recorded: &Recorded) -> (Features, Option<String>) {
    match kernels::by_name(&recorded.kernel) {
        Ok(kernel) if recorded.syn_queue_limit.is_some() => (kernel.features, None),
        Ok(kernel) => (kernel.features, kernel.doubt),
        Err(_) => {
            let doubt = format!(
                "the model does not know the kernel {} and takes it for a 6.12; --kernel names another",
                recorded.kernel
            );
            (Features::V6_5.above_backlog(), Some(doubt))
        }
    }
}

/// One `whatif` line for each setting, and one for advice.
/// Of several sockets, what is the same for all.
fn recorded_setting(place: &Place) -> Asked<'static> {
    let mut backlogs = place.members.iter().map(|member| member.max_ack_backlog);
    let sysctls = &place.sysctls;
    Asked {
        backlog: backlogs.next().filter(|first| backlogs.all(|other| other == *first)),
        somaxconn: sysctls.somaxconn,
        max_syn_backlog: sysctls.max_syn_backlog,
        syncookies: sysctls.syncookies,
        abort_on_overflow: sysctls.abort_on_overflow,
        members: u32::try_from(place.members.len()).ok().filter(|n| *n > 1),
        ..Asked::default()
    }
}

fn lines(answer: &text::Answer<'_>, out: &mut dyn Lines) -> io::Result<()> {
    let place = answer.place;
    let traced = place.members.iter().all(|member| member.accepts.traced);
    let line = |setting| Whatif {
        v: wire::VERSION,
        netns: place.netns,
        listener: place.local.as_str().into(),
        owner: (!place.owner.is_empty()).then(|| place.owner.as_str().into()),
        setting: Asked::of(setting),
        ..Whatif::default()
    };
    for (number, (setting, bounds)) in answer.answers.iter().enumerate() {
        let mut line = line(setting).answered(bounds, traced);
        if number == 0 {
            line.recorded_setting = Some(recorded_setting(place));
            line.recorded = Some(WhatifClients::of(&Tally::recorded(&place.members)));
            line.assumed = answer.assumed.iter().map(|text| text.as_str().into()).collect();
        }
        out.line(&Line::Whatif(line))?;
    }
    if let Some(advice) = answer.advice {
        let as_it_was = Setting::default();
        out.line(&Line::Whatif(Whatif { advice: Some(advice.into()), ..line(&as_it_was) }))?;
    }
    Ok(())
}
