#!/usr/bin/env bats
# Threads, coroutines, exceptions, and the moments before and after main. What the CPU holds across an access.

setup() {
    load common
    T=$GUESTS/b_threads
}

# quiet COUNT PROGRAM ACTION...: succeeds, silently, with so many accesses ("-": as many as there are event lines)
quiet() {
    local count=$1

    shift
    logged MMIOSHIM_BACKTRACE=4 timeout 30 "$@"
    assert_equal "$stderr" ""
    assert_success
    [ "$count" != - ] || count=$(grep -c '^\[MMIO\]' "$log")
    assert_count 1 "^\[EXIT\] $count accesses \(.*\), 0 lint, 0 lost\$"
    assert_count "$count" '^\[MMIO\]'
    assert_ended
}

@test "2000 short threads, 4 and 25 at once: nothing adds up" {
    quiet 2000 "$T" many 2000 4
    quiet 2000 "$T" many 2000 25
}

@test "500 detached threads" {
    quiet 500 "$T" detached 500
}

@test "threads with stacks of 16 KiB, also with faults and handlers of their own" {
    quiet 2002 "$T" small
    quiet 4002 "$T" small faults
}

@test "pthread_cancel, deferred and asynchronous, in the middle of accesses" {
    quiet - "$T" cancel
    quiet - "$T" cancel asynchronous
}

@test "thrd_create" {
    quiet 100 "$T" c11
}

@test "coroutines of makecontext on stacks of 16 KiB" {
    quiet 802 "$T" coroutines
}

@test "fork in a thread while others are inside of accesses" {
    quiet - "$T" forks
}

@test "signals to threads that are inside of accesses, with handlers that use the device" {
    quiet - "$T" kill
}

@test "a constructor before main, atexit, a destructor" {
    logged MMIOSHIM_BACKTRACE=1 "$T" life
    assert_success
    assert_equal "$(stacks | grep -v '^\[DIRTY\]\|^\[EXIT\]')" "$(cat <<'END'
[MMIO] trap at 0x10000007 -> uart@10000000 SCR write1 0x1 #1
    at before_main+0x (b_threads)
[MMIO] trap at 0x10000007 -> uart@10000000 SCR read1 0x1 #2
    at life+0x (b_threads)
[MMIO] trap at 0x10000007 -> uart@10000000 SCR write1 0x2 #3
    at life+0x (b_threads)
[MMIO] trap at 0x10000007 -> uart@10000000 SCR write1 0x3 #4
    at at_exit+0x (b_threads)
[MMIO] trap at 0x10000007 -> uart@10000000 SCR write1 0x4 #5
    at after_main+0x (b_threads)
END
)"
    assert_ended
}

@test "exceptions through frames that use windows, also in eight threads" {
    quiet 7000 "$GUESTS/b_cxx" exceptions
    quiet 7600 "$GUESTS/b_cxx" threads
}

@test "thread_local objects whose destructors use the device; cancellation through destructors" {
    quiet 101 "$GUESTS/b_cxx" locals
    quiet - "$GUESTS/b_cxx" cancel
}

@test "an exception that nobody catches ends the program as it does without us" {
    run --separate-stderr shim MMIOSHIM_LOG=none "$GUESTS/b_cxx" uncaught
    assert_failure 134
    assert_equal "$stderr" "$(printf "terminate called after throwing an instance of 'std::logic_error'\n  what():  nobody catches this")"
}

@test "the unwinder of C++ programs is libgcc's" {
    logged LD_DEBUG=bindings LD_DEBUG_OUTPUT="$BATS_TEST_TMPDIR/ld" "$GUESTS/b_cxx" plain
    assert_failure 7
    cat "$BATS_TEST_TMPDIR"/ld.* > "$BATS_TEST_TMPDIR/bindings"
    run grep -hE "libstdc\+\+\.so\.6 .*symbol \`_Unwind_" "$BATS_TEST_TMPDIR/bindings"
    assert_success
    assert_line --partial '_Unwind_RaiseException'
    assert_equal "$(grep -vc 'libgcc_s\.so\.1 \[0\]' <<< "$output")" 0
    # Nothing that we brought along serves the program.
    run grep -E 'to .*(libunwind|libZydis)[^ ]* \[0\]' "$BATS_TEST_TMPDIR/bindings"
    refute_line --regexp 'file (/usr)?/lib/.*(libstdc|libc\.so|libgcc).* to .*(libunwind|libZydis)'
}

@test "the library exports nothing of libunwind, Zydis or libfdt" {
    run nm -D --defined-only "$LIB"
    assert_success
    refute_output --regexp ' _?(unw_|_U|Zy|fdt_|_Unwind|backtrace)'
    assert_output --partial mmioshim_active
}

# --- what an access leaves alone ---

@test "general registers, and flags with each value, across loads, stores and inc" {
    dtc -q -I dts -O dtb -o "$BATS_TEST_TMPDIR/map.dtb" "$ROOT/tests/guests/b_scratch.dts"
    run --separate-stderr env B_PLAIN=1 "$GUESTS/b_state" registers
    assert_success
    quiet 320 env MMIOSHIM_MAP="$BATS_TEST_TMPDIR/map.dtb" LD_PRELOAD="$LIB" "$GUESTS/b_state" registers
}

@test "flags that arithmetic on a window sets" {
    run --separate-stderr env B_PLAIN=1 "$GUESTS/b_state" flags
    assert_success
    quiet - "$GUESTS/b_state" flags
}

@test "ymm registers, MXCSR and the x87 control word; 32-byte moves" {
    dtc -q -I dts -O dtb -o "$BATS_TEST_TMPDIR/map.dtb" "$ROOT/tests/guests/b_scratch.dts"
    grep -q avx2 /proc/cpuinfo || skip "this CPU has no AVX2"
    logged MMIOSHIM_MAP="$BATS_TEST_TMPDIR/map.dtb" "$GUESTS/b_state" vectors
    assert_equal "$stderr" ""
    assert_success
    assert_count 1 '\+0x0 write32 0x'
    assert_ended
}

# enabled ACTION [stack] [tiles]: as in memory; with a transcript and without one
enabled() {
    local plain

    run --separate-stderr env B_PLAIN=1 timeout 30 "$GUESTS/i_vectors" "$@"
    assert_success
    plain=$output
    [[ $plain =~ ^$1:\ components\ 0x[0-9a-f]+,\ all\ handled,\ PKRU\ of\ handlers\ 0x[0-9a-f]+$ ]] || fail "$plain"
    for log in none "$BATS_TEST_TMPDIR/log"; do
        run --separate-stderr shim MMIOSHIM_LOG="$log" MMIOSHIM_MAP="$map" timeout 30 "$GUESTS/i_vectors" "$@"
        assert_equal "$stderr" ""
        assert_success
        assert_equal "$output" "$plain"
    done
}

@test "everything that XCR0 enables, PKRU and tiles too, across signals in calls, around hot accesses, and of own faults" {
    map=$BATS_TEST_TMPDIR/map.dtb
    dtc -q -I dts -O dtb -o "$map" "$ROOT/tests/guests/b_scratch.dts"
    for action in call access fault; do
        enabled $action
        enabled $action stack
        enabled $action tiles
        enabled $action stack tiles
    done
}

@test "the red zone" {
    quiet 400 "$GUESTS/b_state" red-zone
}

@test "errno, also over output to the host end" {
    quiet 400 "$GUESTS/b_state" errno
    assert_equal "${#output}" 100
    assert_count 1 '^\[DIRTY\] [a-z]+: 100 of 131072 pages'
}
