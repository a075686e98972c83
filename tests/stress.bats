#!/usr/bin/env bats
# Generated functions and worse programs, while their access sites become hot: tests/stress/. What they do in a window
# is what they do in memory, with MMIOSHIM_PATCH=on as with off. `make stress` is the long form.

setup() {
    # common.bash forbids core files for good; one test here looks at one.
    ulimit() { builtin ulimit -S "$@"; }
    load common
    unset -f ulimit
    B=$ROOT/build/tests/stress
    G=$ROOT/$(cat "$B/where")
    P=$B/stress
    signals=${STRESS_SIGNALS:-500}
    rounds=${STRESS_ROUNDS:-24}
    log=$BATS_TEST_TMPDIR/log
    TOTALS=(MMIOSHIM_LOG="$log" MMIOSHIM_LOG_FILTER=device=none-such)
}

# told WORD: the number that the program printed behind it
told() {
    sed -n "s/^$1 //p" <<< "$output"
}

# builds [KIND...]: the programs and libraries with generated functions, pie, exe, lib
builds() {
    local kind

    for kind in "${@:-*}"; do ls "$G"/*-*-$kind | grep -v '\.[a-z]*$'; done
}

# on BUILD: $program and $library with those functions
on() {
    case $1 in
    *-lib) program=$P library=$1 ;;
    *) program=$1 library= ;;
    esac
}

# hot [VARIABLE=VALUE...] -- ACTION...: $program under the library succeeds in silence; only totals are logged
hot() {
    local variables=()

    while [ "$1" != -- ]; do variables+=("$1") && shift; done
    shift
    run --separate-stderr timeout -k 1 "${LIMIT:-120}" env LD_PRELOAD="$LIB" MMIOSHIM_MAP="$B/stress.dtb" "${TOTALS[@]}" \
        ${library:+STRESS_LIBRARY="$library"} "${variables[@]}" "$program" "$@"
    [ "$status" = 0 ] && [ -z "$stderr" ] || fail "$program $* (${library:-}): status $status: $stderr $output"
    [ "$(told failures)" = 0 ] || fail "$program $*: $output"
    assert_count 1 '^\[EXIT\] [0-9]+ accesses \(.*\), 0 lint, 0 lost$'
}

# natively ACTION...: the same without the library, on memory
natively() {
    run --separate-stderr timeout -k 1 "${LIMIT:-120}" env STRESS_PLAIN=1 ${library:+STRESS_LIBRARY="$library"} "$program" "$@"
    [ "$status" = 0 ] && [ -z "$stderr" ] || fail "natively: $program $*: status $status: $stderr $output"
}

total() {
    sed -n 's/^\[EXIT\] \([0-9]*\) accesses .*/\1/p' "$log"
}

@test "generated functions of each compiler and level, in programs and libraries: results, memory, and as many accesses as without patches" {
    local sets=0 functions=0

    for build in $(builds); do
        on "$build"
        hot -- single "$rounds" 3
        [ "$(told calls)" -ge $((rounds * 2 * $(told functions))) ] || fail "$output"
        [ "$(told comparisons)" -ge "$(told calls)" ] || [ "$(told comparisons)" -ge 1000 ] || fail "$output"
        functions=$((functions + $(told functions)))
        exit=$(grep '^\[EXIT\]' "$log")
        hot MMIOSHIM_PATCH=off -- single "$rounds" 3
        assert_equal "$(basename "$build"): $exit" "$(basename "$build"): $(grep '^\[EXIT\]' "$log")"
        sets=$((sets + 1))
    done
    [ "$sets" -ge 10 ] || fail "$sets sets"
    [ "$functions" -ge 500 ] || fail "$functions functions"
}

@test "generated functions: every access is counted, once" {
    for build in $(builds); do
        on "$build"
        hot -- exact "$rounds" 5
        [ "$(told accesses)" -gt 10000 ] || fail "$output"
        assert_equal "$(basename "$build"): $(total)" "$(basename "$build"): $(told accesses)"
    done
}

