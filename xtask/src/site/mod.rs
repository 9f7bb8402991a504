//! `cargo xtask site`: the documents as pages, and the kernel model to play with, as files that need no
//! server and no network.

mod bundle;
mod documents;
mod links;
mod markdown;
mod model;
mod shell;
mod topics;

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use flate2::{Compression, write::GzEncoder};

use crate::workspace;

/// Arguments of `cargo xtask site`.
#[derive(Args)]
pub struct SiteArgs {
    /// Where to write it; what an earlier run wrote there is replaced
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// The language of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lang {
    En,
    Zh,
}

impl Lang {
    const ALL: [Self; 2] = [Self::En, Self::Zh];

    /// As HTML has it.
    fn tag(self) -> &'static str {
        self.pick("en", "zh-Hans")
    }

    fn pick<'a>(self, en: &'a str, zh: &'a str) -> &'a str {
        match self {
            Self::En => en,
            Self::Zh => zh,
        }
    }

    /// The file of a page: `metrics.html`, `readme.zh.html`.
    fn file(self, page: &str) -> String {
        format!("{page}{}.html", self.pick("", ".zh"))
    }

    fn other(self) -> Self {
        match self {
            Self::En => Self::Zh,
            Self::Zh => Self::En,
        }
    }
}

pub use model::module;

/// Files by name.
type Files = BTreeMap<String, Vec<u8>>;

/// Its first page.
pub const FIRST: &str = "index.html";

/// Makes it.
pub fn site(args: &SiteArgs) -> Result<ExitCode> {
    let dir = args.out.clone().unwrap_or_else(|| workspace::target().join("site"));
    let files = write(&dir)?;
    let bytes: usize = files.values().map(Vec::len).sum();
    println!(
        "{}: {} files, {} KB; open {} in a browser, or serve it by `overflow explain --web --site {}`",
        dir.display(),
        files.len(),
        bytes / 1000,
        dir.join(FIRST).display(),
        dir.display(),
    );
    Ok(ExitCode::SUCCESS)
}

/// Makes every file and writes it to `dir`; returns them.
fn write(dir: &Path) -> Result<Files> {
    let mut files = Files::new();
    let page = model::page()?.into_bytes();
    files.insert(format!("{FIRST}.gz"), compressed(&page)?);
    files.insert(FIRST.to_owned(), page);
    documents::pages(&mut files)?;
    topics::pages(&mut files);
    let dead = links::dead(&files);
    if !dead.is_empty() {
        bail!("links lead nowhere: {}", dead.join("; "));
    }
    replace(dir, &files)?;
    Ok(files)
}

/// By gzip, as a program carries it.
fn compressed(page: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(page)?;
    Ok(gzip.finish()?)
}

/// The site in the directory where `cargo xtask site` puts it.
pub fn make() -> Result<PathBuf> {
    let dir = workspace::target().join("site");
    write(&dir)?;
    Ok(dir)
}

/// A directory that is no site is not emptied.
fn replace(dir: &Path, files: &Files) -> Result<()> {
    let used = dir.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    ensure!(
        !used || dir.join(FIRST).is_file(),
        "{} holds something else than a site: name an empty directory by --out",
        dir.display()
    );
    if used {
        fs::remove_dir_all(dir).with_context(|| format!("cannot empty {}", dir.display()))?;
    }
    for (name, bytes) in files {
        let path = dir.join(name);
        let above = path.parent().unwrap_or(dir);
        fs::create_dir_all(above).with_context(|| format!("cannot make {}", above.display()))?;
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_site_is_replaced() {
        let dir = std::env::temp_dir().join(format!("overflow-site-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let files = Files::from([(FIRST.to_owned(), b"a".to_vec()), ("b/c".into(), b"d".to_vec())]);
        replace(&dir, &files).unwrap();
        fs::write(dir.join("old.html"), "old").unwrap();
        replace(&dir, &files).unwrap();
        assert!(!dir.join("old.html").exists() && dir.join("b/c").exists());
        fs::remove_file(dir.join(FIRST)).unwrap();
        let refused = replace(&dir, &files).unwrap_err().to_string();
        fs::remove_dir_all(&dir).unwrap();
        assert!(refused.contains("holds something else"), "{refused}");
    }
}
