#!/usr/bin/env bats
# Machine descriptions with real programs: what is mapped, who answers, what is refused.

setup() {
    load common
}

refused_map() { # FILE PATTERN...
    local file=$1

    shift
    run --separate-stderr shim MMIOSHIM_MAP="$file" "$POKE" puts:ran
    assert_refused '^mmioshim: ' "MMIOSHIM_MAP=$file" "$@"
}

# --- maps that load ---

@test "mmioshim map prints the [MEM] block as it will be: virt, virt-low, QEMU's dump" {
    for map in virt virt-low "$MAPS/qemu-riscv64-virt.dtb"; do
        logged MMIOSHIM_MAP="$map" "$POKE" r4:0x101000
        assert_success
        run --separate-stderr "$CMD" map "$map"
        assert_success
        assert_equal "$output" "$(grep '^\[MEM\]' "$log")"
    done
}

@test "the device tree that QEMU dumps for riscv64 virt loads as it is" {
    logged MMIOSHIM_MAP="$MAPS/qemu-riscv64-virt.dtb" sh -c "busybox devmem 0x10000005 8; busybox devmem 0x10008000 32
        $POKE w8:0x9ffffff8=0x1122334455667788 r8:0x9ffffff8 r1:0x10000100 r8:0x30000000 r4:0x10100000 w4:0x100000=0x53333"
    assert_failure 5
    assert_output "$(printf '0x60\n0x74726976\n0x1122334455667788\n0xff\n0x81b36\n0xffffffff')"
    assert_count 23 '^\[MEM\]'
    assert_count 1 '^\[MEM\] MMIO: UART 0x10000000-0x100000ff serial@10000000 ns16550a$'
    assert_count 1 '^\[MMIO\] trap at 0x10000005 -> serial@10000000 LSR read1 0x60 THRE\|TEMT #1$'
    # The window has 256 bytes of its page; nobody has the rest.
    assert_count 1 '^\[MMIO\] trap at 0x10000100 -> .*read1 0xff unassigned #3$'
    assert_count 1 '^\[MMIO\] trap at 0x30000000 -> pci:00:00.0 VendorID read8 0x81b36 #4$'
    assert_count 1 '^\[DIRTY\] [a-z]+: 1 of 131072 pages: 0x9ffff000-0x9fffffff$'
}

subpage_map() {
    dtb subpage <<'END'
/dts-v1/;
/ {
	#address-cells = <1>;
	#size-cells = <1>;
	memory@80000000 { device_type = "memory"; reg = <0x80000000 0x100000>; };
	first@10000010 { compatible = "mmioshim,scratch"; reg = <0x10000010 0x10>; };
	uart@10000020 { compatible = "ns16550a"; reg = <0x10000020 0x8>; };
	last@10000ff0 { compatible = "mmioshim,scratch"; reg = <0x10000ff0 0x20>; };
	inside@80003100 { compatible = "mmioshim,scratch"; reg = <0x80003100 0x40>; };
	uart@80003800 { compatible = "ns16550a"; reg = <0x80003800 0x8>; };
};
END
}

@test "windows smaller than a page, several in one page, one across two pages; holes between them" {
    logged MMIOSHIM_MAP="$(subpage_map)" "$POKE" w8:0x10000018=0x0102030405060708 r8:0x10000018 r1:0x10000025 \
        w4:0x10000ffe=0xa1b2c3d4 r2:0x10001000 r4:0x10000ffe r4:0x10000800 r1:0x1000000f r1:0x10000028
    assert_success
    assert_output "$(printf '0x102030405060708\n0x60\n0xa1b2\n0xa1b2c3d4\n0xffffffff\n0xff\n0xff')"
    assert_equal "$(accesses | head -n 6)" "$(cat <<'END'
[MMIO] trap at 0x10000018 -> first@10000010 +0x8 write8 0x102030405060708 #1
[MMIO] trap at 0x10000018 -> first@10000010 +0x8 read8 0x102030405060708 #2
[MMIO] trap at 0x10000025 -> uart@10000020 LSR read1 0x60 THRE|TEMT #3
[MMIO] trap at 0x10000ffe -> last@10000ff0 +0xe write4 0xa1b2c3d4 #4
[MMIO] trap at 0x10001000 -> last@10000ff0 +0x10 read2 0xa1b2 #5
[MMIO] trap at 0x10000ffe -> last@10000ff0 +0xe read4 0xa1b2c3d4 #6
END
)"
    assert_count 3 ' unassigned #[789]$'
    assert_count 1 '^\[EXIT\] 9 accesses \(7 reads, 2 writes\), 0 lint, 0 lost$'
}

