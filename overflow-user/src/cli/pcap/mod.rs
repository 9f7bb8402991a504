//! `overflow pcap`: what somebody's capture shows of its handshakes.

mod annotate;
mod args;
mod input;
mod lines;
mod text;

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, BufWriter, IsTerminal},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Result, bail};

pub(super) use args::PcapArgs;

use super::OutputFormat;
use annotate::Comments;
use input::Input;
use lines::{AsLines, Page};
use overflow::confine::Needs;
use overflow_core::{
    capture::{
        file::{FileError, Interface, Reader},
        finding::Finding,
        sums::Sums,
        table::{Counts, Table},
    },
    loss::Loss,
    wire,
};

/// Where findings go, one after the other, and the sum of them.
trait Sink {
    /// A connection, with the name of its interface if the capture has several.
    fn finding(&mut self, finding: &Finding, interface: Option<&str>) -> io::Result<()>;
    /// The end of it.
    fn end(&mut self, whole: &Whole) -> io::Result<()>;
    /// Whoever reads sees all so far.
    fn flush(&mut self) -> io::Result<()>;
}

/// All of them, one after the other.
type Sinks<'a> = Vec<Box<dyn Sink + 'a>>;

impl Sink for Sinks<'_> {
    fn finding(&mut self, finding: &Finding, interface: Option<&str>) -> io::Result<()> {
        self.iter_mut().try_for_each(|sink| sink.finding(finding, interface))
    }

    fn end(&mut self, whole: &Whole) -> io::Result<()> {
        self.iter_mut().try_for_each(|sink| sink.end(whole))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.iter_mut().try_for_each(|sink| sink.flush())
    }
}

/// All that was read.
#[derive(Debug, Default)]
struct Whole {
    /// The file as it was given.
    file: String,
    sums: Sums,
    counts: Counts,
    /// Packets read, and those of them that have no TCP segment.
    packets: u64,
    others: u64,
    /// Packets of link types that are not read, by number.
    unread_links: std::collections::BTreeMap<u32, u64>,
    /// What was lost on the way.
    losses: Vec<(Loss, u64)>,
}

/// Reads a capture to its end, or until it is asked to stop.
pub(super) fn run(args: &PcapArgs) -> Result<ExitCode> {
    let stdin = args.file == Path::new("-");
    // Opening a pipe waits for whoever writes it.
    let once = stdin || fs::metadata(&args.file).is_ok_and(|meta| !meta.is_file());
    if once && args.annotate.is_some() {
        overflow::say!(
            "overflow: --annotate reads the capture a second time, which only a file can be: give one"
        );
        return Ok(ExitCode::from(2));
    }
    let capture = if stdin { Input::stdin() } else { Input::file(open(&args.file)?) };
    let capture = capture.context("cannot wait for signals")?;
    let annotated = match &args.annotate {
        Some(path) => {
            let again = open(&args.file)?;
            let out = create(path, &again)?;
            Some((again, out))
        }
        None => None,
    };
    let stdout = io::stdout();
    let terminal = stdout.is_terminal();
    let out = BufWriter::with_capacity(1 << 16, stdout.lock());
    let page = args.report.create()?;
    // Everything from here on depends on bytes that anybody may have written.
    args.confining.confine(&Needs::default())?;
    let name = args.file.display().to_string();
    let reading = || format!("cannot read the capture {name}");
    let mut reader = Reader::new(&capture).with_context(reading)?;
    let mut sink: Sinks<'_> = vec![match args.output {
        OutputFormat::Json => Box::new(AsLines(wire::Json::new(out))),
        OutputFormat::Text => Box::new(text::Text::new(out, args.text(terminal), &name)?),
    }];
    if let Some(page) = page {
        sink.push(Box::new(Page::new(page)));
    }
    let mut whole = Whole { file: name.clone(), ..Whole::default() };
    // Kept for the whole capture, so only where they are wanted.
    let mut comments = annotated.is_some().then(Comments::default);
    let mut table = Table::new(args.options());
    let mut failure = None;
    let mut unseen = false;
    loop {
        match reader.next_frame() {
            Ok(Some(frame)) => {
                whole.packets += 1;
                match frame.segment() {
                    Some(segment) => table.add(segment),
                    None => whole.other(frame.link),
                }
            }
            Ok(None) => break,
            // Whoever stops in the middle of a packet has cut it off himself.
            Err(FileError::Cut(_)) if capture.stopped() => break,
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
        if reader.dropped() > 0 {
            table.lose();
        }
        let found = table.findings();
        unseen |= told(found, args.all, reader.interfaces(), &mut sink, &mut whole, &mut comments)?;
        if unseen && capture.is_drained() {
            sink.flush()?;
            unseen = false;
        }
    }
    told(table.end(), args.all, reader.interfaces(), &mut sink, &mut whole, &mut comments)?;
    whole.close(&table, reader.dropped());
    sink.end(&whole)?;
    sink.flush()?;
    if let (Some((again, out)), Some(comments)) = (annotated, comments) {
        let left_out = annotate::write(again, out, &comments)
            .with_context(|| format!("cannot write {name} with comments"))?;
        if left_out > 0 {
            overflow::say!("overflow: {left_out} comments are left out: there are too many");
        }
    }
    match failure {
        Some(error) => Err(error).with_context(reading),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Passes findings on; whether any was shown.
fn told(
    findings: impl IntoIterator<Item = Finding>,
    all: bool,
    interfaces: &[Interface],
    sink: &mut dyn Sink,
    whole: &mut Whole,
    comments: &mut Option<Comments>,
) -> io::Result<bool> {
    let mut shown = false;
    for finding in findings {
        whole.sums.add(&finding);
        if all || finding.is_abnormal() {
            let name = name(interfaces, finding.interface);
            sink.finding(&finding, name.as_deref())?;
            if let Some(comments) = comments {
                comments.add(&finding);
            }
            shown = true;
        }
    }
    Ok(shown)
}

/// The name of an interface, or its number; nothing where there is only one.
fn name(interfaces: &[Interface], number: u32) -> Option<String> {
    if interfaces.len() < 2 {
        return None;
    }
    let named = interfaces.get(number as usize).and_then(|i| i.name.clone());
    Some(named.unwrap_or_else(|| number.to_string()))
}

impl Whole {
    /// Adds a packet without a TCP segment.
    fn other(&mut self, link: u32) {
        self.others += 1;
        if overflow_core::capture::link::Link::of(link).is_none() {
            *self.unread_links.entry(link).or_default() += 1;
        }
    }

    fn close(&mut self, table: &Table, dropped: u64) {
        self.counts = table.counts();
        let losses = [
            (Loss::Capture, dropped),
            (Loss::Forgotten, self.counts.evicted),
            (Loss::NotApart, self.sums.not_apart),
        ];
        self.losses = losses.into_iter().filter(|(_, n)| *n > 0).collect();
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("cannot open the capture {}", path.display()))
}

/// For its owner only: captures have addresses and data of others.
fn create(path: &Path, capture: &File) -> Result<File> {
    let of = |meta: io::Result<Metadata>| meta.map(|m| (m.dev(), m.ino())).ok();
    let there = of(fs::metadata(path));
    if there.is_some() && there == of(capture.metadata()) {
        bail!("{} is the capture itself: give another name", path.display());
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).with_context(|| format!("cannot write {}", path.display()))
}
