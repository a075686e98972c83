#!/usr/bin/env bats
# A program's own signals stay its own while windows work. B_PLAIN=1 runs a guest on ordinary memory, without the
# library: what it prints and how it ends then is what it must print here.

setup() {
    # common.bash forbids core files for good; two tests here look at one.
    ulimit() { builtin ulimit -S "$@"; }
    load common
    unset -f ulimit
    S=$GUESTS/b_signals
}

# quiet ACTION...: it succeeds on ordinary memory and under the library, which counts so many accesses
quiet() {
    local count=$1

    shift
    run --separate-stderr env B_PLAIN=1 timeout 20 "$S" "$@"
    assert_success
    logged MMIOSHIM_BACKTRACE=0 timeout 20 "$S" "$@"
    assert_equal "$stderr" ""
    assert_success
    [ "$count" = - ] || assert_count 1 "^\[EXIT\] $count accesses \(.*\), 0 lint, 0 lost\$"
    assert_ended
}

# same ACTION...: output and exit status are those on ordinary memory
same() {
    local plain plain_status

    run --separate-stderr env B_PLAIN=1 timeout 20 "$S" "$@"
    plain=$output
    plain_status=$status
    logged MMIOSHIM_BACKTRACE=0 timeout 20 "$S" "$@"
    assert_equal "$(diff <(echo "$plain") <(echo "$output"))" ""
    assert_equal "$status" "$plain_status"
}

@test "own faults reach the program's handler with their si_addr, si_code, rip, cr2 and error code" {
    quiet 3605 own
}

@test "10000 jumps out of the handler, by sigaction and by signal" {
    quiet 200 jumps
}

@test "SA_ONSTACK and sigaltstack: the program's stack is used and read back" {
    quiet 15 onstack
}

@test "an alternate stack of the smallest size, with a handler that uses a window" {
    quiet 402 small-stack
}

@test "sa_mask holds during the handler, and ends with it" {
    quiet 4 mask
}

@test "the handled signal is blocked during its handler, unless SA_NODEFER" {
    quiet 8 deferred 10
    quiet 8 deferred 12
}

@test "SA_NODEFER: a handler that faults is entered again" {
    quiet 24 no-defer
}

@test "SIGFPE, SIGILL, SIGBUS and SIGTRAP handlers of the program" {
    quiet 900 others
}

@test "sigaction, signal, sigprocmask and pthread_sigmask read back what was set" {
    same read-back
    assert_equal "${#lines[@]}" 249
}

@test "windows work with SIGSEGV blocked, and with everything blocked" {
    quiet 7 masked
}

@test "sigsuspend, ppoll, pselect and epoll_pwait with masks that block everything else" {
    quiet 12 waits
}

@test "SIGSEGV ignored, blocked, handled: inherited over exec as without us" {
    quiet 3 pass ignored
    quiet 3 pass blocked
    quiet 3 pass handled
}

@test "SIGHUP ignored by nohup, or by a trap of the shell, is ignored" {
    logged nohup "$S" hangup
    assert_success
    assert_output "$(printf 'ignored\nlives')"
    logged sh -c "trap '' HUP; $S hangup"
    assert_success
    assert_output "$(printf 'ignored\nlives')"
    logged "$S" hangup
    assert_failure 129
    assert_output default
    assert_count 1 '^\[EXIT\] 1 accesses'
    assert_ended
}

@test "every signal ends a program, or does not, with the status it has without us" {
    same deaths
    assert_line 'signal 15: 0xf'
    assert_line 'segv: 0xb'
    assert_equal "${#lines[@]}" 63
    assert_ended
}

@test "SIGTERM, SIGINT and SIGKILL in the middle of a loop on the UART: the status, and every byte has its event" {
    for sig in TERM:143 KILL:137; do
        log=$BATS_TEST_TMPDIR/log
        env LD_PRELOAD="$LIB" MMIOSHIM_LOG="$log" MMIOSHIM_BACKTRACE=0 "$S" write-loop > "$BATS_TEST_TMPDIR/bytes" 3>&- &
        pid=$!
        sleep 0.1
        kill -s "${sig%:*}" $pid
        status=0
        wait $pid || status=$?
        assert_equal "$status" "${sig#*:}"
        bytes=$(stat -c %s "$BATS_TEST_TMPDIR/bytes")
        [ "$bytes" -gt 100 ]
        events=$(grep -c "THR write1 0x78 'x' #" "$log")
        [ "$events" = "$bytes" ] || [ "$sig" = KILL:137 -a $((bytes - events)) = 1 ]
        [ "$sig" = KILL:137 ] || assert_count 1 "^\[EXIT\] $bytes accesses \(0 reads, $bytes writes\), 0 lint, 0 lost\$"
    done
    # A shell's background jobs ignore SIGINT: not here.
    run python3 - "$LIB" "$S" "$BATS_TEST_TMPDIR" <<'END'
import os, signal, subprocess, sys, time
env = dict(os.environ, LD_PRELOAD=sys.argv[1], MMIOSHIM_LOG=sys.argv[3] + '/int.log', MMIOSHIM_BACKTRACE='0')
p = subprocess.Popen([sys.argv[2], 'write-loop'], env=env, stdout=open(sys.argv[3] + '/int.out', 'w'))
time.sleep(0.1)
p.send_signal(signal.SIGINT)
print(p.wait(), open(sys.argv[3] + '/int.log').read().count(' THR write1 ') - os.path.getsize(sys.argv[3] + '/int.out'))
END
    assert_output "-2 0"
}

