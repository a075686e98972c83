#!/usr/bin/env bats
# Programs under tools that run them in their own way.

setup_file() {
    sh "$BATS_TEST_DIRNAME/../deps.sh" valgrind linux-perf >&3
}

setup() {
    load ../common
    D=$GUESTS/e_debug
}

@test "valgrind: the program runs, with every access" {
    log=$BATS_TEST_TMPDIR/log
    run --separate-stderr env LD_PRELOAD="$LIB" MMIOSHIM_LOG="$log" timeout 60 valgrind -q "$D" steps
    assert_success
    assert_output 'total 10'
    assert_count 1 '^\[EXIT\] 15 accesses \(5 reads, 10 writes\), 0 lint, 0 lost$'
}

@test "perf record -g: the program runs, with every access" {
    log=$BATS_TEST_TMPDIR/log
    perf record -q -o "$BATS_TEST_TMPDIR/try" true 2> /dev/null || skip "perf may not record here"
    run --separate-stderr env MMIOSHIM_LOG="$log" LD_PRELOAD="$LIB" perf record -q -g -o "$BATS_TEST_TMPDIR/data" "$D" steps
    assert_success
    assert_output 'total 10'
    assert_count 1 '^\[EXIT\] 15 accesses \(5 reads, 10 writes\), 0 lint, 0 lost$'
}
