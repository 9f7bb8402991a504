//! JavaScript modules as one script: a page from a disk may not import, and a page that is one file can
//! be sent.

use anyhow::{Result, bail};

/// Joins modules, each after those that it imports; their exported names must differ, which the browser
/// checks, since all become names of one script.
pub fn joined(modules: &[(&str, &str)]) -> Result<String> {
    let mut script = String::from("\"use strict\";\n");
    for (i, (name, text)) in modules.iter().enumerate() {
        for line in text.lines() {
            if let Some(import) = line.strip_prefix("import ") {
                let from = import.split("\"./").nth(1).and_then(|rest| rest.split('"').next());
                if !modules[..i].iter().any(|(known, _)| Some(*known) == from) {
                    bail!("{name} imports what does not stand before it: {import}");
                }
                // Under another name it would be unknown in the joined script.
                for part in import.split(['{', '}', ',']).filter(|part| part.contains(" as ")) {
                    let (known, alias) = part.split_once(" as ").unwrap_or_default();
                    script.extend(["const ", alias.trim(), " = ", known.trim(), ";\n"]);
                }
                continue;
            }
            script += line.strip_prefix("export ").unwrap_or(line);
            script.push('\n');
        }
    }
    if script.contains("</script") {
        bail!("a module holds the end of its own element");
    }
    Ok(script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_become_one_script() {
        let a = ("a.js", "export const a = 1;\n");
        let b =
            ("b.js", "import { a as one } from \"./a.js\";\nexport function b() { return one; }\n");
        let script = joined(&[a, b]).unwrap();
        assert_eq!(
            script,
            "\"use strict\";\nconst a = 1;\nconst one = a;\nfunction b() { return one; }\n"
        );
        assert!(joined(&[b, a]).is_err());
        assert!(joined(&[("c.js", "const c = '</script>';\n")]).is_err());
    }
}
