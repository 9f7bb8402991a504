//! `overflow explain`: the knowledge base, and what it means for this host.

mod host;
mod page;
mod web;

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
        search::search,
        topics::{Labelled, Topic},
    },
    wire,
};
use page::Page;

/// Explain a verdict, a cause, a kernel feature or a symptom, or what this host's listeners do when they
/// overflow.
///
/// Without a topic, lists all topics. A part of a name lists the topics that have it; a line of a log or of
/// `netstat -s`, an error message or a counter leads to its topic as well.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  overflow explain                              all topics
  overflow explain ack.drop.overflow.cookie     one verdict
  overflow explain cause.fd_limit               why a queue was full
  overflow explain cookie-path --lang zh        in Chinese
  overflow explain tcp_max_syn_backlog          by the kernel's own name
  overflow explain times the listen queue of a socket overflowed
  overflow explain Possible SYN flooding on port
  overflow explain --search connection refused but the server is up
  overflow explain --host                       this kernel, its namespaces, its listeners
  overflow explain --web --site target/site     two kernels side by side, in a browser

Exit status: 0 done; 1 no such topic, or the host could not be read; 2 bad usage.")]
pub(super) struct ExplainArgs {
    /// A verdict id (syn.cookie), a cause (cause.busy), a kernel feature (young-rule), a counter, a sysctl, an
    /// error, a line of a log, or a part of a name
    topic: Vec<String>,
    /// List the topics that have most to do with these words, in English or Chinese
    #[arg(long, value_name = "WORDS", num_args = 1.., conflicts_with_all = ["topic", "host"])]
    search: Vec<String>,
    /// Apply it to this host: kernel, sysctls and listeners of every network namespace
    #[arg(long, conflicts_with = "topic")]
    host: bool,
    /// Serve the kernel model and the documents to a browser on this host, until Ctrl-C
    #[arg(long, conflicts_with_all = ["topic", "search", "host", "output"])]
    web: bool,
    /// The directory that `cargo xtask site` made; without it, what this program carries
    #[arg(long, value_name = "DIR", requires = "web")]
    site: Option<PathBuf>,
    /// The port on 127.0.0.1; 0 is any that is free
    #[arg(long, value_name = "PORT", requires = "web", default_value_t = 0)]
    port: u16,
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

/// How many topics a search finds at most.
const FOUND: usize = 5;

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
    if args.web {
        return web::serve(args.site.as_deref(), args.port);
    }
    let lang = args.lang.unwrap_or_else(|| Lang::of_locale(&locale()));
    let stdout = io::stdout();
    let name = Some(args.topic.join(" ")).filter(|name| !name.is_empty());
    let words = Some(args.search.join(" ")).filter(|words| !words.is_empty());
    if args.output == OutputFormat::Json {
        return json(&mut stdout.lock(), name.as_deref(), words.as_deref(), lang);
    }
    let options = super::style::options(stdout.is_terminal());
    let mut page = Page::new(lang, options);
    if args.host {
        host::explain(&mut page)?;
    } else if let Some(words) = &words {
        page.list(found(words, lang)?);
    } else if let Some(name) = &name {
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
        // Words rather than a name.
        [] if name.contains(' ') => page.list(found(name, page.lang())?),
        [] => bail!(unknown(name, page.lang())),
        [one] => page.topic(one),
        _ => page.list(like),
    }
    Ok(())
}

/// The topics that have most to do with these words.
fn found(words: &str, lang: Lang) -> Result<Vec<&'static Topic>> {
    let found = search(words, FOUND);
    if found.is_empty() {
        bail!(unknown(words, lang));
    }
    Ok(found)
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
fn json(
    out: &mut impl Write,
    name: Option<&str>,
    words: Option<&str>,
    lang: Lang,
) -> Result<ExitCode> {
    let topics = match (name, words) {
        (None, None) => Topic::all().collect(),
        (_, Some(words)) => found(words, lang)?,
        (Some(name), None) => {
            let named = Topic::find(name).map_or_else(|| Topic::like(name), |topic| vec![topic]);
            if named.is_empty() && name.contains(' ') { found(name, lang)? } else { named }
        }
    };
    if topics.is_empty() {
        bail!(unknown(name.unwrap_or_default(), lang));
    }
    let whole = topics.len() == 1 && words.is_none();
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
