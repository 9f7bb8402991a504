//! The documents as pages, in both languages where there are both, and the list of them.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};

use super::{
    Files, Lang,
    markdown::{self, Rendered},
    shell::{Shell, escape},
};
use crate::workspace;

/// A document: the name of its page, and its file in each language.
struct Document {
    page: String,
    files: [Option<String>; 2],
}

/// Those at the root, in the order in which one reads them; those of docs/ follow by name.
const AT_ROOT: [&str; 3] = ["README", "ARCHITECTURE", "CONTRIBUTING"];
/// What stands in a document's name for its language.
const CHINESE: &str = ".zh-CN";

/// Adds a page for each document, whatever it shows or links to, and the lists.
pub fn pages(files: &mut Files) -> Result<()> {
    let documents = documents(workspace::root())?;
    let mut listed: [Vec<(String, String, Lang)>; 2] = Default::default();
    for document in &documents {
        let mut titles = Vec::new();
        for lang in Lang::ALL {
            let Some(file) = &document.files[lang as usize] else { continue };
            let rendered = rendered(file, &documents, files)?;
            let name = lang.file(&document.page);
            let both = document.files[lang.other() as usize].is_some();
            let other = both.then(|| lang.other().file(&document.page));
            files.insert(name.clone(), page(lang, &rendered, other.as_deref()).into_bytes());
            titles.push((name, rendered.title, lang));
        }
        for lang in Lang::ALL {
            let of_lang = titles.iter().find(|(.., l)| *l == lang).or(titles.first());
            listed[lang as usize].extend(of_lang.cloned());
        }
    }
    for lang in Lang::ALL {
        let list = list(lang, &listed[lang as usize]);
        files.insert(lang.file("documents"), list.into_bytes());
    }
    Ok(())
}

fn documents(root: &Path) -> Result<Vec<Document>> {
    let docs = root.join("docs");
    let mut names: Vec<String> = AT_ROOT.iter().map(|name| (*name).to_owned()).collect();
    let mut in_docs = Vec::new();
    for entry in fs::read_dir(&docs).with_context(|| format!("cannot read {}", docs.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let stem = name.strip_suffix(".md").filter(|stem| !stem.ends_with(CHINESE));
        in_docs.extend(stem.map(|stem| format!("docs/{stem}")));
    }
    in_docs.sort();
    names.extend(in_docs);
    let document = |name: String| {
        let file = |ending: &str| {
            let file = format!("{name}{ending}.md");
            root.join(&file).is_file().then_some(file)
        };
        let files = [file(""), file(CHINESE)];
        let page = name.rsplit('/').next().unwrap_or(&name).to_lowercase();
        Document { page, files }
    };
    Ok(names.into_iter().map(document).collect())
}

fn rendered(file: &str, documents: &[Document], files: &mut Files) -> Result<Rendered> {
    let path = workspace::root().join(file);
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut dead = Vec::new();
    let rendered = markdown::render(&text, &mut |to| {
        let found = resolved(file, to, documents, files);
        if found.is_none() {
            dead.push(to.to_owned());
        }
        found
    });
    if !dead.is_empty() {
        bail!("{file} links to {}, which is not there", dead.join(", "));
    }
    Ok(rendered)
}

/// Where a link of a document leads on the site; a file that is no document comes with it.
fn resolved(file: &str, to: &str, documents: &[Document], files: &mut Files) -> Option<String> {
    if to.starts_with("https://") || to.starts_with("http://") || to.starts_with('#') {
        return Some(to.to_owned());
    }
    let (path, fragment) = to.split_once('#').unwrap_or((to, ""));
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()?),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    let path = parts.join("/");
    for lang in Lang::ALL {
        let is = |d: &&Document| d.files[lang as usize].as_deref() == Some(&path);
        if let Some(document) = documents.iter().find(is) {
            let hash = if fragment.is_empty() { "" } else { "#" };
            return Some(format!("{}{hash}{fragment}", lang.file(&document.page)));
        }
    }
    let bytes = fs::read(workspace::root().join(&path)).ok()?;
    let name = path.strip_prefix("docs/").unwrap_or(&path).to_owned();
    files.insert(name.clone(), bytes);
    Some(name)
}

fn page(lang: Lang, rendered: &Rendered, other: Option<&str>) -> String {
    let body = format!("<main id=\"main\" class=\"document\">\n{}</main>", rendered.html);
    let title = format!("{} – overflow", rendered.title);
    Shell { lang, title: &title, other, style: "", script_policy: "", body: &body }.html()
}

fn list(lang: Lang, listed: &[(String, String, Lang)]) -> String {
    let heading = lang.pick("Documents", "文档");
    let mut body = format!("<main id=\"main\" class=\"document\">\n<h1>{heading}</h1>\n<ul>\n");
    let topics = lang.pick(
        "What overflow explains: verdicts, causes, kernel features, symptoms",
        "overflow explain 的全部主题：判定、原因、内核特性、症状",
    );
    body.extend(["<li><a href=\"", &lang.file("topics"), "\">", topics, "</a></li>\n"]);
    body.extend(listed.iter().map(|(file, title, of)| {
        let tag = if *of == lang { String::new() } else { format!(" lang=\"{}\"", of.tag()) };
        format!("<li><a href=\"{file}\"{tag}>{}</a></li>\n", escape(title))
    }));
    body += "</ul>\n</main>";
    let title = format!("{heading} – overflow");
    let other = lang.other().file("documents");
    let other = Some(other.as_str());
    Shell { lang, title: &title, other, style: "", script_policy: "", body: &body }.html()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagram_is_text_or_a_picture_and_no_script_that_somebody_else_must_run() {
        let root = workspace::root();
        let found =
            documents(root).unwrap().into_iter().flat_map(|document| document.files).flatten();
        let mut read = 0;
        for file in found {
            let text = fs::read_to_string(root.join(&file)).unwrap();
            assert!(!text.contains("```mermaid"), "{file}");
            read += 1;
        }
        assert!(read > 15, "{read}");
    }
}
