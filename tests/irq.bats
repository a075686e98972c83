#!/usr/bin/env bats
# Interrupts: from a device through the controller to a program that knows nothing of us, told by a signal.

setup() {
    load common
    IRQ=$GUESTS/g_irq
}

# irq [VARIABLE=VALUE...] ARGUMENT...: the guest, transcript in $log
irq() {
    local assign=()

    while [[ $1 == *=* ]]; do
        assign+=("$1")
        shift
    done
    logged MMIOSHIM_BACKTRACE=0 "${assign[@]}" timeout -s KILL 60 "$IRQ" "$@"
    assert_success
    assert_equal "$stderr" ""
}

lines() {
    grep '^\[IRQ\]' "$log"
}

@test "a transmitter that its interrupt feeds: one run of the handler a character, and one for the end" {
    irq print "Hello"
    assert_output "$(printf 'Hello\nruns 6 claims 6 spurious 0 cause 11 own 1')"
    assert_count 6 'CLAIM\[0\] read4 0xa #'
    assert_count 6 'COMPLETE\[0\] write4 0xa #'
    # The line falls as IIR is read, and rises with each character.
    assert_count 6 '^\[IRQ\] uart@10000000 10 raised$'
    assert_count 6 '^\[IRQ\] uart@10000000 10 lowered$'
    assert_count 6 '^\[IRQ\] plic@c000000 11 raised$'
    assert_count 6 '^\[IRQ\] plic@c000000 11 lowered$'
    assert_ended
}

@test "the same with patched sites, unlogged: thousands of characters" {
    text=$(printf 'x%.0s' $(seq 3000))
    run --separate-stderr shim MMIOSHIM_LOG=none timeout -s KILL 60 "$IRQ" print "$text"
    assert_success
    assert_equal "${lines[1]}" "runs 3001 claims 3001 spurious 0 cause 11 own 1"
}

@test "the transcript of one interrupt, from the line to completion" {
    irq level 0
    assert_output "runs 1 claims 1 spurious 0"
    assert_events <<'END'
[MMIO] trap at 0xc000028 -> plic@c000000 PRIORITY[10] write4 0x1 #1
[MMIO] trap at 0xc200000 -> plic@c000000 THRESHOLD[0] write4 0x0 #2
[MMIO] trap at 0xc002000 -> plic@c000000 ENABLE0[0] write4 0x400 #3
[MMIO] trap at 0x10000001 -> uart@10000000 IER write1 0x2 ETBEI #4
[IRQ] uart@10000000 10 raised
[IRQ] plic@c000000 11 raised
[MMIO] trap at 0xc200004 -> plic@c000000 CLAIM[0] read4 0xa #5
[IRQ] plic@c000000 11 lowered
[MMIO] trap at 0x10000002 -> uart@10000000 IIR read1 0x2 ID=0x1 #6
[IRQ] uart@10000000 10 lowered
[MMIO] trap at 0xc200004 -> plic@c000000 COMPLETE[0] write4 0xa #7
[DIRTY] MODE: 0 of 131072 pages
[EXIT] 7 accesses (2 reads, 5 writes), 0 lint, 0 lost
END
}

@test "levels: it comes again until the device is content" {
    irq level 7
    assert_output "runs 8 claims 8 spurious 0"
}

@test "a source that was not completed does not interrupt again" {
    irq uncompleted
}

@test "masked by the program, by the threshold; over before it was taken; signals that are the program's own" {
    irq masks
}

@test "a handler that does not return: it traps again as soon as the mask is back" {
    irq jump 100
}

@test "who is told: nobody without a handler, and whoever installs one later" {
    irq vector
}

@test "two processes: the child causes it, the parent is told, as often" {
    irq processes 200
    assert_output "runs 200 claims 200 spurious 0"
}

@test "the last to install a handler is told; when it is gone nobody is until somebody installs one" {
    irq takeover
}

@test "threads that are harts: software interrupts go to the thread that installed the handler" {
    map=$BATS_TEST_TMPDIR/harts.dtb
    dtc -q -I dts -O dtb -o "$map" "$ROOT/tests/guests/g_harts.dts"
    for _ in 1 2 3; do
        irq MMIOSHIM_MAP="$map" harts
    done
    assert_count 50 '^\[IRQ\] clint@2000000 3 raised$'
    assert_count 50 '^\[IRQ\] clint@2000000 3 lowered$'
    # The node of a device decides before the hart's: the PLIC's interrupts are SIGIO.
    irq MMIOSHIM_MAP="$map" masks
    irq MMIOSHIM_MAP="$map" processes 20
}

@test "mmioshim,irq-signal: signals that cannot be had are refused with the node's name" {
    for signal in 0x4 9 11 19 32 33 65 0xffffffff; do
        sed "s/irq-signal = <12>/irq-signal = <$signal>/" "$ROOT/tests/guests/g_harts.dts" |
            dtc -q -I dts -O dtb -o "$BATS_TEST_TMPDIR/bad.dtb" -
        run --separate-stderr shim MMIOSHIM_MAP="$BATS_TEST_TMPDIR/bad.dtb" true
        assert_refused 'clint@2000000: mmioshim,irq-signal' "$((signal))" allowed
    done
}

