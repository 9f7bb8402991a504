//! What all pages share: head, navigation, foot.

use super::Lang;

const STYLE: &str = include_str!("../../../crates/web/page/style.css");

/// A page's parts.
pub struct Shell<'a> {
    pub lang: Lang,
    /// Plain text.
    pub title: &'a str,
    /// The file of the same page in the other language, if there is one.
    pub other: Option<&'a str>,
    /// Styles of this page alone.
    pub style: &'a str,
    /// What it may run, as a source of its policy.
    pub script_policy: &'a str,
    /// HTML: `main`, and what belongs to it.
    pub body: &'a str,
}

impl Shell<'_> {
    /// The page. It can load nothing: whatever is in it, the browser refuses to ask for more.
    pub fn html(&self) -> String {
        let Self { lang, title, other, style, script_policy, body } = self;
        let (tag, title) = (lang.tag(), escape(title));
        let simulator = match lang {
            Lang::En => "index.html",
            Lang::Zh => "index.html#lang=zh",
        };
        let documents = lang.file("documents");
        let language = lang.pick("中文", "English");
        let language = match other {
            Some(file) => format!(
                r#"<a class="language" id="nav-language" href="{file}" lang="{}">{language}</a>"#,
                lang.other().tag()
            ),
            None => String::new(),
        };
        let skip = lang.pick("Skip to the content", "跳到正文");
        let model = lang.pick("Kernel model", "内核模型");
        let list = lang.pick("Documents", "文档");
        let nav = lang.pick("Pages", "页面");
        let foot = lang.pick(
            "This page needs no network and loads nothing. Links to kernel sources leave it.",
            "本页不需要网络，也不加载任何内容。指向内核源码的链接会离开本页。",
        );
        format!(
            r##"<!DOCTYPE html>
<html lang="{tag}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data: file:; {script_policy}base-uri 'none'; form-action 'none'">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{STYLE}{style}</style>
</head>
<body>
<a class="skip" href="#main">{skip}</a>
<nav class="top" aria-label="{nav}"><a class="brand" href="{simulator}">overflow</a> <a href="{simulator}" data-t="model">{model}</a> <a id="nav-documents" href="{documents}" data-t="documents">{list}</a>{language}</nav>
{body}
<footer>{foot}</footer>
</body>
</html>
"##
        )
    }
}

/// Text as HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
