#!/usr/bin/env bats
# Programs as Debian packages them, on the machine's physical memory: what they print, and exactly which accesses they make.

setup() {
    load common
    export MMIOSHIM_MAP=$(scratch_map)
}

# accessed COUNT READS WRITES [VARIABLE=VALUE...] PROGRAM...: it succeeds, and makes so many accesses, none of them misuse
accessed() {
    logged MMIOSHIM_BACKTRACE=0 "${@:4}"
    assert_success
    assert_equal "$(tail -n 1 "$log")" "[EXIT] $1 accesses ($2 reads, $3 writes), 0 lint, 0 lost"
    assert_ended
}

# The accesses without their places: "write4 0x1234".
moved() {
    accesses | sed -E 's/.* \+0x[0-9a-f]+ (.*) #[0-9]+$/\1/' | tr '\n' ' '
}

# All patterns of memtester were tried and held.
memtested() {
    assert_equal "$(tr '\b\r' '\n\n' <<< "$output" | grep -c '^ *ok$\|: *ok$')" 18
    assert_equal "$(grep -c FAILURE <<< "$output")" 0
}

@test "busybox devmem: each width, in processes of their own" {
    accessed 5 4 1 sh -c 'busybox devmem 0x10000010 64 0x1122334455667788
        for width in 8 16 32 64; do busybox devmem 0x10000010 $width; done'
    assert_output "$(printf '0x88\n0x7788\n0x55667788\n0x1122334455667788')"
    assert_equal "$(moved)" 'write8 0x1122334455667788 read1 0x88 read2 0x7788 read4 0x55667788 read8 0x1122334455667788 '
}

@test "memtool: words of each width, ranges, and words written" {
    accessed 14 12 2 sh -c '
        memtool mw -l 0x10000010 0x12345678 0x9abcdef0
        memtool md -l 0x10000010+8; memtool md -w 0x10000010+8; memtool md -b 0x10000012+4; memtool md -q 0x10000010+16'
    assert_equal "$stderr" ""
    assert_output - <<'END'
10000010: 12345678 9abcdef0                                  xV4.....
10000010: 5678 1234 def0 9abc                                xV4.....
10000012: 34 12 f0 de                                        4...
10000010: 9abcdef012345678 0000000000000000                  xV4.............
END
    assert_equal "$(moved)" 'write4 0x12345678 write4 0x9abcdef0 read4 0x12345678 read4 0x9abcdef0 '\
'read2 0x5678 read2 0x1234 read2 0xdef0 read2 0x9abc read1 0x34 read1 0x12 read1 0xf0 read1 0xde '\
'read8 0x9abcdef012345678 read8 0x0 '
}

@test "pcm-mmio: a register written and read back" {
    accessed 3 2 1 sh -c 'pcm-mmio -w 0x1234 0x10000008; pcm-mmio 0x10000008'
    assert_equal "$(grep 'MMIO register 0x' <<< "$output")" "$(cat <<'END'
 Writing 0x1234 to 32-bit MMIO register 0x10000008
 Read value 0x1234 from 32-bit MMIO register 0x10000008
 Read value 0x1234 from 32-bit MMIO register 0x10000008
END
)"
    assert_equal "$(moved)" 'write4 0x1234 read4 0x1234 read4 0x1234 '
}

@test "memtester on a window: every pattern holds, 2784 accesses a word" {
    accessed $((2784 * 512)) $((1330 * 512)) $((1454 * 512)) MMIOSHIM_LOG_FILTER=device=none memtester -p 0x10000000 -d /dev/mem 4K 1
    memtested
    assert_count 0 '^\[MMIO\]'
}

@test "memtester on RAM makes no access, and leaves its pages dirty" {
    logged memtester -p 0x80010000 -d /dev/mem 64K 1
    assert_success
    memtested
    assert_count 1 '^\[EXIT\] 0 accesses '
    logged MMIOSHIM_DIRTY="$BATS_TEST_TMPDIR/dirty" memtester -p 0x80010000 -d /dev/mem 64K 1
    assert_equal "$(dirty_pages "$BATS_TEST_TMPDIR/dirty" | wc -w)" 16
}

