#!/usr/bin/env bats
# Patched sites: whatever meets a thread there finds the program, before the access or behind it.

setup_file() {
    dtc -q -I dts -O dtb -o "$BATS_FILE_TMPDIR/map.dtb" "${BATS_TEST_DIRNAME}/guests/b_scratch.dts"
}

setup() {
    load common
    cd "$BATS_TEST_TMPDIR"
    export MMIOSHIM_MAP=$BATS_FILE_TMPDIR/map.dtb MMIOSHIM_LOG=none
}

# inject MODE [FORM...]: no failure; every form took at least 80 instructions, so that it was patched and stepped through
inject() {
    run --separate-stderr shim timeout -s KILL 100 "$GUESTS/f_inject" "$@"
    [ "$status" = 0 ] || fail "$status: $output"
    [[ $output =~ ^$1:\ ([0-9]+)\ forms,\ 0\ failures,\ ([0-9]+)\ reads,\ ([0-9]+)\ writes$ ]] || fail "$output"
    [ "${#stderr_lines[@]}" = "${BASH_REMATCH[1]}" ] || fail "$stderr"
    [ "${BASH_REMATCH[1]}" -ge "$(($# > 1 ? $# - 1 : 40))" ] || fail "$output"
    reads=${BASH_REMATCH[2]} writes=${BASH_REMATCH[3]}
    ! grep -vE ': ([89][0-9]|[0-9]{3,}) injections' <<< "$stderr" || fail "$stderr"
}

# counted MODE [FORM...]: the same with a transcript, in which the accesses are as many as the guest has made
counted() {
    export MMIOSHIM_LOG=$BATS_TEST_TMPDIR/log MMIOSHIM_LOG_FILTER=device=uart*,op=write,addr=0x10000007-0x10000007
    inject "$@"
    assert_count 1 "^\[EXIT\] $((reads + writes)) accesses \($reads reads, $writes writes\), 0 lint, 0 lost$" "$MMIOSHIM_LOG"
}

@test "a signal at every instruction of an access of any kind: registers, flags, vectors, memory, mask, stack" {
    inject plain
}

@test "on the alternate stack, with SA_NODEFER and a handler that raises the signal again" {
    inject onstack load add store_rax followed movaps load_base_rsp
    inject nodefer load add store_rax followed movaps load_base_rsp
}

@test "three signals at once at every instruction" {
    inject several load load_over_base add xadd store_rax followed update movaps
}

@test "a second signal at every instruction between one and its handler" {
    inject entry load
}

@test "a SIGSEGV that somebody sends, at every instruction" {
    inject segv load load_over_base add xadd store_rax followed update movaps
}

@test "handlers that leave by siglongjmp: the access was made, or was not" {
    inject jump load load_over_base adc xadd store_rax followed movaps movdqu_to
}

@test "a profiler calls backtrace at every instruction: the frames are the program's" {
    inject profile load load_base_rsp add store_rax followed followed_short movaps
}

@test "stopped, interrupted by a tracer, or left by it, at every instruction" {
    inject stop load add store_rax followed movaps
    inject detach load add store_rax followed # not the long way: a pushfq that is stepped over leaves the trap flag behind
}

@test "with a transcript: every access is in it once" {
    counted plain load add store_rax followed update movaps
    counted several load add store_rax
    counted jump load add store_rax
}

@test "a program dies at a patched site: at the instruction, with its registers, and the text is the file's" {
    run --separate-stderr shim timeout -s KILL 100 "$GUESTS/f_inject" fault
    assert_success
    [[ $output =~ ^fault:\ ([0-9]+)\ forms,\ 0\ failures, ]] || fail "$output"
    ((BASH_REMATCH[1] >= 40)) || fail "$output"
    [ "$(grep -cE ': [23] faults$' <<< "$stderr")" = "${BASH_REMATCH[1]}" ] || fail "$stderr"
}

# patched ACTION ACCESSES: what may be different where a hot access was replaced by a jump
patched() {
    export MMIOSHIM_LOG=$BATS_TEST_TMPDIR/log MMIOSHIM_LOG_FILTER=device=uart*,op=write,addr=0x10000007-0x10000007
    run --separate-stderr shim timeout -s KILL 100 "$GUESTS/h_patched" "$1"
    [ "$status" = 0 ] || fail "$status: $stderr"
    assert_count 1 "^\[EXIT\] $2 accesses \(" "$MMIOSHIM_LOG"
}

@test "text is made writable when no descriptor can be had: what stands there still works" {
    patched descriptors 202
}

@test "a task with the storage of the thread that made it: both run what was patched" {
    patched shared 100
}

@test "signals while a patched store waits for its device: the flags behind it are the program's" {
    patched waits 110
}

@test "text that is patched and taken back, over and over, while threads run in it" {
    for how in '' advice; do
        run --separate-stderr shim timeout -s KILL 100 "$GUESTS/h_patched" comes 1000 $how
        [ "$status" = 0 ] || fail "$how: $status: $stderr"
    done
}

@test "a hot store with DF set: the device runs as if it were clear, and the program finds it set" {
    export MMIOSHIM_ATTACH=virtio_mmio@10001000=rng
    patched direction 700
    run --separate-stderr shim MMIOSHIM_LOG=none timeout -s KILL 100 "$GUESTS/h_patched" direction
    [ "$status" = 0 ] || fail "$status: $stderr"
    run --separate-stderr shim MMIOSHIM_LOG=ring MMIOSHIM_LOG_FORMAT=ring timeout -s KILL 100 "$GUESTS/h_patched" direction
    [ "$status" = 0 ] || fail "$status: $stderr"
}

@test "no address space is left for trampolines: the program runs on, without looking for some at every site" {
    patched confined 16002
}
