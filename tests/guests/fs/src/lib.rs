//! Tools that attack the files of a cell. Each attack is one file of `attacks/`, one tool of the same name, and one test in
//! `tests/hostile/filesystem.rs`. An attack tries what it can, one way after the other, and succeeds with its loot as soon as
//! one gets through; where all are refused it fails with the refusals, one for each way.
#![cfg(target_family = "wasm")]
#![allow(missing_docs, unreachable_pub, reason = "each file says what it attacks; nobody imports them")]

mod siege;

macro_rules! attacks {
    ($($name:ident),+ $(,)?) => {
        mod attacks { $(pub mod $name;)+ }
        vespiary_sdk::tool_plugin!($(attacks::$name::$name),+);
    };
}

attacks!(
    append_flood,
    backslashes,
    batch_of_hidden,
    case_tricks,
    deep_paths,
    directory_flood,
    doubled_slashes,
    encoded_dots,
    existence_oracle,
    file_flood,
    glob_edges,
    guessed_descriptors,
    hidden_by_directory_handle,
    hidden_by_link,
    hidden_by_listing,
    hidden_by_moving,
    hidden_by_name,
    hidden_by_spelling,
    hidden_made,
    hole_by_link,
    hole_by_moving,
    hooks_planted,
    link_chains,
    link_flood,
    link_moved_out,
    links_made_out,
    listing_flood,
    long_names,
    nul_in_names,
    odd_bytes_in_names,
    open_flood,
    proc_links,
    reader_that_writes,
    rewrite_flood,
    second_names,
    set_size_bomb,
    sibling_of_a_file,
    slash_after_a_file,
    sparse_bomb,
    special_files,
    stream_past_quota,
    times_of_hidden,
    used_after_drop,
);
