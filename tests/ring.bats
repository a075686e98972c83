#!/usr/bin/env bats
# MMIOSHIM_LOG_FORMAT=ring: the binary transcript as it is written; `mmioshim trace convert` shows what is in it.

setup() {
    load common
    ring=$BATS_TEST_TMPDIR/ring
}

# ringed [VARIABLE=VALUE...] PROGRAM...: `run` with a binary transcript in $ring; as text it is in $log
ringed() {
    log=$BATS_TEST_TMPDIR/log
    rm -f "$log"
    run --separate-stderr shim MMIOSHIM_LOG="$ring" MMIOSHIM_LOG_FORMAT=ring "$@"
    "$CMD" trace convert -o "$log" "$ring"
}

# as_live [VARIABLE=VALUE...] PROGRAM...: text and JSON made of a binary transcript are, byte for byte, those written live
as_live() {
    local dir=$BATS_TEST_TMPDIR format

    for format in text json ring; do
        shim MMIOSHIM_LOG="$dir/live.$format" MMIOSHIM_LOG_FORMAT=$format "$@" > "$dir/out.$format" < /dev/null || true
    done
    cmp "$dir/out.text" "$dir/out.ring"
    for format in text json; do
        "$CMD" trace convert ${show:+--show "$show"} -t $format -o "$dir/made.$format" "$dir/live.ring"
        cmp "$dir/live.$format" "$dir/made.$format" || fail "$format of: $*"
        [ -s "$dir/made.$format" ]
    done
    log=$dir/made.text
}

# --- the same bytes as the live writers ---

@test "registers, fields, characters, lint, interrupts, holes, wide values, string instructions, RAM" {
    as_live "$POKE" w1:0x10000000=0x41 loop:5 r1:0x10000005 r4:0x10001234 w1:0x10000001=2 w1:0x10000001=0 w4:0x10001000=1 \
        r8:0x10001000 stosb:0x10000000=0x42,20 movsb:0x80000000=0x10000005,3 w1:0x80005000=1 v32:0x10001000=4 or1:0x10000007=3
    assert_count 1 ' THR write1 0x41 .A. #1$'
    assert_count 3 '^\[IRQ\]'
    assert_count 5 '^\[LINT\]'
    assert_count 13 ' unassigned #'
    assert_count 37 '^\[MMIO\]'
    assert_count 37 '^    by main\+'
    assert_ended
}

@test "every width of a vector, and no register" {
    as_live MMIOSHIM_MAP="$(scratch_map)" "$POKE" v16:0x10000020=1 v32:0x10000040=2 v64:0x10000080=3 vr64:0x10000020 r8:0x10000ffc
    assert_count 3 ' \+0x[0-9a-f]+ write(16|32|64) 0x'
    assert_count 1 ' read64 0x'
}

@test "ports" {
    dtc -q -I dts -O dtb -o "$BATS_TEST_TMPDIR/ports.dtb" "$ROOT/tests/guests/c_ports.dts"
    as_live MMIOSHIM_MAP="$BATS_TEST_TMPDIR/ports.dtb" "$GUESTS/c_ports" outb:0x3f8=0x41 inb:0x3fd inb:0x70 outs:0x3f8=bc inb:0x90
    assert_count 6 '^\[PORT\]'
    assert_count 1 '^\[LINT\] port-permission'
}

@test "marks, faults, programs that die" {
    as_live "$GUESTS/a_client"
    assert_count 2 '^\[MARK\]'
    as_live "$POKE" w1:0x10000007=1 crash:0x30000000
    assert_count 1 '^\[FAULT\] read4 0x30000000 unmapped, nearest'
    for end in abort raise:15 exit:3 _exit:3 quick:3 thread_exit; do
        as_live "$POKE" w1:0x10000007=1 r1:0x10000007 $end
        assert_ended
    done
}

@test "processes, forks, pipes, exec" {
    as_live sh -c "busybox devmem 0x10000007 8 0x5a; x=\$(busybox devmem 0x10000007 8); echo \$x | cat
        $POKE w4:0x80000000=1 fork w4:0x80001000=1 r1:0x10000005 join fork w1:0x10000007=7 join r1:0x10000007
        exec $POKE r1:0x10000007"
    assert_count 6 '^\[MMIO\]'
    assert_count 14 '^\[MEM\]'
    assert_ended
}

