//! Which program am I?  Then hand over to the library.

fn main() {}
