#!/usr/bin/env bats
# virtio-net: a real driver (examples/virtio-net.c) and what its card is connected to.

setup() {
    load common
    cd "$BATS_TEST_TMPDIR"
    DRIVER=$ROOT/examples/virtio-net
}

attach() {
    export MMIOSHIM_ATTACH=virtio_mmio@10001000=net:$1
}

# driver ARGUMENT...: under the library, without a transcript
driver() {
    shim MMIOSHIM_LOG=none timeout 60 "$DRIVER" "$@"
}

@test "the example's accesses, transfers and interrupts, one by one" {
    attach loopback
    logged "$DRIVER"
    assert_success
    assert_output $'52:54:00:12:34:56: the link is up\n60 bytes, type 88b5: frame 0\n60 bytes, type 88b5: frame 1\n60 bytes, type 88b5: frame 2'
    [ -z "${REBASE:-}" ] || cp "$log" "$ROOT/examples/virtio-net.expect"
    diff -u <(stacks "$ROOT/examples/virtio-net.expect") <(stacks)
    assert_count 63 '^\[MMIO\]'
    assert_count 12 '^\[DMA\]'
    assert_count 3 '^\[DMA\] virtio_mmio@10001000 read 0x[0-9a-f]+\+60$'
    assert_count 3 '^\[DMA\] virtio_mmio@10001000 write 0x[0-9a-f]+\+60$'
    assert_count 1 '^\[IRQ\] virtio_mmio@10001000 1 raised$'
    assert_count 1 '^\[IRQ\] virtio_mmio@10001000 1 lowered$'
    assert_count 1 ' CLAIM\[0\] read4 0x1 #'
    assert_count 1 ' status read2 0x1 LINK_UP #'
    assert_count 1 '^\[EXIT\] 63 accesses \(21 reads, 42 writes\), 0 lint, 0 lost$'
}

@test "another MAC, and no card: the driver says so" {
    attach loopback,mac=02:00:00:00:00:2a
    run --separate-stderr driver
    assert_success
    assert_line --index 0 '02:00:00:00:00:2a: the link is up'
    export MMIOSHIM_ATTACH=virtio_mmio@10001000=rng
    run --separate-stderr driver
    assert_failure 1
    assert_equal "$stderr" "virtio-net: no network card"
}

@test "what is captured: tcpdump reads it, from two processes of one machine" {
    attach pcap,out=sent.pcap
    run --separate-stderr shim MMIOSHIM_LOG=none DRIVER="$DRIVER" sh -c '"$DRIVER" send 40 && cd / && "$DRIVER" send 2'
    assert_success
    tcpdump -e -n -X -r sent.pcap > seen 2> /dev/null
    assert_count 42 '52:54:00:12:34:56 > ff:ff:ff:ff:ff:ff, ethertype Unknown \(0x88b5\), length 60:' seen
    assert_count 42 '0x0000: +6672 616d 6520 3' seen # "frame "
    assert_count 2 'frame\.1\.\.' seen
    assert_count 1 'frame\.39\.' seen
    attach pcap,in=sent.pcap
    run --separate-stderr driver receive 42
    assert_success
    assert_equal "${#lines[@]}" 42
    assert_line --index 39 '60 bytes, type 88b5: frame 39'
    assert_line --index 41 '60 bytes, type 88b5: frame 1'
}
