#!/usr/bin/env bats
# DMA through an IOMMU that a driver programs: a disk, and a virtio IOMMU in front of it.

setup() {
    load common
    cd "$BATS_TEST_TMPDIR"
    python3 -c 'import sys
for i in range(16): sys.stdout.buffer.write((b"sector %08d " % i) * 31 + b"." * 16)' > disk.img
}

# tree IOMMUS [UNIT OF THE IOMMU]: the map; interrupts, a UART, a disk with this property, an IOMMU that may stand elsewhere
tree() {
    dtb tree <<END
/dts-v1/;
/ {
	#address-cells = <1>;
	#size-cells = <1>;
	memory@80000000 { device_type = "memory"; reg = <0x80000000 0x2000000>; };
	cpus {
		#address-cells = <1>;
		#size-cells = <0>;
		cpu@0 {
			device_type = "cpu";
			compatible = "riscv";
			reg = <0>;
			mmioshim,irq-signal = <29>;
			hart: interrupt-controller { compatible = "riscv,cpu-intc"; interrupt-controller; #interrupt-cells = <1>; };
		};
	};
	plic: plic@c000000 {
		compatible = "sifive,plic-1.0.0";
		reg = <0x0c000000 0x400000>;
		interrupt-controller;
		#interrupt-cells = <1>;
		riscv,ndev = <31>;
		interrupts-extended = <&hart 11>;
	};
	uart@10000000 { compatible = "ns16550a"; reg = <0x10000000 0x1000>; };
	virtio_mmio@10001000 { compatible = "virtio,mmio"; reg = <0x10001000 0x1000>; interrupts-extended = <&plic 1>; $1 };
	viommu: virtio_mmio@10002000 { compatible = "virtio,mmio"; reg = <0x10002000 0x1000>; #iommu-cells = <1>; };
	foreign: iommu@10003000 { compatible = "arm,smmu-v3"; reg = <0x10003000 0x1000>; #iommu-cells = <2>; };
};
END
}

# driver ATTACHMENT ARGUMENT...: g_iommu with a transcript
driver() {
    local attachment=$1

    shift
    logged MMIOSHIM_MAP="$(tree 'iommus = <&viommu 7>;')" \
        MMIOSHIM_ATTACH="virtio_mmio@10001000=blk:disk.img;virtio_mmio@10002000=$attachment" "$GUESTS/g_iommu" "$@"
}

# What the disk did, without the IOMMU's own requests.
disk_dma() {
    grep '^\[DMA\] virtio_mmio@10001000' "$log" | cut -d ' ' -f 3-
}

@test "out of reset all of RAM is reached; attached to a domain, nothing that is not mapped" {
    driver iommu disk read:1 attach:1:7 read:2 faults
    assert_success
    assert_output 'disk: 0
sector 00000001 read:1: 0
attach:1:7: 0
--------------- read:2: -1
fault: reason 2, flags 0x101, endpoint 7, address 0x80100082'
    assert_count 1 ' refused$'
    assert_count 1 '^\[DMA\] virtio_mmio@10001000 read 0x80100082\+2 refused$'
}

@test "bypass=off: nothing is reached before somebody attaches the disk" {
    driver iommu:bypass=off disk read:1 faults bypass:1 disk read:1
    assert_success
    assert_output 'disk: 0
--------------- read:1: -1
fault: reason 1, flags 0x101, endpoint 7, address 0x80100082
bypass:1: 0
disk: 0
sector 00000001 read:1: 0'
    assert_count 1 ' refused$'
}

@test "addresses of the disk are what the driver mapped, and RAM is dirty where they lead" {
    driver iommu:bypass=off attach:1:7 map:1:0x100000:0x100fff:0x80100000:3 map:1:0x101000:0x101fff:0x81234000:2 \
        offset:0xffffffff80000000 disk read:5
    assert_success
    assert_equal "$(disk_dma)" 'read 0x1000e0+16
write 0x101000+512
write 0x1000f0+1'
    assert_count 1 '^\[DIRTY\] [a-z]+: .*0x80100000-0x80101fff 0x80300000-0x80300fff 0x81234000-0x81234fff$'
}

@test "a disk that answers later, by the worker: its transfers are translated and refused in the same way" {
    nbdkit -r -f -U "$PWD/sock" file disk.img 3>&- &
    server=$!
    until [ -S sock ]; do sleep 0.01; done
    logged MMIOSHIM_MAP="$(tree 'iommus = <&viommu 7>;')" \
        MMIOSHIM_ATTACH="virtio_mmio@10001000=blk:nbd:sock,readonly;virtio_mmio@10002000=iommu:bypass=off" \
        timeout 60 "$GUESTS/g_iommu" attach:1:7 map:1:0x100000:0x100fff:0x80100000:3 map:1:0x101000:0x101fff:0x81234000:2 \
        offset:0xffffffff80000000 disk read:5 unmap:1:0x101000:0x101fff read:6
    kill $server
    assert_success
    assert_line --regexp 'read:5: 0$' # its bytes are where the mapping leads, not where the guest looks
    assert_line --regexp 'read:6: 1$'
    assert_equal "$(disk_dma)" 'read 0x1000e0+16
write 0x101000+512
write 0x1000f0+1
read 0x1000e0+16
write 0x101000+512 refused
write 0x1000f0+1'
}

@test "one transfer over mappings that lie apart, in pieces; and not at all when one of them is missing" {
    # Sector 1 goes to the page 0x101000: here its address is 16 bytes before the end of a mapping.
    driver iommu:bypass=off attach:1:7 map:1:0x100000:0x100fff:0x80100000:3 map:1:0x101000:0x101fff:0x81230000:3 \
        map:1:0x102000:0x102fff:0x81000000:3 offset:0xffffffff80000000 disk straddle:3 faults unmap:1:0x102000:0x102fff \
        straddle:4 faults
    assert_success
    assert_output --partial 'straddle:3: 0, "sector 00000003 ", "sector 00000003 "'
    assert_output --partial 'straddle:4: 1, "----------------", "----------------"'
    assert_output --partial 'fault: reason 2, flags 0x102, endpoint 7, address 0x102000'
    assert_count 1 '^\[DMA\] virtio_mmio@10001000 write 0x101ff0\+512$'
    assert_count 1 '^\[DMA\] virtio_mmio@10001000 write 0x101ff0\+512 refused$'
}

@test "permissions: a buffer that may only be read is not written to" {
    driver iommu:bypass=off attach:1:7 map:1:0x100000:0x100fff:0x80100000:3 map:1:0x101000:0x101fff:0x80101000:1 \
        offset:0xffffffff80000000 disk read:5 faults unmap:1:0x101000:0x101fff map:1:0x101000:0x101fff:0x80101000:3 read:6
    assert_success
    assert_output --partial '--------------- read:5: 1
fault: reason 2, flags 0x102, endpoint 7, address 0x101000
unmap:1:0x101000:0x101fff: 0
map:1:0x101000:0x101fff:0x80101000:3: 0
sector 00000006 read:6: 0'
    assert_count 1 ' refused$'
    assert_count 1 '^\[DMA\] virtio_mmio@10001000 write 0x101000\+512 refused$'
}

@test "mapped onto a window, or past the end of RAM: refused, no access to the window, no fault of the tables" {
    driver iommu:bypass=off attach:1:7 map:1:0x100000:0x100fff:0x80100000:3 map:1:0x101000:0x101fff:0x10000000:3 \
        offset:0xffffffff80000000 disk read:5 unmap:1:0x101000:0x101fff map:1:0x101000:0x101fff:0x82000000:3 read:6 \
        unmap:1:0x101000:0x101fff map:1:0x101000:0x101fff:0xfffffffffffff000:3 read:7 faults
    assert_success
    assert_output --partial '--------------- read:5: 1'
    assert_output --partial '--------------- read:6: 1'
    assert_output --partial '--------------- read:7: 1'
    refute_output --partial 'fault:'
    assert_count 3 '^\[DMA\] virtio_mmio@10001000 write 0x101000\+512 refused$'
    assert_count 0 '^\[MMIO\].*uart@10000000'
}

@test "what is unmapped is gone for good; domains end with their last endpoint" {
    driver iommu attach:1:7 map:1:0x100000:0x101fff:0x80100000:3 offset:0xffffffff80000000 disk read:1 \
        unmap:1:0x100000:0x100fff unmap:1:0:0xffffff read:2 detach:1:7 attach:2:7 map:1:0:0xfff:0:3 unmap:1:0:0xfff probe:7 \
        probe:8 attach:1:8
    assert_success
    assert_output 'attach:1:7: 0
map:1:0x100000:0x101fff:0x80100000:3: 0
disk: 0
sector 00000001 read:1: 0
unmap:1:0x100000:0x100fff: 5
unmap:1:0:0xffffff: 0
--------------- read:2: -1
detach:1:7: 0
attach:2:7: 0
map:1:0:0xfff:0:3: 6
unmap:1:0:0xfff: 6
probe:7: 0
probe:8: 6
attach:1:8: 6'
}

@test "nothing is written behind an unmap, whoever reads meanwhile" {
    export MMIOSHIM_MAP
    MMIOSHIM_MAP=$(tree 'iommus = <&viommu 7>;')
    export MMIOSHIM_ATTACH="virtio_mmio@10001000=blk:disk.img;virtio_mmio@10002000=iommu:bypass=off"
    for patch in on off; do
        run --separate-stderr shim MMIOSHIM_LOG=none MMIOSHIM_PATCH=$patch "$GUESTS/g_iommu" attach:1:7 \
            map:1:0x100000:0x100fff:0x80100000:3 offset:0xffffffff80000000 disk race:200
        assert_success
        assert_line 'race:200: 0 bytes too late, reads some, refusals some'
    done
}

@test "another process finds the tables as they were left" {
    export MMIOSHIM_MAP
    MMIOSHIM_MAP=$(tree 'iommus = <&viommu 7>;')
    export MMIOSHIM_ATTACH="virtio_mmio@10001000=blk:disk.img;virtio_mmio@10002000=iommu:bypass=off"
    run --separate-stderr shim MMIOSHIM_LOG=none G="$GUESTS/g_iommu" sh -c \
        '"$G" attach:1:7 map:1:0x80100000:0x80101fff:0x80100000:3; "$G" -keep disk read:3; "$G" reset disk read:4'
    assert_output --partial 'sector 00000003 read:3: 0'
    assert_output --partial -- '--------------- read:4: -1'
}

@test "virtio asks for ACCESS_PLATFORM behind an IOMMU, and nowhere else" {
    export MMIOSHIM_ATTACH="virtio_mmio@10001000=blk:disk.img;virtio_mmio@10002000=iommu"
    logged MMIOSHIM_MAP="$(tree 'iommus = <&viommu 7>;')" "$ROOT/examples/virtio-blk" read 0 1
    assert_success
    assert_count 1 'virtio_mmio@10001000 DriverFeatures write4 0x3 #'
    logged MMIOSHIM_MAP="$(tree '')" "$ROOT/examples/virtio-blk" read 0 1
    assert_success
    assert_count 1 'virtio_mmio@10001000 DriverFeatures write4 0x1 #'
}

@test "an IOMMU that nobody models lets everything through" {
    logged MMIOSHIM_MAP="$(tree 'iommus = <&foreign 1 2>;')" MMIOSHIM_ATTACH=virtio_mmio@10001000=blk:disk.img \
        "$ROOT/examples/virtio-blk" read 0 1
    assert_success
    assert_count 1 'virtio_mmio@10001000 DriverFeatures write4 0x1 #'
    assert_count 0 ' refused$'
}

@test "wirings that cannot be: one line" {
    refused() {
        run --separate-stderr shim MMIOSHIM_MAP="$(tree "$1")" MMIOSHIM_ATTACH="$2" true
        assert_refused "^mmioshim: virtio_mmio@1000[12]000: iommus names $3"
    }
    refused 'iommus = <&viommu 7>;' '' 'virtio_mmio@10002000, into which no IOMMU is plugged; allowed: '
    refused 'iommus = <&viommu 7>;' 'virtio_mmio@10002000=rng' 'virtio_mmio@10002000, into which no IOMMU'
    refused 'iommus = <&viommu 7 &viommu 8>;' 'virtio_mmio@10002000=iommu' 'virtio_mmio@10002000; allowed: one entry'
    refused 'iommus = <&viommu>;' 'virtio_mmio@10002000=iommu' 'no IOMMU; allowed: a phandle'
    refused 'iommus = <0x77 1>;' 'virtio_mmio@10002000=iommu' 'no IOMMU; allowed: a phandle'
    refused 'iommus = <&{/uart@10000000} 1>;' 'virtio_mmio@10002000=iommu' 'no IOMMU; allowed: a phandle'
    run --separate-stderr shim MMIOSHIM_MAP="$(tree '')" MMIOSHIM_ATTACH=virtio_mmio@10002000=iommu:bypass=0 true
    assert_refused 'iommu takes bypass=on and bypass=off; allowed: '
}

@test "a named machine that is reset from outside" {
    export MMIOSHIM_MAP XDG_RUNTIME_DIR=$BATS_TEST_TMPDIR HOME=$BATS_TEST_TMPDIR
    MMIOSHIM_MAP=$(tree 'iommus = <&viommu 7>;')
    export MMIOSHIM_ATTACH="virtio_mmio@10001000=blk:disk.img;virtio_mmio@10002000=iommu"
    shim MMIOSHIM_LOG=none MMIOSHIM_MACHINE=tables "$GUESTS/g_iommu" attach:1:7 bypass:0
    "$CMD" machine reset tables
    run --separate-stderr shim MMIOSHIM_LOG=none MMIOSHIM_MACHINE=tables "$GUESTS/g_iommu" -keep disk read:3
    assert_output $'disk: 0\nsector 00000003 read:3: 0'
    "$CMD" machine rm tables
}

# pci_tree IOMMU-MAP: a PCI bus with three functions, of which the last one says itself where it belongs, and an IOMMU
pci_tree() {
    dtb pci <<END
/dts-v1/;
/ {
	#address-cells = <1>;
	#size-cells = <1>;
	memory@80000000 { device_type = "memory"; reg = <0x80000000 0x2000000>; };
	viommu: virtio_mmio@10002000 { compatible = "virtio,mmio"; reg = <0x10002000 0x1000>; #iommu-cells = <1>; };
	foreign: iommu@10003000 { compatible = "arm,smmu-v3"; reg = <0x10003000 0x1000>; #iommu-cells = <2>; };
	pcie@30000000 {
		compatible = "pci-host-ecam-generic";
		device_type = "pci";
		#address-cells = <3>;
		#size-cells = <2>;
		reg = <0x30000000 0x1000000>;
		bus-range = <0 15>;
		ranges = <0x02000000 0 0x50000000 0x50000000 0 0x100000>;
		iommu-map = <$1>;
		dev@3,0 { compatible = "mmioshim,pci-testdev"; reg = <0x1800 0 0 0 0>; mmioshim,options = "bar0=regs"; };
		dev@4,0 { compatible = "mmioshim,pci-testdev"; reg = <0x2000 0 0 0 0>; mmioshim,options = "bar0=regs"; };
		dev@5,0 { compatible = "mmioshim,pci-testdev"; reg = <0x2800 0 0 0 0>; mmioshim,options = "bar0=regs"; iommus = <&viommu 9>; };
	};
};
END
}

# moves FUNCTION BAR ADDRESS VALUE: words for i_pci: the function writes 4 bytes, and the status is read
moves() {
    echo "c2:00:$1+4=6 m4:$2010=$3 m4:$2018=4 m4:$2100=$4 m4:$200c=2 m4:$201c"
}

@test "functions of a PCI bus: iommu-map of the host tells which endpoint each of them is" {
    logged MMIOSHIM_MAP="$(pci_tree '0 &viommu 0x100 0x18 0x20 &viommu 0x138 0xffe0')" MMIOSHIM_BACKTRACE=0 \
        MMIOSHIM_ATTACH=virtio_mmio@10002000=iommu:bypass=off timeout 60 sh -c "
        $GUESTS/i_pci $(moves 03.0 50000 80500000 33) $(moves 04.0 50001 80500004 44) $(moves 05.0 50002 80500008 55)
        $GUESTS/g_iommu attach:1:0x118 attach:1:0x138 attach:2:9 map:1:0x5000:0x5fff:0x80500000:2 map:2:0x5000:0x5fff:0x80500000:1
        $GUESTS/i_pci $(moves 04.0 50001 5004 44) $(moves 05.0 50002 5008 55) m4:80500000 m4:80500004 m4:80500008"
    assert_success
    # 1: done, 2: refused; there is no endpoint of the number that the first function would have
    assert_output '1
2
2
attach:1:0x118: 6
attach:1:0x138: 0
attach:2:9: 0
map:1:0x5000:0x5fff:0x80500000:2: 0
map:2:0x5000:0x5fff:0x80500000:1: 0
1
2
33
44
0'
    assert_equal "$(grep '^\[DMA\] pci' "$log")" "$(cat <<'END'
[DMA] pci:00:03.0 write 0x80500000+4
[DMA] pci:00:04.0 write 0x80500004+4 refused
[DMA] pci:00:05.0 write 0x80500008+4 refused
[DMA] pci:00:04.0 write 0x5004+4
[DMA] pci:00:05.0 write 0x5008+4 refused
END
)"
}

@test "an iommu-map that makes no sense, or names an empty slot: one line" {
    run --separate-stderr shim MMIOSHIM_MAP="$(pci_tree '0 &foreign 0 0x10000')" true
    assert_refused 'pci:00:00.0: iommu-map of its host makes no sense; allowed: entries of 4 cells, with the phandle of a node of 1 #iommu-cells'
    run --separate-stderr shim MMIOSHIM_MAP="$(pci_tree '0 &viommu 0')" true
    assert_refused 'iommu-map of its host makes no sense'
    run --separate-stderr shim MMIOSHIM_MAP="$(pci_tree '0 &viommu 0 0x10000')" true
    assert_refused 'into which no IOMMU is plugged'
}
