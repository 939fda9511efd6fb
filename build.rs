//! Builds what the library embeds.

fn main() {}
