//! Attacks. Each is one guest, script or deed of its own name, and one test of that name in the module of its threat; the
//! test tells the cause that must be recorded, the rig tells that a neighbour was unharmed, and the stage that the host is
//! afterwards as it was. What lives here: the list of modules and what they share. Never an attack.
//!
//! To add a threat: a module here, its row in `laws::THREATS` and in the table of `host/ARCHITECTURE.md`, and its guests, if
//! they are crates of their own, in `add_guests`.

mod checks;
mod laws;
mod rig;
mod stage;

/// An attack by a compiled guest of the same name, a tool of `tests/guests`.
macro_rules! attack {
    ($name:ident, $arguments:expr, $grant:expr, |$rig:ident, $failure:ident| $check:expr) => {
        #[test]
        fn $name() {
            crate::hostile::stage::play(async {
                let $rig = crate::hostile::rig::Rig::new();
                let $failure = $rig.attack(concat!("hostile.", stringify!($name)), $arguments, $grant).await;
                $check;
            });
        }
    };
}

/// An attack by a component without tools of its own to name: one written as text, or bytes that are no component. The
/// plugin is named as the test, with dashes.
macro_rules! written {
    ($name:ident, |$failure:ident| $check:expr) => {
        #[test]
        fn $name() {
            crate::hostile::stage::play(async {
                let tool = format!("{}.anything", stringify!($name).replace('_', "-"));
                let rig = crate::hostile::rig::Rig::new();
                let $failure = rig.attack(&tool, serde_json::json!({}), crate::hostile::READ).await;
                $check;
            });
        }
    };
}

mod abi;
mod agents;
mod cache;
mod components;
mod confinement;
mod filesystem;
mod network;
mod policy;
mod programs;
mod quotas;
mod record;
mod resources;
mod scripts;
mod servers;
mod words;
mod worktree;

/// Reads the project, and calls any tool.
pub const READ: &[&str] = &["read:.", "tool:*"];
/// Reads and writes the project, and calls any tool.
pub const WRITE: &[&str] = &["read:.", "write:.", "tool:*"];

/// Every plugin of the suite that is not a file of `tests/guests/wat`.
fn add_guests(guests: &mut rig::Guests) {
    rig::guests(guests);
    components::guests(guests);
    filesystem::guests(guests);
    network::guests(guests);
    programs::guests(guests);
    quotas::guests(guests);
    worktree::guests(guests);
}
