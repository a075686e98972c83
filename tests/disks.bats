#!/usr/bin/env bats
# Host ends of virtio disks beside the plain file, whoever serves them: a real driver (examples/virtio-blk.c) in front.

setup() {
    load common
    cd "$BATS_TEST_TMPDIR"
    DRIVER=$ROOT/examples/virtio-blk
    export DRIVER
}

attach() {
    export MMIOSHIM_ATTACH=virtio_mmio@10001000=$1
}

# driver ARGUMENT...: under the library, without a transcript
driver() {
    shim MMIOSHIM_LOG=none "$DRIVER" "$@"
}

# sectors COUNT: as many sectors that all differ
sectors() {
    python3 -c 'import sys
for i in range(int(sys.argv[1])): sys.stdout.buffer.write((b"sector %08d " % i) * 31 + b"." * 16)' "$1"
}

@test "memory: zeroes, then what was written, for all processes of the machine and no other" {
    attach blk:memory,size=64K,serial=RAMDISK
    logged "$DRIVER"
    assert_success
    assert_output $'RAMDISK: 128 sectors\nthe last sector holds what was written'
    sectors 100 > image
    run --separate-stderr shim MMIOSHIM_LOG=none bash -c \
        '"$DRIVER" read 0 128 | cmp - <(head -c 65536 /dev/zero) && "$DRIVER" write 20 < image && "$DRIVER" read 20 100 | cmp - image &&
        (cd /; unset MMIOSHIM_ATTACH; "$DRIVER" read 20 100) | cmp - image'
    assert_success
    driver read 0 128 | cmp - <(head -c 65536 /dev/zero)
}

@test "memory: two disks are two, and RAM is none of them" {
    export MMIOSHIM_ATTACH="virtio_mmio@10002000=blk:memory,size=1G;virtio_mmio@10001000=blk:memory,size=512"
    logged "$DRIVER"
    assert_success
    assert_output $'mmioshim: 1 sectors\nthe last sector holds what was written'
    export MMIOSHIM_ATTACH="virtio_mmio@10002000=blk:memory,size=1G"
    logged "$DRIVER"
    assert_success
    assert_output $'mmioshim: 2097152 sectors\nthe last sector holds what was written'
    assert_count 1 '^\[DIRTY\] [a-z]+: 2 of 131072 pages: 0x80100000-0x80101fff$'
}

@test "memory: a named machine keeps it until it is removed" {
    name=disk-$$-$BATS_TEST_NUMBER
    sectors 8 > image
    attach blk:memory,size=4K
    driver_of() { shim MMIOSHIM_MACHINE=$name MMIOSHIM_LOG=none "$DRIVER" "$@"; }
    driver_of write 0 < image
    unset MMIOSHIM_ATTACH
    driver_of read 0 8 | cmp - image
    "$CMD" machine rm "$name"
    attach blk:memory,size=4K
    driver_of read 0 8 | cmp - <(head -c 4096 /dev/zero)
    "$CMD" machine rm "$name"
}

@test "memory: sizes that cannot be" {
    for wrong in memory memory,readonly memory:x,size=4K memory,size= memory,size=0 memory,size=511 memory,size=4KB memory,size=2048G \
        memory,size=99999999999999999999 memory,size=-512; do
        attach "blk:$wrong"
        run --separate-stderr shim "$DRIVER"
        assert_refused 'virtio_mmio@10001000' 'size=BYTES'
    done
    attach blk:memory,size=4K,append
    run --separate-stderr shim "$DRIVER"
    assert_refused 'blk does not take this option'
}

@test "memory: read only, a disk of zeroes" {
    attach blk:memory,size=4K,readonly
    logged "$DRIVER"
    assert_output "mmioshim: 8 sectors, read only"
}
