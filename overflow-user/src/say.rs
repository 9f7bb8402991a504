//! What is said beside the output.

/// Writes a line to standard error. Whoever was to read it may be gone, which ends nothing: `eprintln!`
/// panics then.
#[macro_export]
macro_rules! say {
    ($($words:tt)+) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($words)+);
    }};
}
