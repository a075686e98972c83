#!/usr/bin/env bats
# The PCI bus: what a program finds there, and what moves when it says so. Sections are those of PCI Local Bus 3.0
# unless another specification is named.

setup() {
    load common
    cd "$BATS_TEST_TMPDIR"
    PCI=$GUESTS/i_pci
}

# pci ATTACHMENT WORD...: the guest on the built-in machine; `;` between attachments, "pci:" is added
pci() {
    local attach=pci:${1//;/;pci:}

    shift
    logged MMIOSHIM_BACKTRACE=0 MMIOSHIM_ATTACH="$attach" "$PCI" "$@"
}

# said WORD...: what the guest printed, lines joined by spaces
said() {
    assert_success
    assert_equal "${lines[*]}" "$*"
}

# refused ATTACHMENT PATTERN...
refused() {
    logged MMIOSHIM_ATTACH="$1" "$PCI"
    shift
    assert_refused "$@"
}

@test "nobody attaches: the machine has no PCI, and is what it was" {
    logged "$POKE" r1:0x10000005
    assert_success
    run -1 grep -i pci "$log"
    assert_count 14 '^\[MEM\]'
    run -139 shim MMIOSHIM_LOG=none "$PCI" c4:00:00.0+0
    run -139 shim MMIOSHIM_LOG=none "$PCI" i4:cf8
}

@test "a function is found in configuration space; nobody is all ones; the log has names" {
    pci "00:04.0=testdev,bar0=4K" c4:00:04.0+0 c2:00:04.0+4 c1:00:04.0+9 c4:00:05.0+0 c4:ff:1f.7+ffc c2:00:04.0+4=7
    said 51b36 2 0 ffffffff ffffffff
    assert_events <<'END'
[MMIO] trap at 0x30020000 -> pci:00:04.0 VendorID read4 0x51b36 #1
[MMIO] trap at 0x30020004 -> pci:00:04.0 Command read2 0x2 MEMORY #2
[MMIO] trap at 0x30020009 -> pci:00:04.0 Interface read1 0x0 #3
[MMIO] trap at 0x30028000 -> pci@30000000 +0x28000 read4 0xffffffff #4
[MMIO] trap at 0x3ffffffc -> pci@30000000 +0xffffffc read4 0xffffffff #5
[MMIO] trap at 0x30020004 -> pci:00:04.0 Command write2 0x7 IO|MEMORY|MASTER #6
[DIRTY] MODE: 0 of 131072 pages
[EXIT] 6 accesses (5 reads, 1 writes), 0 lint, 0 lost
END
    assert_equal "$(grep '^\[MEM\] P' "$log")" "$(cat <<'END'
[MEM] PORTS: PCI 0xcf8-0xcff pci@30000000:4 pci-host-ecam-generic
[MEM] PCI: PCI 0x0-0xfff pci:00:00.0 mmioshim,pci-host
[MEM] PCI: PCI 0x0-0xfff pci:00:04.0 mmioshim,pci-testdev
[MEM] PCI: SCRATCH 0x0-0xfff pci:00:04.0:bar0 mmioshim,pci-testdev
END
)"
}

@test "configuration ports, 3.2.2.3.2: all widths at all places, the enable bit, who is not there" {
    pci "00:04.0=testdev,vendor=0x1234,device=0x5678" p4:00:04.0+0 p2:00:04.0+0 p2:00:04.0+2 p1:00:04.0+0 p1:00:04.0+1 \
        p1:00:04.0+2 p1:00:04.0+3 i4:cf8 p4:00:05.0+0 p1:00:04.0+3c=5a p1:00:04.0+3c c1:00:04.0+3c i4:cf8=2000 i4:cfc i2:cf8
    said 56781234 1234 5678 34 12 78 56 80002000 ffffffff 5a 5a ffffffff ffff
    assert_count 1 '^\[PORT\] trap at 0xcf8 -> pci@30000000:4 CONFIG_ADDRESS write4 0x80002000 DEVICE=0x4\|ENABLE #1$'
    assert_count 1 '^\[PORT\] trap at 0xcfe -> pci:00:04.0 DeviceID read2 0x5678 #6$'
    assert_count 2 ' unassigned #'
}

