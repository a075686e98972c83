#!/usr/bin/env bats
# virtio: a real driver (examples/virtio-blk.c) and the disk behind it; what it reads and writes is the file.

setup() {
    load common
    cd "$BATS_TEST_TMPDIR"
    DISK=$BATS_TEST_TMPDIR/disk.img
    DRIVER=$ROOT/examples/virtio-blk
}

# image SECTORS: a disk whose sectors all differ
image() {
    python3 -c 'import sys
for i in range(int(sys.argv[1])): sys.stdout.buffer.write((b"sector %08d " % i) * 31 + b"." * 16)' "$1" > "$DISK"
}

attach() {
    export MMIOSHIM_ATTACH=virtio_mmio@10001000=$1
}

# driver [VARIABLE=VALUE...] ARGUMENT...: under the library, without a transcript
driver() {
    shim MMIOSHIM_LOG=none "$DRIVER" "$@"
}

@test "the example's accesses and transfers, one by one" {
    image 64
    attach blk:disk.img
    logged "$DRIVER"
    assert_success
    assert_output $'mmioshim: 64 sectors\nthe last sector holds what was written'
    [ -z "${REBASE:-}" ] || cp "$log" "$ROOT/examples/virtio-blk.expect"
    diff -u <(stacks "$ROOT/examples/virtio-blk.expect") <(stacks)
    assert_count 51 '^\[MMIO\]'
    assert_count 9 '^\[DMA\]'
    assert_count 3 '^\[DMA\] virtio_mmio@10001000 read 0x801000e0\+16$'
    assert_count 1 '^\[DMA\] virtio_mmio@10001000 read 0x80101000\+512$'
    assert_count 1 '^\[DMA\] virtio_mmio@10001000 write 0x80101000\+512$'
    assert_count 3 ' QueueNotify write4 0x0 #'
    # Each request interrupts once.
    assert_count 3 '^\[IRQ\] virtio_mmio@10001000 1 raised$'
    assert_count 3 '^\[IRQ\] virtio_mmio@10001000 1 lowered$'
    assert_count 3 ' CLAIM\[0\] read4 0x1 #'
    assert_count 3 ' InterruptACK write4 0x1 USED #'
    assert_count 3 ' COMPLETE\[0\] write4 0x1 #'
    assert_count 1 '^\[DIRTY\] [a-z]+: 2 of 131072 pages: 0x80100000-0x80101fff$'
    assert_count 1 '^\[EXIT\] 51 accesses \(18 reads, 33 writes\), 0 lint, 0 lost$'
    assert_equal "$(tail -c 512 "$DISK" | tr -d Z | wc -c)" 0
}

@test "what the device does stands behind the access that set it going" {
    image 8
    attach blk:disk.img
    logged "$DRIVER" read 0 1
    assert_equal "$(events | sed -n '/QueueNotify/,/CLAIM/p' | cut -d ' ' -f 1-3 | tr '\n' ';')" \
        '[MMIO] trap at;[DMA] virtio_mmio@10001000 read;[DMA] virtio_mmio@10001000 write;[DMA] virtio_mmio@10001000 write;[IRQ] virtio_mmio@10001000 1;[IRQ] plic@c000000 11;[MMIO] trap at;'
    json_logged "$DRIVER" read 0 1
    assert_count 1 '^\{"type":"dma","device":"virtio_mmio@10001000","op":"write","addr":"0x80101000","length":512,"ok":true\}$'
}

@test "a disk is the file, byte for byte, whichever way an access is made" {
    image 3000
    attach blk:disk.img
    for way in MMIOSHIM_LOG=none MMIOSHIM_PATCH=off MMIOSHIM_LOG=/dev/null; do
        shim MMIOSHIM_LOG=none $way "$DRIVER" read 0 3000 | cmp - disk.img
    done
    cp disk.img before
    head -c 199680 /dev/urandom > new
    driver write 17 < new
    cmp disk.img <(head -c $((17 * 512)) before; cat new; tail -c +$((17 * 512 + 199680 + 1)) before)
}

