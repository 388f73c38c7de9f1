//! Requests: one text is read in one way, or refused. Input: a method, a URL, and capabilities to judge it by, a line each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vespiary_fuzz::lines;
use vespiary_kernel::capability::Capability;
use vespiary_kernel::net::NetTarget;

fuzz_target!(|data: &[u8]| {
    let lines = lines(data);
    let [method, url, rules @ ..] = &lines[..] else { return };
    let Ok(target) = NetTarget::of_url(method, url) else { return };
    let smallest = target.smallest();
    assert!(smallest.permits(&target), "what is to be granted for {url} does not permit it");
    let granted = Capability::Net(smallest.clone());
    assert_eq!(granted.to_string().parse::<Capability>(), Ok(granted.clone()), "the hint cannot be typed in");

    // The same request put together again from its parts is the same request.
    let again = format!("{}://{}{}", target.scheme().as_str(), target.authority(), target.path_and_query());
    let again = NetTarget::of_url(target.method().as_str(), &again).expect("its own URL is one");
    assert_eq!(again, target, "{url} is read in two ways");
    assert!(target.path_and_query().bytes().all(|b| b.is_ascii_graphic()), "{url} would break a request line");
    assert!(!target.authority().contains(['/', '@', '\\', ' ', '#', '?']), "{url} has two authorities");

    for rule in rules.iter().filter_map(|rule| rule.parse::<Capability>().ok()) {
        let Capability::Net(net) = &rule else { continue };
        if net.permits(&target) {
            assert!(net.covers(&smallest), "{rule} permits {url} and does not cover {granted}");
        }
    }
});