@test "an access across two windows is one event, and both see their part" {
    map=$(dtb neighbours <<'END'
/dts-v1/;
/ {
	#address-cells = <1>;
	#size-cells = <1>;
	a@10000000 { compatible = "mmioshim,scratch"; reg = <0x10000000 0x100>; };
	b@10000100 { compatible = "mmioshim,scratch"; reg = <0x10000100 0x100>; };
};
END
)
    logged MMIOSHIM_MAP="$map" "$POKE" w8:0x100000fc=0x1122334455667788 r4:0x100000fc r4:0x10000100 r8:0x100000fc
    assert_success
    assert_output "$(printf '0x55667788\n0x11223344\n0x1122334455667788')"
    assert_count 4 '^\[MMIO\]'
    assert_count 1 ' a@10000000 \+0xfc write8 0x1122334455667788 #1$'
    assert_count 1 ' b@10000100 \+0x0 read4 0x11223344 #3$'
}

@test "windows carve RAM: the window wins, RAM beside it in the same page is memory and counts as dirty" {
    map=$(subpage_map)
    logged MMIOSHIM_MAP="$map" MMIOSHIM_DIRTY="$BATS_TEST_TMPDIR/dirty" "$POKE" \
        fill:0x80003000=0x11,0x100 fill:0x80003140=0x22,0x100 w4:0x80003100=0x55 sum:0x80003000=256 sum:0x80003140=256 \
        r4:0x80003100 r1:0x80003805 r8:0x800030fc w8:0x80005000=1
    assert_success
    assert_output "$(printf '%d\n%d\n0x55\n0x60\n0x5511111111' $((0x11 * 256)) $((0x22 * 256)))"
    # RAM is silent: the events are the three accesses of windows and the one that straddles.
    assert_equal "$(accesses | sed 's/.* -> //')" "$(cat <<'END'
inside@80003100 +0x0 write4 0x55 #1
inside@80003100 +0x0 read4 0x55 #2
uart@80003800 LSR read1 0x60 THRE|TEMT #3
inside@80003100 +0x0 read8 0x5511111111 #4
END
)"
    assert_equal "$(dirty_pages "$BATS_TEST_TMPDIR/dirty")" '0x80003000 0x80005000'
    # A page beside a window that is only read stays clean, and starts as zeros.
    logged MMIOSHIM_MAP="$map" MMIOSHIM_DIRTY="$BATS_TEST_TMPDIR/dirty" "$POKE" sum:0x80003000=256 w1:0x80003120=1
    assert_output 0
    assert_equal "$(dirty_pages "$BATS_TEST_TMPDIR/dirty")" ''
    run --separate-stderr "$CMD" map "$map"
    assert_success
    assert_line '[MEM] carved: 0x80003100-0x8000313f of memory@80000000 by inside@80003100'
}

@test "RAM beside a window is the same memory for every process, and through system calls" {
    logged MMIOSHIM_MAP="$(subpage_map)" sh -c "$POKE w4:0x80003ff0=0x77; $POKE r4:0x80003ff0 fork w4:0x80003ff0=0x88 join r4:0x80003ff0"
    assert_success
    assert_output "$(printf '0x77\n0x88')"
    assert_count 1 '^\[DIRTY\] [a-z]+: 1 of 256 pages: 0x80003000-0x80003fff$'
}