@test "a file system made by mke2fs, read by the driver" {
    truncate -s 4M "$DISK"
    PATH=$PATH:/sbin mke2fs -q -L deep-thought -U 01234567-89ab-cdef-0123-456789abcdef "$DISK"
    attach blk:disk.img,readonly
    driver read 2 2 > superblock
    python3 - superblock <<'END'
import struct, sys
block = open(sys.argv[1], 'rb').read()
assert len(block) == 1024
assert struct.unpack_from('<H', block, 56)[0] == 0xef53, 'magic'
assert block[104:120].hex() == '0123456789abcdef0123456789abcdef', 'uuid'
assert block[120:136].rstrip(b'\0') == b'deep-thought', 'label'
END
}

@test "two processes of one machine share the disk, and so do two machines" {
    image 64
    attach blk:disk.img
    head -c 512 /dev/zero | tr '\0' x > sector
    run --separate-stderr shim MMIOSHIM_LOG=none DRIVER="$DRIVER" bash -c \
        '"$DRIVER" write 5 < sector && "$DRIVER" read 5 1 | cmp - sector && "$DRIVER" read 6 1'
    assert_success
    assert_equal "${output:0:15}" "sector 00000006"
    driver read 5 1 | cmp - sector
}

@test "a child elsewhere finds the same disk; what is plugged in is the machine's" {
    image 64
    attach blk:disk.img
    mkdir sub
    run --separate-stderr shim MMIOSHIM_LOG=none DRIVER="$DRIVER" sh -c \
        'cd sub; "$DRIVER" read 3 1; unset MMIOSHIM_ATTACH; "$DRIVER" read 4 1'
    assert_success
    [[ $output == "sector 00000003"*"sector 00000004"* ]]
}

@test "a mapped disk is the file as well" {
    image 3000
    attach blk:disk.img,mmap
    for way in MMIOSHIM_LOG=none MMIOSHIM_PATCH=off; do
        shim MMIOSHIM_LOG=none $way "$DRIVER" read 0 3000 | cmp - disk.img
    done
    cp disk.img before
    head -c $((390 * 512)) /dev/urandom > new
    driver write 17 < new
    cmp disk.img <(head -c $((17 * 512)) before; cat new; tail -c +$((407 * 512 + 1)) before)
    attach blk:disk.img,readonly,mmap
    driver read 0 3000 | cmp - disk.img
    truncate -s 1T huge
    attach blk:huge,mmap
    run --separate-stderr bash -c "ulimit -v 50000000; LD_PRELOAD=$LIB exec true"
    assert_refused '^mmioshim: MMIOSHIM_ATTACH=virtio_mmio@10001000=disk:.*/huge,mmap: cannot map .*/huge: ENOMEM'
}

@test "a file that is cut under its disk: requests fail, and nobody meets SIGBUS" {
    for option in "" ,mmap; do
        for patch in on off; do
            for bus in default ignored blocked handled; do
                rm -f disk.img
                truncate -s 1M disk.img
                attach blk:disk.img$option
                run --separate-stderr shim MMIOSHIM_LOG=none MMIOSHIM_PATCH=$patch "$GUESTS/g_disk_cut" disk.img $bus
                [ "$status" = 0 ] || fail "$option $patch $bus: exit status $status: $stderr"
                assert_equal "$option $patch $bus: $output" "$option $patch $bus: 0 0, 255, 0; 0" # one read is of the block that is left
            done
        done
    done
}

@test "readonly: offered as such, and a write changes nothing" {
    image 64
    cp "$DISK" before
    attach blk:disk.img,readonly,serial=ABC
    logged "$DRIVER"
    assert_success
    assert_output "ABC: 64 sectors, read only"
    run --separate-stderr driver write 0 < before
    assert_failure 1
    assert_equal "$stderr" "virtio-blk: a write failed"
    cmp before "$DISK"
}

