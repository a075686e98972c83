#!/usr/bin/env bats
# The transcript as text: what an event says.

setup() {
    load common
}

# --- [MEM] ---

@test "the [MEM] block of virt: RAM, then windows ascending, before the first event" {
    logged "$POKE" w1:0x10000000=0x41
    assert_success
    assert_equal "$(head -n 14 "$log")" "$(cat <<'END'
[MEM] RAM: 512MB 0x80000000-0x9fffffff memory@80000000
[MEM] MMIO: TEST 0x100000-0x100fff test@100000 sifive,test1
[MEM] MMIO: RTC 0x101000-0x101fff rtc@101000 google,goldfish-rtc
[MEM] MMIO: CLINT 0x2000000-0x200ffff clint@2000000 sifive,clint0
[MEM] MMIO: PLIC 0xc000000-0xc5fffff plic@c000000 sifive,plic-1.0.0
[MEM] MMIO: UART 0x10000000-0x10000fff uart@10000000 ns16550a
[MEM] MMIO: VIRTIO 0x10001000-0x10001fff virtio_mmio@10001000 virtio,mmio
[MEM] MMIO: VIRTIO 0x10002000-0x10002fff virtio_mmio@10002000 virtio,mmio
[MEM] MMIO: VIRTIO 0x10003000-0x10003fff virtio_mmio@10003000 virtio,mmio
[MEM] MMIO: VIRTIO 0x10004000-0x10004fff virtio_mmio@10004000 virtio,mmio
[MEM] MMIO: VIRTIO 0x10005000-0x10005fff virtio_mmio@10005000 virtio,mmio
[MEM] MMIO: VIRTIO 0x10006000-0x10006fff virtio_mmio@10006000 virtio,mmio
[MEM] MMIO: VIRTIO 0x10007000-0x10007fff virtio_mmio@10007000 virtio,mmio
[MEM] MMIO: VIRTIO 0x10008000-0x10008fff virtio_mmio@10008000 virtio,mmio
END
)"
    assert_count 14 '^\[MEM\]'
    assert_regex "$(sed -n 15p "$log")" '^\[MMIO\] '
}

@test "virt-low has its RAM at 0x20000000, where AddressSanitizer's shadow is not" {
    logged MMIOSHIM_MAP=virt-low "$POKE" w1:0x20000000=1 w1:0x10000007=1
    assert_success
    assert_equal "$(head -n 1 "$log")" '[MEM] RAM: 512MB 0x20000000-0x3fffffff memory@20000000'
    assert_count 14 '^\[MEM\]'
    assert_count 1 '^\[DIRTY\] [a-z]+: 1 of 131072 pages: 0x20000000-0x20000fff$'
}

@test "a program that touches nothing writes nothing, and prints the same" {
    run busybox ls -l "$ROOT/tests"
    plain=$output
    run --separate-stderr shim busybox ls -l "$ROOT/tests"
    assert_success
    assert_equal "$output" "$plain"
    assert_equal "$stderr" ""
    logged busybox ls -l "$ROOT/tests"
    assert_equal "$output" "$plain"
    [ ! -s "$log" ]
    logged "$POKE" exit:5
    assert_failure 5
    [ ! -s "$log" ]
    logged MMIOSHIM_LOG="$BATS_TEST_TMPDIR/own-%p" "$POKE"
    assert_success
    assert_equal "$(find "$BATS_TEST_TMPDIR" -name 'own-*')" ""
}

# --- registers, values, flags ---

@test "one line an access: address, device, register, operation, value, flags, number" {
    logged "$POKE" w1:0x10000000=0x41 w1:0x10000000=0x0a w1:0x10000000=0x7f r1:0x10000005 w1:0x10000004=0x1b r1:0x10000007
    assert_success
    assert_equal "$output" "$(printf 'A\n\1770x60\n0x0')"
    assert_events <<'END'
[MMIO] trap at 0x10000000 -> uart@10000000 THR write1 0x41 'A' #1
[MMIO] trap at 0x10000000 -> uart@10000000 THR write1 0xa #2
[MMIO] trap at 0x10000000 -> uart@10000000 THR write1 0x7f #3
[MMIO] trap at 0x10000005 -> uart@10000000 LSR read1 0x60 THRE|TEMT #4
[MMIO] trap at 0x10000004 -> uart@10000000 MCR write1 0x1b DTR|RTS|OUT2|LOOP #5
[MMIO] trap at 0x10000007 -> uart@10000000 SCR read1 0x0 #6
[DIRTY] MODE: 0 of 131072 pages
[EXIT] 6 accesses (2 reads, 4 writes), 0 lint, 0 lost
END
}

