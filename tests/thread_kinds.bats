#!/usr/bin/env bats
# Threads and stacks as small and as many as they get, threads that end in the middle of something, and those that libc
# knows nothing of.

setup() {
    load common
    load same
    T=$GUESTS/e_threads
}

# cxx COUNT ACTION: `same` with the guest in C++, which counts nothing
cxx() {
    local count=$1 plain

    shift
    run --separate-stderr env B_PLAIN=1 timeout -k 1 10 "$GUESTS/e_cxx" "$@"
    assert_success
    plain=$output
    logged MMIOSHIM_BACKTRACE=4 timeout -k 1 10 "$GUESTS/e_cxx" "$@"
    differs "$plain" "$output"
    assert_success
    assert_equal "$stderr" ""
    assert_count 1 "^\[EXIT\] $count accesses \(.*\), 0 lint, 0 lost\$"
    assert_count "$count" '^\[MMIO\]'
    assert_ended
}

# --- small stacks ---

@test "threads with stacks of PTHREAD_STACK_MIN, and with 16 KiB of their own between guard pages" {
    same 1600 "$T" minimal
}

@test "the same with own faults and signals handled on those stacks" {
    same 2400 "$T" minimal signals
}

@test "a ring of 64 coroutines on stacks of 8 and of 4 KiB" {
    same 2497 "$T" coroutines 8192
    same 2497 "$T" coroutines 4096
}

@test "coroutines whose uc_sigmask has SIGSEGV" {
    same 2497 "$T" coroutines 8192 masked
}

@test "alternate stacks a little above MINSIGSTKSZ, ending at a guard: accesses, own faults and signals on them" {
    same 300 "$T" altstacks
}

# --- many ---

@test "5000 short threads: VmRSS, mappings and descriptors do not grow" {
    same 5000 "$T" many 5000
}

# --- cancellation ---

@test "pthread_cancel in read, poll, sleep, pause and pthread_testcancel: cleanup handlers run and use the window" {
    same 250 "$T" cancel-calls
    assert_output 'cleaned 100'
}

@test "pthread_cancel, deferred and asynchronous, in a loop of accesses: cleanup handlers run, the device goes on" {
    for how in '' asynchronous; do
        logged MMIOSHIM_BACKTRACE=0 timeout -k 1 10 "$T" cancel-loops $how
        assert_success
        assert_equal "$stderr" ""
        assert_output 'cleaned 100'
        # How many the loops had, only the log knows.
        assert_count 100 'SCR read1 0x2 #'
        found=$(accesses | wc -l)
        assert_count 1 "^\[EXIT\] $found accesses \(100 reads, $((found - 100)) writes\), 0 lint, 0 lost\$"
        assert_ended
    done
}

# --- C++ ---

@test "C++ exceptions thrown, caught and thrown again through six frames that use a window" {
    cxx 2400 exceptions
}

@test "exceptions in eight threads at once, the last of each through its std::future" {
    cxx 4928 futures
}

@test "1600 exceptions in eight threads through frames that use nothing" {
    cxx 80 pure
    assert_output 'caught 1600'
}

@test "pthread_cancel in read and sleep: C++ destructors and catch (...) run" {
    cxx 240 cancel
    assert_output 'alive 0 destroyed 80'
}

@test "an exception thrown by the handler of a fault, through the frame of the signal" {
    cxx 400 handler
    assert_output 'caught 100 alive 0 destroyed 100'
}

@test "the unwinder that libstdc++ and libpthread's cancellation find is libgcc's" {
    LD_DEBUG=bindings LD_DEBUG_OUTPUT=$BATS_TEST_TMPDIR/ld cxx 240 cancel
    run grep -h "symbol \`_Unwind_" "$BATS_TEST_TMPDIR"/ld.*
    assert_line --regexp 'libstdc\+\+\.so\.6 .*_Unwind_Resume'
    assert_equal "$(grep -v '/libgcc_s\.so\.1 \[0\]: ' <<< "$output" | grep -E 'file (/[^ ]*/)?(libstdc\+\+|libc\.so|e_cxx|libgcc)')" ""
}

# --- without libc ---

@test "threads by a bare clone(): no libc in them, the stack of the program's choice" {
    same 1050 "$T" raw
    assert_output 'ran 50 mask 0'
}

@test "the same with SIGSEGV, or everything, blocked" {
    same 1050 "$T" raw masked
}

@test "threads by the function clone()" {
    same 1050 "$T" wrapped
}
