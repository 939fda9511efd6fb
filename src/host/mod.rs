//! (host: to be written)