@test "backtraces of every depth, filters, no lint, instructions" {
    as_live MMIOSHIM_BACKTRACE=64 "$GUESTS/a_stack"
    assert_count 22 '^    by f'
    as_live MMIOSHIM_BACKTRACE=0 "$GUESTS/a_stack"
    assert_count 0 '^    at'
    as_live MMIOSHIM_LOG_FILTER='device=uart*,op=read' "$POKE" w1:0x10000007=1 loop:3 r1:0x10000007 w4:0x10001000=1
    assert_count 3 '^\[MMIO\]'
    assert_count 1 '^\[EXIT\] 5 accesses \(3 reads, 2 writes\), 1 lint, 0 lost$'
    as_live MMIOSHIM_LINT=off "$POKE" w4:0x10001000=1
    assert_count 0 '^\[LINT\]'
    show=insn as_live MMIOSHIM_LOG_SHOW=insn "$POKE" w1:0x10000007=1 w4:0x10001000=1 v32:0x10001000=4
    assert_count 5 ' insn=".+"$'
}

@test "many accesses: thousands of events, hundreds of ranges" {
    as_live "$POKE" loop:9000 r1:0x10000005 scatter:0x80000000=8192,700
    assert_count 9000 '^\[MMIO\]'
    assert_count 1 '^\[DIRTY\] [a-z]*: 700 of 131072 pages:( 0x[0-9a-f]+-0x[0-9a-f]+){700}$'
}

@test "patched sites: loads, stores, both in one, of every width, with all that is said beside" {
    words='loop:300 r1:0x10000005 loop:300 w1:0x10000007=0x5a loop:300 or1:0x10000007=1 loop:100 r2:0x10000004 loop:100 r4:0x10001000
        loop:100 r8:0x10001000 loop:100 w4:0x10001000=1 loop:100 r4:0x10001234 loop:50 w1:0x10000001=2 loop:50 w1:0x10000001=0
        loop:100 w2:0x10000006=1 loop:100 w8:0x10001070=0 loop:3 w1:0x10000000=0x41 loop:100 r4:0x101008'
    for frames in 0 8; do
        for patch in on off; do
            as_live MMIOSHIM_BACKTRACE=$frames MMIOSHIM_PATCH=$patch "$POKE" $words
            assert_count 2103 '^\[MMIO\]'
            cp "$log" "$BATS_TEST_TMPDIR/$patch"
        done
        cmp "$BATS_TEST_TMPDIR/on" "$BATS_TEST_TMPDIR/off"
    done
    as_live MMIOSHIM_BACKTRACE=0 MMIOSHIM_MAP="$(scratch_map)" "$POKE" loop:300 r4:0x10000020 loop:300 w8:0x10001ff8=5 \
        loop:300 or1:0x10000021=4 loop:100 r8:0x10001ff8
    assert_count 1300 '^\[MMIO\]'
    as_live MMIOSHIM_BACKTRACE=0 MMIOSHIM_LOG_FOLD=on "$POKE" $words
    as_live MMIOSHIM_BACKTRACE=0 MMIOSHIM_LOG_FILTER=op=write MMIOSHIM_LOG_SHOW=none "$POKE" $words
}

@test "the example driver" {
    as_live "$ROOT/examples/driver"
    assert_ended
}

# --- who, when ---

@test "real numbers of processes and threads, and the time, are those of the run" {
    before=$(date +%s)
    ringed "$POKE" w1:0x10000007=1 r1:0x10000007 fork r1:0x10000007 join
    after=$(($(date +%s) + 1))
    "$CMD" trace convert -t json --show time,pid "$ring" > "$log.json"
    run python3 - "$log.json" $before $after <<'END'
import json, sys
events = [e for e in map(json.loads, open(sys.argv[1])) if e['type'] == 'mmio']
times = [float(e['time']) for e in events]
assert len(events) == 3 and times == sorted(times), times
assert int(sys.argv[2]) <= times[0] and times[-1] <= int(sys.argv[3]), times
pids = [e['pid'] for e in events]
assert pids[0] == pids[1] != pids[2] and pids == [e['tid'] for e in events] and min(pids) > 1, pids
END
    assert_success
}

