#!/usr/bin/env bats
# Memory that devices reach, as programs get it: huge pages, pagemap, u-dma-buf; and what /proc tells of the machine.

setup() {
    load common
    PATH=/usr/bin:/bin:$PATH # Debian's python3, not one that a shell script chooses
    map=$BATS_TEST_TMPDIR/map.dtb
    dtc -q -I dts -O dtb -o "$map" "$ROOT/tests/guests/i_udmabuf.dts"
}

# part NAME [VARIABLE=VALUE...]: a part of i_huge.py prints what tests/cases/dmamem/NAME.out says
part() {
    local name=$1

    shift
    run --separate-stderr shim MMIOSHIM_LOG=none "$@" timeout 120 python3 "$ROOT/tests/guests/i_huge.py" "$name"
    assert_equal "$stderr" ""
    assert_output - < "$ROOT/tests/cases/dmamem/$name.out"
    assert_success
}

@test "files of hugetlbfs: made, sized, read, listed, removed; errors as hugetlbfs has them" { part files; }
@test "locks of such a file hold between processes" { part locks; }
@test "one memory for all who map the file: by name, over fork and exec, by a socket" { part sharing; }
@test "private mappings are the process's own, with pages that devices reach" { part private; }
@test "pages are free again when the last use ends: unlink, munmap, kill -9, a child; none is given out twice" { part lifetime; }
@test "several processes make, keep and lose pages at once: each finds what it wrote" { part many; }
@test "no page left, alignment, access modes, addresses, the end of a file" { part limits; }
@test "pagemap: the machine's addresses, in this process and of others; of other pages none" { part pagemap; }
@test "the same where dirty pages are tracked by mprotect" {
    part sharing MMIOSHIM_DIRTY_MODE=mprotect
    part private MMIOSHIM_DIRTY_MODE=mprotect
}

@test "numa_maps names the files, one a line" { part numa; }

@test "tools of libhugetlbfs and DPDK count, find and set them" {
    run --separate-stderr shim MMIOSHIM_LOG=none sh -c 'hugeadm --pool-list; hugeadm --list-all-mounts; hugeadm --pool-pages-min 2MB:20 2>&1 | grep -v swap; dpdk-hugepages.py -s'
    assert_output - < "$ROOT/tests/cases/dmamem/tools.out"
}

@test "DPDK runs on them, with physical addresses, in each way that it takes memory" {
    export XDG_RUNTIME_DIR=$BATS_TEST_TMPDIR
    for mode in --file-prefix=mmioshim --legacy-mem --in-memory; do
        run shim MMIOSHIM_LOG=none timeout 120 dpdk-testpmd --no-pci --no-telemetry --lcores '(0,1)@0' -m 32 --iova-mode=pa $mode \
            -d librte_net_null.so -d librte_mempool_ring.so --vdev=net_null0 -- -i --total-num-mbufs=2048 <<< $'dump_physmem\nquit'
        assert_success
        assert_line "EAL: Selected IOVA mode 'PA'"
        assert_line 'Bye...'
        [ "$(grep -cE 'IOVA:0x9[0-9a-f]{7}, len:2097152' <<< "$output")" -ge 8 ]
        [ "$(grep -c 'IOVA:' <<< "$output")" = "$(grep -c 'IOVA:0x9' <<< "$output")" ]
    done
}

@test "a driver finds its DMA address by pagemap, and the disk reads and writes there" {
    local disk=$BATS_TEST_TMPDIR/disk mode kind

    for mode in auto mprotect; do
        for kind in "file /dev/hugepages/driver" memfd anonymous; do
            truncate -s 4096 "$disk"
            printf 'read by the disk' | dd of="$disk" conv=notrunc status=none
            # shellcheck disable=SC2086
            logged MMIOSHIM_ATTACH="virtio_mmio@10003000=blk:$disk" MMIOSHIM_BACKTRACE=0 MMIOSHIM_DIRTY_MODE=$mode \
                MMIOSHIM_DIRTY="$BATS_TEST_TMPDIR/dirty" timeout 60 "$GUESTS/i_vtophys" $kind
            assert_equal "$stderr" ""
            assert_output "read by the disk 0x90000000 0x90200600"
            assert_equal "$(dd if="$disk" bs=512 skip=1 count=1 status=none | tr -d '\0')" "written through a huge page"
            assert_count 1 '^\[DMA\] virtio_mmio@10003000 read 0x90200600\+512$'
            assert_count 1 '^\[DMA\] virtio_mmio@10003000 write 0x90200600\+512$'
            assert_count 0 'refused'
            assert_equal "$(dirty_pages "$BATS_TEST_TMPDIR/dirty" | tr ' ' '\n' | tail -n 1)" 0x90200000
        done
    done
}

