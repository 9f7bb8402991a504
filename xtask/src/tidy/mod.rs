//! What no other tool checks: each source file says what it is for, lines end where they end, nothing
//! names the machine it was written on or the hosts it was fetched from; and what ARCHITECTURE.md says
//! of the tree, of crates and of `unsafe` is so.

mod code;
mod floors;
mod map;
mod orphans;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::test::Checks;
use map::Tree;

/// Text files by ending; others, such as recordings, are not looked into.
const TEXT: &[&str] = &["json", "md", "rs", "sh", "toml", "txt", "yaml", "yml"];
/// Text files without ending.
const TEXT_NAMES: &[&str] = &["run", ".gitignore"];
/// Directories that are not part of the project.
const SKIPPED: &[&str] = &[".git", "target"];

/// What no file may contain, in pieces so that this file does not; and why.
const FORBIDDEN: &[(&[&str], &str)] = &[
    (&["/ho", "me/"], "an absolute path of somebody's machine"),
    (&["/ro", "ot/"], "an absolute path of somebody's machine"),
    (&["/wo", "rk/"], "an absolute path of somebody's machine"),
    (&["deb.deb", "ian.org"], "the host of a package archive"),
    (&["security.deb", "ian.org"], "the host of a package archive"),
    (&["snapshot.deb", "ian.org"], "the host of a package archive"),
    (&["ftp.deb", "ian.org"], "the host of a package archive"),
    (&["crates", ".io"], "the host of a package registry"),
];

/// The documents whose paths are looked up; the first has the map.
const DOCUMENTS: [&str; 2] = ["ARCHITECTURE.md", "CONTRIBUTING.md"];

/// Checks every text file under `root`, each of which is one check, and what concerns them all.
pub fn check(root: &Path) -> Result<Checks> {
    let mut paths = Vec::new();
    collect(root, &mut paths)?;
    paths.sort();
    let relative = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_owned();
    let tree = Tree::of(paths.iter().map(|path| relative(path)));
    let mut texts = Vec::new();
    for path in paths.iter().filter(|path| is_text(path)) {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read {} as text", path.display()))?;
        texts.push((relative(path).display().to_string(), text));
    }
    let mut checks = Checks::default();
    for (name, text) in &texts {
        let mut faults = faults(name, text);
        if DOCUMENTS.contains(&name.as_str()) {
            faults.extend(map::dead(text, &tree));
        }
        if name == DOCUMENTS[0] {
            faults.extend(map::unnamed(text, &tree));
        }
        if Path::new(name).ends_with("Cargo.toml") {
            faults.extend(floors::faults(text).with_context(|| name.clone())?);
        }
        checks.check(faults.is_empty(), || format!("{name}: {}", faults.join("; ")));
    }
    let stale = code::stale(&texts);
    checks.check(stale.is_empty(), || stale.join("; "));
    let orphans = orphans::faults(&texts);
    checks.check(orphans.is_empty(), || orphans.join("; "));
    Ok(checks)
}

/// By its name.
fn is_text(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    TEXT.contains(&ending.as_ref()) || TEXT_NAMES.contains(&name.as_ref())
}

/// Every file of the project.
fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            if !SKIPPED.contains(&name.as_ref()) {
                collect(&path, files)?;
            }
            continue;
        }
        files.push(path);
    }
    Ok(())
}

fn faults(name: &str, text: &str) -> Vec<String> {
    let rust = Path::new(name).extension().is_some_and(|e| e == "rs");
    let mut faults = if rust { code::faults(name, text) } else { Vec::new() };
    let mut fault = |text: &str| faults.push(text.to_owned());
    if rust && !text.starts_with("//! ") {
        fault("does not begin with a `//!` sentence that says what it is for");
    }
    // In Markdown two trailing spaces are a line break.
    let markdown = Path::new(name).extension().is_some_and(|e| e == "md");
    for (number, line) in (1..).zip(text.lines()) {
        if line.ends_with([' ', '\t']) && !markdown {
            fault(&format!("line {number} has trailing spaces"));
        }
        for (pieces, what) in FORBIDDEN {
            if line.contains(&pieces.concat()) {
                fault(&format!("line {number} names {what}"));
            }
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        fault("does not end with a newline");
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    /// Modules of its crate that a file names: the first name of each path.
    fn imports(text: &str) -> Vec<String> {
        let mut names = Vec::new();
        for (at, path) in text.match_indices("crate::") {
            let rest = &text[at + path.len()..];
            let list = rest.strip_prefix('{').and_then(|list| list.split("};").next());
            let mut depth = 0;
            // Without what is in braces of its own.
            let mut flat = String::new();
            for c in list.unwrap_or(rest).chars() {
                depth += i32::from(c == '{') - i32::from(c == '}');
                if depth == 0 {
                    flat.push(c);
                }
            }
            let paths = flat.split(',').take(if list.is_some() { usize::MAX } else { 1 });
            let name = |path: &str| path.trim().split(':').next().unwrap_or_default().to_owned();
            names.extend(paths.map(name));
        }
        names
    }

    #[test]
    fn modules_of_the_ebpf_side_import_only_those_above_them() {
        let src = workspace::root().join("overflow-ebpf/src");
        let main = fs::read_to_string(src.join("main.rs")).unwrap();
        let modules = main.lines().filter_map(|l| l.strip_prefix("mod ")?.strip_suffix(';'));
        let modules: Vec<&str> = modules.collect();
        let mut seen = 0;
        for (place, module) in modules.iter().enumerate() {
            let mut files = vec![src.join(module).with_extension("rs")];
            if !files[0].is_file() {
                files.clear();
                collect(&src.join(module), &mut files).unwrap();
            }
            for file in files {
                let text = fs::read_to_string(&file).unwrap();
                for import in imports(&text) {
                    let above = modules[..=place].contains(&import.as_str());
                    assert!(above || !modules.contains(&import.as_str()), "{file:?}: {import}");
                    seen += usize::from(above);
                }
            }
        }
        assert!(seen > 50, "{seen} imports were found in {modules:?}");
        let text =
            "use crate::{\n    a::b,\n    c::{self, d},\n    e,\n};\nfn f() { crate::g::h() }";
        assert_eq!(imports(text).join(" "), "a c e  g");
    }

    #[test]
    fn a_tidy_file_has_no_faults() {
        assert!(faults("src/a.rs", "//! Adds.\n\nfn a() {}\n").is_empty());
        assert!(faults("a.toml", "[a]\n").is_empty());
        assert!(faults("a.md", "a  \nb\n").is_empty());
    }

    #[test]
    fn each_fault_is_found() {
        let host = ["http://deb.deb", "ian.org/debian\n"].concat();
        let path = ["cd /ho", "me/me\n"].concat();
        for (name, text) in [
            ("a.rs", "fn a() {}\n"),
            ("a.rs", "//! A.\nfn a() {} \n"),
            ("a.rs", "//! A."),
            ("a.md", path.as_str()),
            ("a.toml", host.as_str()),
        ] {
            assert_eq!(faults(name, text).len(), 1, "{name}: {text:?}");
        }
    }
}
