#!/usr/bin/env bats
# A window as the buffer of a system call: copied through its device, with one line of lint, never EFAULT.

setup() {
    load common
    B=$GUESTS/d_buffers
    export MMIOSHIM_MAP=$(dtb scratch < "$ROOT/tests/guests/b_scratch.dts")
    file=$BATS_TEST_TMPDIR/file
}

# buffers LINT ACTION...: silently; the transcript has so many lines of lint, and counts them
buffers() {
    local lint=$1

    shift
    logged MMIOSHIM_BACKTRACE=0 timeout 20 "$B" "$@"
    assert_equal "$stderr" ""
    assert_success
    assert_count "$lint" '^\[LINT\] call-buffer scratch@40000000: '
    assert_count 1 "^\[EXIT\] .*, $lint lint, 0 lost$"
}

@test "write, pwrite, read, pread, by name and by syscall(): every byte, and lint says so" {
    buffers 6 plain "$file"
    assert_count 1 '^\[LINT\] call-buffer scratch@40000000: write with a buffer in a window: copied through the device$'
    assert_count 1 'call-buffer scratch@40000000: pwrite with'
    assert_count 3 'call-buffer scratch@40000000: pread with'
    # 16 bytes are four accesses of four bytes: write, pwrite (12), then three reads of 16 and one of 8 bytes, which is one access
    assert_count 7 '^\[MMIO\] .* read4 '
    assert_count 12 '^\[MMIO\] .* write4 '
    assert_count 1 '^\[MMIO\] .* write8 '
}

@test "readv, writev, preadv, pwritev over the stack, a window and RAM" {
    buffers 4 vectors "$file"
    assert_count 1 '^\[DIRTY\] .* 1 of [0-9]* pages: 0x80000000-0x80000fff$'
}

@test "the same where dirty pages are tracked by mprotect" {
    MMIOSHIM_DIRTY_MODE=mprotect buffers 4 vectors "$file"
    assert_count 1 '^\[DIRTY\] mprotect: 1 of [0-9]* pages: 0x80000000-0x80000fff$'
}

@test "fwrite and fread" {
    buffers 2 stream "$file"
    assert_equal "$(stat -c %s "$file")" 8192
}

@test "send, recv, sendmsg, recvmsg: datagrams stay whole" {
    buffers 5 sockets
}

@test "a read into a window waits, is interrupted, and restarts as any other" {
    run --separate-stderr shim MMIOSHIM_BACKTRACE=0 MMIOSHIM_LOG=none timeout 20 "$B" interrupted
    assert_equal "$stderr" ""
    assert_success
}

@test "errors are the kernel's" {
    logged MMIOSHIM_BACKTRACE=0 timeout 20 "$B" bad
    assert_equal "$stderr" ""
    assert_success
}