@test "a received character is shown as one, and sets DR" {
    printf 'Zq' > "$BATS_TEST_TMPDIR/in"
    logged "$POKE" r1:0x10000005 r1:0x10000000 r1:0x10000000 r1:0x10000005 < "$BATS_TEST_TMPDIR/in"
    assert_success
    assert_equal "$(accesses)" "$(cat <<'END'
[MMIO] trap at 0x10000005 -> uart@10000000 LSR read1 0x61 DR|THRE|TEMT #1
[MMIO] trap at 0x10000000 -> uart@10000000 RBR read1 0x5a 'Z' #2
[MMIO] trap at 0x10000000 -> uart@10000000 RBR read1 0x71 'q' #3
[MMIO] trap at 0x10000005 -> uart@10000000 LSR read1 0x60 THRE|TEMT #4
END
)"
}

@test "DLAB: the same addresses are DLL and DLM, and nothing is sent" {
    logged "$POKE" w1:0x10000003=0x80 w1:0x10000000=0x41 w1:0x10000001=0x02 r1:0x10000000 r1:0x10000001 w1:0x10000003=0x03 \
        w1:0x10000001=0 r1:0x10000001 w1:0x10000000=0x42
    assert_success
    # Of the stores to offset 0 only the last one sends a character; what the program prints is in its buffer till the end.
    assert_equal "$output" "$(printf 'B0x41\n0x2\n0x0')"
    assert_equal "$(accesses)" "$(cat <<'END'
[MMIO] trap at 0x10000003 -> uart@10000000 LCR write1 0x80 DLAB #1
[MMIO] trap at 0x10000000 -> uart@10000000 DLL write1 0x41 #2
[MMIO] trap at 0x10000001 -> uart@10000000 DLM write1 0x2 #3
[MMIO] trap at 0x10000000 -> uart@10000000 DLL read1 0x41 #4
[MMIO] trap at 0x10000001 -> uart@10000000 DLM read1 0x2 #5
[MMIO] trap at 0x10000003 -> uart@10000000 LCR write1 0x3 WLS=0x3 #6
[MMIO] trap at 0x10000001 -> uart@10000000 IER write1 0x0 #7
[MMIO] trap at 0x10000001 -> uart@10000000 IER read1 0x0 #8
[MMIO] trap at 0x10000000 -> uart@10000000 THR write1 0x42 'B' #9
END
)"
}

@test "offset 2 is IIR for reads and FCR for writes" {
    logged "$POKE" w1:0x10000002=0xc7 r1:0x10000002
    assert_equal "$(accesses)" "$(cat <<'END'
[MMIO] trap at 0x10000002 -> uart@10000000 FCR write1 0xc7 ENABLE|CLRX|CLTX|TRIGGER=0x3 #1
[MMIO] trap at 0x10000002 -> uart@10000000 IIR read1 0xc1 NONE|FIFOS=0x3 #2
END
)"
}

@test "no register at an offset: +0xOFFSET, unassigned, read as ones, zero or a fault" {
    logged "$POKE" r4:0x10001234 w4:0x10001234=0 r1:0x10000800 r8:0x200bff0
    assert_success
    assert_equal "$output" "$(printf '0xffffffff\n0xff\n0xffffffffffffffff')"
    assert_events <<'END'
[MMIO] trap at 0x10001234 -> virtio_mmio@10001000 +0x234 read4 0xffffffff unassigned #1
[MMIO] trap at 0x10001234 -> virtio_mmio@10001000 +0x234 write4 0x0 unassigned #2
[MMIO] trap at 0x10000800 -> uart@10000000 +0x800 read1 0xff unassigned #3
[MMIO] trap at 0x200bff0 -> clint@2000000 +0xbff0 read8 0xffffffffffffffff unassigned #4
[DIRTY] MODE: 0 of 131072 pages
[EXIT] 4 accesses (3 reads, 1 writes), 0 lint, 0 lost
END
    logged MMIOSHIM_UNASSIGNED=zero "$POKE" r4:0x10001234 r8:0x200bff0
    assert_success
    assert_equal "$output" "$(printf '0x0\n0x0')"
    assert_count 1 '\+0x234 read4 0x0 unassigned #1$'
    assert_count 1 '\+0xbff0 read8 0x0 unassigned #2$'
}

