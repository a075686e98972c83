#!/usr/bin/env bats
# A window whose device is memory is like memory: large operands, operands that run over its end, faults. B_PLAIN=1
# runs the guest on ordinary memory, without the library; what it checks must hold there as well.

setup() {
    load common
    map=$BATS_TEST_TMPDIR/map.dtb
    dtc -q -I dts -O dtb -o "$map" "$ROOT/tests/guests/b_scratch.dts"
}

# same ACTION: it succeeds on ordinary memory, and on the window
same() {
    run --separate-stderr env B_PLAIN=1 "$GUESTS/b_window" "$1"
    assert_equal "$stderr" ""
    assert_success
    logged MMIOSHIM_MAP="$map" MMIOSHIM_BACKTRACE=0 timeout 60 "$GUESTS/b_window" "$1"
    assert_equal "$stderr" ""
    assert_success
    assert_count 1 '^\[EXIT\] [0-9]+ accesses \(.*\), 0 lint, 0 lost$'
    assert_ended
}

has() {
    for flag; do
        grep -qw "$flag" /proc/cpuinfo || skip "this CPU has no $flag"
    done
}

@test "xsave, xsaveopt, xsavec and xrstor: the image in a window is the image in memory" {
    has xsaveopt xsavec
    same states
}

@test "an operand that runs over the end writes nothing, and faults are those of memory" {
    has xsave
    same faults
    # The stores that fault are no events: prefill's, the values put in and the two good moves remain.
    assert_count 0 '\+0x3ff[c-f] write'
}

@test "sgdt, sidt, smsw, str and sldt store what they store in memory" {
    has umip
    same tables
}

@test "AMX tiles in an image" {
    has amx_tile xsavec
    same tiles
}

@test "decode: what is refused, and why" {
    run "$CMD" decode 8e20 0fc728 ff28
    assert_success
    assert_line --index 1 "    kind: refused: fs load: fs is the thread's data"
    assert_line --index 4 "    kind: refused: privileged instruction"
    assert_line --index 7 "    kind: refused: far transfer"
}

@test "decode: the xsave family and segment loads" {
    run "$CMD" decode 480fae20 0fae28 8e18
    assert_success
    assert_line --index 1 "    kind: re-executed as far as ymm, other components copied"
    assert_line --index 2 "    operand: read, then write 576 bytes and the components that edx:eax asks for"
    assert_line --index 3 "    stub: 48 0f ae 26  xsave64 [rsi]"
    assert_line --index 8 "    operand: read 576 bytes and the components that edx:eax asks for"
    assert_line --index 11 "    state saved: x87, SSE, AVX"
    assert_line --index 13 "    kind: re-executed"
}
