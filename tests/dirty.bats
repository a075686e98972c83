#!/usr/bin/env bats
# Dirty pages: the bitmap file, its summary in the transcript, the modes, `mmioshim dirty`. Initial contents of RAM.

setup() {
    load common
    bitmap=$BATS_TEST_TMPDIR/dirty
}

need_uffd() {
    shim MMIOSHIM_DIRTY_MODE=uffd MMIOSHIM_LOG=none true 2> /dev/null || skip "this kernel has no userfaultfd WP_ASYNC"
}

# tracked MODE WORD...: runs the words with a bitmap
tracked() {
    local mode=$1

    shift
    rm -f "$bitmap"
    logged MMIOSHIM_DIRTY="$bitmap" MMIOSHIM_DIRTY_MODE="$mode" "$POKE" "$@"
}

exact() { # MODE
    tracked "$1" w1:0x80000000=1 w8:0x80003ff8=1 w1:0x80004fff=1 r8:0x80007000 sum:0x80010000=8192 w4:0x9ffffffc=1 \
        w4:0x80001ffe=1
    assert_success
    # A store that straddles two pages dirties both; pages that are only read stay clean.
    assert_equal "$(dirty_pages "$bitmap")" '0x80000000 0x80001000 0x80002000 0x80003000 0x80004000 0x9ffff000'
    assert_count 1 "^\\[DIRTY\\] $1: 6 of 131072 pages: 0x80000000-0x80004fff 0x9ffff000-0x9fffffff\$"
    assert_count 1 '^\[EXIT\] 0 accesses \(0 reads, 0 writes\), 0 lint, 0 lost$'
}

@test "uffd: exactly the pages that were written" {
    need_uffd
    exact uffd
}

@test "mprotect: exactly the pages that were written" {
    exact mprotect
}

same_value() { # MODE
    # The same value again, zeros, and what is written back: a write all the same.
    tracked "$1" w4:0x80000000=0 or1:0x80005000=0 fill:0x80006fff=0,2
    assert_equal "$(dirty_pages "$bitmap")" '0x80000000 0x80005000 0x80006000 0x80007000'
}

@test "writing what was already there counts, in both modes" {
    need_uffd
    same_value uffd
    same_value mprotect
}

input() { # MODE
    printf '%012288d' 7 > "$BATS_TEST_TMPDIR/in"
    tracked "$1" input:0x8000a800=8192 w1:0x80000000=1 sum:0x8000a800=8192 < "$BATS_TEST_TMPDIR/in"
    assert_success
    assert_equal "${lines[0]}" 'read 8192'
    assert_equal "${lines[1]}" $((8192 * 48))
    assert_equal "$(dirty_pages "$bitmap")" '0x80000000 0x8000a000 0x8000b000 0x8000c000'
}

@test "uffd: read(2) into RAM works and counts" {
    need_uffd
    input uffd
}

@test "mprotect: read(2) into RAM works and counts" {
    input mprotect
}

forks() { # MODE
    tracked "$1" w1:0x80000000=1 fork w1:0x80002000=1 join w1:0x80004000=1 fork w1:0x80006000=1 _exit:0 join r1:0x80002000
    assert_success
    assert_output 0x1
    assert_equal "$(dirty_pages "$bitmap")" '0x80000000 0x80002000 0x80004000 0x80006000'
    assert_count 1 '^\[DIRTY\]'
}

@test "pages of forked children count, in both modes" {
    need_uffd
    forks uffd
    forks mprotect
}

@test "pages of every process of the machine, also across exec" {
    for mode in auto mprotect; do
        rm -f "$bitmap"
        logged MMIOSHIM_DIRTY="$bitmap" MMIOSHIM_DIRTY_MODE=$mode sh -c "$POKE w1:0x80001000=1; busybox devmem 0x80003000 8 1
            exec $POKE w1:0x80005000=1"
        assert_success
        assert_equal "$(dirty_pages "$bitmap")" '0x80001000 0x80003000 0x80005000'
        assert_count 1 '^\[DIRTY\] [a-z]+: 3 of 131072 pages: '
    done
}

