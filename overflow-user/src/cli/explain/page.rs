//! The knowledge base as text of at most 80 columns, Chinese characters counting as two.

use overflow_core::{
    explain::{
        Lang,
        topics::{CAUSES, FEATURES, SYMPTOMS, Topic, VERDICTS},
    },
    text::{
        style::{self, Options, Tone},
        wrap::{Breaks, Flow, WIDTH},
    },
};

/// Text being put together.
pub(super) struct Page {
    lang: Lang,
    options: Options,
    text: String,
}

impl Page {
    pub(super) fn new(lang: Lang, options: Options) -> Self {
        Self { lang, options, text: String::new() }
    }

    pub(super) fn lang(&self) -> Lang {
        self.lang
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Every topic with its heading.
    pub(super) fn index(&mut self) {
        let (en, zh) =
            ("Verdicts: what the kernel did to a connection", "判定：内核对一条连接做了什么");
        self.heading(self.lang.pick(en, zh));
        self.list(VERDICTS);
        self.blank();
        let (en, zh) = ("Causes: why the queue was full", "原因：队列为什么会满");
        self.heading(self.lang.pick(en, zh));
        self.list(CAUSES);
        self.blank();
        let (en, zh) = ("Kernel features: why it did so", "内核特性：为什么这样做");
        self.heading(self.lang.pick(en, zh));
        self.list(FEATURES);
        self.blank();
        let (en, zh) = (
            "Symptoms: counters, sysctls, logs, errors, and what they are taken for",
            "症状：计数器、sysctl、日志、错误，以及对它们的误解",
        );
        self.heading(self.lang.pick(en, zh));
        self.list(SYMPTOMS);
        self.blank();
        let en = "`overflow explain TOPIC` explains one, `overflow explain --host` this host.";
        let zh = "`overflow explain 主题` 解释其中一个，`overflow explain --host` 解释本机。";
        self.flow("", "", self.lang.pick(en, zh));
    }

    /// These topics with their headings.
    pub(super) fn list<'a>(&mut self, topics: impl IntoIterator<Item = &'a Topic>) {
        for topic in topics {
            self.entry(topic);
        }
    }

    fn entry(&mut self, topic: &Topic) {
        let name = format!("  {:<28}", topic.name);
        if self.options.width < WIDTH {
            self.line(&name);
            self.flow("      ", "      ", topic.title(self.lang));
        } else {
            self.flow(&name, &" ".repeat(30), topic.title(self.lang));
        }
    }

    /// One topic.
    pub(super) fn topic(&mut self, topic: &Topic) {
        self.heading(topic.name);
        self.flow("", "", topic.title(self.lang));
        for paragraph in topic.paragraphs(self.lang) {
            self.blank();
            self.heading(paragraph.label);
            self.flow("  ", "  ", paragraph.text);
        }
    }

    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }

    pub(super) fn heading(&mut self, text: &str) {
        self.text.push_str(&Tone::Strong.paint(self.options.color, text));
        self.blank();
    }

    /// A line as it is.
    pub(super) fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.blank();
    }

    /// Markdown text, wrapped: `first` before its first line, `rest` before the others.
    pub(super) fn flow(&mut self, first: &str, rest: &str, markdown: &str) {
        let breaks = match self.lang {
            Lang::En => Breaks::Even,
            // Chinese has no spaces to break at.
            Lang::Zh => Breaks::EvenChinese,
        };
        let flow = Flow { first, rest, breaks, ..Flow::new(self.options.width) };
        let text = markdown.replace('`', "");
        let text = match self.lang {
            Lang::En => style::Page::new(self.options).symbols(&text),
            // Who asks for Chinese has a terminal that shows it.
            Lang::Zh => text,
        };
        self.text.push_str(&flow.lines(&text).join("\n"));
        self.blank();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use overflow_core::text::wrap::columns;

    #[test]
    fn every_page_fits_80_columns_in_both_languages() {
        for lang in [Lang::En, Lang::Zh] {
            let mut page = Page::new(lang, Options::default());
            page.index();
            for topic in Topic::all() {
                page.topic(topic);
            }
            for line in page.text().lines() {
                assert!(columns(line) <= WIDTH, "{line}");
                assert!(!line.contains(['`', '*']), "{line}");
            }
        }
    }

    #[test]
    fn a_topic_has_its_name_heading_and_labels() {
        let mut page = Page::new(Lang::En, Options::default());
        page.topic(Topic::find("syn.queued").unwrap());
        let text = page.text();
        let start = "syn.queued\nThe SYN became a request in the SYN queue\n\nKernel\n  tcp_conn";
        assert!(text.starts_with(start), "{text}");
        assert!(text.contains("\nCounters\n"));
    }
}
