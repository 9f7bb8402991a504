//! An error on one line.

use std::error::Error;

/// An error and its causes, each behind a colon: what an error's `Display` says is its own part
/// only, unless it names its cause in mid-sentence and has no `source`.
pub fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
