//! `overflow explain`: the knowledge base, and what it means for this host.

mod host;
mod page;

use std::{
    env,
    io::{self, BufWriter, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::OutputFormat;
use overflow_core::{
    explain::{
        Lang, docs,
        topics::{FEATURES, Labelled, Topic, VERDICTS},
    },
    wire,
};
use page::Page;

/// Explain a verdict, a cause or a kernel feature, or what this host's listeners do when they overflow.
///
/// Without a topic, lists all topics. A part of a name lists the topics that have it.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  overflow explain                              all topics
  overflow explain ack.drop.overflow.cookie     one verdict
  overflow explain cause.fd_limit               why a queue was full
  overflow explain cookie-path --lang zh        in Chinese
  overflow explain tcp_max_syn_backlog          by the kernel's own name
  overflow explain --host                       this kernel, its namespaces, its listeners

Exit status: 0 done; 1 no such topic, or the host could not be read; 2 bad usage.")]
pub(super) struct ExplainArgs {
    /// A verdict id (syn.cookie), a cause (cause.busy), a kernel feature (young-rule), or a part of a name
    topic: Option<String>,
    /// Apply it to this host: kernel, sysctls and listeners of every network namespace
    #[arg(long, conflicts_with = "topic")]
    host: bool,
    /// The language; by default that of the locale
    #[arg(long, value_enum)]
    lang: Option<Lang>,
    /// Output format: text, or JSON lines (not of --host)
    #[arg(long, value_enum, default_value_t, conflicts_with = "host")]
    output: OutputFormat,
    /// Write docs/why-distributions-differ.md and its translation into this folder
    #[arg(long, value_name = "DIR", hide = true, conflicts_with_all = ["topic", "host"])]
    write_docs: Option<PathBuf>,
}

/// Explains, to standard output.
pub(super) fn run(args: &ExplainArgs) -> Result<ExitCode> {
    if let Some(folder) = &args.write_docs {
        for lang in [Lang::En, Lang::Zh] {
            let path = folder.join(docs::file_name(lang));
            std::fs::write(&path, docs::page(lang))
                .with_context(|| format!("writing {}", path.display()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let lang = args.lang.unwrap_or_else(|| Lang::of_locale(&locale()));
    let stdout = io::stdout();
    if args.output == OutputFormat::Json {
        return json(&mut stdout.lock(), args.topic.as_deref(), lang);
    }
    let options = super::style::options(stdout.is_terminal());
    let mut page = Page::new(lang, options);
    if args.host {
        host::explain(&mut page)?;
    } else if let Some(name) = &args.topic {
        topic(&mut page, name)?;
    } else {
        page.index();
    }
    let mut out = BufWriter::new(stdout.lock());
    out.write_all(page.text().as_bytes())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn topic(page: &mut Page, name: &str) -> Result<()> {
    if let Some(topic) = Topic::find(name) {
        page.topic(topic);
        return Ok(());
    }
    let like = Topic::like(name);
    match *like.as_slice() {
        [] => bail!(unknown(name, page.lang())),
        [one] => page.topic(one),
        _ => page.list(like),
    }
    Ok(())
}

/// That there is no such topic, and which may be meant.
fn unknown(name: &str, lang: Lang) -> String {
    let near: Vec<&str> = Topic::near(name).iter().map(|topic| topic.name).collect();
    let (en, zh) = match &*near {
        [] => (String::new(), String::new()),
        near => {
            let names = near.join(", ");
            (format!(" (did you mean {names}?)"), format!("（是不是 {names}？）"))
        }
    };
    match lang {
        Lang::En => format!("there is no topic `{name}`{en}; `overflow explain` lists them all"),
        Lang::Zh => format!("没有主题 `{name}`{zh}；`overflow explain` 列出全部主题"),
    }
}

/// One topic whole, or the titles of several, a line each.
fn json(out: &mut impl Write, name: Option<&str>, lang: Lang) -> Result<ExitCode> {
    let topics = match name {
        None => VERDICTS.iter().chain(FEATURES).collect(),
        Some(name) => Topic::find(name).map_or_else(|| Topic::like(name), |topic| vec![topic]),
    };
    if topics.is_empty() {
        bail!(unknown(name.unwrap_or_default(), lang));
    }
    let whole = topics.len() == 1;
    for topic in topics {
        let paragraphs = topic.paragraphs(lang).filter(|_| whole);
        let paragraph =
            |p: Labelled| wire::Paragraph { label: p.label.into(), text: p.text.into() };
        let line = wire::Line::Topic(wire::Topic {
            v: wire::VERSION,
            name: topic.name.into(),
            lang: lang.pick("en", "zh").into(),
            title: topic.title(lang).into(),
            paragraphs: paragraphs.map(paragraph).collect(),
        });
        wire::line(out, &line)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The locale of messages: the first of these that is set decides (locale(7)).
fn locale() -> String {
    let names = ["LC_ALL", "LC_MESSAGES", "LANG"];
    names.iter().find_map(|n| env::var(n).ok().filter(|v| !v.is_empty())).unwrap_or_default()
}
