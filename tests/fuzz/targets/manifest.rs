//! Manifests: whatever stands in a `plugin.toml`, it is read or refused with words; what was read means the same when it is
//! written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vespiary_kernel::ids::Digest;
use vespiary_kernel::plugin::{Manifest, Plugin, Trust};

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    match Manifest::parse(&text) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(manifest) => {
            let written = toml::to_string(&manifest).expect("a manifest can be written");
            let again = Manifest::parse(&written).unwrap_or_else(|error| panic!("{written}\n{error}"));
            assert_eq!(again, manifest, "{written}");
            let plugin = Plugin::new(manifest, Digest::of(data), Trust::Added).expect("checked quotas can be applied");
            let local = "t";
            assert!(plugin.needs_of(local).count() <= plugin.needs.len());
        }
    }
});