@test "addresses are translated through ranges, level by level" {
    map=$(dtb ranges <<'END'
/dts-v1/;
/ {
	#address-cells = <2>;
	#size-cells = <2>;
	memory@80000000 { device_type = "memory"; reg = <0 0x80000000 0 0x100000>; };
	soc {
		#address-cells = <1>;
		#size-cells = <1>;
		ranges = <0x0 0 0x40000000 0x100000>, <0x7e000000 0 0x20000000 0x1000000>;
		bus@1000 {
			#address-cells = <1>;
			#size-cells = <1>;
			ranges = <0x0 0x1000 0x1000>;
			uart@100 { compatible = "ns16550a"; reg = <0x100 0x100>; };
		};
		serial@7e201000 { compatible = "ns16550a"; reg = <0x7e201000 0x1000>; };
		lost@90000000 { compatible = "ns16550a"; reg = <0x90000000 0x1000>; };
	};
};
END
)
    logged MMIOSHIM_MAP="$map" "$POKE" r1:0x40001105 r1:0x20201005
    assert_success
    assert_output "$(printf '0x60\n0x60')"
    assert_count 1 '^\[MEM\] MMIO: UART 0x40001100-0x400011ff uart@100 ns16550a$'
    assert_count 1 '^\[MEM\] MMIO: UART 0x20201000-0x20201fff serial@7e201000 ns16550a$'
    assert_count 3 '^\[MEM\]'
    assert_count 1 '^\[MMIO\] trap at 0x40001105 -> uart@100 LSR read1 '
    assert_count 1 '^\[MMIO\] trap at 0x20201005 -> serial@7e201000 LSR read1 '
}

