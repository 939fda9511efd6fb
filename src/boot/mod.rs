//! (boot: to be written)
