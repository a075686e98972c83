#!/usr/bin/env bats
# SIGSEGV is ours as well as the program's, and the program must not see that: whatever it blocks, ignores, handles,
# waits for or reads back, it finds what it finds without the library, and windows work.

setup() {
    load common
    load same
    M=$GUESTS/e_masks
    R=$GUESTS/e_raw
    F=$GUESTS/e_faults
    S=$GUESTS/e_storm
    X=$GUESTS/e_sent
}

# --- masks and actions: SIGSEGV stays open for windows ---

@test "sigaction: handlers of every signal whose sa_mask has SIGSEGV, or everything, use a window" {
    same 120 "$M" sa-mask
}

@test "sa_flags of every signal are read back to the bit, libc's SA_RESTORER and those that no kernel keeps included" {
    same 2 "$M" exact-flags
}

@test "sigset, sighold, sigrelse, sigignore, sigpause, sigblock, sigsetmask, sysv_signal" {
    same - "$M" sysv
}

@test "sigprocmask and pthread_sigmask: every way, every set, one after the other" {
    same 444 "$M" masks
}

@test "sigsuspend, ppoll, pselect, epoll_pwait, epoll_pwait2 and the bare calls, with SIGSEGV in their masks" {
    same 42 "$M" waits
}

@test "the same while another thread uses the window" {
    same - "$M" waits busy
}

@test "posix_spawn: SETSIGMASK and SETSIGDEF with SIGSEGV, from a parent that blocks or ignores it" {
    same 96 "$M" spawn
}

@test "pthread_attr_setsigmask_np, and the mask that a thread inherits" {
    same 32 "$M" attr
}

@test "SIGSEGV ignored, blocked, handled, pending before exec: the new program, and the one after it, read that back" {
    for how in ignored blocked handled ignored-blocked all-blocked all-ignored-blocked pending-blocked; do
        same 6 "$M" exec $how
    done
}

@test "the same set by bare system calls, and an exec that is one" {
    for how in raw raw-all raw-inline raw-all-inline; do
        same 6 "$M" exec $how
    done
}

@test "env --ignore-signal, --block-signal and --default-signal of coreutils" {
    same 2 env --ignore-signal=SEGV "$M" report
    assert_line --partial 'segv ignored'
    same 2 env --block-signal=SEGV "$M" report
    assert_line --partial 'mask 0x400 '
    same 2 env --block-signal --ignore-signal "$M" report
    same 2 env --ignore-signal=SEGV env --default-signal=SEGV "$M" report
}

@test "timer_create with SIGEV_THREAD: the callback, which libc runs with everything blocked, uses a window" {
    same 100 "$M" notify-timer
}

@test "mq_notify with SIGEV_THREAD: the callback uses a window" {
    same 100 "$M" notify-queue
}

# --- jumps ---

@test "siglongjmp out of a SIGSEGV handler with a saved mask, 2000 times" {
    same 440 "$M" jumps saved
}

@test "siglongjmp out of a SIGSEGV handler without a saved mask: SIGSEGV stays blocked, and windows work" {
    same 440 "$M" jumps unsaved
    assert_line --partial 'mask 0x600 '
}

@test "siglongjmp out of a SIGSEGV handler on an alternate stack" {
    same 440 "$M" jumps stack
}

@test "longjmp out of a SIGSEGV handler with SA_NODEFER" {
    same 40 "$M" jumps nodefer
}

@test "siglongjmp out of a timer's handler, out of the middle of accesses, 1500 times" {
    rm -f "$TALLY"
    truncate -s 8 "$TALLY"
    logged E_TALLY="$TALLY" MMIOSHIM_BACKTRACE=0 timeout -k 1 10 "$M" jumps-async
    assert_success
    assert_equal "$stderr" ""
    assert_line 'jumped 1500'
    # A jump may come after the guest has counted and before it accesses: once a jump at most.
    tally=$(tallied)
    found=$(grep -c '^\[MMIO\]' "$log")
    [ "$found" -le "$tally" ] && [ "$found" -ge $((tally - 1500)) ] || fail "$found accesses of $tally"
    assert_count 1 "^\[EXIT\] $found accesses \(.*\), 0 lint, 0 lost\$"
    assert_ended
}

# --- bare system calls ---

@test "rt_sigaction by syscall(): what was set is read back, whole; handlers use a window and return by sa_restorer" {
    same 120 "$R" actions libc
}

@test "rt_sigaction by a syscall instruction of the program" {
    same 120 "$R" actions inline
}

@test "an action that libc set, read and changed by rt_sigaction, and the other way round" {
    same 4 "$R" mixed libc
    same 4 "$R" mixed inline
}

@test "rt_sigprocmask by syscall(): every set" {
    same 36 "$R" masks libc
}

@test "rt_sigprocmask by a syscall instruction of the program" {
    same 36 "$R" masks inline
}

@test "sigaltstack by syscall() and by a syscall instruction of the program" {
    same 4 "$R" stacks libc
    same 4 "$R" stacks inline
}

@test "bad arguments of signal calls are refused as the kernel refuses them" {
    same 2 "$R" errors libc
    same 2 "$R" errors inline
}

@test "the way back from handlers: libc's, the program's own restorer, rt_sigreturn from within; with any uc_sigmask" {
    same 240 "$R" returns
    assert_line '9: fault: mask 0xfffffffe7ffbfeff stack 0 restored 20'
}

@test "a SIGSEGV that is sent within a handler that blocks it comes when the handler is over" {
    same 60 "$R" kept
}

# --- the program's own faults ---

@test "own faults: si_code, si_addr, trap, error code, cr2, of holes, protection, split pages, no canonical address, hlt" {
    same 70 "$F" own
}

@test "mask, stack and siginfo in a SIGSEGV handler with each combination of flags and masks" {
    same 90 "$F" flags
}