@test "MMIOSHIM_UNASSIGNED=fault: SIGSEGV at the access, caught or fatal; registers still answer" {
    logged MMIOSHIM_UNASSIGNED=fault "$POKE" r1:0x10000005 handler r4:0x10001234 exit:0
    assert_failure 7
    assert_output 'handled 11 at 0x10001234'
    assert_count 0 '^\[FAULT\]'
    assert_ended
    logged MMIOSHIM_UNASSIGNED=fault "$POKE" r1:0x10000005 w4:0x10001234=1 exit:0
    assert_failure 139
    assert_count 1 '^\[FAULT\] write4 0x10001234 '
    assert_ended
}

@test "a wide access of byte registers: one event, the device sees it split, lint names its number" {
    logged "$POKE" w1:0x10000007=0x5a r4:0x10000004 w2:0x10000006=0xa500 r1:0x10000007
    assert_success
    # MSR CTS|DSR|DCD, LSR THRE|TEMT, MCR 0
    assert_equal "$output" "$(printf '0x5ab06000\n0xa5')"
    assert_equal "$(accesses)" "$(cat <<'END'
[MMIO] trap at 0x10000007 -> uart@10000000 SCR write1 0x5a #1
[MMIO] trap at 0x10000004 -> uart@10000000 MCR read4 0x5ab06000 #2
[MMIO] trap at 0x10000006 -> uart@10000000 MSR write2 0xa500 #3
[MMIO] trap at 0x10000007 -> uart@10000000 SCR read1 0xa5 #4
END
)"
    assert_count 1 '^\[LINT\] wide-access #2 uart@10000000 MCR read4: register takes 1-byte accesses$'
    assert_count 1 '^\[LINT\] wide-access #3 uart@10000000 MSR write2: register takes 1-byte accesses$'
    assert_count 2 '^\[LINT\]'
    assert_count 1 '^\[EXIT\] 4 accesses \(2 reads, 2 writes\), 2 lint, 0 lost$'
}

@test "an 8-byte read of a 4-byte register: ones, and lint behind the event" {
    logged "$POKE" r8:0x10001000
    assert_success
    assert_output 0xffffffffffffffff
    assert_events <<'END'
[MMIO] trap at 0x10001000 -> virtio_mmio@10001000 MagicValue read8 0xffffffffffffffff #1
[LINT] wide-access #1 virtio_mmio@10001000 MagicValue read8: register takes 4-byte accesses
[DIRTY] MODE: 0 of 131072 pages
[EXIT] 1 accesses (1 reads, 0 writes), 1 lint, 0 lost
END
}

@test "a narrow access of a 4-byte register, and a write that is too wide: ones, ignored, lint" {
    logged "$POKE" r1:0x10001000 w1:0x100000=0x55 w8:0x100000=0x5555 exit:3
    assert_failure 3
    assert_output 0xff
    assert_count 1 '^\[LINT\] narrow-access #1 virtio_mmio@10001000 MagicValue read1: register takes 4-byte accesses$'
    assert_count 1 '^\[LINT\] narrow-access #2 test@100000 FINISHER write1: register takes 4-byte accesses$'
    assert_count 1 '^\[LINT\] wide-access #3 test@100000 FINISHER write8: register takes 4-byte accesses$'
    assert_count 3 '^\[LINT\]'
}

@test "misuse that is no matter of width: read-only registers" {
    logged "$POKE" w4:0x10001000=1 w1:0x10000005=1
    assert_success
    assert_count 1 '^\[LINT\] read-only #1 virtio_mmio@10001000 MagicValue write4: '
    assert_count 1 '^\[LINT\] read-only #2 uart@10000000 LSR write1: '
    assert_count 2 '^\[LINT\]'
}

