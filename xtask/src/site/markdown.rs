//! Markdown to HTML: headings with the ids that others link to, tables with captions, commits with links.

use std::collections::BTreeMap;

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

use super::shell::escape;

/// A document as HTML, and its first heading as plain text.
#[derive(Debug, Default)]
pub struct Rendered {
    pub title: String,
    pub html: String,
}

/// Renders; `link` says where a destination of the document leads on the site, `None` for nowhere.
pub fn render(text: &str, link: &mut dyn FnMut(&str) -> Option<String>) -> Rendered {
    let events: Vec<Event<'_>> = Parser::new_ext(text, Options::ENABLE_TABLES).collect();
    let mut out: Vec<Event<'_>> = Vec::with_capacity(events.len());
    let mut ids = Ids::default();
    let mut rendered = Rendered::default();
    let mut heading = String::new();
    let (mut in_code, mut in_link, mut kept) = (false, false, true);
    for (i, event) in events.iter().enumerate() {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                heading = words(&events[i + 1..]);
                if rendered.title.is_empty() {
                    rendered.title.clone_from(&heading);
                }
                raw(&mut out, format!("<{level} id=\"{}\">", ids.of(&heading)));
            }
            Event::Start(Tag::Table(_)) => {
                let name = escape(&heading);
                raw(
                    &mut out,
                    format!(
                        "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"{name}\">"
                    ),
                );
                out.push(event.clone());
                raw(&mut out, format!("<caption class=\"hidden\">{name}</caption>"));
            }
            Event::End(TagEnd::Table) => {
                out.push(event.clone());
                raw(&mut out, "</div>".to_owned());
            }
            Event::Start(Tag::CodeBlock(_)) => {
                in_code = true;
                raw(&mut out, "<pre tabindex=\"0\"><code>".to_owned());
            }
            Event::End(TagEnd::CodeBlock) => {
                in_code = false;
                raw(&mut out, "</code></pre>\n".to_owned());
            }
            Event::Start(Tag::Link { dest_url, .. }) => {
                in_link = true;
                kept = link(dest_url).inspect(|to| raw(&mut out, anchor(to))).is_some();
            }
            Event::End(TagEnd::Link) => {
                in_link = false;
                if kept {
                    raw(&mut out, "</a>".to_owned());
                }
            }
            Event::Start(Tag::Image { dest_url, link_type, title, id }) => {
                let dest_url = link(dest_url).map_or(CowStr::from(""), CowStr::from);
                let (link_type, title, id) = (*link_type, title.clone(), id.clone());
                out.push(Event::Start(Tag::Image { link_type, dest_url, title, id }));
            }
            // A browser makes a space of it, which Chinese does not have between words.
            Event::SoftBreak if joins(&events[..i], &events[i + 1..]) => {}
            Event::Text(text) if !in_code && !in_link => raw(&mut out, with_commits(text)),
            // A document's own comments; nothing else in one is HTML.
            Event::Html(text) | Event::InlineHtml(text) => {
                if !text.starts_with("<!--") {
                    out.push(Event::Text(text.clone()));
                }
            }
            event => out.push(event.clone()),
        }
    }
    html::push_html(&mut rendered.html, out.into_iter());
    rendered.html = rendered
        .html
        .replace("<th>", "<th scope=\"col\">")
        .replace("<th style", "<th scope=\"col\" style");
    rendered
}

fn raw(out: &mut Vec<Event<'_>>, html: String) {
    out.push(Event::InlineHtml(html.into()));
}

/// Whether a line ends and the next one begins with a Chinese character or mark.
fn joins(before: &[Event<'_>], after: &[Event<'_>]) -> bool {
    let chinese = |c: Option<char>| {
        c.is_some_and(|c| matches!(c, '\u{3000}'..='\u{9fff}' | '\u{ff00}'..='\u{ffef}'))
    };
    let text = |event: &Event<'_>| match event {
        Event::Text(text) | Event::Code(text) => Some(text.to_string()),
        _ => None,
    };
    let last = before.iter().rev().find_map(text);
    let first = after.iter().find_map(text);
    chinese(last.and_then(|text| text.chars().next_back()))
        && chinese(first.and_then(|text| text.chars().next()))
}

