#!/usr/bin/env bats
# MMIOSHIM_LOG_FOLD=on: runs of equal polls become one line with their count; polls that cannot end.

setup() {
    load common
    POLL=$GUESTS/g_poll
    SCR=0x10000007
    LSR=0x10000005
}

# folded [VARIABLE=VALUE...] PROGRAM...: `run` with the transcript in $log
folded() {
    logged MMIOSHIM_LOG_FOLD=on "$@"
}

# Reads and writes that the lines of $log tell of, folded ones included.
told() {
    awk '/^\[(MMIO|PORT)\]/ { n++ } /^\[REPEAT\]/ { n += $4 } END { print n + 0 }' "${1:-$log}"
}

# --- what folds ---

@test "a run is one line with its stack, and how often it was repeated" {
    folded "$POLL" poll $LSR 1000
    assert_success
    assert_equal "$(stacks)" "$(cat <<'END'
[MMIO] trap at 0x10000005 -> uart@10000000 LSR read1 0x60 THRE|TEMT #1
    at poll_byte+0x (g_poll)
    by main+0x (g_poll)
[REPEAT] #1 repeated 999 times
[DIRTY] MODE: 0 of 131072 pages
[EXIT] 1000 accesses (1000 reads, 0 writes), 0 lint, 0 lost
END
)"
}

@test "another caller, register, value, a write, an interrupt: each ends a run; writes are never folded" {
    folded "$POLL" runs
    assert_success
    assert_events <<'END'
[MMIO] trap at 0x10000005 -> uart@10000000 LSR read1 0x60 THRE|TEMT #1
[REPEAT] #1 repeated 4 times
[MMIO] trap at 0x10000005 -> uart@10000000 LSR read1 0x60 THRE|TEMT #6
[MMIO] trap at 0x10000007 -> uart@10000000 SCR read1 0x0 #7
[REPEAT] #7 repeated 2 times
[MMIO] trap at 0x10000007 -> uart@10000000 SCR write1 0x1 #10
[MMIO] trap at 0x10000007 -> uart@10000000 SCR write1 0x1 #11
[MMIO] trap at 0x10000007 -> uart@10000000 SCR read1 0x1 #12
[REPEAT] #12 repeated 2 times
[MMIO] trap at 0x10000007 -> uart@10000000 SCR read1 0x1 #15
[REPEAT] #15 repeated 1 time
[MMIO] trap at 0x10000007 -> uart@10000000 SCR read1 0x1 #17
[MMIO] trap at 0x10000005 -> uart@10000000 LSR read1 0x60 THRE|TEMT #18
[MMIO] trap at 0x10000007 -> uart@10000000 SCR read1 0x1 #19
[MMIO] trap at 0x10000005 -> uart@10000000 LSR read1 0x60 THRE|TEMT #20
[MMIO] trap at 0x10000001 -> uart@10000000 IER write1 0x2 ETBEI #21
[IRQ] uart@10000000 10 raised
[MMIO] trap at 0x10000005 -> uart@10000000 LSR read1 0x60 THRE|TEMT #22
[REPEAT] #22 repeated 99 times
[DIRTY] MODE: 0 of 131072 pages
[EXIT] 121 accesses (118 reads, 3 writes), 0 lint, 0 lost
END
}

@test "JSON says it as a repeat; reads that are findings are not folded" {
    folded MMIOSHIM_LOG_FORMAT=json "$POLL" poll $LSR 1000
    assert_count 1 '"type":"mmio"'
    assert_count 1 '^\{"type":"repeat","seq":1,"count":999\}$'
    folded "$POLL" poll 0x10001000 5
    assert_count 5 '^\[MMIO\]'
    assert_count 5 '^\[LINT\] narrow-access #'
    assert_count 0 '^\[REPEAT\]'
    folded MMIOSHIM_LINT=off "$POLL" poll 0x10001000 5
    assert_count 1 '^\[REPEAT\] #1 repeated 4 times$'
}

@test "without it every read has its line" {
    logged "$POLL" poll $LSR 300
    assert_count 300 '^\[MMIO\]'
    assert_count 0 '^\[REPEAT\]'
}

@test "folded or not: stats and report count the same" {
    for format in text json ring; do
        shim MMIOSHIM_LOG="$BATS_TEST_TMPDIR/folded" MMIOSHIM_LOG_FOLD=on MMIOSHIM_LOG_FORMAT=$format "$POLL" runs
        shim MMIOSHIM_LOG="$BATS_TEST_TMPDIR/plain" MMIOSHIM_LOG_FORMAT=$format "$POLL" runs
        "$CMD" trace stats "$BATS_TEST_TMPDIR/plain" | sed "/^numbers/d" > "$BATS_TEST_TMPDIR/wanted"
        "$CMD" trace stats "$BATS_TEST_TMPDIR/folded" | sed "/^numbers/d" | cmp - "$BATS_TEST_TMPDIR/wanted"
        run "$CMD" trace report "$BATS_TEST_TMPDIR/folded"
        assert_line --regexp '^  100 times uart@10000000 LSR was 0x60, from #22'
    done
}