@test "MMIOSHIM_LINT: off says and counts nothing; error makes the exit status 1" {
    logged MMIOSHIM_LINT=off "$POKE" w4:0x10001000=1
    assert_success
    assert_count 0 '^\[LINT\]'
    assert_count 1 ' 0 lint, 0 lost$'
    logged MMIOSHIM_LINT=error "$POKE" w4:0x10001000=1 puts:kept
    assert_failure 1
    assert_output kept
    assert_count 1 '^\[LINT\]'
    assert_ended
    logged MMIOSHIM_LINT=error "$POKE" w4:0x10001000=1 puts:kept _exit:0
    assert_failure 1
    logged MMIOSHIM_LINT=error "$POKE" w1:0x10000007=1 exit:4
    assert_failure 4
}

# --- what is one event ---

@test "a read-modify-write instruction is two events, a read and a write" {
    logged "$POKE" w1:0x10000007=0x50 or1:0x10000007=0x0a r1:0x10000007
    assert_output 0x5a
    assert_equal "$(accesses)" "$(cat <<'END'
[MMIO] trap at 0x10000007 -> uart@10000000 SCR write1 0x50 #1
[MMIO] trap at 0x10000007 -> uart@10000000 SCR read1 0x50 #2
[MMIO] trap at 0x10000007 -> uart@10000000 SCR write1 0x5a #3
[MMIO] trap at 0x10000007 -> uart@10000000 SCR read1 0x5a #4
END
)"
    assert_count 1 '^\[EXIT\] 4 accesses \(2 reads, 2 writes\)'
}

@test "repeated string instructions are one event an iteration" {
    logged MMIOSHIM_MAP="$(scratch_map)" "$POKE" stosb:0x10000100=0x61,20 movsb:0x80000000=0x10000100,20 sum:0x80000000=20
    assert_success
    assert_output $((0x61 * 20))
    assert_equal "$(accesses | sed 's/.* -> //')" "$(
        for i in $(seq 0 19); do printf 'scratch@10000000 +0x%x write1 0x61 #%d\n' $((0x100 + i)) $((i + 1)); done
        for i in $(seq 0 19); do printf 'scratch@10000000 +0x%x read1 0x61 #%d\n' $((0x100 + i)) $((i + 21)); done)"
    assert_count 1 '^\[EXIT\] 40 accesses \(20 reads, 20 writes\), 0 lint, 0 lost$'
    assert_count 1 '^\[DIRTY\] [a-z]+: 1 of 256 pages: 0x80000000-0x80000fff$'
}

vector() { # WIDTH: store and load
    local bytes

    logged MMIOSHIM_MAP="$(scratch_map)" "$POKE" "v$1:0x10000040=0x01" "vr$1:0x10000040" "vr$1:0x10000041" r1:0x10000040
    assert_success
    bytes=$(for i in $(seq "$1" -1 1); do printf %02x "$i"; done)
    assert_equal "${lines[0]}" "$bytes"
    assert_equal "${lines[1]}" "00${bytes%01}"
    assert_equal "$(accesses | sed 's/.* -> //')" "$(cat <<END
scratch@10000000 +0x40 write$1 0x${bytes#0} #1
scratch@10000000 +0x40 read$1 0x${bytes#0} #2
scratch@10000000 +0x41 read$1 0x${bytes%01} #3
scratch@10000000 +0x40 read1 0x1 #4
END
)"
    assert_count 1 '^\[EXIT\] 4 accesses \(3 reads, 1 writes\), 0 lint, 0 lost$'
}

@test "a 16-byte vector access is one event, its value one little-endian integer" {
    vector 16
}

@test "a 32-byte vector access is one event" {
    grep -qw avx /proc/cpuinfo || skip "no AVX here"
    vector 32
}

@test "a 64-byte vector access is one event" {
    grep -qw avx512f /proc/cpuinfo || skip "no AVX-512 here"
    vector 64
}

@test "an access that crosses the end of a window into RAM is one event" {
    map=$(dtb edge <<'END'
/dts-v1/;
/ {
	#address-cells = <1>;
	#size-cells = <1>;
	memory@80000000 { device_type = "memory"; reg = <0x80000000 0x100000>; };
	scratch@80001000 { compatible = "mmioshim,scratch"; reg = <0x80001000 0x1000>; };
};
END
)
    logged MMIOSHIM_MAP="$map" "$POKE" w8:0x80001ffc=0x1122334455667788 r8:0x80001ffc r4:0x80002000 r4:0x80001ffc
    assert_success
    assert_output "$(printf '0x1122334455667788\n0x11223344\n0x55667788')"
    assert_equal "$(accesses | sed 's/.* -> //')" "$(cat <<'END'
scratch@80001000 +0xffc write8 0x1122334455667788 #1
scratch@80001000 +0xffc read8 0x1122334455667788 #2
scratch@80001000 +0xffc read4 0x55667788 #3
END
)"
    assert_count 1 '^\[DIRTY\] [a-z]+: 1 of 256 pages: 0x80002000-0x80002fff$'
}

