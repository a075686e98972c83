# Port I/O: in, out, ins and outs of a machine with an I/O port space, and of one without.
setup() {
    load common
    map=$BATS_TEST_TMPDIR/ports.dtb
    dtc -q -I dts -O dtb -o "$map" "$ROOT/tests/guests/c_ports.dts"
    PORTS=$GUESTS/c_ports
}

# ports ARGUMENT...: the guest on the machine, transcript in $log
ports() {
    logged MMIOSHIM_MAP="$map" "$PORTS" "$@"
}

# The last line of the transcript.
exit_line() {
    tail -n 1 "$log"
}

@test "the map: ports stand behind the windows, ascending; the transcript begins with the same lines" {
    run --separate-stderr "$CMD" map "$map"
    assert_success
    assert_output "$(cat <<'END'
[MEM] RAM: 1MB 0x80000000-0x800fffff memory@80000000
[MEM] MMIO: SCRATCH 0x10000000-0x10000fff scratch@10000000 mmioshim,scratch
[MEM] PORTS: UNIMPLEMENTED 0x70-0x71 rtc@70 acme,rtc
[MEM] PORTS: SCRATCH 0x200-0x21f left@200 mmioshim,scratch
[MEM] PORTS: SCRATCH 0x220-0x22f right@220 mmioshim,scratch
[MEM] PORTS: UART 0x3f8-0x3ff serial@3f8 ns16550a
[MEM] PORTS: SCRATCH 0xffff-0xffff last@ffff mmioshim,scratch
END
)"
    text=$output
    ports inb:0x70
    assert_equal "$(grep '^\[MEM\]' "$log")" "$text"
    run --separate-stderr "$CMD" map --json "$map"
    assert_equal "${lines[2]}" \
        '{"type":"map","kind":"port","base":"0x70","size":2,"device":"rtc@70","compatible":"acme,rtc"}'
    assert_equal "$(printf '%s\n' "${lines[@]}" | sed 's/.*"kind":"\([a-z]*\)".*/\1/' | tr '\n' ' ')" \
        'ram mmio port port port port port '
}

@test "a serial port: what goes out by THR is on standard output, accesses have their stacks" {
    ports iopl:3 outb:0x3f8=0x41 inb:0x3fd outs:0x3f8=bc
    assert_success
    assert_output "$(printf 'iopl:3: 0\nA0x60\nbc')"
    assert_equal "$(stacks)" "$(cat <<'END'
[PORT] trap at 0x3f8 -> serial@3f8 THR write1 0x41 'A' #1
    at main+0x (c_ports)
[PORT] trap at 0x3fd -> serial@3f8 LSR read1 0x60 THRE|TEMT #2
    at main+0x (c_ports)
[PORT] trap at 0x3f8 -> serial@3f8 THR write1 0x62 'b' #3
    at main+0x (c_ports)
[PORT] trap at 0x3f8 -> serial@3f8 THR write1 0x63 'c' #4
    at main+0x (c_ports)
[DIRTY] MODE: 0 of 256 pages
[EXIT] 4 accesses (1 reads, 3 writes), 0 lint, 0 lost
END
)"
}

@test "its input: rep insb of RBR takes byte after byte, as it came" {
    printf 'hello' > "$BATS_TEST_TMPDIR/in"
    logged MMIOSHIM_MAP="$map" MMIOSHIM_ATTACH="serial@3f8=file:$BATS_TEST_TMPDIR/out,in=$BATS_TEST_TMPDIR/in" \
        "$PORTS" iopl:3 insb:0x3f8=5 inb:0x3fd outs:0x3f8=bye
    assert_success
    assert_output "$(printf 'iopl:3: 0\n68 65 6c 6c 6f\n0x60')"
    assert_equal "$(cat "$BATS_TEST_TMPDIR/out")" bye
    assert_count 5 '^\[PORT\] trap at 0x3f8 -> serial@3f8 RBR read1 '
    assert_equal "$(exit_line)" '[EXIT] 9 accesses (6 reads, 3 writes), 0 lint, 0 lost'
}

