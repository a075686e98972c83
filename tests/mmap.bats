#!/usr/bin/env bats
# Mappings of the machine behave as mappings of a file do; and where the program puts something else, the machine is gone.

setup() {
    load common
    M=$GUESTS/d_mmap
    bitmap=$BATS_TEST_TMPDIR/dirty
    machine=mmap-$$-$BATS_TEST_NUMBER
}

teardown() {
    "$CMD" machine rm "$machine" > /dev/null 2>&1 || true
}

modes() {
    if shim MMIOSHIM_DIRTY_MODE=uffd MMIOSHIM_LOG=none true 2> /dev/null; then
        echo uffd mprotect off
    else
        echo mprotect off
    fi
}

# does MODE ACTION...: silently
does() {
    local mode=$1

    shift
    rm -f "$bitmap"
    logged MMIOSHIM_DIRTY="$bitmap" MMIOSHIM_DIRTY_MODE="$mode" MMIOSHIM_BACKTRACE=0 timeout 30 "$M" "$@"
    assert_equal "$mode $stderr" "$mode "
    assert_equal "$mode $status" "$mode 0"
}

# dirties PAGES ACTION...: in each mode that knows, exactly these pages
dirties() {
    local pages=$1

    shift
    for mode in $(modes); do
        does "$mode" "$@"
        [ "$mode" = off ] || assert_equal "$mode $(dirty_pages "$bitmap")" "$mode $pages"
    done
}

@test "fifteen sets of operations say the same of /dev/mem and of a file in memory, in each dirty mode" {
    for mode in $(modes); do
        does "$mode" compare
        assert_output 15
    done
}

@test "the same where RAM is the file of a named machine" {
    export MMIOSHIM_MACHINE=$machine
    for mode in $(modes); do
        does "$mode" compare
        assert_output 15
        "$CMD" machine rm "$machine"
    done
}

@test "memory of the program's own over RAM and over a window is memory: no event, no trap, its own protection" {
    dirties '0x80000000 0x80002000' over
    assert_events <<'END'
[MMIO] trap at 0x10000007 -> uart@10000000 SCR write1 0x41 #1
[EXIT] 1 accesses (0 reads, 1 writes), 0 lint, 0 lost
END
}

@test "windows: protected, given back, mapped again, moved; /dev/mem still reaches the device" {
    dirties '' windows
    assert_events <<'END'
[MMIO] trap at 0x10000007 -> uart@10000000 SCR write1 0x41 #1
[MMIO] trap at 0x10000007 -> uart@10000000 SCR read1 0x41 #2
[MMIO] trap at 0x10000007 -> uart@10000000 SCR read1 0x41 #3
[MMIO] trap at 0x10000007 -> uart@10000000 SCR read1 0x41 #4
[MMIO] trap at 0x10000007 -> uart@10000000 SCR write1 0x42 #5
[MMIO] trap at 0x10000007 -> uart@10000000 SCR write1 0x43 #6
[MMIO] trap at 0x10000007 -> uart@10000000 SCR read1 0x43 #7
[MMIO] trap at 0x10001000 -> virtio_mmio@10001000 MagicValue read4 0x74726976 #8
[EXIT] 8 accesses (5 reads, 3 writes), 0 lint, 0 lost
END
}

@test "mlock, protection keys, remap_file_pages and shmat: windows are mappings of a device" {
    dirties '0x80000000 0x80001000 0x80003000' calls
    assert_events <<'END'
[MMIO] trap at 0x10000007 -> uart@10000000 SCR write1 0x31 #1
[MMIO] trap at 0x10000007 -> uart@10000000 SCR read1 0x31 #2
[MMIO] trap at 0x10001000 -> virtio_mmio@10001000 MagicValue read4 0x74726976 #3
[MMIO] trap at 0x10000007 -> uart@10000000 SCR read1 0x31 #4
[EXIT] 4 accesses (3 reads, 1 writes), 0 lint, 0 lost
END
}

@test "a window that was given back: the program dies of its access, as without us" {
    logged MMIOSHIM_BACKTRACE=0 "$M" dies
    assert_equal "$status" 139
    assert_count 0 '^\[MMIO\]'
    assert_count 1 '^\[FAULT\] read1 0x10000005 '
}

@test "RAM at its address: closed and opened again, in children; MADV_REMOVE is a write; mlockall" {
    dirties '0x80000000 0x80020000' home
    assert_count 1 '^\[MMIO\]'
}

@test "20000 mappings and a heap of 256 MB never land in RAM or in a window" {
    dirties '0x80000000' elsewhere
    assert_count 2 '^\[MMIO\]'
}