# --- other events ---

@test "[IRQ] when a device's line rises and falls, behind the access that did it" {
    logged "$POKE" w1:0x10000001=2 r1:0x10000002 w1:0x10000001=0
    assert_success
    # Enabling the THR-empty interrupt raises the line; reading IIR as its source takes it away.
    assert_equal "$(events | head -n 5)" "$(cat <<'END'
[MMIO] trap at 0x10000001 -> uart@10000000 IER write1 0x2 ETBEI #1
[IRQ] uart@10000000 10 raised
[MMIO] trap at 0x10000002 -> uart@10000000 IIR read1 0x2 ID=0x1 #2
[IRQ] uart@10000000 10 lowered
[MMIO] trap at 0x10000001 -> uart@10000000 IER write1 0x0 #3
END
)"
    assert_count 2 '^\[IRQ\]'
}

@test "client requests: marks, dirty queries, nothing without the library" {
    run "$GUESTS/a_client"
    assert_success
    assert_equal "${lines[0]}" "active 0"
    logged "$GUESTS/a_client"
    assert_success
    assert_output "$(printf 'active 1\noutside -1\nclean 0\ndirty 1\ncleared 0')"
    assert_events <<'END'
[MARK] before
[MARK] two\nlines
[DIRTY] MODE: 1 of 131072 pages: 0x80001000-0x80001fff
[EXIT] 0 accesses (0 reads, 0 writes), 0 lint, 0 lost
END
}

@test "[FAULT]: a fatal access outside says what lies nearest, and the program dies as ever" {
    logged "$POKE" w1:0x10000007=1 w4:0x30000000=1
    assert_failure 139
    assert_events <<'END'
[MMIO] trap at 0x10000007 -> uart@10000000 SCR write1 0x1 #1
[FAULT] write4 0x30000000 unmapped, nearest virtio_mmio@10008000 ends at 0x10008fff
[DIRTY] MODE: 0 of 131072 pages
[EXIT] 1 accesses (0 reads, 1 writes), 0 lint, 0 lost
END
    logged "$POKE" w1:0x10000007=1 r8:0x7ffffff8
    assert_failure 139
    assert_count 1 '^\[FAULT\] read8 0x7ffffff8 unmapped, nearest memory@80000000 begins at 0x80000000$'
    logged "$POKE" w1:0x10000007=1 r1:0
    assert_failure 139
    assert_count 1 '^\[FAULT\] read1 0x0 unmapped, nearest test@100000 begins at 0x100000$'
}

@test "no [FAULT] when the program has a handler: it is called, with the address" {
    logged "$POKE" w1:0x10000007=1 handler r4:0x30000000
    assert_failure 7
    assert_output 'handled 11 at 0x30000000'
    assert_count 0 '^\[FAULT\]'
    assert_ended
}

@test "a crash stays what it was: status and signal as without the library" {
    for words in crash:0 "raise:6" abort "kill:8" "raise:11"; do
        run "$POKE" $words
        plain=$status
        logged "$POKE" w1:0x10000007=1 $words
        assert_equal "$words $status" "$words $plain"
        assert_ended
    done
}

# --- stacks ---