@test "JSON: records of type port have the keys of mmio" {
    json_logged MMIOSHIM_MAP="$map" "$PORTS" iopl:3 outb:0x3f8=0x41 inw:0x70 inl:0x100
    assert_success
    python3 - "$log" <<'END'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
ports = [l for l in lines if l['type'] == 'port']
assert [list(l) for l in ports] == 3 * [['type', 'seq', 'op', 'width', 'addr', 'device', 'offset', 'register', 'value',
                                         'pid', 'tid', 'insn', 'pc', 'stack']], ports
assert [(l['seq'], l['op'], l['width'], l['addr'], l['device'], l['offset'], l['register'], l['value'], l['insn'])
        for l in ports] == [
    (1, 'write', 1, '0x3f8', 'serial@3f8', 0, 'THR', '0x41', 'out dx, al'),
    (2, 'read', 2, '0x70', 'rtc@70', 0, None, '0xffff', 'in ax, dx'),
    (3, 'read', 4, '0x100', 'unmapped', 256, None, '0xffffffff', 'in eax, dx')], ports
stacks = [l['id'] for l in lines if l['type'] == 'stack']
assert [l['stack'] for l in ports] == stacks == [1, 2, 3], stacks
assert [l['type'] for l in lines if l['type'] not in ('port', 'stack')] == ['map'] * 7 + ['dirty', 'exit']
assert lines[-1] == {'type': 'exit', 'accesses': 3, 'reads': 2, 'writes': 1, 'lint': 0, 'lost': 0}
END
}

@test "every width by dx and by immediate: the ports, rax and the flags are as on hardware" {
    ports iopl:3 forms
    assert_success
    assert_output 'iopl:3: 0'
    assert_count 25 '^\[PORT\]'
    assert_count 1 '^\[PORT\] trap at 0x200 -> left@200 \+0x0 write4 0x55667788 #1$'
    assert_count 2 '^\[PORT\] trap at 0x70 -> rtc@70 \+0x0 read[14] 0x(ff|ffffffff) unassigned #2[23]$'
    assert_count 1 '^\[PORT\] trap at 0x80 -> unmapped write1 0xff unassigned #24$'
    assert_equal "$(exit_line)" '[EXIT] 25 accesses (21 reads, 4 writes), 0 lint, 0 lost'
}

@test "string forms: all widths, both directions, no iteration at all; one event an iteration" {
    ports iopl:3 strings
    assert_success
    assert_output 'iopl:3: 0'
    assert_count 39 '^\[PORT\]'
    assert_equal "$(exit_line)" '[EXIT] 39 accesses (28 reads, 11 writes), 0 lint, 0 lost'
}

@test "ten thousand iterations, and the address-size prefix" {
    ports iopl:3 bursts
    assert_success
    assert_count 20001 '^\[PORT\] trap at 0x200 -> left@200 '
    assert_equal "$(exit_line)" '[EXIT] 20001 accesses (10001 reads, 10000 writes), 0 lint, 0 lost'
}

@test "memory that faults: the handler sees how far it came, no byte of the port is lost" {
    ports iopl:3 faults
    assert_success
    assert_output 'iopl:3: 0'
    assert_equal "$(events)" "$(cat <<'END'
[PORT] trap at 0x200 -> left@200 +0x0 write4 0x64636261 #1
[PORT] trap at 0x200 -> left@200 +0x0 read4 0x64636261 #2
[PORT] trap at 0x200 -> left@200 +0x0 read4 0x64636261 #3
[PORT] trap at 0x200 -> left@200 +0x0 read4 0x64636261 #4
[PORT] trap at 0x208 -> left@200 +0x8 write1 0x63 #5
[PORT] trap at 0x208 -> left@200 +0x8 write1 0x64 #6
[PORT] trap at 0x208 -> left@200 +0x8 write1 0x61 #7
[PORT] trap at 0x208 -> left@200 +0x8 write1 0x62 #8
[PORT] trap at 0x208 -> left@200 +0x8 read1 0x62 #9
[DIRTY] MODE: 0 of 256 pages
[EXIT] 9 accesses (4 reads, 5 writes), 0 lint, 0 lost
END
)"
    ports canonical
    assert_success
    assert_output ''
}

