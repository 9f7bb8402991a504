//! ARCHITECTURE.md and CONTRIBUTING.md against the tree: what they name must exist, and the map must
//! name every part.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Endings of files that are named without their directory.
const ENDINGS: &[&str] = &["json", "md", "rs", "sh", "toml", "txt", "yaml", "yml"];

/// Every file of the project and every directory that holds one, relative to the root.
pub struct Tree {
    files: BTreeSet<PathBuf>,
    directories: BTreeSet<PathBuf>,
}

impl Tree {
    /// Of the files, relative to the root.
    pub fn of(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let files: BTreeSet<PathBuf> = files.into_iter().collect();
        let above = files.iter().flat_map(|file| file.ancestors().skip(1).map(Path::to_owned));
        let directories = above.filter(|dir| !dir.as_os_str().is_empty()).collect();
        Self { files, directories }
    }

    fn has(&self, path: &Path) -> bool {
        self.files.contains(path) || self.directories.contains(path)
    }

    /// Whether something ends like this: `probe/ladder.rs`.
    fn has_ending(&self, path: &Path) -> bool {
        self.files.iter().chain(&self.directories).any(|known| known.ends_with(path))
    }

    /// The directories that the map must name: those of the first level, every crate, and every
    /// directory of a crate's source.
    fn parts(&self) -> BTreeSet<PathBuf> {
        let crates = self.files.iter().filter(|file| file.ends_with("Cargo.toml"));
        let crates: Vec<_> = crates.filter_map(|file| file.parent()).collect();
        let part = |dir: &&PathBuf| {
            let hidden = dir.to_string_lossy().starts_with('.');
            let top = dir.components().count() == 1;
            let source = dir.parent().filter(|parent| parent.ends_with("src"));
            let of_crate = source.and_then(Path::parent).is_some_and(|dir| crates.contains(&dir));
            !hidden && (top || crates.contains(&dir.as_path()) || of_crate)
        };
        self.directories.iter().filter(part).cloned().collect()
    }
}

/// The paths in backticks of a document that lead nowhere.
pub fn dead(text: &str, tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for path in paths(line) {
            if !tree.has_ending(Path::new(path)) {
                faults.push(format!("line {number} names `{path}`, which does not exist"));
            }
        }
    }
    faults
}

/// The parts of the tree that no row of a table names, as one fault.
pub fn unnamed(text: &str, tree: &Tree) -> Option<String> {
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let named: BTreeSet<PathBuf> = rows.flat_map(|row| resolved(row, tree)).collect();
    let parts = tree.parts().into_iter().filter(|part| {
        // A directory of crates is named by what lies in it.
        let source = part.parent().is_some_and(|parent| parent.ends_with("src"));
        !named.iter().any(|path| path == part || !source && path.starts_with(part))
    });
    let parts: Vec<_> = parts.map(|part| format!("`{}/`", part.display())).collect();
    (!parts.is_empty()).then(|| format!("its map has no row that names {}", parts.join(", ")))
}

/// What a row of the map names: after the first path of a row others may be relative to it, to its
/// source or to its directory.
fn resolved(row: &str, tree: &Tree) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for path in paths(row) {
        let path = Path::new(path);
        let base = found.first().cloned().unwrap_or_default();
        let above = base.parent().unwrap_or(Path::new("")).to_owned();
        let places =
            [path.to_owned(), base.join("src").join(path), base.join(path), above.join(path)];
        found.extend(places.into_iter().find(|place| tree.has(place)));
    }
    found
}

/// Words in backticks that are paths of the project.
fn paths(line: &str) -> impl Iterator<Item = &str> {
    let quoted = line.split('`').skip(1).step_by(2);
    quoted.filter(|word| is_path(word)).map(|word| word.trim_end_matches('/'))
}

fn is_path(word: &str) -> bool {
    let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
    // What is built or is of the system is not in the tree.
    let elsewhere = word.starts_with(['/', '-']) || word.starts_with("target/");
    let ending = Path::new(word).extension().and_then(|ending| ending.to_str());
    let file = ending.is_some_and(|ending| ENDINGS.contains(&ending));
    plain && !elsewhere && (file || word.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let files = [
            "Cargo.toml",
            ".ci/run",
            "docs/a.md",
            "crates/core/Cargo.toml",
            "crates/core/src/lib.rs",
            "crates/core/src/verdict/rules.rs",
            "crates/core/src/verdict/judge/tests.rs",
            "crates/core/src/kernel/btf.rs",
            "crates/core/tests/data/x.json",
        ];
        Tree::of(files.map(PathBuf::from))
    }

    #[test]
    fn what_is_named_must_exist() {
        let text = "`crates/core/`, `verdict/rules.rs`, `btf.rs` and `fentry`, `/proc/net/tcp`,\n\
                    `target/x/y`, `--only a/b`, `a::b`, `ack.drop`, `net.ipv4.x`, `probe/ring.rs`,\n\
                    `loss.rs`, `crates/lab/`\n";
        assert_eq!(
            dead(text, &tree()),
            [
                "line 2 names `probe/ring.rs`, which does not exist",
                "line 3 names `loss.rs`, which does not exist",
                "line 3 names `crates/lab`, which does not exist",
            ]
        );
    }

    #[test]
    fn every_part_must_be_in_a_row() {
        let check = |text: &str| unnamed(text, &tree());
        let all = "| `docs/` | x |\n| `crates/core/` | `verdict/` judges, `kernel/btf.rs` |\n";
        let kernel = "its map has no row that names `crates/core/src/kernel/`";
        assert_eq!(check(all).as_deref(), Some(kernel));
        assert_eq!(check(&all.replace("kernel/btf.rs", "kernel/")), None);
        assert_eq!(check("| `docs/` | |\n| `crates/core/src/verdict/`, `kernel/` | |\n"), None);
        let prose = "`docs/` in no row\n| `crates/core/src/verdict/` | `kernel/` |\n";
        let docs = "its map has no row that names `docs/`";
        assert_eq!(check(prose).as_deref(), Some(docs));
    }
}