@test "no disk: the driver says so; with one in another slot it is found there" {
    run --separate-stderr driver
    assert_failure 1
    assert_equal "$stderr" "virtio-blk: no disk"
    image 8
    export MMIOSHIM_ATTACH="virtio_mmio@10002000=rng;virtio_mmio@10008000=blk:$DISK"
    logged "$DRIVER" read 0 1
    assert_success
    assert_count 1 'virtio_mmio@10002000 DeviceID read4 0x4 #'
    assert_count 1 'virtio_mmio@10008000 DeviceID read4 0x2 #'
}

@test "DMA outside RAM is refused, said and survived" {
    image 8
    attach blk:disk.img
    logged "$GUESTS/g_virtio_bad"
    assert_success
    assert_output "status 1, status 1, needs reset 64"
    assert_count 3 ' refused$'
    assert_count 1 '^\[DMA\] virtio_mmio@10001000 write 0x10000000\+512 refused$'
    assert_count 1 '^\[DMA\] virtio_mmio@10001000 write 0x9ffffff8\+512 refused$'
    assert_count 1 '^\[DMA\] virtio_mmio@10001000 read 0x10001000\+2 refused$'
    assert_count 0 '^\[MMIO\].*uart@10000000'
    json_logged "$GUESTS/g_virtio_bad"
    assert_count 3 '"type":"dma".*"ok":false'
}

# bus_map DMA_RANGES: the disk's slot sits on a bus with these
bus_map() {
    dtb bus <<END
/dts-v1/;
/ {
	#address-cells = <1>;
	#size-cells = <1>;
	memory@80000000 { device_type = "memory"; reg = <0x80000000 0x2000000>; };
	soc {
		#address-cells = <1>;
		#size-cells = <1>;
		ranges;
		dma-ranges = <$1>;
		virtio_mmio@10001000 { compatible = "virtio,mmio"; reg = <0x10001000 0x1000>; };
	};
};
END
}

@test "dma-ranges: a device reaches what its bus reaches, by the bus's addresses" {
    image 16
    attach blk:disk.img
    logged MMIOSHIM_MAP="$(bus_map '0 0x81000000 0x1000000')" "$GUESTS/g_virtio_bus" read 0 16
    assert_success
    shim MMIOSHIM_LOG=none MMIOSHIM_MAP="$BATS_TEST_TMPDIR/bus.dtb" "$GUESTS/g_virtio_bus" read 0 16 | cmp - disk.img
    assert_count 2 '^\[DMA\] virtio_mmio@10001000 write 0x101000\+4096$'
    assert_count 1 '^\[DIRTY\] [a-z]+: 2 of 8192 pages: 0x81100000-0x81101fff$'
    # The queue lies there, the data does not.
    logged MMIOSHIM_MAP="$(bus_map '0 0x81000000 0x101000')" "$GUESTS/g_virtio_bus" read 0 1
    assert_failure 1
    assert_equal "$stderr" "virtio-blk: a read failed"
    assert_count 1 '^\[DMA\] virtio_mmio@10001000 write 0x101000\+512 refused$'
    logged MMIOSHIM_MAP="$(bus_map '0x40000000 0x81000000 0x1000000')" "$GUESTS/g_virtio_bus" read 0 1
    assert_failure 1
    assert_equal "$stderr" $'virtio-blk: the disk needs a reset\nvirtio-blk: a read failed'
    run --separate-stderr shim MMIOSHIM_MAP="$(bus_map '0 0x81000000')" true
    assert_refused 'virtio_mmio@10001000: dma-ranges'
}