@test "the memory operand may be a window, or RAM" {
    for mode in mprotect auto; do
        logged MMIOSHIM_MAP="$map" MMIOSHIM_DIRTY_MODE=$mode "$PORTS" iopl:3 windows
        assert_success
        assert_count 1 '^\[DIRTY\] [a-z]+: 2 of 256 pages: 0x80001000-0x80002fff$'
    done
    assert_equal "$(events | sed 's/ ->.* \(read\|write\)/ \1/')" "$(cat <<'END'
[PORT] trap at 0x200 write4 0x34333231 #1
[PORT] trap at 0x200 read4 0x34333231 #2
[MMIO] trap at 0x10000004 write4 0x34333231 #3
[PORT] trap at 0x200 read4 0x34333231 #4
[MMIO] trap at 0x10000008 write4 0x34333231 #5
[MMIO] trap at 0x1000000b read1 0x34 #6
[MMIO] trap at 0x10000005 write1 0x78 #7
[MMIO] trap at 0x10000004 read1 0x31 #8
[PORT] trap at 0x209 write1 0x31 #9
[MMIO] trap at 0x10000005 read1 0x78 #10
[PORT] trap at 0x209 write1 0x78 #11
[PORT] trap at 0x209 read1 0x78 #12
[PORT] trap at 0x200 read1 0x31 #13
[PORT] trap at 0x200 read1 0x31 #14
[DIRTY] MODE: 2 of 256 pages: 0x80001000-0x80002fff
[EXIT] 14 accesses (8 reads, 6 writes), 0 lint, 0 lost
END
)"
}

@test "an access that spans devices is one event; behind the last port is nobody" {
    ports iopl:3 outl:0x21e=0x44332211 inb:0x21f inw:0x220 outb:0xffff=0x5a inl:0xffff inl:0x22e
    assert_success
    assert_output "$(printf 'iopl:3: 0\n0x22\n0x4433\n0xffffff5a\n0xffff0000')"
    assert_equal "$(grep '^\[PORT\]' "$log")" "$(cat <<'END'
[PORT] trap at 0x21e -> left@200 +0x1e write4 0x44332211 #1
[PORT] trap at 0x21f -> left@200 +0x1f read1 0x22 #2
[PORT] trap at 0x220 -> right@220 +0x0 read2 0x4433 #3
[PORT] trap at 0xffff -> last@ffff +0x0 write1 0x5a #4
[PORT] trap at 0xffff -> last@ffff +0x0 read4 0xffffff5a #5
[PORT] trap at 0x22e -> right@220 +0xe read4 0xffff0000 #6
END
)"
}

@test "registers narrower than the access: split, with a line of lint, as in memory" {
    ports iopl:3 inw:0x3fd
    assert_success
    assert_output "$(printf 'iopl:3: 0\n0xb060')"
    assert_equal "$(events | head -n 2)" "$(cat <<'END'
[PORT] trap at 0x3fd -> serial@3f8 LSR read2 0xb060 THRE|TEMT #1
[LINT] wide-access #1 serial@3f8 LSR read2: register takes 1-byte accesses
END
)"
}

