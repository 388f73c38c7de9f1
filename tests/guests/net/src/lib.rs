//! Hostile tools for the network. Each attack is one file of `attacks/`, one tool of the same name, and one test in
//! `tests/hostile/network.rs`. An attack that gets through says so by succeeding with what it took; a wall shows as the failure
//! the file's first lines name.
#![cfg(target_family = "wasm")]
#![allow(missing_docs, unreachable_pub, reason = "each file says what it attacks; nobody imports them")]

mod wire;

macro_rules! attacks {
    ($($name:ident),+ $(,)?) => {
        mod attacks { $(pub mod $name;)+ }
        vespiary_sdk::tool_plugin!($(attacks::$name::$name),+);
    };
}

attacks!(
    loopback_spellings,
    private_ranges,
    metadata_address,
    name_to_private,
    rebinding,
    redirect_to_private,
    header_smuggling,
    line_breaks,
    userinfo,
    path_escape,
    method_case,
    port_confusion,
    other_schemes,
    huge_body,
    ignores_the_limit,
    slow_drip,
    never_answers,
    informational_flood,
    huge_headers,
    gzip_bomb,
    short_response,
    lying_length,
    upload_flood,
    request_flood,
    many_open,
    secret_in_url,
    secret_in_body,
    secret_in_wrong_header,
    secret_to_wrong_host,
    secret_echoed,
    nothing_granted,
    granted,
);