@test "dd: blocks of 1, 2, 4 and 8 bytes are one access, others 4 bytes at a time" {
    accessed 9 5 4 sh -c '
        printf 0123456789abcdef | dd of=/dev/mem bs=16 seek=$((0x10000020 / 16)) conv=notrunc status=none
        dd if=/dev/mem bs=16 skip=$((0x10000020 / 16)) count=1 status=none
        dd if=/dev/mem bs=8 skip=$((0x10000020 / 8)) count=1 status=none'
    assert_equal "$stderr" ""
    assert_output 0123456789abcdef01234567
    accessed 6 3 3 sh -c '
        printf ABCD | dd of=/dev/mem bs=4 seek=$((0x10000024 / 4)) conv=notrunc status=none
        printf z | dd of=/dev/mem bs=1 seek=$((0x1000002b)) conv=notrunc status=none
        printf yx | dd of=/dev/mem bs=2 seek=$((0x1000002c / 2)) conv=notrunc status=none
        dd if=/dev/mem bs=4 skip=$((0x10000024 / 4)) count=1 status=none
        dd if=/dev/mem bs=1 skip=$((0x1000002b)) count=1 status=none
        dd if=/dev/mem bs=2 skip=$((0x1000002c / 2)) count=1 status=none'
    assert_output ABCDzyx
    assert_equal "$(moved)" 'write4 0x44434241 write1 0x7a write2 0x7879 read4 0x44434241 read1 0x7a read2 0x7879 '
}

@test "od reads what it is asked for; xxd and hexdump a page, through stdio; 4 bytes at a time" {
    show() {
        accessed "$1" $(($1 - 1)) 1 sh -c '
            printf hardware | dd of=/dev/mem bs=8 seek=$((0x10000100 / 8)) conv=notrunc status=none; exec "$@"' sh "${@:2}"
    }
    show 5 od -An -tx1z -j $((0x10000100)) -N 16 /dev/mem
    assert_output ' 68 61 72 64 77 61 72 65 00 00 00 00 00 00 00 00  >hardware........<'
    # fseek(3) reads from the beginning of the page.
    show $((1 + 64 + 1024)) xxd -s 0x10000100 -l 8 /dev/mem
    assert_output '10000100: 6861 7264 7761 7265                      hardware'
    show $((1 + 64 + 1024)) hexdump -C -s 0x10000100 -n 8 /dev/mem
    assert_output "$(printf '10000100  68 61 72 64 77 61 72 65                           |hardware|\n10000108')"
}

@test "python3: mmap of /dev/mem and of a BAR" {
    cat > "$BATS_TEST_TMPDIR/map.py" <<'END'
import mmap, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_SYNC)
m = mmap.mmap(fd, 4096, offset=int(sys.argv[2], 0))
words = memoryview(m).cast("I")
words[4] = 0x600df00d
m[20] = 0x11
print(hex(words[4]), m[20], hex(struct.unpack_from("<Q", m, 16)[0]))
END
    accessed 5 3 2 python3 "$BATS_TEST_TMPDIR/map.py" /dev/mem 0x10000000
    assert_output '0x600df00d 17 0x11600df00d'
    accessed 5 3 2 MMIOSHIM_MAP=virt MMIOSHIM_ATTACH=pci:00:04.0=testdev,bar0=64K \
        python3 "$BATS_TEST_TMPDIR/map.py" /sys/bus/pci/devices/0000:00:04.0/resource0 0x3000
    assert_output '0x600df00d 17 0x11600df00d'
}

@test "a program that maps a BAR and takes SIGSEGV for itself gets its own faults alone" {
    accessed 21 20 1 MMIOSHIM_MAP=virt MMIOSHIM_ATTACH=pci:00:04.0=testdev,bar0=4K \
        "$GUESTS/i_segv" /sys/bus/pci/devices/0000:00:04.0/resource0
    assert_output "21 faults, all the program's"
    assert_count 20 ' pci:00:04.0:bar0 \+0x4 read4 0xcafe '
    assert_count 0 '^\[FAULT\]'
}