@test "SA_RESETHAND: reset inside, deadly the second time, as good as new when set again" {
    same - "$F" reset
    assert_line 'twice: 0xb'
    assert_line 'set again: 0'
}

@test "sigaltstack: SS_ONSTACK inside, EPERM there, what sigreturn restores, SS_AUTODISARM" {
    same 18 "$F" altstack
}

@test "handlers within handlers of seven signals, on one stack and on two" {
    same 42 "$F" nested
    same 42 "$F" nested stack
}

@test "backtrace() in a handler: the frames down to main, of a fault, of a signal sent, on another stack" {
    same 12 "$F" backtrace
    assert_line --partial 'traced_handler ? fault_here fault_below backtraces main'
}

# gdb_frames VARIABLE VALUE: what gdb tells of the stack in six handlers, without addresses
gdb_frames() {
    gdb -nx -q -batch -ex "set environment $1 $2" -ex 'set environment MMIOSHIM_LOG none' \
        -ex 'handle SIGSEGV SIGUSR1 nostop noprint pass' -ex 'break traced_handler' -ex run \
        -ex bt -ex c -ex bt -ex c -ex bt -ex c -ex bt -ex c -ex bt -ex c -ex bt -ex c --args "$F" backtrace 2>&1 |
        grep '^#\|exited' | sed -E 's/0x[0-9a-f]{3,}/0x/g; s/process [0-9]+/process/; s/=[0-9]{3,}/=N/g'
}

@test "gdb in a handler: the frames down to main" {
    plain=$(gdb_frames B_PLAIN 1)
    assert_equal "$(grep -c 'signal handler called' <<< "$plain")" 6
    assert_equal "$(grep -c ' main ' <<< "$plain")" 6
    differs "$plain" "$(gdb_frames LD_PRELOAD "$LIB")"
}

@test "SIGFPE, SIGILL, SIGBUS and SIGTRAP handlers, with SIGSEGV in sa_mask, and blocked" {
    same 96 "$F" others
}

# --- SIGSEGV that is sent ---

@test "SIGSEGV by kill, raise, sigqueue, pthread_kill, pthread_sigqueue and tgkill: pending, sigwait, sigsuspend, ppoll" {
    same 96 "$X" sent
}

@test "sigtimedwait for SIGSEGV: timeout, one that waits, interrupted" {
    same 6 "$X" timeouts
}

@test "SIGSEGV that comes at any moment around sigsuspend and ppoll ends them, 3000 times" {
    same 60 "$X" wake-ups
    assert_output 'woken 3000'
}

@test "signalfd with SIGSEGV in its set, blocked and not: other signals are read, a SIGSEGV stays for sigwait" {
    same 16 "$X" signal-fd
}

# --- what a handler changes ---

@test "registers, flags, xmm5, rip and uc_sigmask that a SIGSEGV handler changes take effect" {
    same 128 "$F" context
}

@test "registers, xmm7 and uc_sigmask that a SIGALRM handler changes take effect" {
    same 160 "$F" spin
}

@test "a handler that moves its thread to another function on another stack" {
    same 400 "$F" moved
}

# --- signals at a high rate ---

@test "setitimer at 5 kHz over accesses: the handler leaves the register as it was" {
    same - "$S" alone
    same - "$S" alone masked
}

@test "setitimer of real and of CPU time and a timer for each of four threads, at 5 kHz: every access counted" {
    same - "$S" several
}

@test "a signal that comes in the call that blocks it, and another one at the end of that call" {
    log=$BATS_TEST_TMPDIR/log
    run timeout -k 1 60 gdb -nx -q -batch -ex "set environment LD_PRELOAD $LIB" -ex "set environment MMIOSHIM_LOG $log" \
        -ex 'handle SIGSEGV SIGUSR1 SIGUSR2 nostop noprint pass' -ex 'break mask_change' -ex run \
        -ex 'tbreak signals_procmask' -ex continue -ex 'python import os; os.kill(gdb.selected_inferior().pid, 10)' \
        -ex 'tbreak calls_frame' -ex continue -ex 'python os.kill(gdb.selected_inferior().pid, 12)' \
        -ex delete -ex continue --args "$S" blocked
    assert_line --partial 'Temporary breakpoint 3, calls_frame'
    assert_equal "$(grep -E '^(10|12|pending) ' <<< "$output")" '12 on its own stack
pending 0x200
10 on its own stack'
    assert_line --partial 'exited normally'
    assert_count 1 '^\[EXIT\] 3 accesses \(0 reads, 3 writes\), 0 lint, 0 lost$'
}

@test "2000 queued signals during accesses: each is handled once, in order" {
    same - "$S" queued
    assert_output 'handled 2000'
}

@test "many signals that wait while an access is under way: each handler once, on its own stack, with the program's registers" {
    same - "$GUESTS/g_arrive" arrive few
    assert_output 'handled 480'
    same - "$GUESTS/g_arrive" arrive many
    assert_output 'handled 1360'
}

@test "programs that forbid themselves the system calls that no access needs" {
    same 22 "$GUESTS/g_arrive" restricted
    assert_line 'killed for it: 0x9'
    assert_line 'refused: 0x9'
    run shim MMIOSHIM_LOG=none "$GUESTS/g_arrive" strict
    assert_output 'strict: 0x500'
}

@test "3000 own faults among accesses under a timer of 5 kHz: each is handled once" {
    same - "$S" faults
    assert_output 'faults 3000'
}

@test "EINTR and SA_RESTART: read, nanosleep, poll, clock_nanosleep and select, while another thread uses the window" {
    same 610 "$S" interrupted
    assert_line '0 does not: -4 handlers 1'
    assert_line '0 restarts: 1 handlers 1'
}
