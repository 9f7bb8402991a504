//! overflow's developer commands.

fn main() {}
