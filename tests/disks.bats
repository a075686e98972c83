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

# --- NBD ---

teardown() {
    [ -z "${SERVER:-}" ] || kill "$SERVER" 2> /dev/null || true
}

# serve COMMAND...: an NBD server, until its socket is there
serve() {
    rm -f sock
    "$@" 2> server.err 3>&- &
    SERVER=$!
    await sock
    export MARK=$BATS_TEST_TMPDIR
}

# nbdkit OPTION...: a server of image
nbdkit_file() {
    serve nbdkit -f -U "$BATS_TEST_TMPDIR/sock" "$@"
}

@test "nbd: a disk is the server's image, byte for byte; the program has no library for it" {
    sectors 600 > image
    nbdkit_file file image
    attach blk:nbd:sock,serial=FAR
    driver read 0 600 | cmp - image
    cp image before
    sectors 100 | tr s S > new
    driver write 17 < new
    cmp image <(head -c $((17 * 512)) before; cat new; tail -c +$((117 * 512 + 1)) before)
    logged "$DRIVER"
    assert_success
    assert_output $'FAR: 600 sectors\nthe last sector holds what was written'
    assert_equal "$(tail -c 512 image | tr -d Z | wc -c)" 0
    assert_count 1 '^\[DMA\] virtio_mmio@10001000 read 0x80101000\+512$'
    assert_count 1 '^\[DMA\] virtio_mmio@10001000 write 0x80101000\+512$'
    assert_count 1 '^\[DIRTY\] [a-z]+: 2 of 131072 pages: 0x80100000-0x80101fff$'
    run --separate-stderr shim MMIOSHIM_LOG=none cat /proc/self/maps
    refute_output --partial nbd
    shim MMIOSHIM_LOG=none bash -c '"$DRIVER" read 0 300; (unset MMIOSHIM_ATTACH; cd /; "$DRIVER" read 300 300 & wait)' | cmp - image
}

@test "nbd: a qcow2 image is what qemu-img says" {
    sectors 3000 > raw
    PATH=$PATH:/sbin
    truncate -s 2M fs
    mke2fs -q -L far-away fs
    qemu-img convert -O qcow2 fs image.qcow2
    serve qemu-nbd -k "$BATS_TEST_TMPDIR/sock" -f qcow2 -x some -t image.qcow2
    attach blk:nbd:sock,export=some
    driver read 0 4096 | cmp - fs
    driver write 1000 < raw
    driver read 1000 3000 | cmp - raw
    kill $SERVER
    wait $SERVER || true
    qemu-img convert -O raw image.qcow2 after
    cmp after <(head -c 512000 fs; cat raw; tail -c +$((4000 * 512 + 1)) fs)
}

@test "nbd: read only, and servers that cannot be used" {
    sectors 8 > image
    nbdkit_file -r file image
    attach blk:nbd:sock,readonly
    logged "$DRIVER"
    assert_output "mmioshim: 8 sectors, read only"
    attach blk:nbd:sock
    run --separate-stderr shim "$DRIVER"
    assert_refused 'cannot use .*/sock as a disk: it is read only; attach it with readonly'
    attach blk:nbd:nowhere
    run --separate-stderr shim "$DRIVER"
    assert_refused 'cannot use /.*/nowhere as a disk: .*No such file'
    for wrong in nbd nbd: nbd:,export=x; do
        attach blk:$wrong
        run --separate-stderr shim "$DRIVER"
        assert_refused 'nbd needs the path of a unix socket'
    done
    mkdir alone
    cp "$LIB" alone/
    attach blk:nbd:sock,readonly
    run --separate-stderr env LD_PRELOAD="$BATS_TEST_TMPDIR/alone/libmmioshim.so" true
    assert_refused 'nbd needs the program mmioshim-nbd beside libmmioshim.so'
}

@test "nbd: a server that is slow does not hold up accesses" {
    sectors 64 > image
    nbdkit_file --filter=delay file image rdelay=200ms
    attach blk:nbd:sock
    run --separate-stderr shim MMIOSHIM_LOG=none "$GUESTS/g_virtio_later" polls
    assert_success
    assert_output many
}

@test "nbd: a reset while requests are under way" {
    sectors 64 > image
    nbdkit_file --filter=delay file image rdelay=50ms
    attach blk:nbd:sock
    run --separate-stderr shim MMIOSHIM_LOG=none "$GUESTS/g_virtio_later" reset
    assert_equal "$stderr" ""
    assert_output "1 rounds"
}

