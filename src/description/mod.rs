//! (description: to be written)