# --- threads and processes at once ---

hammer_map() {
    dtb hammer < "$ROOT/tests/guests/b_scratch.dts"
}

# Every number from 1 to COUNT once, in order; as many stacks.
assert_numbers() {
    sed -n 's/^\[MMIO\].* #\([0-9]*\)$/\1/p' "$log" > "$BATS_TEST_TMPDIR/numbers"
    seq "$1" | cmp - "$BATS_TEST_TMPDIR/numbers"
    assert_count "$1" '^    at '
}

@test "threads and processes that write at the same time: every event once, in the machine's order" {
    ringed MMIOSHIM_MAP="$(hammer_map)" MMIOSHIM_BACKTRACE=1 "$GUESTS/b_hammer" sum 3 3 300
    assert_success
    total=$(sed -n 's/^\[EXIT\] \([0-9]*\) accesses .*, 0 lost$/\1/p' "$log")
    [ "$total" -ge 16200 ]
    assert_numbers "$total"
    assert_ended
}

@test "more threads, one after another, than a file has segments for: they go on where others ended" {
    ringed MMIOSHIM_BACKTRACE=1 "$GUESTS/g_threads" 300
    assert_success
    assert_numbers 300
    assert_equal "$("$CMD" trace convert -t json "$ring" | sed -n 's/.*"tid":\([0-9]*\).*/\1/p' | sort -n | uniq | wc -l)" 300
    [ "$(stat -c %s "$ring")" -lt 1000000 ]
}

@test "%p: a file, and its own stacks, for each process" {
    run --separate-stderr shim MMIOSHIM_LOG="$BATS_TEST_TMPDIR/p.%p" MMIOSHIM_LOG_FORMAT=ring "$POKE" r1:0x10000007 \
        fork r1:0x10000007 join r1:0x10000007
    assert_success
    n=0
    for file in "$BATS_TEST_TMPDIR"/p.*; do
        "$CMD" trace convert "$file" > "$BATS_TEST_TMPDIR/text"
        count=$(grep -c '^\[MMIO\]' "$BATS_TEST_TMPDIR/text")
        assert_count "$count" '^    by main\+' "$BATS_TEST_TMPDIR/text"
        assert_count 14 '^\[MEM\]' "$BATS_TEST_TMPDIR/text"
        assert_count 1 "^\[EXIT\] $count accesses" "$BATS_TEST_TMPDIR/text"
        n=$((n + count))
    done
    assert_equal $n 3
}

@test "a named machine: later runs go on in the same file" {
    export XDG_RUNTIME_DIR=$BATS_TEST_TMPDIR
    name=ring-$BATS_TEST_NUMBER-$$
    ringed MMIOSHIM_MACHINE=$name "$POKE" w1:0x10000007=0x33
    ringed MMIOSHIM_MACHINE=$name "$POKE" r1:0x10000007
    assert_output 0x33
    "$CMD" machine rm $name
    assert_count 14 '^\[MEM\]'
    assert_count 2 '^\[EXIT\]'
    assert_count 1 ' #1$'
    assert_count 1 ' #2$'
}

@test "an old file is emptied; a program that never touches the machine writes nothing" {
    echo old > "$ring"
    ringed "$POKE" r1:0x10000007
    assert_count 1 '^\[MMIO\]'
    ringed "$POKE" puts:ran
    assert_output ran
    [ -e "$ring" ]
    assert_equal "$(stat -c %s "$ring")" 0
    assert_equal "$(stat -c %s "$log")" 0
}

# --- the end ---

@test "kill -9: every event is in the file, with its stack" {
    shim_exec MMIOSHIM_LOG="$ring" MMIOSHIM_LOG_FORMAT=ring "$POKE" loop:2500 w1:0x10000007=1 touch:"$BATS_TEST_TMPDIR/ready" \
        pause 3>&- &
    pid=$!
    await "$BATS_TEST_TMPDIR/ready"
    kill -9 $pid
    run wait $pid
    log=$BATS_TEST_TMPDIR/log
    "$CMD" trace convert -o "$log" "$ring"
    assert_numbers 2500
    assert_count 0 '^\[EXIT\]'
    run "$CMD" trace report "$ring"
    assert_output --partial 'end: none'
}