@test "every map among the cases that parses also runs" {
    for source in "$MAPS"/*.dts; do
        grep -q '^error' "${source%.dts}.txt" && continue
        dtc -q -I dts -O dtb -o "$BATS_TEST_TMPDIR/case.dtb" "$source"
        "$CMD" map "$BATS_TEST_TMPDIR/case.dtb" > "$BATS_TEST_TMPDIR/map" 2> /dev/null || continue
        run --separate-stderr shim MMIOSHIM_MAP="$BATS_TEST_TMPDIR/case.dtb" busybox echo ran
        # Some hold addresses that this process cannot have; none may crash.
        [[ $status == 0 && $output == ran || $status == 125 && ${#stderr_lines[@]} == 1 ]] || fail "$source: $status $stderr"
    done
}

@test "two thousand windows: each is found" {
    map=$({
        echo '/dts-v1/; / { #address-cells = <1>; #size-cells = <1>;'
        for i in $(seq 0 1999); do printf 's@%x { compatible = "mmioshim,scratch"; reg = <0x%x 0x800>; };\n' $((0x20000000 + i * 4096)) $((0x20000000 + i * 4096)); done
        echo '};'
    } | dtb many)
    logged MMIOSHIM_MAP="$map" MMIOSHIM_BACKTRACE=0 "$POKE" w4:0x20000000=1 w4:0x203e8010=2 w4:0x207cf7fc=3 r4:0x203e8010 r4:0x20400800
    assert_success
    assert_output "$(printf '0x2\n0xffffffff')"
    assert_count 2000 '^\[MEM\]'
    assert_count 1 ' s@20000000 \+0x0 write4 0x1 #1$'
    assert_count 1 ' s@203e8000 \+0x10 write4 0x2 #2$'
    assert_count 1 ' s@207cf000 \+0x7fc write4 0x3 #3$'
    assert_count 1 ' unassigned #5$'
}

@test "reg-shift and reg-io-width: registers 4 bytes apart, taken as words" {
    map=$(dtb shift <<'END'
/dts-v1/;
/ {
	#address-cells = <1>;
	#size-cells = <1>;
	uart@10000000 { compatible = "ns16550a"; reg = <0x10000000 0x100>; reg-shift = <2>; reg-io-width = <4>; };
};
END
)
    logged MMIOSHIM_MAP="$map" "$POKE" w4:0x10000000=0x41 r4:0x10000014 w4:0x1000001c=0x5a r4:0x1000001c
    assert_success
    assert_output "$(printf 'A0x60\n0x5a')"
    assert_equal "$(accesses | sed 's/.* -> //')" "$(cat <<'END'
uart@10000000 THR write4 0x41 'A' #1
uart@10000000 LSR read4 0x60 THRE|TEMT #2
uart@10000000 SCR write4 0x5a #3
uart@10000000 SCR read4 0x5a #4
END
)"
    assert_count 0 '^\[LINT\]'
}

@test "a map without RAM, and one without windows" {
    only=$(dtb ram <<'END'
/dts-v1/;
/ { #address-cells = <1>; #size-cells = <1>; memory@80000000 { device_type = "memory"; reg = <0x80000000 0x2000>; }; };
END
)
    logged MMIOSHIM_MAP="$only" "$POKE" w1:0x80001000=1
    assert_success
    assert_equal "$(sed 's/^\[DIRTY\] [a-z]*:/[DIRTY] MODE:/' "$log")" "$(cat <<'END'
[MEM] RAM: 8KB 0x80000000-0x80001fff memory@80000000
[DIRTY] MODE: 1 of 2 pages: 0x80001000-0x80001fff
[EXIT] 0 accesses (0 reads, 0 writes), 0 lint, 0 lost
END
)"
    logged MMIOSHIM_MAP="$(dtb window <<'END'
/dts-v1/;
/ { #address-cells = <1>; #size-cells = <1>; uart@10000000 { compatible = "ns16550a"; reg = <0x10000000 0x100>; }; };
END
)" "$POKE" r1:0x10000005
    assert_success
    assert_output 0x60
    assert_count 1 '^\[MMIO\]'
    assert_count 1 '^\[EXIT\] 1 accesses '
}

# --- device tree source ---

@test "mmioshim run -m FILE.dts compiles; the library says what to do with source" {
    cat > "$BATS_TEST_TMPDIR/m.dts" <<'END'
/dts-v1/;
/ { #address-cells = <1>; #size-cells = <1>; s@10000000 { compatible = "mmioshim,scratch"; reg = <0x10000000 0x100>; }; };
END
    log=$BATS_TEST_TMPDIR/log
    for run in 1 2; do
        run --separate-stderr "$CMD" run -m "$BATS_TEST_TMPDIR/m.dts" -o "$log" "$POKE" w4:0x10000000=5 r4:0x10000000
        assert_success
        assert_output 0x5
        assert_equal "$(head -n 1 "$log")" '[MEM] MMIO: SCRATCH 0x10000000-0x100000ff s@10000000 mmioshim,scratch'
    done
    refused_map "$BATS_TEST_TMPDIR/m.dts" 'mmioshim run -m'
    echo 'no tree' > "$BATS_TEST_TMPDIR/bad.dts"
    run --separate-stderr "$CMD" run -m "$BATS_TEST_TMPDIR/bad.dts" "$POKE" puts:ran
    assert_failure 125
    assert_equal "$output" ""
    [[ $stderr == *bad.dts* ]]
}

# --- maps that are refused: one line, 125, the program does not start ---

@test "no such map, no such file, no blob" {
    run --separate-stderr shim MMIOSHIM_MAP=nosuch "$POKE" puts:ran
    assert_refused '^mmioshim: MMIOSHIM_MAP=.*nosuch: ' 'allowed:.*virt.*virt-low.*\.dtb'
    refused_map /nonexistent/x.dtb 'No such file|ENOENT' 'allowed:'
    head -c 4096 /dev/urandom > "$BATS_TEST_TMPDIR/noise.dtb"
    refused_map "$BATS_TEST_TMPDIR/noise.dtb" 'not a device tree blob'
    : > "$BATS_TEST_TMPDIR/empty.dtb"
    refused_map "$BATS_TEST_TMPDIR/empty.dtb" 'not a device tree blob'
}

@test "a truncated blob, at any length" {
    whole=$(subpage_map)
    size=$(stat -c %s "$whole")
    for n in 4 39 40 41 100 $((size / 2)) $((size - 1)); do
        head -c "$n" "$whole" > "$BATS_TEST_TMPDIR/short.dtb"
        refused_map "$BATS_TEST_TMPDIR/short.dtb"
    done
}

@test "a blob with one byte changed never crashes: it runs, or it is refused in one line" {
    whole=$(subpage_map)
    size=$(stat -c %s "$whole")
    for at in $(seq 4 23 $((size - 1))); do
        cp "$whole" "$BATS_TEST_TMPDIR/bad.dtb"
        printf '\377' | dd of="$BATS_TEST_TMPDIR/bad.dtb" bs=1 seek="$at" conv=notrunc status=none
        run --separate-stderr shim MMIOSHIM_MAP="$BATS_TEST_TMPDIR/bad.dtb" MMIOSHIM_LOG=none busybox true
        [[ $status == 0 || $status == 125 && ${#stderr_lines[@]} == 1 ]] || fail "byte $at: $status $stderr"
    done
}

@test "windows that overlap, banks that overlap: both are named" {
    dtc -q -I dts -O dtb -o "$BATS_TEST_TMPDIR/overlap.dtb" "$MAPS/overlap.dts"
    refused_map "$BATS_TEST_TMPDIR/overlap.dtb" 'overlap' 'uart@10000000 \(0x10000000-0x10000fff\)' 'timer@10000f00'
    dtc -q -I dts -O dtb -o "$BATS_TEST_TMPDIR/banks.dtb" "$MAPS/overlap-banks.dts"
    refused_map "$BATS_TEST_TMPDIR/banks.dtb" 'overlap'
}

@test "a window where the program itself lies: its owner is named" {
    run "$GUESTS/a_in_window"
    assert_output ran
    run --separate-stderr shim "$GUESTS/a_in_window"
    assert_refused 'uart@10000000' 'a_in_window at 0x10000000-' 'MMIOSHIM_MAP=virt'
}

@test "RAM where the program itself lies: its owner is named" {
    run "$GUESTS/a_in_ram"
    assert_output ran
    map=$(dtb ram <<'END'
/dts-v1/;
/ { #address-cells = <1>; #size-cells = <1>; memory@5ff00000 { device_type = "memory"; reg = <0x5ff00000 0x200000>; }; };
END
)
    run --separate-stderr shim MMIOSHIM_MAP="$map" "$GUESTS/a_in_ram"
    assert_refused 'memory@5ff00000 0x5ff00000-0x600fffff' 'a_in_ram at 0x60000000-' "MMIOSHIM_MAP=$map"
    # There is room for it in another map.
    run --separate-stderr shim "$GUESTS/a_in_ram"
    assert_success
    assert_output ran
}

@test "a descendant that cannot host the machine goes on without it, after one line" {
    logged sh -c "$POKE w1:0x10000007=1; $GUESTS/a_in_window; $POKE r1:0x10000007"
    assert_success
    assert_output "$(printf 'ran\n0x1')"
    assert_equal "${#stderr_lines[@]}" 1
    [[ $stderr == "mmioshim: "*a_in_window* ]]
    assert_count 2 '^\[MMIO\]'
    assert_ended
}

@test "an address below vm.mmap_min_addr: said so" {
    [ "$(cat /proc/sys/vm/mmap_min_addr)" -gt 0 ] || skip "vm.mmap_min_addr is 0 here"
    map=$(dtb low <<'END'
/dts-v1/;
/ { #address-cells = <1>; #size-cells = <1>; uart@0 { compatible = "ns16550a"; reg = <0x0 0x100>; }; };
END
)
    # Also for root, who could have it.
    refused_map "$map" 'mmap_min_addr' 'uart@0'
}

@test "an address outside user space: said so" {
    map=$(dtb high <<'END'
/dts-v1/;
/ { #address-cells = <2>; #size-cells = <2>; uart@8 { compatible = "ns16550a"; reg = <0x8000 0 0 0x100>; }; };
END
)
    refused_map "$map" 'uart@8' 'user space'
}

@test "ulimit -v smaller than RAM: one line that names it" {
    run --separate-stderr bash -c "ulimit -v 300000; LD_PRELOAD=$LIB exec $POKE puts:ran"
    assert_refused 'ulimit -v' 'memory@80000000'
}

@test "ulimit -f smaller than RAM: one line that names it" {
    run --separate-stderr bash -c "ulimit -f 1000; LD_PRELOAD=$LIB exec $POKE puts:ran"
    assert_refused 'ulimit -f'
}

@test "ulimit -n 64: works" {
    run "$POKE" open:"$BATS_TEST_TMPDIR/file"
    plain=$output
    log=$BATS_TEST_TMPDIR/log
    run --separate-stderr bash -c "ulimit -n 64; LD_PRELOAD=$LIB MMIOSHIM_LOG=$log $POKE r1:0x10000005 open:$BATS_TEST_TMPDIR/file"
    assert_success
    # The program's descriptors are as without us.
    assert_output "$(printf '0x60\n%s' "$plain")"
    assert_ended
}