@test "BARs, 6.2.5.1: sizes by writing ones, kinds in the low bits, places as firmware gave them" {
    pci "00:04.0=testdev,bar0=16,bar1=64K:prefetch,bar2=1M:64:prefetch,bar4=8:io,bar5=256:io;00:05.0=testdev,bar0=4G:64,rom=64K" \
        bars:00:04.0 bars:00:05.0 c4:00:04.0+30=ffffffff c4:00:04.0+30 c4:00:05.0+30=fffffffe c4:00:05.0+30
    assert_success
    assert_line -n 0 'fffffff0 ffff0008 fff0000c ffffffff fffffff9 ffffff01 '
    assert_line -n 1 '4 ffffffff 0 0 0 0 '
    assert_line -n 2 0
    assert_line -n 3 ffff0000
}

@test "a BAR that does not fit into the host's ranges, options that are none" {
    refused pci:00:04.0=testdev,bar0=4G:64:prefetch,bar2=1024G:64:prefetch 'pci:00:04\.0: no room in the host.s memory ranges for BAR 2'
    refused pci:00:04.0=testdev,bar0=2G 'no room'
    refused pci:00:04.0=testdev,bar0=3K 'pci:00:04\.0: bad size of a BAR; allowed: a power of two'
    refused pci:00:04.0=testdev,bar5=1M:64 'takes the next one'
    refused pci:00:04.0=testdev,bar0=4K:fast 'bad BAR; allowed: SIZE'
    refused pci:00:04.0=testdev,colour=3 'unknown option'
    refused pci:00:04.0=testdev,msix=4096 'out of range'
    refused pci:00:04.0=nothing 'MMIOSHIM_ATTACH=pci:00:04\.0=nothing: no such model of a PCI function; allowed: testdev,'
    refused pci:00:44.0=testdev 'bad address; allowed: pci:BUS:DEVICE\.FUNCTION'
    refused 'pci:00:04.0=testdev;pci:0000:00:04.0=testdev' 'a function at this address already'
    refused pci:00:04.1=testdev 'no function 0'
    refused "pci:00:04.0=testdev,bar0=$(printf '%0600d' 16)" 'too long; allowed: 511 characters'
    refused "$(for i in $(seq 0 130); do printf 'pci:%02x:00.%d=testdev;' $((i / 8)) $((i % 8)); done)" 'too many PCI functions; allowed: 128'
    logged MMIOSHIM_MAP="$(scratch_map)" MMIOSHIM_ATTACH=pci:00:04.0=testdev "$PCI"
    assert_refused 'MMIOSHIM_ATTACH=pci:00:04\.0=testdev: the map has no PCI host'
}

@test "memory behind a BAR: every width, moved at run time, off, on again; nobody answers elsewhere" {
    pci "0000:00:04.0=testdev,bar0=4K" m8:40000ff8=1122334455667788 m4:40000ffc m1:40000fff m4:40001000 \
        c4:00:04.0+10=7ffff000 m8:7ffffff8 m4:40000ff8 c2:00:04.0+4=0 m8:7ffffff8 m8:7ffffff8=1 c2:00:04.0+4=2 m8:7ffffff8
    said 11223344 11 ffffffff 1122334455667788 ffffffff ffffffffffffffff 1122334455667788
    assert_count 1 '^\[MMIO\] trap at 0x7ffffff8 -> pci:00:04.0:bar0 \+0xff8 read8 0x1122334455667788 #6$'
    assert_count 4 ' unassigned #'
}

@test "BARs smaller than a page, next to each other; an access across two is one event" {
    pci "00:04.0=testdev,bar0=16,bar1=16,bar2=256" m8:40000008=1111111111111111 m8:40000010=2222222222222222 m8:4000000c m1:40000020 \
        m4:40000100=33 m4:40000100
    said 2222222211111111 ff 33
    assert_count 1 '^\[MMIO\] trap at 0x4000000c -> pci:00:04.0:bar0 \+0xc read8 0x2222222211111111 #3$'
}