@test "kill -9 in the middle: what is there is whole, without a gap" {
    shim_exec MMIOSHIM_LOG="$ring" MMIOSHIM_LOG_FORMAT=ring MMIOSHIM_MAP="$(hammer_map)" MMIOSHIM_BACKTRACE=1 \
        "$GUESTS/b_hammer" spin 3>&- &
    pid=$!
    # until some desks were copied out
    for _ in $(seq 1000); do
        [ "$(stat -c %s "$ring" 2> /dev/null || echo 0)" -lt 500000 ] || break
        sleep 0.01
    done
    kill -9 $pid
    run wait $pid
    log=$BATS_TEST_TMPDIR/log
    "$CMD" trace convert -o "$log" "$ring"
    total=$(grep -c '^\[MMIO\]' "$log")
    [ "$total" -gt 4000 ]
    assert_numbers "$total"
}

# --- what finds no room ---

@test "the limit of file size: what was lost is counted to the event, and the program goes on" {
    ringed "$POKE" loop:2000 r1:0x10000005 fsize:0 loop:5000 r1:0x10000005 exit:4 > /dev/null
    [ "$status" = 4 ] || [ "$status" = 153 ] # the program's own output may have met the limit
    shown=$(grep -c '^\[MMIO\]' "$log")
    [ "$shown" -ge 2000 ]
    assert_count 1 "^\[EXIT\] 7000 accesses \(7000 reads, 0 writes\), 0 lint, $((7000 - shown)) lost\$"
    assert_count 1 '^\[DIRTY\]'
    assert_numbers "$shown"
    run "$CMD" trace stats "$ring"
    assert_output --partial "$((7000 - shown)) lost"
}

@test "no room from the start: nothing is written, nothing happens to the program" {
    ringed "$POKE" fsize:0 w1:0x10000007=5 exit:4
    assert_failure 4
    assert_equal "$(stat -c %s "$ring")" 0
}

@test "room for little: the first events are there, and how many are not" {
    ringed "$POKE" fsize:24000 loop:3000 w1:0x10000007=1
    shown=$(grep -c '^\[MMIO\]' "$log")
    [ "$shown" -gt 10 ] && [ "$shown" -lt 200 ]
    assert_numbers "$shown"
    assert_count 1 "^\[EXIT\] 3000 accesses .*, $((3000 - shown)) lost\$"
}

@test "somebody empties the file meanwhile: no SIGBUS, the program goes on" {
    run --separate-stderr shim MMIOSHIM_LOG="$ring" MMIOSHIM_LOG_FORMAT=ring "$GUESTS/g_truncate" "$ring"
    assert_success
    assert_output "$(printf '0x5a\n0x5a')"
}

# --- where it cannot go ---

@test "standard error and what is no file are refused; none writes nothing" {
    run --separate-stderr shim MMIOSHIM_LOG_FORMAT=ring "$POKE" puts:ran
    assert_refused '^mmioshim: MMIOSHIM_LOG=-: ' 'needs a file' 'MMIOSHIM_LOG_FORMAT=ring' 'allowed:'
    run --separate-stderr shim MMIOSHIM_LOG_FORMAT=ring MMIOSHIM_LOG=/dev/null "$POKE" puts:ran
    assert_refused '^mmioshim: MMIOSHIM_LOG=/dev/null: ' 'regular file'
    run --separate-stderr shim MMIOSHIM_LOG_FORMAT=ring MMIOSHIM_LOG=/nosuch/dir/file "$POKE" puts:ran
    assert_refused '^mmioshim: MMIOSHIM_LOG=/nosuch/dir/file: cannot be written'
    run --separate-stderr shim MMIOSHIM_LOG_FORMAT=ring MMIOSHIM_LOG=none "$POKE" w1:0x10000007=5 r1:0x10000007
    assert_success
    assert_output 0x5
    assert_equal "$stderr" ""
}
