//! The ground under this crate: the host's imports in a cell, stand-ins natively. What must never live here: anything an
//! author sees other than through `report`, `dispatch` and `fs`.

#[cfg(target_family = "wasm")]
mod cell;
#[cfg(target_family = "wasm")]
pub(crate) use cell::{ArtifactWriter, dispatch, log, progress};

#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(not(target_family = "wasm"))]
pub(crate) use native::{ArtifactWriter, dispatch, log, progress};
#[cfg(not(target_family = "wasm"))]
pub use native::{Reported, mock, taken};
