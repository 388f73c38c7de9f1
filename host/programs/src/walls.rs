//! What the warden puts around itself before it starts anything: no privilege, Landlock, and the system-call filter. Each
//! is inherited and none can be taken off. They stand inside a world that already holds only what was granted, so that a
//! hole in one is not a hole in all.

use crate::confined::Refused;
use crate::syscalls;
use crate::wire::Order;
use crate::world::{SYSTEM, TEMP};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::path::Path;

/// The newest Landlock whose rights are used where the kernel has them.
const NEWEST: ABI = ABI::V6;

/// Put them up. There is no way back.
pub(crate) fn raise(order: &Order) -> Result<(), Refused> {
    drop_privileges().map_err(|error| unconfinable(format!("privileges could not be dropped ({error})")))?;
    landlock(order)?;
    syscalls::filter(order.network)
}

/// Whoever makes a user namespace holds every capability in it. Nothing is started with any.
fn drop_privileges() -> rustix::io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    for capability in CapabilitySet::all().iter() {
        // A kernel that does not know the newest capabilities cannot grant them either.
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error),
        }
    }
    rustix::thread::clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}

fn landlock(order: &Order) -> Result<(), Refused> {
    let refuse = |error: &dyn std::fmt::Display| unconfinable(format!("Landlock did not take effect ({error})"));
    let ruleset = rules(order).map_err(|error| refuse(&error))?;
    let status = ruleset.restrict_self().map_err(|error| refuse(&error))?;
    match status.ruleset {
        RulesetStatus::NotEnforced => Err(refuse(&"this kernel does not have it")),
        RulesetStatus::PartiallyEnforced | RulesetStatus::FullyEnforced => Ok(()),
    }
}

fn rules(order: &Order) -> Result<RulesetCreated, landlock::RulesetError> {
    // The first version's rights must be there; newer ones are used where they are.
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?;
    if !order.network {
        ruleset = ruleset.handle_access(AccessNet::from_all(NEWEST))?;
    }
    let mut created = ruleset.create()?;
    let look = AccessFs::ReadFile | AccessFs::ReadDir;
    let read = look | AccessFs::Execute;
    let write = AccessFs::from_all(NEWEST) & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev);
    let system = SYSTEM.iter().map(Path::new);
    for path in system.chain(order.system.iter().chain(&order.read).map(AsRef::as_ref)) {
        created = allow(created, path, read)?;
    }
    for path in ["/etc", "/proc", "/dev"] {
        created = allow(created, Path::new(path), look)?;
    }
    // Not `/dev/zero`: mapped by who may write it, it is shared memory without a file. `syscalls` says what is wrong with that.
    for device in ["/dev/null", "/dev/full"] {
        created = allow(created, Path::new(device), AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate)?;
    }
    for path in order.write.iter().map(AsRef::as_ref).chain([Path::new(TEMP)]) {
        created = allow(created, path, write)?;
    }
    Ok(created)
}

/// Allow `access` at and below `path`, if it exists in this world.
fn allow(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, landlock::RulesetError> {
    let Ok(opened) = PathFd::new(path) else { return Ok(ruleset) };
    // Rights over a directory's entries mean nothing for a single file.
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(NEWEST) };
    ruleset.add_rule(PathBeneath::new(opened, access))
}

pub(crate) fn unconfinable(missing: String) -> Refused {
    Refused::Unconfinable {
        missing,
        remedy:
            "use Linux 5.13 or newer, built with Landlock and seccomp, with landlock in its list of security modules \
                 (boot option lsm=landlock,...)"
                .into(),
    }
}