# --- the same bytes, whatever way ---

@test "a binary transcript that is folded becomes the lines that are folded" {
    for arguments in "poll $LSR 5000" runs fork "exec $POLL poll $LSR 3"; do
        for format in text json ring; do
            shim MMIOSHIM_LOG="$BATS_TEST_TMPDIR/$format" MMIOSHIM_LOG_FORMAT=$format MMIOSHIM_LOG_FOLD=on "$POLL" $arguments
        done
        "$CMD" trace convert "$BATS_TEST_TMPDIR/ring" | cmp - "$BATS_TEST_TMPDIR/text"
        "$CMD" trace convert -t json "$BATS_TEST_TMPDIR/ring" | cmp - "$BATS_TEST_TMPDIR/json"
        "$CMD" trace convert "$BATS_TEST_TMPDIR/text" | cmp - "$BATS_TEST_TMPDIR/text"
        "$CMD" trace convert "$BATS_TEST_TMPDIR/json" | cmp - "$BATS_TEST_TMPDIR/text"
        log=$BATS_TEST_TMPDIR/text
        assert_count 1 '^\[REPEAT\] #1 repeated '
    done
}

# --- the count is exact ---

@test "threads at the same time: nothing is missing, whatever way the process ends" {
    for format in text ring; do
        logged MMIOSHIM_LOG_FOLD=on MMIOSHIM_LOG_FORMAT=$format "$POLL" threads 2000
        assert_success
        "$CMD" trace convert -o "$BATS_TEST_TMPDIR/text" "$log"
        assert_equal "$(told "$BATS_TEST_TMPDIR/text")" 4020
        assert_count 1 '^\[EXIT\] 4020 accesses \(4000 reads, 20 writes\), 20 lint, 0 lost$' "$BATS_TEST_TMPDIR/text"
    done
    for end in abort raise:15 exit:3 _exit:3 quick:3 thread_exit crash:0; do
        folded "$POKE" loop:7 r1:$LSR $end
        assert_equal "$(told)" 7
        assert_count 1 '^\[REPEAT\] #1 repeated 6 times$'
    done
}

@test "a child, a new program: what was folded before is told, once" {
    folded "$POLL" fork
    assert_equal "$(told)" 9
    assert_count 1 '^\[REPEAT\] #1 repeated 3 times$'
    assert_count 1 '^\[REPEAT\] #5 repeated 2 times$'
    folded "$POLL" exec "$POLL" poll $LSR 3
    assert_equal "$(told)" 9
    folded sh -c "$POLL poll $LSR 5; $POLL poll $LSR 4"
    assert_equal "$(told)" 9
    assert_count 2 '^\[REPEAT\]'
}

@test "kill -9: a binary transcript has the count of the run under way" {
    shim_exec MMIOSHIM_LOG="$BATS_TEST_TMPDIR/ring" MMIOSHIM_LOG_FORMAT=ring MMIOSHIM_LOG_FOLD=on "$POKE" loop:40 r1:$LSR \
        touch:"$BATS_TEST_TMPDIR/ready" pause > /dev/null 3>&- &
    pid=$!
    await "$BATS_TEST_TMPDIR/ready"
    kill -9 $pid
    run wait $pid
    "$CMD" trace convert -o "$BATS_TEST_TMPDIR/text" "$BATS_TEST_TMPDIR/ring"
    assert_count 1 '^\[REPEAT\] #1 repeated 39 times$' "$BATS_TEST_TMPDIR/text"
}

# --- a poll that cannot end ---

# Runs "$@" until its transcript has a finding, then ends it.
until_found() {
    log=$BATS_TEST_TMPDIR/log
    shim_exec MMIOSHIM_LOG="$log" "$@" > /dev/null 3>&- &
    pid=$!
    for _ in $(seq 6000); do
        ! grep -qs '^\[LINT\] endless-poll' "$log" || break
        sleep 0.01
    done
    kill $pid
    run wait $pid
}

@test "a register that nobody changes: reported once, with the stack of the loop" {
    until_found MMIOSHIM_LOG_FOLD=on "$POLL" poll $SCR 0
    assert_count 1 '^\[LINT\] endless-poll #[0-9]+ uart@10000000 SCR read1: the value cannot change'
    assert_equal "$(grep -A 2 '^\[LINT\]' "$log" | tail -n 2 | sed 's/+0x[0-9a-f]*/+0x/')" "$(printf '    at poll_byte+0x (g_poll)\n    by main+0x (g_poll)')"
    assert_count 1 '^\[EXIT\] [0-9]+ accesses .*, 1 lint, 0 lost$'
    assert_equal "$(told)" "$(sed -n 's/^\[EXIT\] \([0-9]*\) .*/\1/p' "$log")"
}