@test "a page is zero again when somebody else gets it, and counts as dirty" {
    logged MMIOSHIM_DIRTY="$BATS_TEST_TMPDIR/dirty" python3 -c '
import mmap
for byte in (b"x", b"y"):
    m = mmap.mmap(-1, 2 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000)
    print(m[:].count(0) == 2 << 20)
    m[5000:5001] = byte
    m.close()'
    assert_output "$(printf 'True\nTrue')"
    assert_count 1 '^\[DIRTY\] [a-z]+: 512 of 131072 pages: 0x90000000-0x901fffff$'
}

@test "counts of huge pages: sysfs, sysctl, meminfo, mounts; nothing of the host's" {
    cat > "$BATS_TEST_TMPDIR/all.sh" <<'END'
ls /sys/kernel/mm/hugepages; cd /sys/kernel/mm/hugepages/hugepages-2048kB; grep . *
grep -E '^Huge' /proc/meminfo; grep -c '^MemTotal' /proc/meminfo
echo 70 > nr_hugepages; cat nr_hugepages; echo x | tee nr_hugepages 2>&1; echo 100000 > nr_hugepages; cat free_hugepages
echo 2 > /proc/sys/vm/nr_hugepages; grep HugePages_Total /proc/meminfo; cat /proc/sys/vm/nr_hugepages_mempolicy
if [ -d /sys/devices/system/node/node0 ]; then ls /sys/devices/system/node/node0/hugepages; else echo hugepages-2048kB; fi
grep huge /proc/mounts; grep -c huge /proc/self/mounts
grep huge /proc/self/mountinfo | cut -d ' ' -f 3-; findmnt -n -t hugetlbfs | tr -s ' '; mountpoint /dev/hugepages
stat -f -c '%T %t %s' /dev/hugepages /dev/hugepages/.; stat -c '%F %a' /dev/hugepages
find /dev/hugepages -xdev; ls -a /dev/hugepages | tr '\n' ' '; cd /dev/hugepages && pwd && cd .. && pwd; ls /dev | grep -c '^hugepages$'
END
    run --separate-stderr shim MMIOSHIM_LOG=none sh "$BATS_TEST_TMPDIR/all.sh"
    assert_equal "$stderr" ""
    assert_output - < "$ROOT/tests/cases/dmamem/counts.out"
}

@test "huge pages of a named machine outlive its processes; the anonymous ones do not" {
    local name=dmamem-$$ turn

    for turn in 1 2; do
        run --separate-stderr shim MMIOSHIM_MACHINE=$name MMIOSHIM_LOG=none python3 -c '
import mmap, os
fd = os.open("/dev/hugepages/kept", os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 2 << 20)
m = mmap.mmap(fd, 2 << 20)
a = mmap.mmap(-1, 2 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000)
m[0] += 1
print(m[0], open("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages").read().strip(), flush=True)
os.kill(os.getpid(), 9)'
        assert_output "$turn 62"
    done
    "$CMD" machine rm $name
}

