//! Expect files under `tests/data`; `UPDATE_EXPECT=1` writes them anew.

use std::{env, fs, path::PathBuf};

/// Compares with the expect file of this name.
pub fn check(name: &str, got: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    if env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, got).expect("the expect file can be written");
        return;
    }
    let want = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        want == got,
        "{name} differs; run again with UPDATE_EXPECT=1 and look at the diff. Got:\n{got}"
    );
}