@test "I/O BARs: from the space of ports, and by way of the host's window" {
    pci "00:04.0=testdev,bar0=16:io" c4:00:04.0+10 i4:1000=cafe0123 i2:1002 m4:3001000 m1:300100f=77 i1:100f c2:00:04.0+4=0 i4:1000 m4:3001000
    said 1001 cafe cafe0123 77 ffffffff ffffffff
    assert_count 1 '^\[PORT\] trap at 0x1002 -> pci:00:04.0:bar0 \+0x2 read2 0xcafe #3$'
    assert_count 1 '^\[MMIO\] trap at 0x3001000 -> pci:00:04.0:bar0 \+0x0 read4 0xcafe0123 #4$'
}

@test "64-bit BARs lie above 4 GB, and are moved in two writes" {
    pci "00:04.0=testdev,bar0=1M:64:prefetch" c4:00:04.0+10 c4:00:04.0+14 m4:4000fffff m8:4000ffff8=5 \
        c4:00:04.0+14=5 m8:4000ffff8 m8:5000ffff8 c4:00:04.0+10=200000 c4:00:04.0+10 m8:5002ffff8
    said c 4 ffffff00 ffffffffffffffff 5 20000c 5
}

@test "hot accesses follow a BAR that moves, in every process" {
    pci "00:04.0=testdev,bar0=4K" m4:40000000=1 m4:40000000 m4:40000000 m4:40000000 m4:40000000 m4:40000000 m4:40000000 \
        m4:40000000 m4:40000000 m4:40000000 m4:40000000 fork c4:00:04.0+10=50000000 wait m4:40000000 m4:50000000
    said 1 1 1 1 1 1 1 1 1 1 ffffffff 1
    assert_ended
    logged MMIOSHIM_LOG=none MMIOSHIM_ATTACH=pci:00:04.0=testdev,bar0=4K "$PCI" m4:40000000=1 m4:40000000 m4:40000000 m4:40000000 \
        m4:40000000 m4:40000000 m4:40000000 m4:40000000 m4:40000000 m4:40000000 fork c4:00:04.0+10=50000000 wait m4:40000000 m4:50000000
    said 1 1 1 1 1 1 1 1 1 ffffffff 1
}

@test "two processes of one machine see one bus, and what the other did to it" {
    export MMIOSHIM_ATTACH=pci:00:04.0=testdev,bar0=4K MMIOSHIM_MACHINE=pci$$
    shim MMIOSHIM_LOG=none "$PCI" m4:40000010=abcd c4:00:04.0+10=60000000
    run shim MMIOSHIM_LOG=none "$PCI" c4:00:04.0+10 m4:60000010
    assert_output $'60000000\nabcd'
    "$CMD" machine reset "$MMIOSHIM_MACHINE"
    run shim MMIOSHIM_LOG=none "$PCI" c4:00:04.0+10 m4:40000010
    assert_output $'40000000\n0'
    logged MMIOSHIM_ATTACH=pci:00:07.0=testdev "$PCI"
    "$CMD" machine rm "$MMIOSHIM_MACHINE"
    assert_refused 'pci:00:07\.0=testdev: the machine was made without it'
}

@test "bridges: a bus number brings the port that leads there; windows pass on what is below" {
    pci "05:00.0=testdev,bar0=64K,bar1=16:io,bar2=1M:64:prefetch" scan c4:00:01.0+18 c2:00:01.0+1c c4:00:01.0+20 c4:00:01.0+24 \
        m4:40000000=99 m4:40000000 i1:1000=7 i1:1000 m4:400000000=8 m4:400000000 \
        c4:00:01.0+20=40f040e0 m4:40000000 c4:00:01.0+20=40004000 m4:40000000 c2:00:01.0+4=4 m4:40000000 i1:1000 c2:00:01.0+4=7 i1:1000
    assert_success
    assert_line -n 1 '00:01.0 1b36:000c class 060400'
    assert_line -n 2 '05:00.0 1b36:0005 class ff0000'
    assert_equal "${lines[*]:3}" "50500 1010 40004000 10001 99 7 8 ffffffff 99 ffffffff ff 7"
}