@test "ports that nobody models or describes: ones, zero, or the SIGSEGV of hardware without permission" {
    for answer in ones=0xff zero=0; do
        logged MMIOSHIM_MAP="$map" MMIOSHIM_UNASSIGNED="${answer%=*}" "$PORTS" iopl:3 inb:0x71 inb:0x80 outb:0x80=1
        assert_success
        assert_output "$(printf 'iopl:3: 0\n%s\n%s' "${answer#*=}" "${answer#*=}")"
        assert_count 1 '^\[PORT\] trap at 0x71 -> rtc@70 \+0x1 read1 0x[0f]+ unassigned #1$'
        assert_count 1 '^\[PORT\] trap at 0x80 -> unmapped read1 0x[0f]+ unassigned #2$'
        assert_count 1 '^\[PORT\] trap at 0x80 -> unmapped write1 0x1 unassigned #3$'
    done
    logged MMIOSHIM_MAP="$map" MMIOSHIM_UNASSIGNED=fault "$PORTS" iopl:3 inb:0x200 insw:0x80=2
    assert_failure 139
    assert_equal "$(events)" "$(cat <<'END'
[PORT] trap at 0x200 -> left@200 +0x0 read1 0x0 #1
[PORT] trap at 0x80 -> unmapped read2 0xffff unassigned #2
[FAULT] read2 0x80 I/O port of nobody
[DIRTY] MODE: 0 of 256 pages
[EXIT] 2 accesses (2 reads, 0 writes), 0 lint, 0 lost
END
)"
    logged MMIOSHIM_MAP="$map" MMIOSHIM_UNASSIGNED=fault "$PORTS" iopl:3 outb:0x70=1
    assert_failure 139
    assert_count 1 '^\[FAULT\] write1 0x70 I/O port in rtc@70$'
}

@test "iopl and ioperm check what the kernel checks" {
    ports iopl:0 iopl:1 iopl:2 iopl:3 iopl:4 iopl:-1 ioperm:0,0,1 ioperm:0,65536,1 ioperm:1,65536,1 ioperm:65535,1,0 \
        ioperm:65536,1,1 ioperm:0xffffffffffffffff,2,1 ioperm:1,0xffffffffffffffff,1
    assert_success
    assert_output "$(cat <<'END'
iopl:0: 0
iopl:1: 0
iopl:2: 0
iopl:3: 0
iopl:4: EINVAL
iopl:-1: EINVAL
ioperm:0,0,1: EINVAL
ioperm:0,65536,1: 0
ioperm:1,65536,1: EINVAL
ioperm:65535,1,0: 0
ioperm:65536,1,1: EINVAL
ioperm:0xffffffffffffffff,2,1: EINVAL
ioperm:1,0xffffffffffffffff,1: EINVAL
END
)"
    [ ! -e "$log" ] || assert_equal "$(cat "$log")" ''
}

@test "a port that was never granted works, and is one line of lint a process" {
    ports inb:0x200 inb:0x201
    assert_success
    assert_equal "$(grep '^\[LINT\]' "$log")" \
        '[LINT] port-permission #1 left@200 +0x0 read1: neither iopl(3) nor ioperm: on hardware this is a SIGSEGV'
    assert_equal "$(exit_line)" '[EXIT] 2 accesses (2 reads, 0 writes), 1 lint, 0 lost'
    ports iopl:2 inb:0x80
    assert_count 1 '^\[LINT\] port-permission #1 unmapped read1: '
    # Granted ports only, to the last byte; over the edges of words of the map of bits.
    ports ioperm:0x23f,0x42,1 inb:0x23f inb:0x280 inl:0x27d
    assert_count 0 '^\[LINT\]'
    ports ioperm:0x23f,0x42,1 inl:0x27e
    assert_count 1 '^\[LINT\] port-permission #1 '
    ports ioperm:0x23f,0x42,1 inb:0x23e
    assert_count 1 '^\[LINT\] port-permission #1 '
    ports ioperm:0,65536,1 ioperm:0x201,1,0 inb:0x200 inb:0x202 inw:0x200
    assert_count 1 '^\[LINT\] port-permission #3 '
    # iopl(0) takes back what iopl gave, not what ioperm gave.
    ports ioperm:0x200,1,1 iopl:3 inb:0x70 iopl:0 inb:0x200 inb:0x70
    assert_count 1 '^\[LINT\] port-permission #3 rtc@70 '
    logged MMIOSHIM_MAP="$map" MMIOSHIM_LINT=off "$PORTS" inb:0x200
    assert_count 0 '^\[LINT\]'
}

@test "a child of fork inherits what was granted, and speaks for itself" {
    ports iopl:3 fork inb:0x200
    assert_success
    assert_count 0 '^\[LINT\]'
    ports inb:0x200 fork inb:0x201 inb:0x202
    assert_success
    assert_equal "$(grep -o '^\[LINT\] port-permission #[0-9]*' "$log")" "$(printf '[LINT] port-permission #%d\n' 1 2)"
    assert_equal "$(exit_line)" '[EXIT] 3 accesses (3 reads, 0 writes), 2 lint, 0 lost'
}