fn anchor(to: &str) -> String {
    format!("<a href=\"{}\">", escape(to))
}

/// The plain text of a heading.
fn words(events: &[Event<'_>]) -> String {
    let inside = events.iter().take_while(|e| !matches!(e, Event::End(TagEnd::Heading(_))));
    inside
        .filter_map(|event| match event {
            Event::Text(text) | Event::Code(text) => Some(&**text),
            Event::SoftBreak => Some(" "),
            _ => None,
        })
        .collect()
}

/// Ids as code hosts make them: lower case, words joined by hyphens, counted where they repeat.
#[derive(Default)]
struct Ids(BTreeMap<String, usize>);

impl Ids {
    fn of(&mut self, heading: &str) -> String {
        let id: String = heading
            .to_lowercase()
            .chars()
            .filter_map(|c| match c {
                ' ' => Some('-'),
                c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
                _ => None,
            })
            .collect();
        let seen = self.0.entry(id.clone()).or_default();
        *seen += 1;
        if *seen == 1 { id } else { format!("{id}-{}", *seen - 1) }
    }
}

/// Text as HTML, its commits of the kernel (12 hexadecimal digits) as links.
fn with_commits(text: &str) -> String {
    let is_commit = |word: &str| {
        word.len() == 12
            && word.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            && word.bytes().any(|b| b.is_ascii_digit())
            && word.bytes().any(|b| b.is_ascii_alphabetic())
    };
    let mut html = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if is_commit(word) {
            html += &anchor(&format!("https://git.kernel.org/linus/{word}"));
            html += word;
            html += "</a>";
        } else {
            html += &escape(word);
        }
        let next = after.find(|c: char| c.is_ascii_alphanumeric()).unwrap_or(after.len());
        html += &escape(&after[..next]);
        rest = &after[next..];
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(text: &str) -> String {
        render(text, &mut |to| to.starts_with('b').then(|| format!("{to}.html"))).html
    }

    #[test]
    fn headings_have_ids_and_tables_captions() {
        let page = html("# One `two`, 三\n\n## A\n\n## A\n\n| x |\n|---|\n| 1 |\n");
        assert!(page.contains("<h1 id=\"one-two-三\">"), "{page}");
        assert!(page.contains("<h2 id=\"a\">") && page.contains("<h2 id=\"a-1\">"), "{page}");
        assert!(page.contains("<caption class=\"hidden\">A</caption>"), "{page}");
        assert!(page.contains("<th scope=\"col\">x</th>") && page.contains("<thead>"), "{page}");
    }

    #[test]
    fn links_lead_where_they_are_said_to() {
        assert!(html("[a](b)").contains("<a href=\"b.html\">a</a>"));
        assert_eq!(html("[a](c)").trim(), "<p>a</p>");
        assert!(
            html("since ef547f2ac16b (4.4)")
                .contains("linus/ef547f2ac16b\">ef547f2ac16b</a> (4.4)")
        );
        assert!(!html("`ef547f2ac16b` 123456789012 abcdefabcdef").contains("<a"));
    }

    #[test]
    fn lines_of_chinese_are_joined_without_a_space() {
        assert_eq!(html("延迟，\n因此").trim(), "<p>延迟，因此</p>");
        assert_eq!(html("**延迟**\n因此").trim(), "<p><strong>延迟</strong>因此</p>");
        for kept in ["延迟 SYN\n因此", "延迟\n`x`", "a\nb"] {
            assert!(html(kept).contains('\n'), "{kept}");
        }
    }

    #[test]
    fn nothing_in_a_document_is_html() {
        let page = html("<script>x</script>\n\na <b>c</b> & d\n\n```\n<i>\n```\n<!-- e -->\n");
        assert!(
            !page.contains("<script") && !page.contains("<b>") && !page.contains("<i>"),
            "{page}"
        );
        assert!(page.contains("&amp; d") && !page.contains("-- e"), "{page}");
    }
}
