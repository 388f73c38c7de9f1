//! Hostile tools. Each attack is one file of `attacks/`, one tool of the same name, and one test in `tests/hostile/`. An
//! attack that gets through says so by succeeding with what it took; a wall shows as the failure the file's first lines name.
#![cfg(target_family = "wasm")]
#![allow(missing_docs, unreachable_pub, reason = "each file says what it attacks; nobody imports them")]

mod wasi;

macro_rules! attacks {
    ($($name:ident),+ $(,)?) => {
        mod attacks { $(pub mod $name;)+ }
        vespiary_sdk::tool_plugin!($(attacks::$name::$name),+);
    };
}

attacks!(
    read_dotdot,
    read_absolute,
    read_symlink_out,
    read_proc,
    link_then_read,
    hardlink_out,
    rename_out,
    write_readonly,
    delete_readonly,
    open_fifo,
    open_many_files,
    environment,
    standard_input,
    endless_loop,
    endless_sleep,
    memory_growth,
    deep_recursion,
    huge_result,
    invalid_json_result,
    log_flood,
    stdout_flood,
    progress_flood,
    artifact_flood,
    artifact_bad_name,
    log_escapes,
    panic_with_words,
    neighbour,
);