@test "a 10 kHz timer whose handler uses the register that the main loop uses: no deadlock, every access counted" {
    logged MMIOSHIM_BACKTRACE=0 timeout 20 "$S" timer 500
    assert_success
    assert_equal "$stderr" ""
    [ "$output" -gt 1000 ]
    assert_count 1 "^\[EXIT\] $output accesses"
    assert_count "$output" '^\[MMIO\]'
    logged timeout 20 "$S" timer 300
    assert_success
    assert_count 1 "^\[EXIT\] $output accesses"
    logged MMIOSHIM_LOG=none timeout 20 "$S" timer 300
    assert_success
}

@test "the core of a crash is at the true instruction, with the true registers and siginfo" {
    ulimit -S -c unlimited 2>/dev/null || skip "no core files here (ulimit -c)"
    case $(cat /proc/sys/kernel/core_pattern) in core*) ;; *) skip "cores go elsewhere: $(cat /proc/sys/kernel/core_pattern)" ;; esac
    cd "$BATS_TEST_TMPDIR"
    for kind in segv:139:fault_write:11 divide:136:fault_divide_at:8 undefined:132:fault_undefined:4 kill:139:kill:11; do
        IFS=: read -r what code place sig <<< "$kind"
        rm -f core*
        run --separate-stderr shim MMIOSHIM_LOG=none "$S" crash $what
        assert_failure "$code"
        run gdb -batch -ex 'info symbol $pc' -ex 'p $_siginfo.si_signo' -ex 'p/x $rsi' "$S" core*
        assert_line --regexp "^(__GI_)?$place( \+ [0-9]+)? in section"
        assert_line --regexp "^\\\$1 = $sig\$"
        [ "$what" != segv ] || assert_line '$2 = 0x77'
    done
}

@test "a crash makes no core file of the size of the RAM" {
    ulimit -S -c unlimited 2>/dev/null || skip "no core files here (ulimit -c)"
    case $(cat /proc/sys/kernel/core_pattern) in core*) ;; *) skip "cores go elsewhere: $(cat /proc/sys/kernel/core_pattern)" ;; esac
    cd "$BATS_TEST_TMPDIR"
    run --separate-stderr shim MMIOSHIM_LOG=none "$S" crash segv
    assert_failure 139
    kb=$(du -k core* | cut -f 1)
    rm -f core*
    [ "$kb" -lt 65536 ] || fail "the core takes $kb kB"
}

# --- corners: c_signals prints what happens, and must print the same without the library ---

# corner ACTION...: `same` with the other guest
corner() {
    S=$GUESTS/c_signals
    same "$@"
}

@test "what a vfork child does to its signals is not done to its parent's" {
    corner vfork
    assert_output "$(printf 'altstack kept 1\nsegv blocked 0\nhandled on the stack 10\nhandled 12\nhandled on the stack 11')"
    assert_equal "$status" 143
    assert_count 3 '^\[MMIO\]'
    assert_ended
}

@test "a child of the system call clone has actions of its own" {
    corner clone
    assert_line 'status 1280'
    assert_line 'handled 10'
}

@test "a SIGSEGV handler that faults runs once, and the fault in it is the one reported" {
    for how in plain onstack masked other nested; do
        corner faulting $how
        assert_equal "$status" 139
        assert_line 'blocked 1'
        assert_count 1 '^\[FAULT\] write4 0x8 '
        assert_ended
    done
}

@test "a SIGSEGV handler is entered again with SA_NODEFER, after unblocking, and after a jump out of it" {
    corner faulting no-defer
    assert_equal "$status" 7
    assert_equal "$(grep -c '^handled 11$' <<< "$output")" 100
    corner faulting unblocked
    assert_equal "$status" 7
    corner faulting jumps
    assert_success
    assert_line 'at the end 0'
    assert_count 3 '^\[MMIO\]'
    assert_count 0 '^\[FAULT\]'
}

@test "SA_RESETHAND: the handler is gone after its one run, and the second signal has its default" {
    for case in 15:143 17:0 11:139 5:133; do
        corner one-shot "${case%:*}"
        assert_line 'default 1'
        assert_equal "$status" "${case#*:}"
        assert_count 1 '^\[MMIO\]'
        assert_ended
    done
}

@test "siginterrupt before and after signal(): the call returns EINTR" {
    corner interrupt
    assert_line 'before signal -4'
    assert_line 'after signal -4'
}

@test "a SIGSEGV sent while it is blocked waits: sigpending, sigwait and its kin, unblocking, fork, exec" {
    corner pending
    assert_equal "$status" 139
    assert_line 'pending 1'
    assert_line 'sigwaitinfo 11'
    assert_ended
    corner pending exec
    assert_success
    assert_line 'blocked 1'
    corner sent-inside
    assert_success
    assert_line 'calls 2'
}

@test "threads of the program and of libc's timers never share what belongs to one thread" {
    S=$GUESTS/c_signals
    quiet - slots
}

@test "two threads set the same action; a thread of C11 inherits the mask" {
    corner race
    assert_output 'handled 10'
    corner c11
    assert_output 'blocked 1'
}

@test "the first process of a pid namespace does not die of signals that it does not handle" {
    [ "$("$GUESTS/c_signals" init > /dev/null 2>&1 || echo $?)" != 77 ] || skip "no user namespaces here"
    corner init
    assert_output "$(printf 'pid 1\nhandled 15\nchild 15\nstatus 11')"
    log=$BATS_TEST_TMPDIR/first
    run --separate-stderr unshare --user --map-root-user --pid --fork \
        env LD_PRELOAD="$LIB" MMIOSHIM_LOG="$log" MMIOSHIM_BACKTRACE=0 "$GUESTS/c_signals" init 1
    assert_output "$(printf 'pid 1\nhandled 15\nchild 15')"
    assert_failure 139
    assert_count 1 '^\[EXIT\] 3 accesses'
    assert_ended
}
