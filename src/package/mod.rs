//! (package: to be written)
