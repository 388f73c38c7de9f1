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
    quick_then_slow,
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
    tiny_allocations,
    log_empty_lines,
    log_one_message,
    log_huge_message,
    stderr_without_end,
    empty_writes,
    progress_without_words,
    progress_huge_note,
    artifact_crowd,
    artifact_same_name,
    artifact_unfinished,
    artifact_dropped,
    result_of_length,
    result_deeply_nested,
    result_odd_numbers,
    result_with_returns,
    sleep_in_many,
    sleep_past_the_end,
    sleep_in_turns,
    poll_crowd,
    poll_nothing,
    preopen_crowd,
    random_flood,
    random_without_end,
    exit_happily,
    exit_in_anger,
    input_without_end,
    unknown_flags,
    terminal,
    error_escapes,
    print_escapes,
    log_forged_record,
    artifact_hostile_types,
    neighbour,
);