scattered() { # MODE
    tracked "$1" scatter:0x80000000=0x2000,65536 r1:0x9fffe000
    assert_success
    assert_output 0x1
    assert_ended
    pages=$(sed -n 's/^\[DIRTY\] [a-z]*: \([0-9]*\) of 131072 pages.*/\1/p' "$log")
}

@test "uffd: every second page of RAM is written: 65536 pages, not one more" {
    need_uffd
    scattered uffd
    assert_equal "$pages" 65536
    run dirty_pages "$bitmap"
    assert_equal "$(wc -w <<< "$output")" 65536
}

@test "mprotect: every second page of RAM is written: survives the limit of mappings, loses no page" {
    scattered mprotect
    [ "$pages" -ge 65536 ] && [ "$pages" -le 131072 ]
    dirty_pages "$bitmap" | tr ' ' '\n' > "$BATS_TEST_TMPDIR/pages"
    python3 - "$BATS_TEST_TMPDIR/pages" <<'END'
import sys
pages = set(open(sys.argv[1]).read().split())
missing = [n for n in range(0x80000000, 0xa0000000, 0x2000) if '%#x' % n not in pages]
assert not missing, missing[:5]
END
}

# pages_of ACTION...: the guest that writes in shuffled orders, under mprotect; number of dirty pages in $pages
pages_of() {
    rm -f "$bitmap"
    logged MMIOSHIM_DIRTY="$bitmap" MMIOSHIM_DIRTY_MODE=mprotect timeout 60 "$GUESTS/d_dirty" "$@"
    assert_equal "$stderr" ""
    assert_success
    assert_ended
    pages=$(sed -n 's/^\[DIRTY\] mprotect: \([0-9]*\) of 131072 pages.*/\1/p' "$log")
}

# dirty_has STEP [FIRST]: the bitmap has every page FIRST, FIRST+STEP, ... of RAM
dirty_has() {
    dirty_pages "$bitmap" > "$BATS_TEST_TMPDIR/pages"
    python3 - "$BATS_TEST_TMPDIR/pages" "$1" "${2:-0}" <<'END'
import sys
pages = set(open(sys.argv[1]).read().split())
step, first = int(sys.argv[2]), int(sys.argv[3])
missing = [n for n in range(0x80000000 + first * 0x1000, 0xa0000000, step * 0x1000) if '%#x' % n not in pages]
assert not missing, [hex(n) for n in missing[:5]]
END
}

@test "mprotect: every second page in a shuffled order, then the others" {
    pages_of half
    [ "$pages" -ge 65536 ] || fail "$pages"
    dirty_has 2
    pages_of all
    assert_equal "$pages" 131072
}

@test "mprotect: exact for 15000 single pages, and for 64 pieces of 1000 pages" {
    pages_of sparse 15000
    assert_equal "$pages" 15000
    assert_equal "$(dirty_pages "$bitmap" | wc -w)" 15000
    pages_of runs
    assert_equal "$pages" 64000
    # When it must give up pages, it gives up the smallest gaps first: no more than a third of RAM for a seventh of it.
    pages_of sparse 20000
    [ "$pages" -ge 20000 ] && [ "$pages" -le 50000 ] || fail "$pages"
}

@test "mprotect: exact again when a long-lived process forgets its dirty pages" {
    pages_of forget 15000
    assert_equal "$pages" 15000
}

@test "mprotect: four threads fault on the same pages at once" {
    for _ in 1 2 3; do
        pages_of threads
        [ "$pages" -ge 65536 ] || fail "$pages"
        dirty_has 2
    done
}

@test "mprotect: the program closes and opens a page while its threads write around it; forks meanwhile" {
    pages_of flips
    pages_of forks
    [ "$pages" -ge 32868 ] || fail "$pages"
}