@test "what was granted is kept over exec, and for programs that it starts" {
    for what in iopl:3 ioperm:0x200,1,1; do
        for way in exec system 'fork exec'; do
            # shellcheck disable=SC2086
            ports $what $way inb:0x200
            assert_success
            assert_count 1 '^\[PORT\]'
            assert_count 0 '^\[LINT\]'
        done
    done
    ports exec inb:0x200
    assert_count 1 '^\[LINT\] port-permission '
    ports system inb:0x200
    assert_count 1 '^\[LINT\] port-permission '
}

@test "processes of one machine share the devices behind its ports" {
    logged MMIOSHIM_MAP="$map" sh -c '"$1" outb:0x3ff=0x5a outl:0x200=0x12345678; "$1" inb:0x3ff inw:0x202' sh "$PORTS"
    assert_success
    assert_output "$(printf '0x5a\n0x1234')"
    ports iopl:3 outb:0x204=1 fork inb:0x204 outb:0x204=2
    assert_success
    assert_output "$(printf 'iopl:3: 0\n0x1')"
    assert_equal "$(exit_line)" '[EXIT] 3 accesses (1 reads, 2 writes), 0 lint, 0 lost'
}

@test "a named machine keeps them, and machine reset resets them" {
    name=ports$$
    logged MMIOSHIM_MAP="$map" MMIOSHIM_MACHINE=$name "$PORTS" outb:0x3ff=0x5a outb:0xffff=7
    logged MMIOSHIM_MAP="$map" MMIOSHIM_MACHINE=$name "$PORTS" inb:0x3ff inb:0xffff
    kept=$output
    "$CMD" machine reset $name
    logged MMIOSHIM_MAP="$map" MMIOSHIM_MACHINE=$name "$PORTS" inb:0xffff
    reset=$output
    "$CMD" machine rm $name
    assert_equal "$kept" "$(printf '0x5a\n0x7')"
    assert_equal "$reset" 0
}

@test "the filter and the disassembly of MMIO hold for ports" {
    logged MMIOSHIM_MAP="$map" MMIOSHIM_LOG_FILTER='device=serial*,op=write' MMIOSHIM_LOG_SHOW=insn \
        "$PORTS" iopl:3 outb:0x3f8=0x41 inb:0x3fd outb:0x200=1
    assert_count 1 '^\[PORT\]'
    assert_count 1 "^\[PORT\] trap at 0x3f8 -> serial@3f8 THR write1 0x41 'A' #1 insn=\"out dx, al\"$"
    assert_equal "$(exit_line)" '[EXIT] 3 accesses (1 reads, 2 writes), 0 lint, 0 lost'
    logged MMIOSHIM_MAP="$map" MMIOSHIM_LOG_FILTER='addr=0x203-0x300' "$PORTS" iopl:3 inl:0x200 inb:0x202 inb:0x70
    assert_equal "$(grep '^\[PORT\]' "$log")" '[PORT] trap at 0x200 -> left@200 +0x0 read4 0x0 #1'
}

@test "a machine without ports: port I/O is the program's own fault, iopl and ioperm are the kernel's" {
    for what in inb:0x70 strings; do
        run -139 "$PORTS" $what
        logged "$PORTS" $what
        assert_failure 139
        assert_count 1 '^\[LINT\] refused '
        assert_count 0 '^\[(PORT|FAULT)\]'
    done
    logged "$PORTS" inb:0x70
    assert_count 1 '^\[LINT\] refused unmapped: instruction ec: port I/O: the machine has no I/O ports$'
    run "$PORTS" canonical # whose own handler sees these faults
    native="$status $output"
    logged "$PORTS" canonical
    assert_equal "$status $output" "$native"
    run --separate-stderr "$PORTS" iopl:0 iopl:4 ioperm:0,0,1 ioperm:65536,1,1
    native=$output
    logged "$PORTS" iopl:0 iopl:4 ioperm:0,0,1 ioperm:65536,1,1
    assert_success
    assert_output "$native"
}

