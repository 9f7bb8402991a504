//! Finds source files that no `mod` names: rustc never sees them, so nothing else complains.

use std::path::Path;

/// What is wrong with each such file among `files` (path from the root, text).
pub fn faults(files: &[(String, String)]) -> Vec<String> {
    let text = |path: &Path| {
        let path = path.to_str()?;
        files.iter().find(|(name, _)| name == path).map(|(_, text)| text.as_str())
    };
    let orphans = files.iter().filter(|(name, _)| {
        Path::new(name).extension().is_some_and(|e| e == "rs")
            && name.contains("src/")
            && !declared(Path::new(name), text)
    });
    orphans.map(|(name, _)| format!("{name} is named by no `mod`, so it is not compiled")).collect()
}

/// Whether the module that a file holds is declared where Rust looks for it, or is a crate's root.
fn declared<'a>(file: &Path, text: impl Fn(&Path) -> Option<&'a str>) -> bool {
    let (Some(dir), Some(stem)) = (file.parent(), file.file_stem()) else { return false };
    let root = dir.ends_with("src");
    if root && (stem == "lib" || stem == "main") {
        return true;
    }
    // `a/mod.rs` is module `a`, declared beside the directory.
    let (dir, module) = if stem == "mod" {
        let (Some(above), Some(name)) = (dir.parent(), dir.file_name()) else { return false };
        (above, name)
    } else {
        (dir, stem)
    };
    let Some(module) = module.to_str() else { return false };
    let parents =
        [dir.join("lib.rs"), dir.join("main.rs"), dir.join("mod.rs"), dir.with_extension("rs")];
    let declaration = format!("mod {module};");
    parents.iter().filter_map(|parent| text(parent)).any(|text| text.contains(&declaration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_must_be_declared() {
        let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let mut files = vec![
            file("a/src/lib.rs", "mod b;\npub(crate) mod c;\n"),
            file("a/src/b.rs", "mod d;\n"),
            file("a/src/b/d.rs", ""),
            file("a/src/c/mod.rs", "mod e;\n"),
            file("a/src/c/e.rs", ""),
            file("a/README.md", ""),
            file("a/build.rs", ""),
        ];
        assert!(faults(&files).is_empty());
        files.push(file("a/src/c/f.rs", ""));
        files.push(file("a/src/g/mod.rs", ""));
        assert_eq!(faults(&files).len(), 2, "{:?}", faults(&files));
    }
}