@test "a process that is killed in the middle of requests: another goes on with them" {
    head -c 16 /dev/zero | tr '\0' z > piece
    for _ in $(seq 14); do cat piece piece > more && mv more piece; done
    mv piece "$DISK"
    attach blk:disk.img
    run --separate-stderr shim MMIOSHIM_LOG=none "$GUESTS/g_virtio_kill" 40
    assert_equal "$stderr" ""
    assert_success
    assert_output "40 rounds"
}

@test "console: what is sent goes out, what comes in reaches a driver that only looks at RAM" {
    attach console:stdio
    printf 'what is it?\n' > typed
    run --separate-stderr shim MMIOSHIM_LOG=none "$GUESTS/g_virtio_console" 'a question: ' < typed
    assert_success
    assert_output $'a question: WHAT IS IT?'
    attach console:file:said,in=typed
    run --separate-stderr shim MMIOSHIM_LOG=none sh -c "cd /; '$GUESTS/g_virtio_console' '> '"
    assert_success
    assert_equal "$(cat said)" "> WHAT IS IT?"
}

@test "console: a terminal" {
    attach console:pty,link=tty
    shim_exec MMIOSHIM_LOG="$BATS_TEST_TMPDIR/log" "$GUESTS/g_virtio_console" 'login: ' 2 > out 2> err 3>&- &
    pid=$!
    await tty
    exec 4<> "$(readlink tty)"
    IFS= read -r -N 7 -t 20 prompt <&4
    assert_equal "$prompt" "login: "
    printf 'deep thought\n' >&4
    IFS= read -r -t 20 answer <&4
    printf 'bye\n' >&4 # the end of the program takes the terminal away, and what is in it
    wait $pid
    exec 4>&-
    assert_equal "$answer" "DEEP THOUGHT"
    log=$BATS_TEST_TMPDIR/log
    [ "$(grep -c '^\[DMA\] virtio_mmio@10001000 write 0x8023000' "$log")" -ge 2 ]
    assert_ended
}

@test "net: frames come back in a loopback" {
    attach net:loopback
    logged "$GUESTS/g_virtio_net" 3
    assert_success
    assert_output $'60 bytes, type 88b5: aaaa\n60 bytes, type 88b5: bbbb\n60 bytes, type 88b5: cccc'
    assert_count 3 '^\[DMA\] virtio_mmio@10001000 read 0x8022000c\+60$'
    assert_count 3 '^\[DMA\] virtio_mmio@10001000 write 0x8021[0-9a-f]*\+60$'
}

# frames FILE: what a capture file holds, read by the rules of its format alone
frames() {
    python3 - "$1" <<'END'
import struct, sys
data = open(sys.argv[1], 'rb').read()
magic, major, minor, zone, accuracy, snaplen, link = struct.unpack_from('<IHHIIII', data)
assert (magic, major, minor, link) == (0xa1b2c3d4, 2, 4, 1), 'header'
at = 24
while at < len(data):
    seconds, fraction, captured, length = struct.unpack_from('<IIII', data, at)
    assert captured == length and seconds > 1700000000 and fraction < 1000000, 'record'
    frame = data[at + 16:at + 16 + captured]
    print(len(frame), frame[:6].hex(), frame[6:12].hex(), frame[12:14].hex(), frame[14:18].decode())
    at += 16 + captured
END
}

@test "net: frames go into a capture file, from two processes, and out of one" {
    attach net:pcap,out=sent.pcap
    run --separate-stderr shim MMIOSHIM_LOG=none sh -c "'$GUESTS/g_virtio_net' 2; cd /; '$GUESTS/g_virtio_net' 1"
    assert_success
    assert_equal "$(frames sent.pcap)" "60 ffffffffffff 525400123456 88b5 aaaa
60 ffffffffffff 525400123456 88b5 bbbb
60 ffffffffffff 525400123456 88b5 aaaa"
    if command -v tcpdump > /dev/null; then
        assert_equal "$(tcpdump -e -n -r sent.pcap 2> /dev/null | grep -c '52:54:00:12:34:56 > ff:ff:ff:ff:ff:ff, ethertype')" 3
    fi
    attach net:pcap,in=sent.pcap,out=more.pcap
    run --separate-stderr shim MMIOSHIM_LOG=none "$GUESTS/g_virtio_net" 1
    assert_success
    assert_output $'60 bytes, type 88b5: aaaa\n60 bytes, type 88b5: bbbb\n60 bytes, type 88b5: aaaa'
    assert_equal "$(frames more.pcap)" "60 ffffffffffff 525400123456 88b5 aaaa"
}