@test "a machine of ports alone, and one whose port space is empty" {
    map=$(dtb alone <<'END'
/dts-v1/;
/ {
	io {
		compatible = "mmioshim,ioports";
		#address-cells = <1>;
		#size-cells = <1>;
		scratch@0 { compatible = "mmioshim,scratch"; reg = <0 0x10000>; };
	};
};
END
)
    ports iopl:3 outl:0xfffc=0x01020304 inb:0xffff outb:0=9 inw:0
    assert_success
    assert_output "$(printf 'iopl:3: 0\n0x1\n0x9')"
    map=$(dtb empty <<'END'
/dts-v1/;
/ { io { compatible = "mmioshim,ioports"; #address-cells = <1>; #size-cells = <1>; }; };
END
)
    ports iopl:3 inl:0 inl:0xffff
    assert_success
    assert_output "$(printf 'iopl:3: 0\n0xffffffff\n0xffffffff')"
    assert_count 0 '^\[MEM\]'
    assert_count 2 '^\[PORT\] trap at 0x(0|ffff) -> unmapped read4 0xffffffff unassigned #[12]$'
}

@test "maps of ports that collide or lie outside are refused in one line" {
    for case in 'overlap=ranges of ports overlap: serial@3f8 \(0x3f8-0x3ff\) and serial@3fc' 'beyond=outside the I/O port space' \
        'two=a second I/O port space' 'ranges=neither reg nor ranges' 'cells=bad #address-cells or #size-cells'; do
        dtc -q -I dts -O dtb -o "$map" "$MAPS/ports-${case%%=*}.dts"
        ports inb:0x70
        assert_refused "MMIOSHIM_MAP=$map" "${case#*=}"
    done
}

@test "an ISA bus: its addresses in the I/O space are ports" {
    dtc -q -I dts -O dtb -o "$map" "$MAPS/isa.dts"
    run --separate-stderr "$CMD" map "$map"
    assert_success
    assert_equal "$(grep -c PORTS: <<< "$output")" 5
    assert_line '[MEM] PORTS: RTC 0x70-0x71 rtc@70 acme,rtc'
    assert_line '[MEM] PORTS: UNIMPLEMENTED 0xcf8-0xcff far@cf8'
    dtc -q -I dts -O dtb -o "$map" "$MAPS/isa-beyond.dts"
    ports inb:0x70
    assert_refused "MMIOSHIM_MAP=$map" 'last@fff8: .*outside the I/O port space'
}

@test "the built-in map pc: CMOS RAM and a serial port, with Debian's inb, inw, inl, outb, outw, outl" {
    logged MMIOSHIM_MAP=pc sh -c '
        outb 0x70 0x40; outb 0x71 0x5a; outb 0x70 0x0d; inb 0x71; outw 0x70 0x7741; outb 0x70 0x40; inb 0x71
        outb 0x70 0x41; inb 0x71; inw 0x80; inl 0x3fc; inb 0x3fd; outl 0x3f8 0x42034944; outb 0x3f8 0x0a'
    assert_success
    assert_output "$(printf '128\n90\n119\n65280\n11558912\n96\nD')"
    assert_equal "$(grep '^\[MEM\]' "$log")" "$(cat <<'END'
[MEM] RAM: 512MB 0x20000000-0x3fffffff memory@20000000
[MEM] PORTS: RTC 0x70-0x71 rtc@70 motorola,mc146818
[MEM] PORTS: SCRATCH 0x80-0x80 post@80 mmioshim,scratch
[MEM] PORTS: UART 0x3f8-0x3ff serial@3f8 ns16550a
END
)"
    assert_count 14 '^\[PORT\]'
    assert_count 1 '^\[PORT\] trap at 0x70 -> rtc@70 INDEX write1 0xd CELL=0xd #3$'
    assert_count 1 '^\[PORT\] trap at 0x71 -> rtc@70 D read1 0x80 VRT #4$'
    assert_count 1 '^\[PORT\] trap at 0x71 -> rtc@70 RAM read1 0x77 #9$'
    assert_count 1 '^\[PORT\] trap at 0x80 -> post@80 \+0x0 read2 0xff00 #10$'
    assert_count 0 'port-permission'
    assert_ended
}

@test "hwclock --directisa shows the machine's clock, whose tick it waits for" {
    before=$(date +%s)
    logged MMIOSHIM_MAP=pc MMIOSHIM_LOG_FILTER=addr=0x71-0x71 MMIOSHIM_BACKTRACE=0 \
        hwclock --directisa --show --utc --noadjfile --verbose
    assert_success
    shown=$(sed -n 's/^Hw clock time : .* = \([0-9]*\) seconds.*/\1/p' <<< "$output")
    [ $((shown - before)) -ge 0 ] && [ $((shown - before)) -le 60 ] || fail "$output: it was $before"
    assert_line '...got clock tick'
    grep -q ' A read1 0x26 RS=0x6|DV=0x2 #' "$log" || fail "it never looked at register A"
    grep -q ' A read1 0xa6 RS=0x6|DV=0x2|UIP #' "$log" || fail "it saw no update in progress"
    assert_ended
}

@test "hwclock --directisa sets it; the machine's processes share it; sleep goes by" {
    logged MMIOSHIM_MAP=pc MMIOSHIM_LOG_FILTER=op=write,addr=0x71-0x71 MMIOSHIM_BACKTRACE=0 sh -c '
        hwclock --directisa --set --utc --noadjfile --date "2031-03-17 12:00:30"
        hwclock --directisa --show --utc --noadjfile --verbose'
    assert_success
    shown=$(sed -n 's/^Hw clock time : .* = \([0-9]*\) seconds.*/\1/p' <<< "$output")
    # 2031-03-17 12:00:30 UTC is 1931515230.
    [ "$shown" -gt 1931515230 ] && [ "$shown" -le 1931515350 ] || fail "$output"
    assert_equal "$(events | sed -n 's/.* rtc@70 \([A-Z]* write1 0x[0-9a-f]*\).*/\1/p' | sed -n '1,2p')" \
        "$(printf 'B write1 0x82\nA write1 0x76')"
    assert_count 1 ' YEAR write1 0x31 '
    assert_count 1 ' MONTH write1 0x3 '
    assert_count 1 ' DAY write1 0x17 '
}

@test "/dev/port: each byte an access, up to the last port, without privilege" {
    logged MMIOSHIM_MAP=pc MMIOSHIM_ATTACH=serial@3f8=null MMIOSHIM_BACKTRACE=0 sh -c '
        stat -c "%F %t %T" /dev/port
        printf "\\015" | dd of=/dev/port bs=1 seek=$((0x70)) conv=notrunc status=none
        dd if=/dev/port bs=1 skip=$((0x71)) count=1 status=none | od -An -tx1
        dd if=/dev/port bs=4 skip=$((0x3fc / 4)) count=1 status=none | od -An -tx1
        dd if=/dev/port bs=8 skip=$((0xfffc / 4)) iflag=skip_bytes count=1 status=none skip=65532 | wc -c
        dd if=/dev/port bs=1 skip=65536 count=1 status=none | wc -c'
    assert_success
    assert_output "$(printf 'character special file 1 4\n 80\n 00 60 b0 00\n4\n0')"
    assert_count 10 '^\[PORT\] trap at 0x[0-9a-f]+ -> .* (read|write)1 '
    assert_count 0 '^\[LINT\]'
    run --separate-stderr shim MMIOSHIM_MAP=pc MMIOSHIM_LOG=none python3 -c '
import mmap, os
try: mmap.mmap(os.open("/dev/port", os.O_RDWR), 4096)
except OSError as e: print(e.strerror)'
    assert_output 'No such device'
    # A machine without ports has no such file, and the real one stays out of sight.
    run --separate-stderr shim MMIOSHIM_LOG=none ls /dev/port
    assert_failure 2
}