@test "mprotect: a thread whose stack is RAM changes mappings at every depth" {
    pages_of stack
    # From the deepest call to the end of the stack; the kernel would say the same.
    assert_count 1 '^\[DIRTY\] mprotect: [67][0-9][0-9] of 131072 pages: 0x82[0-9a-f]+-.*0x823fffff$'
    expected=$(dirty_pages "$bitmap")
    need_uffd
    rm "$bitmap"
    logged MMIOSHIM_DIRTY="$bitmap" MMIOSHIM_DIRTY_MODE=uffd timeout 60 "$GUESTS/d_dirty" stack
    assert_equal "$(dirty_pages "$bitmap")" "$expected"
}

@test "79 calls that write into RAM do as they do elsewhere, in each mode, and dirty it" {
    for mode in uffd mprotect off; do
        [ $mode != uffd ] || shim MMIOSHIM_DIRTY_MODE=uffd MMIOSHIM_LOG=none true 2> /dev/null || continue
        logged MMIOSHIM_DIRTY_MODE=$mode timeout 60 "$GUESTS/d_writes"
        assert_equal "$mode $stderr" "$mode "
        assert_success
        assert_output 79
    done
    # Two pages each: 3000 bytes that begin at the end of a page, a buffer of libc, and a structure.
    for words in fread:0x80000000 fread_straight:0x80002000 pread:0x80006000 statx:0x80010000 vm_readv:0x8008e000; do
        rm -f "$bitmap"
        logged MMIOSHIM_DIRTY="$bitmap" MMIOSHIM_DIRTY_MODE=mprotect "$GUESTS/d_writes" "${words%:*}"
        assert_equal "$words $(dirty_pages "$bitmap")" "$words ${words#*:} $(printf '%#x' $((${words#*:} + 0x1000)))"
    done
}

@test "mprotect: pages of a mapping of /dev/mem and of RAM, in turn; parent and child" {
    pages_of alias
    dirty_has 2
    dirty_has 8 1
    pages_of children
    dirty_has 2
}

@test "mprotect: a program that has nearly all mappings itself still gets some more" {
    for free in 3000 200 20; do
        pages_of crowded $free
        # RAM behind the first 64 MiB is clean as long as that can be.
        [ "$pages" -ge 8192 ] && [ "$pages" -le 16385 ] || fail "$free: $pages"
    done
}

@test "mprotect: a program that has all mappings itself still gets its summary" {
    pages_of crowded 0
    [ "$pages" -ge 8192 ] && [ "$pages" -le 131072 ] || fail "$pages"
}

@test "mprotect: pages that the program closed stay closed and clean" {
    pages_of guards
    dirty_has 2
    # 512 guards
    [ "$pages" -le $((131072 - 512)) ] || fail "$pages"
    for page in 0x80001000 0x80101000 0x9ff01000; do
        run grep -cw $page "$BATS_TEST_TMPDIR/pages"
        assert_output 0
    done
}

@test "mprotect: where mappings cannot be counted, larger pieces are opened after 8192" {
    unshare -m true 2> /dev/null || skip "no mount namespace"
    rm -f "$bitmap"
    log=$BATS_TEST_TMPDIR/log
    run --separate-stderr timeout 60 unshare -m sh -c "mount -t tmpfs none /proc; LD_PRELOAD=$LIB MMIOSHIM_LOG=$log \
        MMIOSHIM_DIRTY=$bitmap MMIOSHIM_DIRTY_MODE=mprotect $GUESTS/d_dirty half"
    assert_equal "$stderr" ""
    assert_success
    dirty_has 2
    run --separate-stderr timeout 60 unshare -m sh -c "mount -t tmpfs none /proc; LD_PRELOAD=$LIB MMIOSHIM_LOG=$log \
        MMIOSHIM_DIRTY=$bitmap MMIOSHIM_DIRTY_MODE=mprotect $GUESTS/d_dirty sparse 8000"
    assert_success
    assert_equal "$(dirty_pages "$bitmap" | wc -w)" 8000
}