@test "version 1 of the registers, by attachment and by the node's property" {
    image 64
    attach blk:disk.img,readonly,legacy
    logged "$GUESTS/g_legacy" 7 9
    assert_success
    assert_count 1 'virtio_mmio@10001000 Version read4 0x1 #'
    assert_count 2 'virtio_mmio@10001000 QueuePFN write4 0x(80200|0) #'
    assert_count 9 'virtio_mmio@10001000 QueueNotify write4 0x0 #'
    assert_count 1 '^\[EXIT\] .* 0 lint, 0 lost$'
    shim MMIOSHIM_LOG=none "$GUESTS/g_legacy" 7 9 | cmp - <(tail -c +$((7 * 512 + 1)) disk.img | head -c $((9 * 512)))
    # A driver of version 2 sees that it is none of its; one of version 1 the same of version 2.
    run --separate-stderr driver
    assert_equal "$stderr" "virtio-blk: no disk"
    attach blk:disk.img
    run --separate-stderr shim MMIOSHIM_LOG=none "$GUESTS/g_legacy" 0 1
    assert_equal "$stderr" "virtio-blk: no legacy disk"
    dtb legacy <<'END'
/dts-v1/;
/ {
	#address-cells = <1>;
	#size-cells = <1>;
	memory@80000000 { device_type = "memory"; reg = <0x80000000 0x2000000>; };
	virtio_mmio@10001000 { compatible = "virtio,mmio"; reg = <0x10001000 0x1000>; mmioshim,legacy; };
};
END
    shim MMIOSHIM_LOG=none MMIOSHIM_MAP=legacy.dtb "$GUESTS/g_legacy" 0 64 | cmp - disk.img
    run --separate-stderr shim MMIOSHIM_MAP=legacy.dtb MMIOSHIM_ATTACH=virtio_mmio@10001000=iommu true
    assert_refused 'virtio_mmio@10001000=iommu: it has no legacy interface; allowed: '
}

@test "attachments that cannot be: one line, and what is allowed" {
    printf x > odd
    for wrong in blk teapot blk:missing.img blk:odd blk:/dev/null blk:odd,fast blk:odd,block-size=3 rng:x \
        net net:teapot net:pcap,in=odd net:pcap,in=missing net:loopback,mac=1; do
        attach "$wrong"
        run --separate-stderr shim true
        assert_refused '^mmioshim: MMIOSHIM_ATTACH=virtio_mmio@10001000='
    done
    attach teapot
    run --separate-stderr shim true
    assert_refused 'no such device; allowed: blk:FILE.*, rng$'
}

@test "mmioshim devices: what can be plugged in, from the same table" {
    run --separate-stderr "$CMD" devices virtio_mmio
    assert_success
    [[ $output == *"blk:FILE[,readonly][,mmap][,serial=TEXT][,block-size=BYTES]"* ]]
    [[ $output == *"  rng "* ]]
    [[ $output == *capacity* ]]
    run --separate-stderr "$CMD" devices --json
    python3 - "$output" <<'END'
import json, sys
models = {l['name']: l for l in map(json.loads, sys.argv[1].splitlines()) if l['type'] == 'model'}
assert [p['name'].split(':')[0] for p in models['virtio_mmio']['parts']] == ['blk'] * 3 + ['console'] + ['iommu'] * 2 + ['net'] * 5 + ['rng']
assert models['ns16550a']['parts'] == []
END
}
