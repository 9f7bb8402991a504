//! Tests with their needs, as trials of libtest-mimic: one whose need is not met is ignored, and the
//! need is its kind: `test [needs tracing] NAME ... ignored`.

use std::sync::{PoisonError, RwLock};

use libtest_mimic::Trial;

use crate::needs::Need;

/// Tests that need the same.
pub struct Group {
    /// What they need.
    pub needs: &'static [Need],
    /// Whether no other test may run at the same time.
    pub alone: bool,
    /// The path of each, with the crate's name in front, and its function.
    pub tests: &'static [(&'static str, fn())],
}

/// `tests! { needs [NEED, ...]: TEST, ...; needs [...] alone: TEST; }` lists the tests of a module,
/// which are plain functions. One that is not listed is dead code, which the compiler reports.
macro_rules! tests {
    ($(needs [$($need:expr),*] $($alone:ident)?: $($test:ident),+;)+) => {
        /// The tests of this module.
        pub const TESTS: &[$crate::harness::Group] = &[$($crate::harness::Group {
            needs: &[$($need),*],
            alone: !stringify!($($alone)?).is_empty(),
            tests: &[$((concat!(module_path!(), "::", stringify!($test)), $test)),+],
        }),+];
    };
}
pub(crate) use tests;

impl Group {
    /// Its tests; if `look`, ignored where a need is not met, of which the first is their kind.
    pub fn trials(&self, look: bool) -> impl Iterator<Item = Trial> {
        let missing = self.needs.iter().find(|need| look && !need.is_met());
        let kind = missing.map(|need| format!("needs {}", need.name())).unwrap_or_default();
        let (alone, ignored) = (self.alone, missing.is_some());
        self.tests.iter().map(move |&(path, test)| {
            let name = path.split_once("::").map_or(path, |(_crate, name)| name);
            let run = move || {
                run(test, alone);
                Ok(())
            };
            Trial::test(name, run).with_kind(&*kind).with_ignored_flag(ignored)
        })
    }
}

fn run(test: fn(), alone: bool) {
    static MACHINE: RwLock<()> = RwLock::new(());
    // A test that failed leaves nothing half done behind the lock.
    if alone {
        let _machine = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
        test();
    } else {
        let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
        test();
    }
}