@test "MMIOSHIM_DIRTY_MODE=off: no summary, no file; auto says which mode it took" {
    tracked off w1:0x80000000=1 w1:0x10000007=1
    assert_success
    assert_count 0 '^\[DIRTY\]'
    assert_count 1 '^\[EXIT\] 1 accesses '
    [ ! -e "$bitmap" ]
    tracked auto w1:0x80000000=1
    assert_count 1 '^\[DIRTY\] (uffd|mprotect): 1 of 131072 pages: 0x80000000-0x80000fff$'
}

@test "many ranges all stand in the one [DIRTY] line" {
    tracked auto scatter:0x80000000=0x3000,2000
    assert_count 1 '^\[DIRTY\] [a-z]+: 2000 of 131072 pages: 0x80000000-0x80000fff 0x80003000-0x80003fff '
    assert_equal "$(grep '^\[DIRTY\]' "$log" | grep -oE '0x[0-9a-f]+-0x[0-9a-f]+' | wc -l)" 2000
}

@test "a machine that nobody touched still gives a bitmap, an empty one" {
    rm -f "$bitmap"
    logged MMIOSHIM_DIRTY="$bitmap" busybox true
    assert_success
    assert_equal "$(dirty_pages "$bitmap")" ""
    [ ! -s "$log" ]
}

@test "written when the program dies of a signal; replaced, not appended; nothing left beside it" {
    echo old > "$bitmap"
    for words in abort kill:15 crash:0x30000000 _exit:3 quick:4; do
        echo old > "$bitmap"
        logged MMIOSHIM_DIRTY="$bitmap" "$POKE" w1:0x80002000=1 $words
        assert_equal "$words $(dirty_pages "$bitmap")" "$words 0x80002000"
    done
    assert_equal "$(cd "$BATS_TEST_TMPDIR" && echo dirty*)" dirty
}

@test "a relative path is the one of the first process" {
    cd "$BATS_TEST_TMPDIR"
    logged MMIOSHIM_DIRTY=rel sh -c "cd /; $POKE w1:0x80002000=1"
    assert_success
    assert_equal "$(dirty_pages "$BATS_TEST_TMPDIR/rel")" 0x80002000
    logged MMIOSHIM_DIRTY=rel2 "$POKE" w1:0x80002000=1 chdir:/
    assert_equal "$(dirty_pages "$BATS_TEST_TMPDIR/rel2")" 0x80002000
}

@test "a bitmap that cannot be written: one line, and the program's exit status" {
    log=$BATS_TEST_TMPDIR/log
    run --separate-stderr shim MMIOSHIM_LOG="$log" MMIOSHIM_DIRTY=/nonexistent/file "$POKE" w1:0x80002000=1 exit:3
    assert_refused 'MMIOSHIM_DIRTY=/nonexistent/file: ' 'allowed:'
    # What only goes wrong at the end changes nothing for the program.
    mkdir "$BATS_TEST_TMPDIR/gone"
    run --separate-stderr shim MMIOSHIM_LOG="$log" MMIOSHIM_DIRTY="$BATS_TEST_TMPDIR/gone/file" \
        sh -c "rmdir $BATS_TEST_TMPDIR/gone; exec $POKE w1:0x80002000=1 exit:3"
    assert_failure 3
    assert_equal "${#stderr_lines[@]}" 1
    [[ $stderr == *"MMIOSHIM_DIRTY=$BATS_TEST_TMPDIR/gone/file: "* ]]
    assert_ended
}