@test "bridges on bridges, and buses that get other numbers" {
    pci "00:02.0=bridge,bus=2;02:03.0=bridge,bus=4;04:05.0=testdev,bar0=4K;04:05.1=testdev;02:00.0=testdev" scan c4:00:02.0+18 c4:02:03.0+18 \
        m4:40000000=5 c4:00:02.0+18=90700 c4:04:05.0+0 c4:07:03.0+18=90907 c4:09:05.0+0 c1:09:05.0+e m4:40000000
    assert_success
    assert_equal "$(printf '%s\n' "${lines[@]}" | head -n 6 | cut -c 1-17)" $'00:00.0 1b36:0008\n00:02.0 1b36:000c\n02:00.0 1b36:0005\n02:03.0 1b36:0001\n04:05.0 1b36:0005\n04:05.1 1b36:0005'
    assert_equal "${lines[*]:6}" "40200 40402 ffffffff 51b36 80 5"
    refused 'pci:00:02.0=bridge,bus=3;pci:00:03.0=bridge,bus=3' 'another bridge leads to this bus'
}

@test "pins: swizzled to the lines of interrupt-map; Interrupt Status and Interrupt Disable, 6.2.3" {
    pci "00:04.0=testdev,bar0=regs;00:05.0=testdev,bar0=regs;00:05.1=testdev,bar0=regs;05:00.0=testdev,bar0=regs" \
        c2:00:04.0+3c c2:00:05.0+3c c2:00:05.1+3c c2:05:00.0+3c \
        c1:00:04.0+6 m4:40100004=1 c1:00:04.0+6 c2:00:04.0+4=402 c1:00:04.0+6 c2:00:04.0+4=2 m4:40100004=0 c1:00:04.0+6 m4:40101004=1 m4:40102004=1
    said 120 121 222 121 10 18 18 10
    assert_equal "$(grep '^\[IRQ\]' "$log" | cut -d ' ' -f 2- | tr '\n' ';')" \
        "pci:00:04.0 32 raised;pci:00:04.0 32 lowered;pci:00:04.0 32 raised;pci:00:04.0 32 lowered;pci:00:05.0 33 raised;pci:00:05.1 34 raised;"
}

@test "DMA is the function's, and only with bus mastering on, of the bridges above, too" {
    pci "05:00.0=testdev,bar0=regs" m4:40000010=80000000 m4:40000018=10 m4:40000100=deadbeef m4:4000000c=2 m4:4000001c m4:80000000 \
        c2:05:00.0+4=6 m4:4000000c=2 m4:4000001c m4:80000000 c2:00:01.0+4=3 m4:4000000c=1 m4:4000001c
    said 2 0 1 deadbeef 2
    assert_equal "$(grep '^\[DMA\]' "$log")" "$(cat <<'END'
[DMA] pci:05:00.0 write 0x80000000+16 refused
[DMA] pci:05:00.0 write 0x80000000+16
[DMA] pci:05:00.0 read 0x80000000+16 refused
END
)"
}

@test "MSI-X, PCIe 5.0 6.1.4: vectors, masks, pending bits; the pin is quiet meanwhile" {
    pci "00:04.0=testdev,bar0=regs,msix=3" caps:00:04.0 c4:00:04.0+48 c4:00:04.0+4c c4:00:04.0+50 m4:4000100c \
        m4:40000008=1 m4:40001800 c2:00:04.0+4=6 c2:00:04.0+4a=8000 m4:40000008=1 m4:40001800 m4:40001010=fee00001 m4:40001010 \
        m4:4000101c=0 m4:40001800 m4:40000008=1 c2:00:04.0+4a=c000 m4:40000008=1 m4:40001800 c2:00:04.0+4a=8000 m4:40001800 m4:40000004=1 \
        m4:40000008=3 m4:4000103c
    assert_success
    assert_equal "${lines[*]}" "1 11 | 20011 1 801 1 0 2 fee00000 0 2 0 ffffffff"
    assert_equal "$(grep '^\[IRQ\]' "$log" | cut -d ' ' -f 2- | tr '\n' ';')" \
        "pci:00:04.0 1 sent;pci:00:04.0 1 sent;pci:00:04.0 1 sent;"
    assert_count 1 'pci:00:04.0:bar1 VectorControl\[1\] write4 0x0 #'
    json_logged MMIOSHIM_ATTACH=pci:00:04.0=testdev,bar0=regs,msix=1 "$PCI" c2:00:04.0+4=6 c2:00:04.0+4a=8000 m4:4000100c=0 m4:40000008=0
    assert_count 1 '^\{"type":"irq","device":"pci:00:04.0","line":0,"level":1,"message":true\}$'
    assert_count 1 '^\{"type":"map","kind":"pci","base":"0x0","size":4096,"device":"pci:00:04.0:bar1","compatible":"mmioshim,pci-testdev"\}$'
    run "$CMD" trace convert -t text "$log"
    assert_line '[IRQ] pci:00:04.0 0 sent'
}