@test "u-dma-buf: attributes, mmap, read and write, from the tree and from the command line" {
    cat > "$BATS_TEST_TMPDIR/all.sh" <<'END'
stat -c '%A %t:%T %n' /dev/frames /dev/udmabuf?; cd /sys/class/u-dma-buf; ls | tr '\n' ' '; ls /sys/class/udmabuf | wc -l; grep . */*
echo hello > /dev/frames; busybox devmem 0x81000000 32; busybox devmem 0x81000002 8 0x4c; head -c 5 /dev/frames; echo
dd if=/dev/udmabuf0 bs=100000 status=none | wc -c; dd if=/dev/zero of=/dev/udmabuf0 bs=4096 seek=16 count=1 2>&1 | head -n 2
echo 1 > udmabuf0/sync_for_device; cat udmabuf0/sync_owner udmabuf0/sync_for_device; echo 0x0000100000000014 > udmabuf0/sync_for_cpu; cat udmabuf0/sync_owner
(echo 0x0001000100000014 | tee udmabuf0/sync_for_cpu; echo 9 | tee udmabuf0/sync_mode; echo 1 | tee udmabuf0/size) 2>&1
echo 0x1000 > udmabuf0/sync_offset; echo 3 > udmabuf0/sync_mode; cat udmabuf0/sync_offset udmabuf0/sync_mode
python3 -c '
import mmap, os, struct
fd = os.open("/dev/frames", os.O_RDWR | os.O_SYNC)
m = mmap.mmap(fd, 0x80000)
m[0x1000:0x1004] = b"mine"
a = mmap.mmap(fd, 4096, offset=0x1000)
print(m[:5], a[:4], os.pread(fd, 4, 0x1000), os.pread(fd, 4, 0x80000))
for length, offset in ((0x81000, 0), (4096, 0x80000)):
    try: mmap.mmap(fd, length, offset=offset)
    except OSError as e: print(e.strerror)
'
busybox devmem 0x81001000 32
END
    logged MMIOSHIM_MAP="$map" MMIOSHIM_BACKTRACE=0 sh "$BATS_TEST_TMPDIR/all.sh"
    assert_output - < "$ROOT/tests/cases/dmamem/udmabuf.out"
    assert_count 0 '^\[MMIO\]'
    run --separate-stderr shim MMIOSHIM_LOG=none sh -c 'ls -d /dev/udmabuf* /sys/class/u-dma-buf 2>&1 | grep -c "No such"'
    assert_output 2
}

@test "u-dma-buf that makes no sense is refused, in one line" {
    sed 's/size = <0x10001>/size = <0x8000000>/' "$ROOT/tests/guests/i_udmabuf.dts" | dtb large
    run --separate-stderr shim MMIOSHIM_MAP="$BATS_TEST_TMPDIR/large.dtb" true
    assert_refused 'udmabuf0: u-dma-buf: size: does not fit'
    sed 's/size = <0x10001>/size = <0>/' "$ROOT/tests/guests/i_udmabuf.dts" | dtb none
    run --separate-stderr shim MMIOSHIM_MAP="$BATS_TEST_TMPDIR/none.dtb" true
    assert_refused 'udmabuf0: u-dma-buf: size: none; allowed: '
    sed 's/size = <0 0x80000>/size = <0x200000>/' "$ROOT/tests/guests/i_udmabuf.dts" | dtb region
    run --separate-stderr shim MMIOSHIM_MAP="$BATS_TEST_TMPDIR/region.dtb" true
    assert_refused 'frames: u-dma-buf: memory-region: '
    sed 's/"frames";/"udmabuf0";/' "$ROOT/tests/guests/i_udmabuf.dts" | dtb twice
    run --separate-stderr shim MMIOSHIM_MAP="$BATS_TEST_TMPDIR/twice.dtb" true
    assert_refused 'udmabuf0: u-dma-buf: there is another one of that name'
}

@test "iomem, ioports, interrupts, /dev/port: the machine's" {
    run --separate-stderr shim MMIOSHIM_MAP="$map" MMIOSHIM_LOG=none sh -c 'cat /proc/iomem; wc -c < /proc/ioports; ls /dev/port 2>&1; cat /sys/kernel/mm/hugepages/*/nr_hugepages; echo 99 > /proc/sys/vm/nr_hugepages; cat /proc/sys/vm/nr_hugepages'
    assert_output - <<'END'
10000000-100000ff : 10000000.uart uart@10000000
20000000-2000000f : 10000000.uart uart@10000000
80000000-82ffffff : System RAM
  80000000-8003ffff : Reserved
  81000000-810fffff : Reserved
83000000-83000fff : 83000000.scratch scratch@83000000
83001000-83ffffff : System RAM
0
ls: cannot access '/dev/port': No such file or directory
3
14
END
    truncate -s 4096 "$BATS_TEST_TMPDIR/disk"
    run --separate-stderr shim MMIOSHIM_ATTACH="virtio_mmio@10003000=blk:$BATS_TEST_TMPDIR/disk" MMIOSHIM_LOG=none \
        sh -c '"$1" anonymous > /dev/null; "$1" memfd > /dev/null; cat /proc/interrupts' sh "$GUESTS/i_vtophys"
    assert_output - < "$ROOT/tests/cases/dmamem/interrupts.out"
    dtc -q -I dts -O dtb -o "$BATS_TEST_TMPDIR/ports.dtb" "$ROOT/tests/guests/c_ports.dts"
    logged MMIOSHIM_MAP="$BATS_TEST_TMPDIR/ports.dtb" MMIOSHIM_BACKTRACE=0 sh -c 'cat /proc/ioports; stat -c "%F %t %T" /dev/port
        printf abc | dd of=/dev/port bs=3 seek=512 oflag=seek_bytes conv=notrunc status=none
        dd if=/dev/port bs=3 skip=512 count=1 iflag=skip_bytes status=none; echo; dd if=/dev/port bs=16 skip=4096 count=1 status=none | wc -c'
    assert_output - <<'END'
0070-0071 : rtc@70
0200-021f : left@200
0220-022f : right@220
03f8-03ff : serial@3f8
ffff-ffff : last@ffff
character special file 1 4
abc
0
END
    run --separate-stderr shim MMIOSHIM_ATTACH='pci:00:04.0=testdev,bar0=4K,bar4=256:io;pci:02:01.0=testdev,bar0=1M:64:prefetch,bar2=4K' \
        MMIOSHIM_LOG=none sh -c 'sed -n "/ECAM/,\$p" /proc/iomem; cat /proc/ioports; grep : /proc/interrupts | tail -n 2; cut -d " " -f 1,3 /sys/bus/pci/devices/0000:00:04.0/resource | sed -n 5p'
    assert_output - < "$ROOT/tests/cases/dmamem/pci.out"
    assert_count 3 '^\[PORT\] trap at 0x20[0-2] -> left@200 \+0x[0-2] write1'
    assert_count 3 '^\[PORT\] trap at 0x20[0-2] -> left@200 (\+0x[0-2] )read1'
    assert_count 0 '^\[LINT\]'
}
