#!/usr/bin/env bats
# Programs under debuggers, tracers and profilers: what these show is what they show without the library, and every
# access to a window is made once, however the program is stepped over it.

setup() {
    # common.bash forbids core files for good; some tests here look at one.
    ulimit() { builtin ulimit -S "$@"; }
    load common
    unset -f ulimit
    load same
    P=$GUESTS/e_process
    D=$GUESTS/e_debug
}

# in_gdb COMMAND...: $shown is what gdb prints of $D $action, $log the transcript. The same without the library.
in_gdb() {
    local commands=() plain

    log=$BATS_TEST_TMPDIR/log
    rm -f "$log"
    for command; do commands+=(-ex "$command"); done
    plain=$(one_gdb 'set environment B_PLAIN 1' | normal)
    shown=$(one_gdb "set environment LD_PRELOAD $LIB")
    ${alone:+return}
    differs "$plain" "$(normal <<< "$shown")"
}

one_gdb() {
    timeout -k 1 60 gdb -nx -q -batch -ex "$1" -ex "set environment MMIOSHIM_LOG $log" \
        -ex 'set environment MMIOSHIM_BACKTRACE 0' -ex 'handle SIGSEGV nostop noprint pass' "${commands[@]}" \
        --args "$D" "${action:-steps}" 2>&1
}

normal() {
    sed -E 's/0x[0-9a-f]{8,}/ADDRESS/g; s/process [0-9]+/process N/; /^\[(New )?Thread|^Using host|already hit/d'
}

# each access of steps: once
all_steps() {
    assert_count 1 '^\[EXIT\] 15 accesses \(5 reads, 10 writes\), 0 lint, 0 lost$'
    [[ $shown == *'exited normally'* ]] || fail "$shown"
}

# under_gdb VARIABLE VALUE: what gdb shows of a run with breakpoints, steps and finish
under_gdb() {
    gdb -nx -q -batch -ex "set environment $1 $2" -ex 'set environment MMIOSHIM_LOG none' \
        -ex 'handle SIGSEGV nostop noprint pass' -ex 'tbreak main' -ex run -ex 'break third' -ex continue -ex bt -ex 'print n' \
        -ex "break 'e_process.c':$(grep -n 'return n + (int)get' "$ROOT/tests/guests/e_process.c" | cut -d: -f1)" \
        -ex "${3:-continue}" -ex "${3:-info frame function third}" -ex 'print n' -ex finish -ex 'info locals' -ex continue --args "$P" debug none 2>&1 |
        grep -E '^(Breakpoint|Temporary|#|\$|Run till|Value|value|[0-9]+|\[Inferior.*exited)' |
        sed -E 's/0x[0-9a-f]{8,}/ADDRESS/g; s/process [0-9]+/process N/'
}

@test "gdb: breakpoints, backtrace, finish" {
    plain=$(under_gdb B_PLAIN 1)
    assert_equal "$(grep -c 'exited normally' <<< "$plain")" 1
    differs "$plain" "$(under_gdb LD_PRELOAD "$LIB")"
}

@test "gdb: next over lines that use the window" {
    plain=$(under_gdb B_PLAIN 1 next)
    assert_equal "$(grep -c 'exited normally' <<< "$plain")" 1
    differs "$plain" "$(under_gdb LD_PRELOAD "$LIB" next)"
}

# stepped VARIABLE VALUE: every instruction of third(), the accesses and what it calls stepped over
stepped() {
    gdb -nx -q -batch -ex "set environment $1 $2" -ex 'set environment MMIOSHIM_LOG none' \
        -ex 'handle SIGSEGV nostop noprint pass' -ex 'break third' -ex run -ex 'delete' \
        -ex 'python
for i in range(200):
    place = gdb.execute("info symbol $pc", to_string=True).split(" in ")[0].strip()
    if not place.startswith("third"): break
    print("at", place)
    gdb.execute("nexti", to_string=True)' -ex continue --args "$P" debug none 2>&1 | grep -E '^at |exited'
}

@test "gdb: nexti over every instruction of a function that uses the window" {
    plain=$(stepped B_PLAIN 1 | sed 's/process [0-9]*//')
    [ "$(wc -l <<< "$plain")" -gt 15 ] || fail "$plain"
    differs "$plain" "$(stepped LD_PRELOAD "$LIB" | sed 's/process [0-9]*//')"
}

# place PATTERN: file:line of the guest
place() {
    echo "e_debug.c:$(grep -n -m1 "$1" "$ROOT/tests/guests/e_debug.c" | cut -d: -f1)"
}

@test "gdb: next, step and until go from line to line" {
    for command in next step until; do
        in_gdb 'break work' run "$command" "$command" "$command" "$command" "$command" finish delete continue
        [ "$(grep -cE '^1[0-9]\s' <<< "$shown")" -ge 5 ] || fail "$shown"
        all_steps
    done
}

@test "gdb: stepi stops behind each instruction" {
    in_gdb 'break work' run 'python
n = 0
while gdb.execute("info symbol $pc", to_string=True).startswith("work"):
    n += 1
    at = int(gdb.parse_and_eval("(long)$pc"))
    length = gdb.selected_frame().architecture().disassemble(at)[0]["length"]
    last = gdb.execute("x/i $pc", to_string=True).split(":")[1].split()[0].startswith("ret")
    gdb.execute("stepi", to_string=True)
    if not last and int(gdb.parse_and_eval("(long)$pc")) != at + length: print("lost behind", hex(at))
print("instructions:", n)' delete continue
    grep -qE '^instructions: ([89]|1[0-9])$' <<< "$shown" || fail "$shown"
    [[ $shown != *lost* ]] || fail "$shown"
    all_steps
}

