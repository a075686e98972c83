# A parallel NOR flash: programs that know its commands, and the file behind it.
setup() {
    load common
    map=$(dtb flash <<'END'
/dts-v1/;
/ {
	#address-cells = <1>;
	#size-cells = <1>;
	flash@10000000 { compatible = "amd,am29f040b", "jedec-flash"; reg = <0x10000000 0x80000>; bank-width = <1>; };
	flash@20000000 { compatible = "sst,sst39sf010a", "jedec-flash"; reg = <0x20000000 0x20000>; };
};
END
)
    image=$BATS_TEST_TMPDIR/image
    seq 1 200000 | head -c 524288 > "$image"
    cp "$image" "$image.before"
    export MMIOSHIM_MAP=$map
    # BASE SIZE UNLOCK1 UNLOCK2 SECTOR: erases two sectors, writes text over their border, verifies
    cat > "$BATS_TEST_TMPDIR/programmer.py" <<'END'
import mmap, os, sys
base, size, first, second, sector = (int(a, 0) for a in sys.argv[1:])
flash = mmap.mmap(os.open('/dev/mem', os.O_RDWR | os.O_SYNC), size, offset=base)

def command(last, at=None):
    flash[first] = 0xaa
    flash[second] = 0x55
    flash[first if at is None else at] = last

def wait(at):  # the toggle bit
    last = flash[at]
    while (last ^ (now := flash[at])) & 0x40:
        last = now

text = b'a driver of a flash memory, ' * 20
start = 2 * sector - 100
for at in (sector, 2 * sector):
    command(0x80)
    command(0x30, at)
    wait(at)
for i, byte in enumerate(text):
    command(0xa0)
    flash[start + i] = byte
    wait(start + i)
assert flash[start:start + len(text)] == text
assert flash[sector:start] == b'\xff' * (start - sector)
print(len(text), 'bytes at', start)
END
}

with_image() {
    logged MMIOSHIM_ATTACH="flash@10000000=disk:$image$1" "${@:2}"
}

@test "each command by a process of its own: identity and a byte, with busybox devmem" {
    # In virtual time a process takes none, so that the operation is seen at work.
    with_image '' MMIOSHIM_CLOCK=virtual sh -c '
        w() { busybox devmem $((0x10000000 + $1)) 8 $2; }
        r() { busybox devmem $((0x10000000 + $1)) 8; }
        w 0x555 0xaa; w 0x2aa 0x55; w 0x555 0x90; r 0; r 1; r 2; w 0 0xf0; r 0
        w 0x555 0xaa; w 0x2aa 0x55; w 0x555 0xa0; w 0 0x21; r 0; r 0; r 0'
    assert_success
    # Where the file had 0x31. The first two reads are status, DQ6 and the inverse of DQ7.
    assert_output "$(printf '0x01\n0xA4\n0x00\n0x31\n0xC0\n0x80\n0x21')"
    assert_equal "$(events | sed -n 's/^\[MMIO\] .* flash@10000000 //p' | sed -n '1,8p;12,15p')" "$(cat <<'END'
COMMAND write1 0xaa #1
COMMAND write1 0x55 #2
COMMAND write1 0x90 #3
ID read1 0x1 #4
ID read1 0xa4 #5
ID read1 0x0 #6
COMMAND write1 0xf0 #7
ARRAY read1 0x31 #8
PROGRAM write1 0x21 #12
STATUS read1 0xc0 DQ6|DQ7 #13
STATUS read1 0x80 DQ7 #14
ARRAY read1 0x21 #15
END
)"
    assert_count 0 '^\[LINT\]'
    assert_equal "$(tail -n 1 "$log")" '[EXIT] 15 accesses (7 reads, 8 writes), 0 lint, 0 lost'
    assert_equal "$(cmp -l "$image" "$image.before")" '     1  41  61'
}

@test "a programmer erases, programs and verifies: the file has what it wrote, and nothing else has changed" {
    for patch in on off; do
        cp "$image.before" "$image"
        with_image '' MMIOSHIM_PATCH=$patch MMIOSHIM_BACKTRACE=0 \
            python3 -B "$BATS_TEST_TMPDIR/programmer.py" 0x10000000 0x80000 0x555 0x2aa 0x10000
        assert_success
        assert_output '560 bytes at 130972'
        assert_count 560 ' flash@10000000 PROGRAM write1 '
        assert_count 560 ' flash@10000000 COMMAND write1 0xa0 '
        assert_count 2 ' flash@10000000 COMMAND write1 0x30 '
        python3 - "$image" "$image.before" <<'END'
import sys
now, before = (open(name, 'rb').read() for name in sys.argv[1:])
want = bytearray(before)
want[0x10000:0x30000] = b'\xff' * 0x20000
want[130972:130972 + 560] = b'a driver of a flash memory, ' * 20
assert now == want
END
    done
}

@test "without a file it is erased at first, and keeps what is written as long as the machine lives" {
    logged MMIOSHIM_BACKTRACE=0 sh -c '
        dd if=/dev/mem bs=1 skip=$((0x20000000 + 8092)) count=4 status=none | od -An -tx1
        python3 -B "$1" 0x20000000 0x20000 0x5555 0x2aaa 0x1000
        dd if=/dev/mem bs=1 skip=$((0x20000000 + 8092)) count=8 status=none' sh "$BATS_TEST_TMPDIR/programmer.py"
    assert_success
    assert_output "$(printf ' ff ff ff ff\n560 bytes at 8092\na driver')"
}

@test "a file that may only be read: its sectors are protected, and it stays as it is" {
    with_image ,readonly sh -c '
        w() { busybox devmem $((0x10000000 + $1)) 8 $2; }
        w 0x555 0xaa; w 0x2aa 0x55; w 0x555 0x90; busybox devmem 0x10010002 8; w 0 0xf0
        w 0x555 0xaa; w 0x2aa 0x55; w 0x555 0x80; w 0x555 0xaa; w 0x2aa 0x55; w 0 0x30; busybox devmem 0x10000000 8'
    assert_success
    assert_output "$(printf '0x01\n0x31')"
    assert_count 1 '^\[LINT\] guest-bug #11 flash@10000000 COMMAND write1: '
    cmp "$image" "$image.before"
}

@test "files of another size, chips that there are not, host ends of other kinds: one line" {
    truncate -s 262144 "$image"
    with_image '' true
    assert_refused "MMIOSHIM_ATTACH=flash@10000000=disk:$image: it has 262144 bytes; allowed: 524288"
    with_image .nosuch true
    assert_refused 'cannot use .*image.nosuch as a disk: '
    logged MMIOSHIM_ATTACH=flash@10000000=stdio true
    assert_refused 'no such host end; allowed: null disk'
    MMIOSHIM_MAP=$(dtb small <<'END'
/dts-v1/;
/ {
	#address-cells = <1>;
	#size-cells = <1>;
	flash@10000000 { compatible = "jedec-flash"; reg = <0x10000000 0x40000>; };
};
END
)
    logged true
    assert_refused 'flash@10000000: no chip has the size of its window'
}