# address SYMBOL; and offset INSTRUCTION-PATTERN FUNCTION: of the first match in a function, in hex
offset() {
    local base at

    base=$(nm "$GUESTS/a_stack" | sed -n "s/ [tT] $2\$//p")
    at=$(objdump -d --no-show-raw-insn "$GUESTS/a_stack" | sed -n "/<$2>:/,/^\$/p" | grep -A "${3:-0}" -E "$1" |
        sed -n "$((${3:-0} + 1))s/^ *\([0-9a-f]*\):.*/\1/p")
    printf '0x%x' $((0x$at - 0x$base))
}

@test "frames: 'at' is the accessing instruction, 'by' are return addresses, up to and including main" {
    logged MMIOSHIM_BACKTRACE=64 "$GUESTS/a_stack"
    assert_success
    frames="    at f12+$(offset 'movb .*0x10000007' f12) (a_stack)"
    for n in 11 10 9 8 7 6 5 4 3 2 1; do
        frames+=$'\n'"    by f$n+$(offset "call .*<f$((n + 1))>" f$n 1) (a_stack)"
    done
    frames+=$'\n'"    by main+$(offset 'call .*<f1>' main 1) (a_stack)"
    assert_equal "$(sed '1,/^\[MMIO\]/d; /^\[MMIO\]/,$d' "$log")" "$frames"
}

@test "MMIOSHIM_BACKTRACE: 0 no stack, 1 the access, 8 (the default) eight frames" {
    logged MMIOSHIM_BACKTRACE=0 "$GUESTS/a_stack"
    assert_count 0 '^ '
    logged MMIOSHIM_BACKTRACE=1 "$GUESTS/a_stack"
    assert_count 2 '^    at f12\+0x[0-9a-f]+ \(a_stack\)$'
    assert_count 0 '^    by '
    logged MMIOSHIM_BACKTRACE=8 "$GUESTS/a_stack"
    assert_count 2 '^    at f12\+0x'
    assert_count 14 '^    by f[0-9]+\+0x[0-9a-f]+ \(a_stack\)$'
    assert_count 2 '^    by f5\+'
    assert_count 0 'f4\+'
    mv "$log" "$log.8"
    logged "$GUESTS/a_stack"
    cmp "$log" "$log.8"
    logged MMIOSHIM_BACKTRACE=64 "$GUESTS/a_stack"
    assert_count 24 '^    by '
    assert_count 2 '^    by main\+'
}

@test "no symbol: module+0xOFFSET; anonymous code: ?" {
    logged busybox devmem 0x10000005 8
    assert_success
    assert_output 0x60
    assert_count 1 '^    at busybox\+0x[0-9a-f]+$'
    logged "$GUESTS/a_jit"
    assert_success
    # Nobody says how to unwind such code, and a guess would be worse than the end of the stack.
    assert_equal "$(grep '^ ' "$log")" '    at ?'
}

@test "a stripped program: module+0xOFFSET, the same in every run" {
    strip -o "$BATS_TEST_TMPDIR/bare" "$GUESTS/a_stack"
    logged "$BATS_TEST_TMPDIR/bare"
    assert_count 2 '^    at bare\+0x[0-9a-f]+$'
    assert_count 14 '^    by bare\+0x[0-9a-f]+$'
    mv "$log" "$log.1"
    logged "$BATS_TEST_TMPDIR/bare"
    cmp "$log" "$log.1"
}

# --- MMIOSHIM_LOG_SHOW ---

@test "MMIOSHIM_LOG_SHOW: time, pid and insn, each alone and together" {
    logged MMIOSHIM_LOG_SHOW=time "$POKE" w1:0x10000007=1
    assert_count 1 '^\[MMIO\] .* #1 t=[0-9]{10}\.[0-9]{6}$'
    logged MMIOSHIM_LOG_SHOW=insn "$GUESTS/a_stack"
    assert_count 1 ' SCR write1 0x5a #1 insn="mov byte ptr \[0x0*10000007\], 0x5a"$'
    shim_exec MMIOSHIM_LOG="$log" MMIOSHIM_LOG_SHOW=pid "$POKE" w1:0x10000007=1 &
    pid=$!
    wait $pid
    assert_count 1 " #1 pid=$pid tid=$pid\$"
    logged MMIOSHIM_LOG_SHOW=insn,time,pid "$GUESTS/a_stack"
    assert_count 2 ' #[12] t=[0-9.]+ pid=[0-9]+ tid=[0-9]+ insn="mov byte ptr \[0x0*10000007\], 0x5a"$'
    logged MMIOSHIM_LOG_SHOW=none "$POKE" w1:0x10000007=1
    assert_count 1 ' #1$'
}