# --- time ---

@test "MMIOSHIM_CLOCK=virtual: two runs have the same transcript, asleep and in a loop" {
    for how in sleep poll; do
        irq MMIOSHIM_CLOCK=virtual ticks 1000 20 $how
        first=$output
        cp "$log" "$BATS_TEST_TMPDIR/first"
        irq MMIOSHIM_CLOCK=virtual ticks 1000 20 $how
        assert_equal "$output" "$first"
        assert_equal "${lines[0]}" "runs 20 cause 7"
        diff "$BATS_TEST_TMPDIR/first" "$log"
        assert_count 20 '^\[IRQ\] clint@2000000 7 raised$'
        assert_count 20 '^\[IRQ\] clint@2000000 7 lowered$'
    done
    # 20 periods of 1000 ticks of 100 ns, and an access takes 1000 ns: five a period are the handler's and its loop's.
    assert_output "$(printf 'runs 20 cause 7\npolls 1922')"
    # Time does not hang on the log.
    for patch in on off; do
        run --separate-stderr shim MMIOSHIM_CLOCK=virtual MMIOSHIM_LOG=none MMIOSHIM_PATCH=$patch timeout -s KILL 60 "$IRQ" ticks 1000 20 poll
        assert_output "$(printf 'runs 20 cause 7\npolls 1922')"
    done
}

@test "virtual time: sleeps and pauses take just what they say, or end at the timer" {
    irq MMIOSHIM_CLOCK=virtual sleeps
}

@test "virtual time: the clock on the wall begins in 2020 and follows" {
    logged MMIOSHIM_CLOCK=virtual "$POKE" r4:0x101000 r4:0x101004 r4:0x101000
    assert_success
    base=$((1577836800 * 1000000000))
    assert_output "$(printf '%#x\n%#x\n%#x' $((base & 0xffffffff)) $((base >> 32)) $(((base + 2000) & 0xffffffff)))"
}

@test "real time: a timer wakes a program that sleeps, and interrupts one that does not" {
    irq ticks 10000 20
    [[ ${lines[0]} =~ ^"runs "([0-9]+)" cause 7"$ ]] && [ "${BASH_REMATCH[1]}" -ge 20 ]
    irq ticks 10000 20 poll
    [[ ${lines[0]} =~ ^"runs "([0-9]+)" cause 7"$ ]] && [ "${BASH_REMATCH[1]}" -ge 20 ]
}

# --- the worker ---

@test "received characters interrupt a program that sleeps" {
    log=$BATS_TEST_TMPDIR/log
    mkfifo "$BATS_TEST_TMPDIR/line"
    shim_exec MMIOSHIM_LOG="$log" MMIOSHIM_BACKTRACE=0 timeout -s KILL 60 "$IRQ" receive 9 \
        < "$BATS_TEST_TMPDIR/line" > "$BATS_TEST_TMPDIR/out" 3>&- &
    exec 7> "$BATS_TEST_TMPDIR/line"
    for word in abc def ghi; do
        printf '%s' $word >&7
        # The next one when this one was echoed.
        for _ in $(seq 1000); do
            grep -q "${word:2}" "$BATS_TEST_TMPDIR/out" && break
            sleep 0.01
        done
    done
    wait $!
    exec 7>&-
    assert_equal "$(cat "$BATS_TEST_TMPDIR/out")" "$(printf 'abcdefghi\nspurious 0')"
    assert_count 9 ' RBR read1 '
    assert_ended
}

@test "a worker that is killed is replaced by whoever needs one, and a sleeper does" {
    irq IRQ_MARK="$BATS_TEST_TMPDIR" killed
}

@test "the worker outlives the process that made it, and ends with the last one" {
    irq IRQ_MARK="$BATS_TEST_TMPDIR" orphan 5
    assert_output "orphan 1"
    for _ in $(seq 500); do
        found=$(grep -l "^mmioshim-worker" /proc/[0-9]*/comm 2> /dev/null |
            sed 's/comm$/environ/' | xargs -r grep -l -s -- "$BATS_TEST_TMPDIR") || true
        [ -z "$found" ] && break
        sleep 0.01
    done
    assert_equal "$found" ""
}

@test "no worker where nothing waits for anything" {
    irq IRQ_MARK="$BATS_TEST_TMPDIR" print abc
    irq IRQ_MARK="$BATS_TEST_TMPDIR" MMIOSHIM_CLOCK=virtual ticks 1000 5
    run env MMIOSHIM_DEBUG=proc:1 LD_PRELOAD="$LIB" MMIOSHIM_LOG=none MMIOSHIM_CLOCK=virtual "$IRQ" ticks 1000 5
    refute_output --partial worker
    run env MMIOSHIM_DEBUG=proc:1 LD_PRELOAD="$LIB" MMIOSHIM_LOG=none "$IRQ" ticks 1000 5
    assert_output --partial 'made the worker'
}

@test "the latency guest counts as many interrupts as it caused" {
    run --separate-stderr shim MMIOSHIM_LOG=none timeout -s KILL 60 "$IRQ" latency 2000
    assert_success
    assert_output --regexp '^interrupt latency: least [0-9]+ ns, median [0-9]+ ns of 2000$'
}