# transcripts BUILD ACTION...: with and without patches the same, byte for byte, in text and JSON
transcripts() {
    on "$1"
    shift
    for how in text: text:MMIOSHIM_LOG_SHOW=insn json:; do
        for patch in on off; do
            run --separate-stderr env LD_PRELOAD="$LIB" MMIOSHIM_MAP="$B/stress.dtb" MMIOSHIM_LOG="$log.$patch" MMIOSHIM_BACKTRACE=8 \
                ${library:+STRESS_LIBRARY="$library"} MMIOSHIM_LOG_FORMAT="${how%%:*}" ${how#*:} MMIOSHIM_PATCH=$patch "$program" "$@"
            assert_success
            assert_equal "$stderr" ""
        done
        cmp "$log.on" "$log.off" || fail "$program $*: $how: $(diff "$log.on" "$log.off" | head -n 20)"
        [ "$(wc -l < "$log.on")" -gt 10000 ] || fail "$(wc -l < "$log.on") lines"
    done
}

@test "transcripts with and without patches are the same: scratch memory, text and JSON, 8 frames" {
    transcripts "$(builds pie | head -n 1)" repeatable 10
    transcripts "$(builds lib | tail -n 1)" repeatable 10
}

@test "transcripts with and without patches are the same: devices with registers, and lint" {
    transcripts "$(builds exe | head -n 1)" devices 4
    grep -q '"type":"lint"' "$log.on" || fail "no lint"
}

# boundaries FILE: every address in it is that of an instruction in the program
boundaries() {
    local wrong

    [ "$(wc -l < "$1")" -ge 50 ] || fail "signals came at $(wc -l < "$1") instructions only"
    wrong=$(objdump -d --no-show-raw-insn "$program" | sed -nE 's/^ *([0-9a-f]+):.*/\1/p' | sort | comm -13 - <(sort "$1"))
    [ -z "$wrong" ] || fail "no instructions, but signals came there: $(tr '\n' ' ' <<< "$wrong")"
}

@test "four threads in the same functions, signals whose handlers run them, jumps out of handlers" {
    for build in $(builds exe | head -n 2) $(builds pie | head -n 2); do
        on "$build"
        hot STRESS_RIPS="$BATS_TEST_TMPDIR/rips" -- threads 4 10 "$signals"
        [ "$(told signals)" -ge "$signals" ] && [ "$(told jumps)" -ge 5 ] || fail "$output"
        assert_equal "$(told elsewhere)" 0
        boundaries "$BATS_TEST_TMPDIR/rips"
    done
    on "$(builds lib | head -n 1)"
    hot -- threads 4 10 "$signals"
    [ "$(told signals)" -ge "$signals" ] || fail "$output"
}

@test "threads that are cancelled anywhere" {
    for build in $(builds pie | head -n 2); do
        on "$build"
        hot -- cancel 40
        assert_equal "$(told cancelled)" 40
    done
}

@test "fork and vfork while threads make sites hot: children go on with hot and with fresh ones" {
    for build in $(builds exe | tail -n 1) $(builds lib | tail -n 1); do
        on "$build"
        hot -- forks 15
        assert_equal "$(told forks)" 15
    done
}

@test "signals in a loop: registers, flags, red zone, vectors and window are those of the instruction that is shown" {
    program=$P library=
    hot -- states "$((signals * 2))"
    [ "$(told inside)" -ge $((signals * 2)) ] || fail "$output"
    [ "$(told places)" -ge 2 ] || fail "$output"
}

@test "a profiler: each sample is at an instruction of the program, and its stack is whole" {
    for build in $(builds pie | tail -n 2); do
        on "$build"
        hot STRESS_RIPS="$BATS_TEST_TMPDIR/rips" -- profile "$signals"
        [ "$(told samples)" -ge "$signals" ] || fail "$output"
        assert_equal "$(told cut) $(told elsewhere)" "0 0"
        boundaries "$BATS_TEST_TMPDIR/rips"
    done
}

@test "libraries that take each other's places" {
    program=$P library=
    natively reload 12 $(builds lib)
    [ "$(told again)" -ge 3 ] || fail "natively they do not: $output"
    hot -- reload 12 $(builds lib)
    assert_equal "$(told gone)" 12
    [ "$(told again)" -ge 3 ] || fail "$output"
}

@test "files of code that take each other's places, code in shared mappings" {
    program=$P library=
    hot -- mapped 16
    assert_equal "$(told mappings)" 16
    [ "$(told comparisons)" -gt 20000 ] || fail "$output"
}

@test "code of the program's own making runs as it is written, and is left alone" {
    program=$P library=
    hot -- jit 8
    [ "$(told comparisons)" -gt 30000 ] || fail "$output"
}

@test "a program that rewrites its own hot functions runs what it wrote" {
    program=$P library=
    for how in apart writable opened number mem; do
        hot -- rewritten $how 20
        [ "$(told comparisons)" -ge 1600 ] || fail "$output"
    done
}

@test "faults at formerly hot sites: what a handler is shown, and what it can do" {
    program=$P library=
    natively faults
    plain=$output
    [ "$(told faults)" -gt 300 ] || fail "$output"
    hot -- faults
    [ "$plain" = "$output" ] || diff <(echo "$plain") <(echo "$output") | head -n 40 | fail
}

@test "without a handler: the exit status, and the instruction in the core" {
    builtin ulimit -S -c unlimited 2> /dev/null || skip "no core files here (ulimit -c)"
    case $(cat /proc/sys/kernel/core_pattern) in core*) ;; *) skip "cores go elsewhere" ;; esac
    cd "$BATS_TEST_TMPDIR"
    for form in load:0x0 store:0x8 byte:0x30000000 add:0x0 vector:0x8 repeat:0x0; do
        rm -f core*
        run --separate-stderr shim MMIOSHIM_MAP="$B/stress.dtb" "${TOTALS[@]}" "$P" crash "${form%:*}" "${form#*:}"
        assert_failure 139
        assert_count 1 '^\[EXIT\]'
        run gdb -nx -q -batch -ex "p (long)\$pc - (long)&fault_${form%:*}_at" -ex 'p/x (long)$_siginfo._sifields._sigfault.si_addr' -ex 'p/x $rax' -ex bt "$P" core*
        assert_line '$1 = 0'
        assert_line "\$2 = ${form#*:}"
        assert_line '$3 = 0x123456789abcdef'
        assert_line --regexp '^#1 .* crash '
    done
    rm -f core*
}