# --- MMIOSHIM_LOG_FILTER ---

@test "MMIOSHIM_LOG_FILTER by device, operation and address; what is filtered is still counted and numbered" {
    words="w1:0x10000007=1 r1:0x10000005 r4:0x10001000 r4:0x10002000 w4:0x101000=1 w1:0x10000003=3"
    exit='^\[EXIT\] 6 accesses \(3 reads, 3 writes\), 0 lint, 0 lost$'
    logged MMIOSHIM_LINT=off "MMIOSHIM_LOG_FILTER=device=uart*" "$POKE" $words
    assert_equal "$(accesses | sed 's/.*#//' | tr '\n' ' ')" '1 2 6 '
    assert_count 1 "$exit"
    logged MMIOSHIM_LINT=off "MMIOSHIM_LOG_FILTER=op=write" "$POKE" $words
    assert_equal "$(accesses | sed 's/.*#//' | tr '\n' ' ')" '1 5 6 '
    assert_count 1 "$exit"
    logged MMIOSHIM_LINT=off "MMIOSHIM_LOG_FILTER=addr=0x10000005-0x10001000" "$POKE" $words
    assert_equal "$(accesses | sed 's/.*#//' | tr '\n' ' ')" '1 2 3 '
    logged MMIOSHIM_LINT=off "MMIOSHIM_LOG_FILTER=device=uart*,op=write,addr=0x10000000-0x10000003" "$POKE" $words
    assert_equal "$(accesses | sed 's/.*#//' | tr '\n' ' ')" '6 '
    assert_count 1 "$exit"
    logged MMIOSHIM_LINT=off "MMIOSHIM_LOG_FILTER=device=nothing" "$POKE" $words
    assert_equal "$(accesses)" ""
    assert_count 1 "$exit"
    logged MMIOSHIM_LINT=off MMIOSHIM_LOG_FILTER=all "$POKE" $words
    assert_equal "$(accesses | wc -l)" 6
}

# --- devices of this machine ---

@test "UART input: bytes are taken only when RBR is read, the rest stays for the program" {
    run --separate-stderr bash -c 'printf abcdef | LD_PRELOAD=$1 MMIOSHIM_LOG=none $2 r1:0x10000005 r1:0x10000005 \
        r1:0x10000000 r1:0x10000005 r1:0x10000000 rest' - "$LIB" "$POKE"
    assert_success
    assert_output "$(printf '0x61\n0x61\n0x61\n0x61\n0x62\nrest=cdef')"
}

@test "UART output goes to descriptor 1 in program order" {
    run --separate-stderr shim MMIOSHIM_LOG=none "$POKE" write:1 w1:0x10000000=0x32 write:3 w1:0x10000000=0x34 write:5
    assert_success
    assert_output 12345
}

@test "sifive,test0: 0x5555 ends the program with 0, 0x3333 with its code; log and buffered output are whole" {
    logged "$POKE" puts:buffered w4:0x100000=0x5555 exit:9
    assert_success
    assert_output buffered
    assert_count 1 '^\[MMIO\] trap at 0x100000 -> test@100000 FINISHER write4 0x5555 COMMAND=0x5555 #1$'
    assert_ended
    logged "$POKE" puts:buffered w4:0x100000=0x33333 exit:9
    assert_failure 3
    assert_output buffered
    assert_ended
    logged "$POKE" w4:0x100000=0xff3333
    assert_failure 255
    logged "$POKE" w4:0x100000=0x1234 exit:9
    assert_failure 9
    assert_count 1 '^\[LINT\] guest-bug #1 test@100000 FINISHER write4: '
}

@test "sifive,test0: 0x7777 resets the machine and the program goes on" {
    logged "$POKE" w1:0x10000003=0x1b w1:0x10000004=0x0b w1:0x10000001=0x01 w4:0x80000000=0x55 w4:0x100000=0x7777 \
        r1:0x10000003 r1:0x10000004 r1:0x10000001 r4:0x80000000 exit:6
    assert_failure 6
    assert_output "$(printf '0x0\n0x0\n0x0\n0x55')"
    assert_ended
}