@test "MSI, 6.8.1: as many messages as were allowed, masks and pending bits" {
    pci "00:04.0=testdev,bar0=regs,msi=4" c4:00:04.0+48 c4:00:04.0+48=ffff0000 c2:00:04.0+4a c2:00:04.0+4=6 c2:00:04.0+4a=11 m4:40000008=1 m4:40000008=3 \
        c4:00:04.0+58=1 m4:40000008=2 c4:00:04.0+5c c4:00:04.0+58=0 c4:00:04.0+5c
    assert_success
    assert_equal "${lines[*]}" "1840005 1f5 1 0"
    assert_equal "$(grep '^\[IRQ\]' "$log" | cut -d ' ' -f 2- | tr '\n' ';')" "pci:00:04.0 1 sent;pci:00:04.0 1 sent;pci:00:04.0 0 sent;"
}

@test "SR-IOV 1.1, 3.3: virtual functions appear with VF Enable, their memory with VF MSE" {
    pci "00:06.0=testdev,bar0=4K,vfs=3,vfbar0=8K" caps:00:06.0 c2:00:06.0+10e c4:00:06.0+124 c4:00:06.1+0 c2:00:06.0+110=2 c2:00:06.0+108=1 \
        c4:00:06.1+0 c4:00:06.2+c c4:00:06.3+0 c4:00:06.1+10 m4:40002000 c2:00:06.0+108=9 m4:40002000=1 m4:40004000=2 m4:40002000 m4:40004000 m4:40006000 \
        c2:00:06.0+110=3 c2:00:06.0+110 c2:00:06.1+4=ffff c2:00:06.1+4 c2:00:06.0+108=0 c2:00:06.1+0
    assert_success
    assert_line -n 0 '1 10 | 10 e'
    assert_equal "${lines[*]:1}" "3 40002000 ffffffff ffffffff 0 ffffffff 0 ffffffff 1 2 ffffffff 2 4 ffff"
}

@test "a host and functions of the device tree" {
    cat > board.dts <<'END'
/dts-v1/;
/ {
	#address-cells = <1>;
	#size-cells = <1>;
	memory@80000000 { device_type = "memory"; reg = <0x80000000 0x100000>; };
	pcie@30000000 {
		compatible = "pci-host-ecam-generic";
		device_type = "pci";
		#address-cells = <3>;
		#size-cells = <2>;
		reg = <0x30000000 0x1000000>;
		bus-range = <0 15>;
		/* bus addresses are others than the CPU's, and DMA sees RAM at 0 */
		ranges = <0x02000000 0 0x10000000 0x50000000 0 0x100000>;
		dma-ranges = <0x02000000 0 0 0x80000000 0 0x100000>;
		dev@3,0 { compatible = "acme,card", "mmioshim,pci-testdev"; reg = <0x1800 0 0 0 0>; mmioshim,options = "bar0=regs,vendor=0xacee"; };
		other@4,0 { compatible = "acme,other"; reg = <0x2000 0 0 0 0>; };
	};
};
END
    dtc -q -I dts -O dtb -o board.dtb board.dts
    logged MMIOSHIM_MAP=board.dtb "$PCI" scan c4:00:03.0+10 c2:00:03.0+4=6 m4:50000000 m4:50000010=100 m4:50000018=4 m4:50000100=77 m4:5000000c=2 m4:80000100
    assert_success
    assert_equal "${lines[*]}" "00:00.0 1b36:0008 class 060000 00:03.0 acee:0005 class ff0000 10000000 50434954 77"
    assert_count 1 '^\[DMA\] pci:00:03.0 write 0x100\+4$'
}