@test "RAM of several banks: the file and the summary have them all" {
    map=$(dtb banks <<'END'
/dts-v1/;
/ {
	#address-cells = <1>;
	#size-cells = <1>;
	memory@80000000 { device_type = "memory"; reg = <0x80000000 0x3000>; };
	memory@a0000000 { device_type = "memory"; reg = <0xa0000000 0x100000>; };
};
END
)
    logged MMIOSHIM_MAP="$map" MMIOSHIM_DIRTY="$bitmap" "$POKE" w1:0x80002fff=1 w1:0xa0000000=1 w1:0xa00fffff=1
    assert_success
    assert_equal "$(dirty_pages "$bitmap")" '0x80002000 0xa0000000 0xa00ff000'
    assert_count 1 '^\[DIRTY\] [a-z]+: 3 of 259 pages: 0x80002000-0x80002fff 0xa0000000-0xa0000fff 0xa00ff000-0xa00fffff$'
    assert_count 1 '^\[MEM\] RAM: 12KB 0x80000000-0x80002fff memory@80000000$'
    assert_count 1 '^\[MEM\] RAM: 1MB 0xa0000000-0xa00fffff memory@a0000000$'
    run --separate-stderr "$CMD" dirty "$bitmap"
    assert_success
    assert_output "$(cat <<'END'
memory@80000000 0x80000000-0x80002fff: 1 of 3 pages (4KB)
    0x80002000-0x80002fff 1
memory@a0000000 0xa0000000-0xa00fffff: 2 of 256 pages (8KB)
    0xa0000000-0xa0000fff 1
    0xa00ff000-0xa00fffff 1
total: 3 of 259 pages (12KB)
END
)"
}

@test "mmioshim dirty: ranges and counts, JSON, standard input" {
    tracked auto w1:0x80000000=1 fill:0x80004000=1,12288 w1:0x9ffff000=1
    run --separate-stderr "$CMD" dirty "$bitmap"
    assert_success
    assert_equal "$stderr" ""
    assert_output "$(cat <<'END'
memory@80000000 0x80000000-0x9fffffff: 5 of 131072 pages (20KB)
    0x80000000-0x80000fff 1
    0x80004000-0x80006fff 3
    0x9ffff000-0x9fffffff 1
total: 5 of 131072 pages (20KB)
END
)"
    run --separate-stderr "$CMD" dirty - < "$bitmap"
    assert_success
    assert_equal "${lines[-1]}" 'total: 5 of 131072 pages (20KB)'
    run --separate-stderr "$CMD" dirty --json "$bitmap"
    assert_success
    python3 - "$output" <<'END'
import json, sys
d = json.loads(sys.argv[1])
assert list(d) == ['page_size', 'pages', 'total', 'banks'], d
assert (d['page_size'], d['pages'], d['total'], len(d['banks'])) == (4096, 5, 131072, 1)
assert d['banks'][0]['ranges'] == ['0x80000000-0x80000fff', '0x80004000-0x80006fff', '0x9ffff000-0x9fffffff']
END
}