@test "gdb: a breakpoint on the very access is hit each time; continue, next, stepi and finish from it" {
    for mode in 'set displaced-stepping auto' 'set displaced-stepping on' 'set displaced-stepping off' 'set non-stop on'; do
        in_gdb "$mode" "break $(place 'first \*/')" run continue continue continue continue continue
        [ "$(grep -c '^Breakpoint 1, work' <<< "$shown")" = 5 ] || fail "$mode: $shown"
        all_steps
        in_gdb "$mode" "break $(place 'first \*/')" "break $(place 'second \*/')" run next next next finish \
            continue stepi continue delete continue
        [ "$(grep -c '^Breakpoint [12], work' <<< "$shown")" = 5 ] || fail "$mode: $shown"
        all_steps
    done
}

@test "gdb: a breakpoint on an access that three threads make, and next in one of them" {
    action=threads alone=yes
    in_gdb "break $(place 'first \*/')" run 'ignore 1 100000' next next next next delete continue
    assert_count 1 '^\[EXIT\] 450 accesses \(150 reads, 300 writes\), 0 lint, 0 lost$'
    [[ $shown == *joined* ]] || fail "$shown"
    in_gdb "break $(place 'first \*/')" run 'set scheduler-locking on' next next next next 'set scheduler-locking off' \
        delete continue
    assert_count 1 '^\[EXIT\] 450 accesses \(150 reads, 300 writes\), 0 lint, 0 lost$'
}

@test "gdb: a hardware watchpoint, a caught signal" {
    in_gdb 'break main' run 'watch watched' continue continue continue continue delete continue
    [ "$(grep -c '^New value = [1-4]$' <<< "$shown")" = 4 ] || fail "$shown"
    all_steps
    alone=yes
    in_gdb 'catch signal SIGSEGV' run continue continue delete continue
    [ "$(grep -c '^Catchpoint 1 (signal SIGSEGV),' <<< "$shown")" = 3 ] || fail "$shown"
    all_steps
}

@test "a program that sets the trap flag: one SIGTRAP behind each instruction, and each iteration" {
    same 6 "$D" flag
    assert_line 13
}

@test "a program that sets the trap flag and makes system calls: none of our code shows" {
    same 1 "$D" flag-calls
}

@test "gdb attached to a program that sleeps in a call: its frames" {
    for how in read nanosleep poll ppoll sigsuspend cond window; do
        MMIOSHIM_LOG=none LD_PRELOAD="$LIB" timeout 30 "$D" sleep $how > "$BATS_TEST_TMPDIR/pid" 3>&- &
        for _ in $(seq 200); do [ -s "$BATS_TEST_TMPDIR/pid" ] && break || sleep 0.02; done
        pid=$(cat "$BATS_TEST_TMPDIR/pid")
        for _ in $(seq 200); do grep -q '^State:.*sleeping' "/proc/$pid/status" && break || sleep 0.02; done
        sleep 0.1
        shown=$(timeout 30 gdb -nx -q -batch -p "$pid" -ex bt 2>&1 | grep '^#')
        kill -9 "$pid"
        assert_equal "$how $(sed -nE 's/^#[0-9]+ +(0x[0-9a-f]+ in )?(sleeps|outer|do_sleep|main) .*/\2/p' <<< "$shown" | tr '\n' ' ')" \
            "$how sleeps outer do_sleep main "
        rm "$BATS_TEST_TMPDIR/pid"
    done
}

@test "the core of a program that sleeps in a call, ended by SIGABRT from outside: its frames" {
    builtin ulimit -S -c unlimited 2> /dev/null || skip "no core files here (ulimit -c)"
    case $(cat /proc/sys/kernel/core_pattern) in core*) ;; *) skip "cores go elsewhere" ;; esac
    cd "$BATS_TEST_TMPDIR"
    for how in read nanosleep poll ppoll sigsuspend cond window; do
        rm -f core* pid
        MMIOSHIM_LOG=none LD_PRELOAD="$LIB" timeout 30 "$D" sleep $how > pid 3>&- &
        for _ in $(seq 200); do [ -s pid ] && break || sleep 0.02; done
        sleep 0.3
        kill -ABRT "$(cat pid)"
        wait $! || true
        shown=$(timeout 30 gdb -nx -q -batch -ex bt "$D" core* 2>&1 | grep '^#' | tail -n +2)
        assert_equal "$how $(sed -nE 's/^#[0-9]+ +(0x[0-9a-f]+ in )?(sleeps|outer|do_sleep|main) .*/\2/p' <<< "$shown" | tr '\n' ' ')" \
            "$how sleeps outer do_sleep main "
    done
    rm -f core*
}

@test "strace -k: the stack of a call goes through our stub to the program" {
    strace -k -qq -o "$BATS_TEST_TMPDIR/try" true 2> /dev/null || skip "strace has no -k here"
    log=$BATS_TEST_TMPDIR/log
    run shim MMIOSHIM_LOG="$log" strace -f -k -qq -o "$BATS_TEST_TMPDIR/trace" "$D" sleep nothing
    assert_success
    assert_line 'woke up'
    frames=$(sed -n '/write(1, "woke up/,/main+/p' "$BATS_TEST_TMPDIR/trace" | sed -nE 's/^ > .*\((outer|do_sleep|main)\+.*/\1/p' | tr '\n' ' ')
    [[ $frames == *'do_sleep main ' ]] || fail "$(tail -n 40 "$BATS_TEST_TMPDIR/trace")"
    assert_count 1 '^\[EXIT\] 1 accesses \(0 reads, 1 writes\), 0 lint, 0 lost$'
}