@test "nbd: whoever is killed in the middle of requests, each ends once, and the program is told nothing" {
    sectors 64 > image
    nbdkit_file -t 1 --filter=delay file image rdelay=5ms wdelay=5ms # one thread: more trip over a connection that breaks
    attach blk:nbd:sock
    for victims in "" mmioshim-worker mmioshim-nbd "mmioshim-guard mmioshim-worker" "mmioshim-worker mmioshim-nbd"; do
        run --separate-stderr shim MMIOSHIM_LOG=none "$GUESTS/g_virtio_later" 3 $victims
        assert_equal "$stderr" ""
        assert_success
        assert_output "3 rounds"
    done
}

# left: processes of this test's machines
left() {
    for comm in /proc/[0-9]*/comm; do
        grep -qs '^mmioshim-' "$comm" || continue
        cat "${comm%comm}environ" "${comm%comm}cmdline" 2> /dev/null | grep -qa -- "$BATS_TEST_TMPDIR" && echo "$comm $(cat "$comm")"
    done
    true
}

@test "nbd: the helper ends with the machine" {
    sectors 64 > image
    nbdkit_file file image
    attach blk:nbd:sock
    driver read 0 64 | cmp - image
    for _ in $(seq 500); do
        [ -n "$(left)" ] || break
        sleep 0.02
    done
    assert_equal "$(left)" ""
}

@test "nbd: a server that goes away: requests fail, the program goes on" {
    sectors 64 > image
    nbdkit_file file image
    attach blk:nbd:sock
    run --separate-stderr shim MMIOSHIM_LOG=none DRIVER="$DRIVER" SERVER=$SERVER sh -c \
        '"$DRIVER" read 0 64 | cmp - image && kill -9 $SERVER && while grep -qsa nbdkit /proc/$SERVER/cmdline; do sleep 0.02; done; "$DRIVER" read 0 1'
    assert_failure 1
    assert_equal "$stderr" "virtio-blk: a read failed"
}

# --- rings that are polled ---

@test "poll=always: a driver that never notifies is served, from a file, from memory and from a server" {
    sectors 64 > image
    export MARK=$BATS_TEST_TMPDIR
    attach blk:image,poll=always
    logged "$GUESTS/g_virtio_poll" never 50
    assert_success
    assert_output "100 requests"
    assert_count 0 QueueNotify
    assert_count 100 '^\[DMA\] virtio_mmio@10001000 write 0x80101000\+512$'
    nbdkit_file file image
    attach blk:nbd:sock,poll=always
    run --separate-stderr shim MMIOSHIM_LOG=none "$GUESTS/g_virtio_poll" never 50
    assert_success
    assert_output "100 requests"
}

@test "poll=always: a mapped file that is cut is an error of the request, not the end of the worker" {
    sectors 64 > image
    attach blk:image,mmap,poll=always
    run --separate-stderr shim MMIOSHIM_LOG=none "$GUESTS/g_virtio_poll" cut image
    assert_success
    assert_output "0 1 0"
}

@test "poll: a named machine is reset from outside" {
    sectors 64 > image
    export MARK=$BATS_TEST_TMPDIR XDG_RUNTIME_DIR=$BATS_TEST_TMPDIR HOME=$BATS_TEST_TMPDIR
    attach blk:image,poll=always
    shim MMIOSHIM_LOG=none MMIOSHIM_MACHINE=polled "$GUESTS/g_virtio_poll" never 2
    run "$CMD" machine reset polled
    assert_success
    assert_output ""
    run --separate-stderr shim MMIOSHIM_LOG=none MMIOSHIM_MACHINE=polled "$GUESTS/g_virtio_poll" never 2
    assert_success
    assert_output "4 requests"
    "$CMD" machine rm polled
}

@test "poll: what a console sends is the program's to write, so it takes none" {
    attach console:stdio,poll=on
    run --separate-stderr shim true
    assert_refused 'it does not take poll; allowed:'
}

@test "poll=on: while requests come none is notified of; when they stop, the driver is to notify and the worker sleeps" {
    sectors 64 > image
    export MARK=$BATS_TEST_TMPDIR
    attach blk:image,poll=on
    logged "$GUESTS/g_virtio_poll" asked 2000 begins
    assert_success
    assert_output $'2000 requests, fewer notifications\nnotifications wanted, the worker sleeps'
    [ "$(grep -c '^\[DMA\] virtio_mmio@10001000 write 0x80101000+512$' "$log")" -ge 2010 ]
}

@test "without poll, and with poll=off, each request is notified of" {
    sectors 64 > image
    export MARK=$BATS_TEST_TMPDIR
    for how in "" ,poll=off; do
        attach blk:image,readonly$how,serial=x
        logged "$GUESTS/g_virtio_poll" asked 50
        assert_output $'50 requests, as many notifications\nnotifications wanted, the worker is not there'
        assert_count 60 QueueNotify
    done
    attach blk:image,poll=sometimes
    run --separate-stderr shim true
    assert_refused 'blk does not take this option'
}