@test "the device tree that QEMU dumps, with a function attached" {
    logged MMIOSHIM_MAP="$MAPS/qemu-riscv64-virt.dtb" MMIOSHIM_ATTACH=pci:00:01.0=testdev,bar0=regs "$PCI" scan m4:40000004=1
    assert_success
    assert_output $'00:00.0 1b36:0008 class 060000\n00:01.0 1b36:0005 class ff0000'
    assert_count 1 '^\[IRQ\] pci:00:01.0 33 raised$'
}

image() {
    python3 -c 'import sys
for i in range(int(sys.argv[1])): sys.stdout.buffer.write((b"sector %08d " % i) * 31 + b"." * 16)' "$1" > disk.img
}

# virtio ATTACHMENT WORD...: the driver tests/guests/i_virtio.c
virtio() {
    local attach=$1

    shift
    logged MMIOSHIM_BACKTRACE=0 MMIOSHIM_ATTACH="$attach" "$GUESTS/i_virtio" "$@"
}

@test "virtio over PCI, VIRTIO 1.2 4.1: a disk by its pin and ISR, its registers by name" {
    image 64
    virtio 'pci:00:05.0=virtio-blk:disk.img' window blk 5
    assert_success
    assert_output $'capacity 64\nstatus 0 used 1: sector 00000005 \nwindow f 1 ffffffff'
    assert_equal "$(events | sed -n '/notify\[/,/ISR/p' | sed 's/ #.*//')" "$(cat <<'END'
[MMIO] trap at 0x400003000 -> pci:00:05.0:bar4 notify[0] write2 0x0
[DMA] pci:00:05.0 read 0x80108000+16
[DMA] pci:00:05.0 write 0x80109000+512
[DMA] pci:00:05.0 write 0x80108100+1
[IRQ] pci:00:05.0 33 raised
[MMIO] trap at 0x400001000 -> pci:00:05.0:bar4 ISR read1 0x1 QUEUE
END
)"
    assert_count 1 '^\[MMIO\] trap at 0x300280a8 -> pci:00:05.0:bar4 device_status read1 0xf '
    assert_count 0 '^\[LINT\]'
    assert_ended
}

@test "virtio over PCI: messages, one vector a queue; what is quiet or patched answers the same" {
    image 64
    virtio 'pci:00:05.0=blk:disk.img,readonly;pci:00:06.0=virtio-rng;pci:00:07.0=net:loopback' msix blk 7
    assert_output $'capacity 64\nstatus 0 used 1: sector 00000007 '
    assert_equal "$(grep '^\[IRQ\]' "$log")" '[IRQ] pci:00:05.0 1 sent'
    virtio 'pci:00:05.0=blk:disk.img;pci:00:06.0=virtio-rng;pci:00:07.0=net:loopback' msix rng
    assert_output 'used 1, 64 bytes'
    assert_equal "$(grep '^\[IRQ\]' "$log")" '[IRQ] pci:00:06.0 1 sent'
    virtio 'pci:00:07.0=net:loopback' msix net
    assert_output 'sent 1 received 1, 72 bytes 5a'
    assert_equal "$(grep '^\[IRQ\]' "$log" | sort)" $'[IRQ] pci:00:07.0 1 sent\n[IRQ] pci:00:07.0 2 sent'
    run shim MMIOSHIM_LOG=none MMIOSHIM_ATTACH=pci:00:05.0=blk:disk.img "$GUESTS/i_virtio" msix blk 9
    assert_output $'capacity 64\nstatus 0 used 1: sector 00000009 '
}

