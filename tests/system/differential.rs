//! The same requests to the real JupyterHub and to hubd.

use crate::Case;

/// The cases of this file.
pub const CASES: &[Case] = &[];
