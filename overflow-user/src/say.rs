//! Lines whose reader may be gone, which ends nothing: `println!` and `eprintln!` panic then.

/// Writes a line to standard error, beside the output.
#[macro_export]
macro_rules! say {
    ($($words:tt)+) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($words)+);
    }};
}

/// Writes a line to standard output, where what is done is worth doing without.
#[macro_export]
macro_rules! show {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($words)*);
    }};
}
