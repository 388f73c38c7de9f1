//! Real programs, run as they would be: through the launcher, in a world of their own.
#![allow(missing_docs, unreachable_pub, reason = "a test binary has no readers of its interface")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests set the world up and look at it")]

mod alive;
mod attacks;
mod door;
mod rig;
mod work;
