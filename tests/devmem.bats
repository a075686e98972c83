#!/usr/bin/env bats
# /dev/mem is the machine: opened, mapped, copied and inherited in every way that programs use.

setup() {
    load common
    D=$GUESTS/b_devmem
    map=$BATS_TEST_TMPDIR/map.dtb
    dtc -q -I dts -O dtb -o "$map" "$ROOT/tests/guests/b_scratch.dts"
}

# quiet COUNT ACTION...
quiet() {
    local count=$1

    shift
    logged MMIOSHIM_MAP="$map" MMIOSHIM_BACKTRACE=0 timeout 20 "$D" "$@"
    assert_equal "$stderr" ""
    assert_success
    assert_count 1 "^\[EXIT\] $count accesses"
    assert_ended
}

@test "busybox devmem writes in one process and reads in the next, at every width" {
    logged MMIOSHIM_MAP="$map" MMIOSHIM_BACKTRACE=0 sh -c '
        busybox devmem 0x40000008 64 0x1122334455667788
        for width in 8 16 32 64; do busybox devmem 0x40000008 $width; done
        busybox devmem 0x4000000a 16 0xabcd
        busybox devmem 0x40000008 64'
    assert_success
    assert_output "$(printf '0x88\n0x7788\n0x55667788\n0x1122334455667788\n0x11223344ABCD7788')"
    assert_equal "$(accesses | sed 's/.*scratch@40000000 //')" "$(cat <<'END'
+0x8 write8 0x1122334455667788 #1
+0x8 read1 0x88 #2
+0x8 read2 0x7788 #3
+0x8 read4 0x55667788 #4
+0x8 read8 0x1122334455667788 #5
+0xa write2 0xabcd #6
+0x8 read8 0x11223344abcd7788 #7
END
)"
    assert_count 1 '^\[DIRTY\] [a-z]+: 0 of 4352 pages$'
    assert_ended
}

@test "busybox devmem on RAM: silent, dirty, in both banks" {
    logged MMIOSHIM_MAP="$map" sh -c '
        busybox devmem 0x80003100 32 0xdeadbeef; busybox devmem 0x80003100 32
        busybox devmem 0x900ff000 8 0x7f; busybox devmem 0x900ff000 8; busybox devmem 0x80004000 32'
    assert_success
    assert_output "$(printf '0xDEADBEEF\n0x7F\n0x00000000')"
    assert_count 0 '^\[MMIO\]'
    assert_count 1 '^\[DIRTY\] [a-z]+: 2 of 4352 pages: 0x80003000-0x80003fff 0x900ff000-0x900fffff$'
    assert_ended
}

@test "LSR by devmem, as the first thing a user types" {
    run --separate-stderr shim busybox devmem 0x10000005 8
    assert_success
    assert_output 0x60
}

@test "open, open64, openat, openat64, the fortified ones, relative names" {
    run nm -D "$D"
    for name in __open_2 __open64_2 __openat_2 __openat64_2; do
        assert_output --partial "$name"
    done
    quiet 28 opens
}

@test "mappings at an offset, several, in part given back, overlaid" {
    quiet 20 shapes
}

@test "one mapping over several models and a hole" {
    quiet 6 spans
    assert_count 1 'virtio_mmio@10001000 MagicValue read4 0x74726976 #3$'
    assert_count 1 '0x1000f000 .*read4 0xffffffff unassigned #5$'
    assert_count 1 '0x1000f000 .*write4 0x1 unassigned #6$'
}

@test "RAM through a mapping is the RAM at its address, and counts as dirty, in each dirty mode" {
    for mode in auto mprotect; do
        logged MMIOSHIM_MAP="$map" MMIOSHIM_DIRTY_MODE=$mode MMIOSHIM_DIRTY="$BATS_TEST_TMPDIR/dirty" "$D" ram
        assert_equal "$stderr" ""
        assert_success
        assert_equal "$(dirty_pages "$BATS_TEST_TMPDIR/dirty")" "0x80003000 0x80005000 0x80007000 0x80009000"
        assert_count 0 '^\[MMIO\]'
    done
}

@test "dup, dup2, dup3, fcntl, a socket, fork: copies of the descriptor are the device" {
    quiet 14 copies
}

@test "a descriptor that lives through exec, among twenty others" {
    quiet 2 pass
}

@test "mappings for reading: writes fault, as the program's own; mprotect; descriptors for reading" {
    quiet 17 protections
    logged MMIOSHIM_MAP="$map" MMIOSHIM_DIRTY_MODE=mprotect "$D" protections
    assert_equal "$stderr" ""
    assert_success
}

@test "what mmap refuses it refuses here" {
    run --separate-stderr shim MMIOSHIM_LOG=none "$D" refusals
    assert_equal "$stderr" ""
    assert_success
}

@test "mapped and given back 3000 times" {
    quiet 1501 often
}

@test "the real /dev/mem is never opened" {
    run strace -f -e trace=open,openat -o "$BATS_TEST_TMPDIR/trace" env LD_PRELOAD="$LIB" MMIOSHIM_LOG=none busybox devmem 0x10000005 8
    assert_success
    assert_output 0x60
    run grep -c '"/dev/mem"' "$BATS_TEST_TMPDIR/trace"
    assert_output 0
}

@test "python3: mmap of /dev/mem" {
    logged MMIOSHIM_MAP="$map" python3 - <<'END'
import mmap, os
fd = os.open('/dev/mem', os.O_RDWR | os.O_SYNC)
uart = mmap.mmap(fd, 4096, offset=0x10000000)
uart[7] = 0x5b
ram = mmap.mmap(fd, 8192, offset=0x80000000)
ram[4096:4100] = b'abcd'
print(hex(uart[7]), hex(uart[5]), ram[4096:4100])
END
    assert_equal "$stderr" ""
    assert_success
    assert_output "0x5b 0x60 b'abcd'"
    assert_count 1 'SCR write1 0x5b #1$'
    assert_count 1 '^\[DIRTY\] [a-z]+: 1 of 4352 pages: 0x80001000-0x80001fff$'
}