@test "mmioshim dirty --png: a valid picture, different for different pages" {
    tracked auto fill:0x80000000=1,0x1000000
    run --separate-stderr "$CMD" dirty --png "$BATS_TEST_TMPDIR/a.png" "$bitmap"
    assert_success
    assert_output ""
    tracked auto fill:0x88000000=1,0x1000000
    run --separate-stderr "$CMD" dirty "$bitmap" --png="$BATS_TEST_TMPDIR/b.png"
    assert_success
    python3 - "$BATS_TEST_TMPDIR/a.png" "$BATS_TEST_TMPDIR/b.png" <<'END'
import struct, sys, zlib
def pixels(path):
    data = open(path, 'rb').read()
    assert data[:8] == b'\x89PNG\r\n\x1a\n', 'signature'
    at, image, kinds = 8, b'', []
    while at < len(data):
        n, kind = struct.unpack_from('>I4s', data, at)
        body = data[at + 8:at + 8 + n]
        assert zlib.crc32(kind + body) == struct.unpack_from('>I', data, at + 8 + n)[0], 'crc'
        kinds.append(kind)
        if kind == b'IHDR':
            width, height, depth, colour, _, _, interlace = struct.unpack('>IIBBBBB', body)
        if kind == b'IDAT':
            image += body
        at += 12 + n
    assert kinds[0] == b'IHDR' and kinds[-1] == b'IEND' and interlace == 0
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    raw = zlib.decompress(image)
    assert len(raw) == height * (1 + (width * channels * depth + 7) // 8), 'size'
    assert 64 <= width <= 8192 and 16 <= height <= 8192, (width, height)
    return raw
assert pixels(sys.argv[1]) != pixels(sys.argv[2]), 'both pictures are the same'
END
}

@test "mmioshim dirty: what is no bitmap is refused in one line" {
    tracked auto w1:0x80000000=1
    head -c 100 "$bitmap" > "$BATS_TEST_TMPDIR/short"
    head -c 5000 /dev/urandom > "$BATS_TEST_TMPDIR/noise"
    : > "$BATS_TEST_TMPDIR/empty"
    for file in short noise empty missing; do
        run --separate-stderr "$CMD" dirty "$BATS_TEST_TMPDIR/$file"
        assert_failure 1
        assert_equal "$output" ""
        assert_equal "$file ${#stderr_lines[@]}" "$file 1"
        [[ $stderr == "mmioshim dirty: $BATS_TEST_TMPDIR/$file: "* ]]
    done
    run --separate-stderr "$CMD" dirty --png /nonexistent/x.png "$bitmap"
    assert_failure 1
    assert_equal "${#stderr_lines[@]}" 1
    run --separate-stderr "$CMD" dirty
    assert_refused usage
    run --separate-stderr "$CMD" dirty --what "$bitmap"
    assert_refused -- '--what' '--png'
}

@test "idle RAM costs no memory: 512 MB of it, and less than 16 MB resident" {
    run --separate-stderr shim MMIOSHIM_LOG=none sh -c 'grep VmRSS /proc/$$/status; grep -c . /proc/$$/maps'
    assert_success
    kb=$(sed -n 's/VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' <<< "$output")
    [ "$kb" -lt 16384 ] || fail "$output"
}

# --- MMIOSHIM_LOAD ---

@test "MMIOSHIM_LOAD: files at their addresses, also unaligned, and they are not dirty" {
    printf 'hello, ram' > "$BATS_TEST_TMPDIR/a"
    head -c 70000 /dev/zero | tr '\0' x > "$BATS_TEST_TMPDIR/b@c"
    tracked_load="$BATS_TEST_TMPDIR/a@0x80000ffb;$BATS_TEST_TMPDIR/b@c@0x80100000"
    logged MMIOSHIM_DIRTY="$bitmap" MMIOSHIM_LOAD="$tracked_load" "$POKE" r1:0x80000ffb r4:0x80000fff sum:0x80100000=70000 \
        r1:0x80111170 w1:0x80200000=1
    assert_success
    assert_output "$(printf '0x68\n0x72202c6f\n%d\n0x0' $((70000 * 120)))"
    assert_equal "$(dirty_pages "$bitmap")" 0x80200000
    # A child finds what its parent made of it.
    logged MMIOSHIM_LOAD="$tracked_load" sh -c "$POKE w1:0x80000ffb=0x48; $POKE r1:0x80000ffb"
    assert_output 0x48
}

@test "MMIOSHIM_LOAD: what cannot be loaded is refused" {
    printf 'hello, ram' > "$BATS_TEST_TMPDIR/a"
    run --separate-stderr shim MMIOSHIM_LOAD=/nonexistent@0x80000000 "$POKE" puts:ran
    assert_refused 'MMIOSHIM_LOAD=/nonexistent@0x80000000: ' 'No such file|ENOENT'
    run --separate-stderr shim MMIOSHIM_LOAD="$BATS_TEST_TMPDIR/a@0x10000000" "$POKE" puts:ran
    assert_refused 'MMIOSHIM_LOAD=.*@0x10000000: ' 'outside RAM' 'allowed: 0x80000000-0x9fffffff'
    run --separate-stderr shim MMIOSHIM_LOAD="$BATS_TEST_TMPDIR/a@0x9ffffffc" "$POKE" puts:ran
    assert_refused 'MMIOSHIM_LOAD=' 'outside RAM'
    run --separate-stderr shim MMIOSHIM_LOAD="$BATS_TEST_TMPDIR/a" "$POKE" puts:ran
    assert_refused 'MMIOSHIM_LOAD=' 'allowed: FILE@ADDRESS'
    run --separate-stderr shim MMIOSHIM_LOAD="$BATS_TEST_TMPDIR@0x80000000" "$POKE" puts:ran
    assert_refused 'MMIOSHIM_LOAD='
}
