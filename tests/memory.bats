#!/usr/bin/env bats
# RAM and /dev/mem stay what they are, and dirty pages stay exact, whatever the program does to its mappings of them.

setup() {
    load common
    M=$GUESTS/c_memory
    bitmap=$BATS_TEST_TMPDIR/dirty
}

modes() {
    if shim MMIOSHIM_DIRTY_MODE=uffd MMIOSHIM_LOG=none true 2> /dev/null; then
        echo uffd mprotect
    else
        echo mprotect
    fi
}

# does MODE COUNT ACTION...: silently, with so many accesses
does() {
    local mode=$1 count=$2

    shift 2
    rm -f "$bitmap"
    logged MMIOSHIM_DIRTY="$bitmap" MMIOSHIM_DIRTY_MODE="$mode" MMIOSHIM_BACKTRACE=0 timeout 20 "$M" "$@"
    assert_equal "$mode $stderr" "$mode "
    assert_success
    [ -s "$log" ] || [ "$count" = 0 ] || fail "no log"
    [ ! -s "$log" ] || assert_count 1 "^\[EXIT\] $count accesses"
}

# dirties PAGES COUNT ACTION...: in each mode, exactly these pages (thousands of hexadecimal bytes above 0x80000000)
dirties() {
    local want= mode page pages=$1

    for page in $pages; do
        want="$want$(printf '%#x' $((0x80000000 + 0x$page * 0x1000))) "
    done
    shift
    for mode in $(modes); do
        does "$mode" "$@"
        assert_equal "$mode $(dirty_pages "$bitmap")" "$mode ${want% }"
    done
}

@test "read and write on /dev/mem reach RAM that the program unmapped or protected" {
    dirties '2 3 4' 0 dma
}

@test "the same where addresses are limited, in place of a second mapping" {
    ulimit -v 900000
    dirties '2 3 4' 0 dma
    # RLIMIT_FSIZE then counts for what is written so: an error, and no signal.
    does mprotect 0 fsize
    assert_equal "$(dirty_pages "$bitmap" | grep -c 0x80003000)" 1
}

@test "memory of the program's own over RAM: not dirty, and pages behind it and before it are not lost" {
    dirties '0 3 5 7 9 b 100 201' 0 over
}

@test "the same by system calls that no wrapper sees" {
    dirties '0 5 100 201' 0 behind
    dirties '0 1 5 41 100 201' 0 behind_fork
}

@test "private mappings: what is written there is no RAM; what was written is known when it is mapped over" {
    dirties '10' 0 privates
}

@test "mprotect: guard pages in RAM and mappings without access stay what they are, in children too" {
    dirties '8 a e 20' 0 guards
}

@test "mprotect over a mixture of RAM, windows and the program's own pages" {
    # SCR is written and read, and the slot behind it written.
    dirties '0' 3 mixed
}

@test "mprotect: pages that are opened in larger pieces end at windows and at guards" {
    map=$(dtb carved <<'END'
/dts-v1/;
/ {
	#address-cells = <1>;
	#size-cells = <1>;
	memory@80000000 { device_type = "memory"; reg = <0x80000000 0x20000000>; };
	scratch@8000b800 { compatible = "mmioshim,scratch"; reg = <0x8000b800 0x2000>; };
};
END
)
    export MMIOSHIM_MAP=$map
    does mprotect 2 granules
    assert_count 1 '0x8000b800 -> scratch@8000b800 \+0x0 write4 0x5 #1$'
    assert_count 1 '0x8000b800 -> scratch@8000b800 \+0x0 read4 0x5 #2$'
    dirty_pages "$bitmap" > "$BATS_TEST_TMPDIR/pages"
    python3 - "$BATS_TEST_TMPDIR/pages" <<'END'
import sys
pages = set(int(p, 16) for p in open(sys.argv[1]).read().split())
assert len(pages) > 50000, 'nothing was opened in larger pieces'
for page in [0x80008000, 0x8000e000, 0x80010000, 0x80013000] + list(range(0x80200000, 0x80200000 + 50000 * 0x2000, 0x2000)):
    assert page in pages, hex(page)
for page in 0x8000b000, 0x8000c000, 0x8000d000, 0x80012000:
    assert page not in pages, hex(page)
END
}

@test "mprotect: no mappings left: RAM is opened, what the program closed stays closed" {
    does mprotect 0 exhausted
    # All but the page that cannot be written counts as written: no page is lost.
    assert_count 1 '^\[DIRTY\] mprotect: 131071 of 131072 pages: 0x80000000-0x80008fff 0x8000a000-0x9fffffff$'
}

scans() { # KIND COUNT: calls of PAGEMAP_SCAN
    strace -e trace=ioctl -e raw=ioctl -o "$BATS_TEST_TMPDIR/trace" \
        env LD_PRELOAD="$LIB" MMIOSHIM_LOG=none MMIOSHIM_DIRTY_MODE=uffd "$M" often "$1" "$2"
    grep -c '0xc0606610' "$BATS_TEST_TMPDIR/trace"
}

@test "uffd: unmapping looks at what goes, not at all of RAM" {
    [[ $(modes) == *uffd* ]] || skip "this kernel has no userfaultfd WP_ASYNC"
    none=$(scans window 0)
    assert_equal "$(scans window 50)" "$none"
    assert_equal "$(scans ram 50)" $((none + 50))
    does uffd 0 often ram 50
    assert_count 1 '^\[DIRTY\] uffd: 50 of 131072 pages: 0x80000000-0x80000fff 0x80002000-0x80002fff '
}

@test "mprotect of a mapping of all RAM: one system call, and mappings that come later work" {
    dirties '1ffff' 2 whole
    for mode in $(modes); do
        strace -e trace=mprotect -o "$BATS_TEST_TMPDIR/trace" \
            env LD_PRELOAD="$LIB" MMIOSHIM_LOG=none MMIOSHIM_DIRTY_MODE=$mode "$M" whole
        assert_equal "$mode $(grep -c ', 536870912, PROT_READ) *= 0' "$BATS_TEST_TMPDIR/trace")" \
            "$mode $([ $mode = uffd ] && echo 1 || echo 4)"
        assert_count 0 '^mprotect\(0x[89][0-9a-f]{7}, 4096' "$BATS_TEST_TMPDIR/trace"
    done
}

@test "more pieces than the table holds: ENOMEM, nothing half done, and on again afterwards" {
    # 64 writes to the hole, one write of SCR and its reads
    dirties '' 67 full
}

@test "mremap of /dev/mem: shrinks, moves, does not grow; tracked where it went" {
    dirties '10 12 13 17' 0 moves
}

@test "mremap: private pages move with what was written in them" {
    dirties '1' 0 moves_private
}

@test "mremap: a window moves over RAM" {
    dirties '5' 2 moves_window
}

@test "mremap: RAM moves away from its address; the program's own mappings are untouched" {
    dirties '6 7 8' 0 moves_home
}
