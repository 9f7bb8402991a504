//! Whether each link of a site leads to something in it, and to one thing only.

use std::{collections::BTreeSet, path::Path};

use super::Files;

/// Links that lead nowhere, as `page: destination`, and ids that several elements have.
pub fn dead(files: &Files) -> Vec<String> {
    let pages: Vec<(&str, &str)> = files
        .iter()
        .filter(|(name, _)| Path::new(name).extension().is_some_and(|e| e == "html"))
        .filter_map(|(name, bytes)| Some((name.as_str(), std::str::from_utf8(bytes).ok()?)))
        .collect();
    let mut ids: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut dead = Vec::new();
    for (name, text) in &pages {
        let twice = values(text, " id=\"").filter(|id| !ids.insert((name, id)));
        dead.extend(twice.map(|id| format!("{name}: twice #{id}")).collect::<Vec<_>>());
    }
    for (name, text) in &pages {
        for to in values(text, " href=\"").chain(values(text, " src=\"")) {
            if to.contains("://") || to.starts_with("data:") {
                continue;
            }
            let (file, fragment) = to.split_once('#').unwrap_or((to, ""));
            let file = if file.is_empty() { name } else { file };
            // The model's page reads its fragment itself.
            let there =
                fragment.is_empty() || fragment.contains('=') || ids.contains(&(file, fragment));
            if !files.contains_key(file) || !there {
                dead.push(format!("{name}: {to}"));
            }
        }
    }
    dead
}

/// What stands in quotation marks after each `before`.
fn values<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).filter_map(|rest| rest.split('"').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_found() {
        let page = |text: &str| text.as_bytes().to_vec();
        let a = r##"<a id="x" href="b.html#y"> <a href="#x"> <a href="c"> <a href="https://d"> <a href="index.html#lang=zh">"##;
        let files = Files::from([
            ("a.html".to_owned(), page(a)),
            (
                "b.html".to_owned(),
                page(r##"<p id="z"> <b id="z"> <a href="#y"> <img src="e.png">"##),
            ),
            ("index.html".to_owned(), page("")),
        ]);
        let dead = dead(&files);
        assert_eq!(
            dead,
            ["b.html: twice #z", "a.html: b.html#y", "a.html: c", "b.html: #y", "b.html: e.png"]
        );
    }
}
