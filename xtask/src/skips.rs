//! Tests that did not run: who was left out and why, and whether that is so.
//!
//! A test says itself what it needs and this machine lacks; xtask asks the machine as well, in its
//! own way. A skip is accepted only where both say the same, so that a test which wrongly believes
//! that it cannot run is a failure, not a gap.

use std::fmt;

use crate::needs::{Needs, Verdict};

/// A test that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// The test, or the step.
    pub name: String,
    /// What it lacks.
    pub why: String,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.why)
    }
}

/// A test that libtest or libtest-mimic reports as ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Its name.
    pub name: String,
    /// What is missing: `root` of `test [needs root] NAME ... ignored`.
    pub needs: Vec<String>,
    /// The reason of `#[ignore = "reason"]`.
    pub reason: Option<String>,
}

impl Ignored {
    /// Reads libtest's `test NAME ... ignored` and `test NAME ... ignored, REASON`, and libtest-mimic's
    /// `test [needs X]    NAME    ... ignored` and `... ignored (REASON)`, which are padded; several
    /// needs are separated by commas.
    pub fn parse(line: &str) -> Option<Self> {
        let (test, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ignored")?;
        let reason = match outcome.trim_end() {
            "" => None,
            rest => {
                let in_brackets = || rest.strip_prefix(" (")?.strip_suffix(')');
                Some(rest.strip_prefix(", ").or_else(in_brackets)?.to_owned())
            }
        };
        let test = test.trim();
        let kind = test.strip_prefix('[').and_then(|rest| rest.split_once("] "));
        let (kind, name) = kind.map_or((None, test), |(kind, name)| (Some(kind), name));
        let needs = kind.and_then(|kind| kind.strip_prefix("needs "));
        let needs = needs.into_iter().flat_map(|needs| needs.split(','));
        Some(Self {
            name: name.trim().to_owned(),
            needs: needs.map(|need| need.trim().to_owned()).collect(),
            reason,
        })
    }

    /// The skip, if one of its needs is lacking here; else the sentence that says why it should have
    /// run.
    pub fn judge(&self, here: &dyn Needs) -> Result<Skip, String> {
        let name = &self.name;
        if self.needs.is_empty() {
            let reason = self.reason.as_ref().map(|reason| format!(" ({reason})"));
            return Err(format!(
                "{name} was skipped without naming what it needs{}: a test that is never run \
                 proves nothing",
                reason.unwrap_or_default()
            ));
        }
        let mut lacking = Vec::new();
        for need in &self.needs {
            match here.look(need) {
                Verdict::Lacking(why) => lacking.push(format!("needs {need}: {why}")),
                Verdict::Here => {}
                Verdict::Unknown => {
                    return Err(format!(
                        "{name} was skipped because it needs {need:?}, which xtask knows no way to \
                         look for: add it to xtask/src/needs.rs"
                    ));
                }
            }
        }
        if lacking.is_empty() {
            let needs = self.needs.join(" and ");
            return Err(format!("{name} was skipped because it needs {needs}, which is here"));
        }
        Ok(Skip { name: name.clone(), why: lacking.join("; ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(name: &str, needs: &[&str], reason: Option<&str>) -> Ignored {
        Ignored {
            name: name.to_owned(),
            needs: needs.iter().map(|&need| need.to_owned()).collect(),
            reason: reason.map(str::to_owned),
        }
    }

    #[test]
    fn every_form_of_an_ignored_test_is_read() {
        for (line, expected) in [
            ("test a::b ... ignored", Some(ignored("a::b", &[], None))),
            ("test a::b ... ignored, takes hours", Some(ignored("a::b", &[], Some("takes hours")))),
            ("test [needs root] lab ... ignored", Some(ignored("lab", &["root"], None))),
            (
                "test [needs root, tracing] x ... ignored",
                Some(ignored("x", &["root", "tracing"], None)),
            ),
            ("test [needs kernel 6.13] x ... ignored", Some(ignored("x", &["kernel 6.13"], None))),
            ("test [needs root]    x    ... ignored", Some(ignored("x", &["root"], None))),
            ("test                 x::y ... ignored", Some(ignored("x::y", &[], None))),
            ("test x ... ignored (no luck)", Some(ignored("x", &[], Some("no luck")))),
            ("test [slow] x ... ignored", Some(ignored("x", &[], None))),
            (
                "test src/a.rs - f (line 3) ... ignored",
                Some(ignored("src/a.rs - f (line 3)", &[], None)),
            ),
            ("test a::b ... ok", None),
            ("test a::ignored ... FAILED", None),
            ("test result: ok. 1 passed; 0 failed; 2 ignored; 0 measured", None),
        ] {
            assert_eq!(Ignored::parse(line), expected, "{line}");
        }
    }

    /// A machine with tracing, without root, where nothing else is known.
    struct Machine;

    impl Needs for Machine {
        fn look(&self, need: &str) -> Verdict {
            match need {
                "root" => Verdict::Lacking("this is user 1000".to_owned()),
                "tracing" => Verdict::Here,
                _ => Verdict::Unknown,
            }
        }
    }

    fn judge(line: &str) -> Result<Skip, String> {
        Ignored::parse(line).unwrap().judge(&Machine)
    }

    #[test]
    fn what_is_lacking_here_excuses() {
        let why = "needs root: this is user 1000".to_owned();
        let expected = Ok(Skip { name: "a".to_owned(), why });
        assert_eq!(judge("test [needs root] a ... ignored"), expected);
        assert_eq!(judge("test [needs root, tracing] a ... ignored"), expected);
    }

    #[test]
    fn what_could_have_run_fails() {
        for (line, part) in [
            ("test [needs tracing] a ... ignored", "needs tracing, which is here"),
            ("test [needs luck] a ... ignored", "knows no way to look for"),
            ("test [needs root, luck] a ... ignored", "knows no way to look for"),
            ("test a ... ignored", "without naming what it needs"),
            ("test a ... ignored, takes hours", "(takes hours)"),
            ("test [slow] a ... ignored", "without naming what it needs"),
        ] {
            let error = judge(line).unwrap_err();
            assert!(error.starts_with("a was skipped") && error.contains(part), "{line}: {error}");
        }
    }
}
