//! The modules a VM loads, unpacked and in an order that satisfies their dependencies.
//!
//! Kernel packages bring no `modules.dep` (depmod makes it on installation), so dependencies are
//! read where depmod would read them: from each module's `.modinfo`.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    exec::capture,
    kernel_image::KernelImage,
    tools::{self, XZ, ZSTD},
};

/// One module, ready for `finit_module`.
#[derive(Debug)]
pub struct Module {
    /// File name in the guest.
    pub file: String,
    /// The uncompressed object.
    pub bytes: Vec<u8>,
}

/// The modules of `wanted` (name, and the option that builds it in) with all they depend on,
/// dependencies first; those built into the kernel are left out. Of `optional` ones, those that there
/// are.
pub fn closure(
    image: &KernelImage,
    wanted: &BTreeMap<String, String>,
    optional: &[&str],
) -> Result<Vec<Module>> {
    let config = image.config()?;
    let config =
        fs::read_to_string(&config).with_context(|| format!("cannot read {}", config.display()))?;
    let mut tree = Tree { files: HashMap::new(), loaded: Vec::new(), release: &image.release };
    tree.scan(&image.modules().join("kernel"))?;
    for (name, option) in wanted {
        if !config.lines().any(|line| line.strip_prefix(option.as_str()) == Some("=y")) {
            tree.add(name, 0)?;
        }
    }
    for name in optional {
        if tree.files.contains_key(*name) {
            tree.add(name, 0)?;
        }
    }
    Ok(tree.loaded.into_iter().map(|(_, module)| module).collect())
}

struct Tree<'a> {
    files: HashMap<String, PathBuf>,
    loaded: Vec<(String, Module)>,
    release: &'a str,
}

impl Tree<'_> {
    fn scan(&mut self, dir: &Path) -> Result<()> {
        let entries =
            fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                self.scan(&path)?;
            } else {
                self.files.insert(module_name(&path), path);
            }
        }
        Ok(())
    }

    fn add(&mut self, name: &str, depth: usize) -> Result<()> {
        let name = name.replace('-', "_");
        if self.loaded.iter().any(|(loaded, _)| *loaded == name) {
            return Ok(());
        }
        // Deeper than any chain of modules: a cycle.
        if depth > 32 {
            bail!("the dependencies of module {name} of kernel {} form a cycle", self.release);
        }
        let Some(path) = self.files.get(&name).cloned() else {
            bail!("kernel {} has no module {name}", self.release);
        };
        let bytes = read(&path)?;
        for dependency in dependencies(&bytes) {
            self.add(&dependency, depth + 1)?;
        }
        let file = format!("{name}.ko");
        self.loaded.push((name, Module { file, bytes }));
        Ok(())
    }
}

/// `kernel/net/sched/sch_netem.ko.xz` → `sch_netem`, with `_` for `-` as in `.modinfo`.
fn module_name(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    file.split(".ko").next().unwrap_or(&file).replace('-', "_")
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let unpacker = match path.extension().and_then(|e| e.to_str()) {
        Some("xz") => XZ,
        Some("zst") => ZSTD,
        _ => return fs::read(path).with_context(|| format!("cannot read {}", path.display())),
    };
    tools::ensure(&[unpacker])?;
    let out = capture(Command::new(unpacker.program()).arg("-dc").arg(path))?;
    if !out.status.success() {
        bail!("cannot unpack {}: {}", path.display(), String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(out.stdout)
}

/// The `depends=` entry: `.modinfo` is NUL-separated `key=value`, and the key occurs nowhere else
/// at the beginning of a string.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = module[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(value)
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_modinfo() {
        assert_eq!(module_name(Path::new("a/sch-netem.ko.xz")), "sch_netem");
        assert_eq!(module_name(Path::new("kernel/net/veth.ko")), "veth");
    }

    #[test]
    fn dependencies_are_read_from_modinfo() {
        let modinfo = b"\x7fELF\0license=GPL\0depends=inet_diag,tls\0name=tcp_diag\0";
        assert_eq!(dependencies(modinfo), ["inet_diag", "tls"]);
        assert!(dependencies(b"\0depends=\0").is_empty());
        assert!(dependencies(b"").is_empty());
    }
}