@test "virtio,mmio with nothing behind it: magic, version 2, DeviceID 0" {
    logged "$POKE" r4:0x10008000 r4:0x10008004 r4:0x10008008
    assert_output "$(printf '0x74726976\n0x2\n0x0')"
    assert_count 1 ' MagicValue read4 0x74726976 #1$'
    assert_count 1 ' Version read4 0x2 #2$'
    assert_count 1 ' DeviceID read4 0x0 #3$'
    assert_count 0 '^\[LINT\]'
}

@test "goldfish-rtc: the time of day in nanoseconds, TIME_LOW latches TIME_HIGH" {
    before=$(date +%s)
    logged "$POKE" r4:0x101000 r4:0x101004
    after=$(date +%s)
    seconds=$(((${lines[1]} << 32 | ${lines[0]}) / 1000000000))
    [ "$seconds" -ge "$before" ] && [ "$seconds" -le "$after" ]
    assert_count 1 ' rtc@101000 TIME_LOW read4 '
    assert_count 1 ' rtc@101000 TIME_HIGH read4 '
}

@test "constructors of the program, and of a library that it brings, already have the machine" {
    echo '__attribute__((constructor)) static void first(void) { *(volatile char *)0x10000000 = 108; } int use(void) { return 0; }' \
        > "$BATS_TEST_TMPDIR/lib.c"
    echo 'int use(void); int main(void) { return use(); }' > "$BATS_TEST_TMPDIR/main.c"
    cc -shared -fPIC -o "$BATS_TEST_TMPDIR/libearly.so" "$BATS_TEST_TMPDIR/lib.c"
    cc -o "$BATS_TEST_TMPDIR/main" "$BATS_TEST_TMPDIR/main.c" -L"$BATS_TEST_TMPDIR" -learly -Wl,-rpath,"$BATS_TEST_TMPDIR"
    logged "$BATS_TEST_TMPDIR/main"
    assert_success
    assert_output l
    assert_count 1 "THR write1 0x6c 'l' #1\$"
    assert_count 1 '^    at first\+0x[0-9a-f]+ \(libearly\.so\)$'
    logged "$GUESTS/a_ctor"
    assert_success
    assert_output cm
    assert_count 1 "THR write1 0x63 'c' #1\$"
}

@test "port I/O is refused with its bytes, and the program dies of its own fault" {
    logged "$GUESTS/c_port"
    assert_failure 139
    assert_count 1 '^\[LINT\] refused .*instruction e4 70: port I/O'
    assert_count 0 '^\[FAULT\]'
    assert_ended
}

@test "a write through a read-only mapping of a window dies with [FAULT]" {
    logged python3 -c 'import ctypes, mmap, os
m = mmap.mmap(os.open("/dev/mem", os.O_RDONLY), 4096, prot=mmap.PROT_READ, offset=0x10000000)
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
p = libc.mmap(None, ctypes.c_size_t(4096), 1, 1, os.open("/dev/mem", os.O_RDONLY), ctypes.c_long(0x10000000))
ctypes.memset(p, 1, 1)'
    assert_failure 139
    assert_count 1 '^\[FAULT\] write'
    assert_count 0 '^\[MMIO\]'
}

@test "libraries that come and go at one address: each access is named after the code that is there now" {
    for name in first second; do
        printf 'static __attribute__((noinline)) void %s(void) { *(volatile unsigned char *)0x10000007 = 1; }\n%s\n' \
            $name "void touch(void); void touch(void) { $name(); __asm__ volatile(\"\"); }" |
            gcc -O1 -shared -fPIC -x c - -o "$BATS_TEST_TMPDIR/$name.so"
    done
    logged "$GUESTS/c_plugin" "$BATS_TEST_TMPDIR/first.so" "$BATS_TEST_TMPDIR/second.so" "$BATS_TEST_TMPDIR/first.so"
    assert_success
    assert_equal "$(grep '^    at' "$log" | sed 's/+0x[0-9a-f]*//')" "$(cat <<'END'
    at first (first.so)
    at second (second.so)
    at first (first.so)
END
)"
}
