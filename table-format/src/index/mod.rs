//! Where a record key lives: which file group holds it, or is to hold it.

pub(crate) mod key_range;
pub(crate) mod key_value;
pub(crate) mod load;
mod log_keys;
pub(crate) mod resolve;