@test "virtio over PCI: ids and capabilities; parts that are none; relative paths of children elsewhere" {
    image 8
    mkdir sub
    logged MMIOSHIM_ATTACH='pci:01:00.0=virtio-console:null;pci:00:05.0=virtio-blk:disk.img' sh -c "cd sub && $PCI scan caps:01:00.0 && exec $GUESTS/i_virtio blk 3"
    assert_success
    assert_line -n 1 '00:01.0 1b36:000c class 060400'
    assert_line -n 2 '01:00.0 1af4:1043 class 078000'
    assert_line -n 3 '00:05.0 1af4:1042 class 010000'
    assert_line -n 4 '1 11 9 9 9 9 9 |'
    assert_line -n 6 'status 0 used 1: sector 00000003 '
    refused pci:00:05.0=virtio-blk:nowhere.img 'MMIOSHIM_ATTACH=pci:00:05\.0=.*nowhere\.img: '
    refused pci:00:05.0=virtio 'no such virtio device'
    refused pci:00:05.0=virtio-disk:x 'no such model of a PCI function'
    refused pci:00:05.0=virtio-rng:x 'rng takes no options'
}

@test "virt-low: its host lies below the sanitizer's shadow" {
    logged MMIOSHIM_MAP=virt-low MMIOSHIM_ATTACH=pci:00:04.0=testdev,bar0=4K,bar2=1M:64:prefetch "$PCI" m4:40020000 m4:40020010 m4:40020018 m4:4002001c m4:50000000=6 m4:50000000
    assert_success
    assert_equal "${lines[*]}" "51b36 50000000 5010000c 0 6"
}

# Unmodified programs, by the ports that they know; without -A they look into /sys.

@test "lspci -vv by the configuration ports" {
    image 8
    log=$BATS_TEST_TMPDIR/log
    MMIOSHIM_BACKTRACE=0 MMIOSHIM_ATTACH='pci:00:04.0=testdev,bar0=4K,bar4=256:io,msix=4,msi=4;pci:05:00.0=virtio-blk:disk.img' \
        run --separate-stderr shim MMIOSHIM_LOG="$log" lspci -A intel-conf1 -vvn
    assert_success
    assert_line '00:00.0 0600: 1b36:0008'
    assert_line '00:01.0 0604: 1b36:000c (prog-if 00 [Normal decode])'
    assert_line '00:04.0 ff00: 1b36:0005'
    assert_line '05:00.0 0100: 1af4:1042 (rev 01)'
    assert_line --partial 'Memory behind bridge: 40000000-400fffff'
    assert_line --partial 'Region 0: Memory at 40100000 (32-bit, non-prefetchable)'
    assert_line --partial 'Region 4: I/O ports at 1000'
    assert_line --partial 'MSI: Enable- Count=1/4 Maskable+ 64bit+'
    assert_line --partial 'MSI-X: Enable- Count=4 Masked-'
    assert_line --partial 'Express (v2) Root Port (Slot+), MSI 00'
    assert_line --partial 'VirtIO: CommonCfg'
    assert_line --partial 'routed to IRQ 32'
    assert_ended
    assert_count 0 '^\[LINT\]|unassigned'
    [ "$(grep -c '^\[PORT\] trap at 0xcf[cdef] ' "$log")" -gt 100 ]
    assert_equal "$(grep -c 'CONFIG_ADDRESS write4' "$log")" "$(grep -c '^\[PORT\] trap at 0xcf[cdef] ' "$log")"
}

@test "setpci by the configuration ports: what it writes moves a BAR" {
    export MMIOSHIM_ATTACH=pci:00:04.0=testdev,bar0=4K MMIOSHIM_LOG=none MMIOSHIM_MACHINE=setpci$$
    run shim setpci -A intel-conf1 -s 00:04.0 COMMAND BASE_ADDRESS_0 INTERRUPT_PIN
    assert_output $'0002\n40000000\n01'
    run shim setpci -A intel-conf1 -s 00:04.0 BASE_ADDRESS_0=50000000 COMMAND=6:7
    assert_success
    run shim "$PCI" m4:50000000=77 m4:50000000 m4:40000000 c2:00:04.0+4
    "$CMD" machine rm "$MMIOSHIM_MACHINE"
    assert_output $'77\nffffffff\n6'
}