@test "exceptions around hot accesses, in threads, and out of a signal handler" {
    log=$BATS_TEST_TMPDIR/log program=$B/throws library=
    hot -- 200
    assert_equal "$(told thrown) $(told caught)" "400 59"
    assert_equal "$(total)" "$(told accesses)"
}

@test "a tracer that steps sees the instructions that it sees natively" {
    run --separate-stderr env STRESS_PLAIN=1 "$B/tracer" step "$P" stepped traced
    assert_success
    plain=$output
    [ "$(grep -c '^0x' <<< "$plain")" -gt 40 ] || fail "$plain"
    run --separate-stderr shim MMIOSHIM_MAP="$B/stress.dtb" "${TOTALS[@]}" "$B/tracer" step "$P" stepped traced
    assert_success
    [ "$plain" = "$output" ] || diff <(echo "$plain") <(echo "$output") | head -n 40 | fail
}

@test "a tracer that attaches and lets go, over and over" {
    run --separate-stderr shim MMIOSHIM_MAP="$B/stress.dtb" "${TOTALS[@]}" timeout -k 1 60 "$B/tracer" attach "$(builds exe | head -n 1)" single 100 7
    assert_success
    assert_equal "$(told failures)" 0
    [ "$(told looks)" -ge 10 ] || fail "$output"
    run --separate-stderr shim MMIOSHIM_MAP="$B/stress.dtb" "${TOTALS[@]}" timeout -k 1 60 "$B/tracer" attach "$P" states 5000
    assert_success
    assert_equal "$(told failures)" 0
    [ "$(told looks)" -ge 10 ] || fail "$output"
}

# in_gdb VARIABLE VALUE COMMAND...: what gdb prints
in_gdb() {
    local commands=() variable=$1 value=$2

    shift 2
    for command; do commands+=(-ex "$command"); done
    timeout -k 1 60 gdb -nx -q -batch -ex "set environment $variable $value" -ex "set environment MMIOSHIM_MAP $B/stress.dtb" \
        -ex 'set environment MMIOSHIM_LOG none' -ex 'handle SIGSEGV nostop noprint pass' "${commands[@]}" --args "$P" stepped 2>&1 |
        sed -E 's/0x[0-9a-f]{8,}/ADDRESS/g; s/process [0-9]+/process N/; /^\[(New )?Thread|^Using host|already hit/d'
}

@test "gdb: breakpoints, next, stepi and finish at lines whose accesses are hot" {
    line() { echo "stepped.c:$(grep -n -m1 "$1" "$ROOT/tests/stress/stepped.c" | cut -d: -f1)"; }
    local hot="break $(line 'looked at')"

    for commands in 'next|next|next|next|next|finish' 'stepi|stepi|stepi|stepi|info line|finish' \
        "break $(line 'third \*/')|continue|continue|next|bt"; do
        IFS='|' read -ra steps <<< "$commands"
        plain=$(in_gdb STRESS_PLAIN 1 "$hot" run 'break work' continue "${steps[@]}" delete continue)
        [[ $plain == *'exited normally'* ]] || fail "$plain"
        [ "$(grep -cE '^[0-9]+\s|^Breakpoint|^Run till' <<< "$plain")" -ge 5 ] || fail "$plain"
        shown=$(in_gdb LD_PRELOAD "$LIB" "$hot" run 'break work' continue "${steps[@]}" delete continue)
        [ "$plain" = "$shown" ] || diff <(echo "$plain") <(echo "$shown") | head -n 40 | fail
    done
}
