#!/usr/bin/env bats
# Processes from their first moment to their last, in every way they come and go: what they print, how they end and what
# a debugger makes of them is what it is without the library.

setup() {
    # common.bash forbids core files for good; some tests here look at one.
    ulimit() { builtin ulimit -S "$@"; }
    load common
    unset -f ulimit
    load same
    P=$GUESTS/e_process
}

# --- beginnings ---

@test "fork: 20 children see what the parent wrote, the parent sees theirs, their pages are dirty" {
    same 80 "$P" fork
    assert_count 1 '^\[DIRTY\] [a-z]+: 7 of 131072 pages: 0x80001000-0x80001fff 0x80003000-0x80003fff 0x80005000-0x80005fff'
}

@test "vfork: the child uses the window, then leaves or becomes another program" {
    same 140 "$P" vfork
}

@test "posix_spawn: open, dup2, close, chdir, closefrom, setsid, setpgroup, and one that fails" {
    same 34 "$P" spawn
    assert_line 'closefrom: 0 0x700'
    assert_line 'fails: 2 0'
}

@test "system and popen, both ways, three times" {
    same 32 "$P" shell
}

@test "a program that becomes itself 20 times: one process, one device" {
    same 42 "$P" again 20
    assert_failure 5
}

@test "daemon(): the terminal's side returns, the daemon and its child go on, and the last of them ends the transcript" {
    for how in keeps closes; do
        rm -f "$BATS_TEST_TMPDIR/out"
        log=$BATS_TEST_TMPDIR/log
        rm -f "$TALLY" "$log"
        truncate -s 8 "$TALLY"
        run --separate-stderr shim MMIOSHIM_LOG="$log" MMIOSHIM_BACKTRACE=0 E_TALLY="$TALLY" "$P" daemon "$BATS_TEST_TMPDIR/out" $how
        assert_success
        assert_equal "$output$stderr" ""
        await "$BATS_TEST_TMPDIR/out"
        assert_equal "$(cat "$BATS_TEST_TMPDIR/out")" "$(printf '1 1\n0x39')"
        for _ in $(seq 100); do grep -q '^\[EXIT\]' "$log" && break || sleep 0.02; done
        counted 8
        assert_count 1 '^\[DIRTY\] [a-z]+: 1 of 131072 pages: 0x80002000-0x80002fff$'
    done
}

# --- descriptors ---

@test "close of every descriptor by closefrom, close_range and a loop: the program's are gone, the machine is there" {
    for how in closefrom close_range loop; do
        same 12 "$P" close $how
        assert_line 'closed: 0 1 2'
        assert_line 'first free 3'
        assert_count 1 '^\[DIRTY\] [a-z]+: 1 of 131072 pages'
    done
}

@test "the same by syscall()" {
    same 12 "$P" close libc-range
    same 12 "$P" close libc-calls
}

@test "the same by syscall instructions of the program" {
    same 12 "$P" close inline-range
    same 12 "$P" close inline-calls
}

# --- where and who ---

@test "chdir with a relative LD_PRELOAD and a relative log: programs started after it have both" {
    cd "$ROOT"
    mkdir "$BATS_TEST_TMPDIR/here"
    cp "$LIB" "$BATS_TEST_TMPDIR/here/"
    cd "$BATS_TEST_TMPDIR/here"
    truncate -s 8 "$TALLY"
    run --separate-stderr env LD_PRELOAD=./libmmioshim.so MMIOSHIM_LOG=log MMIOSHIM_BACKTRACE=0 E_TALLY="$TALLY" "$P" chdir
    assert_failure 5
    assert_equal "$stderr" ""
    log=$PWD/log
    counted 16
}

@test "chroot to an empty directory: the process and its child go on, the transcript and the pages are whole" {
    [ "$(id -u)" = 0 ] || skip "only for the superuser"
    mkdir "$BATS_TEST_TMPDIR/empty"
    same 8 "$P" chroot "$BATS_TEST_TMPDIR/empty"
    assert_line 'nothing here: -1'
    assert_count 1 '^\[DIRTY\] [a-z]+: 1 of 131072 pages: 0x80004000-0x80004fff$'
}

@test "setgid and setuid to nobody while two threads use the window: all of them change, none is disturbed" {
    [ "$(id -u)" = 0 ] || skip "only for the superuser"
    same - "$P" user
    assert_line 'thread: 65534 65534'
    assert_line 'status 0x300 back -1'
    assert_count 1 '^\[DIRTY\] [a-z]+: 1 of 131072 pages: 0x80006000-0x80006fff$'
}

# --- libraries ---

@test "dlopen and dlclose of a library that uses the window in its constructor, its function and its destructor, 300 times" {
    cat > "$BATS_TEST_TMPDIR/plugin.c" <<'END'
void put_for_library(unsigned value);
__attribute__((constructor)) static void comes(void) { put_for_library(0xc0); }
__attribute__((destructor)) static void goes(void) { put_for_library(0xd0); }
void touch(int i) { put_for_library(i); }
END
    cc -shared -fPIC -o "$BATS_TEST_TMPDIR/plugin.so" "$BATS_TEST_TMPDIR/plugin.c"
    same 1200 "$P" load "$BATS_TEST_TMPDIR/plugin.so" 300
    # The accesses in the library itself, with frames in it: the stacks are right although it comes and goes.
    sed 's/put_for_library(\([^;{}]*\)); }/*(volatile unsigned char *)0x10000007 = (unsigned char)(\1); }/; 1d' \
        "$BATS_TEST_TMPDIR/plugin.c" > "$BATS_TEST_TMPDIR/direct.c"
    cc -O1 -g -fno-omit-frame-pointer -shared -fPIC -o "$BATS_TEST_TMPDIR/direct.so" "$BATS_TEST_TMPDIR/direct.c"
    logged "$P" load "$BATS_TEST_TMPDIR/direct.so" 300
    assert_success
    assert_output 'done'
    assert_count 300 '    at comes\+0x[0-9a-f]+ \(direct\.so\)'
    assert_count 300 '    at touch\+0x[0-9a-f]+ \(direct\.so\)'
    assert_count 300 '    at goes\+0x[0-9a-f]+ \(direct\.so\)'
    assert_count 1 '^\[EXIT\] 1200 accesses \(300 reads, 900 writes\), 0 lint, 0 lost$'
    assert_ended
}

# --- ends ---

@test "return, exit, quick_exit, _exit, _Exit, exit by a thread and by the last thread, with what each runs" {
    for how in return:6 exit:6 quick_exit:5 _exit:3 _Exit:3 thread:8 last-thread:8; do
        same "${how#*:}" "$P" life "${how%:*}"
        assert_count 1 '^\[DIRTY\] [a-z]+: 1 of 131072 pages: 0x80008000-0x80008fff$'
        assert_line constructor
    done
}

@test "exit_group by syscall()" {
    same 3 "$P" life raw-libc
    assert_failure 8
    assert_count 1 '^\[DIRTY\] [a-z]+: 1 of 131072 pages: 0x80008000-0x80008fff$'
}

@test "exit_group by a syscall instruction of the program" {
    same 3 "$P" life raw
    assert_failure 8
    assert_count 1 '^\[DIRTY\] [a-z]+: 1 of 131072 pages: 0x80008000-0x80008fff$'
}

@test "abort, with SIGABRT handled, ignored, blocked" {
    for how in abort:3 handled-abort:5 ignored-abort:3 blocked-abort:3; do
        same "${how#*:}" "$P" life "${how%:*}"
        assert_failure 134
        assert_count 1 '^\[DIRTY\] [a-z]+: 1 of 131072 pages: 0x80008000-0x80008fff$'
    done
}

# cores_here: skips where a core would go elsewhere
cores_here() {
    builtin ulimit -S -c unlimited 2>/dev/null || skip "no core files here (ulimit -c)"
    case $(cat /proc/sys/kernel/core_pattern) in core*) ;; *) skip "cores go elsewhere: $(cat /proc/sys/kernel/core_pattern)" ;; esac
    cd "$BATS_TEST_TMPDIR"
}

# core_of PROGRAM...: ends the guest with a core; what gdb tells of it is in $frames
core_of() {
    rm -f core*
    run --separate-stderr "$@"
    frames=$(gdb -nx -q -batch -ex 'info symbol $pc' -ex bt -ex 'p $_siginfo.si_signo' -ex 'p $_siginfo.si_code' \
        -ex 'p $_siginfo._sifields._sigfault.si_addr' -ex 'frame function third' -ex 'info args' "$P" core* 2>&1 |
        sed -nE '/^(#|\$|n = |how = |[a-zA-Z_]+ .*in section|Program terminated)/p' |
        sed -E 's/0x[0-9a-f]{9,}/ADDRESS/g; s/ in section .*//; s/(void \*\)) 0x[0-9a-f]{1,6}$/\1 PID/')
    rm -f core*
}

@test "the core of abort, of a fault and of a SIGSEGV sent: gdb shows the instruction and the frames of a run without us" {
    cores_here
    for how in abort:134 segv:139 kill:139; do
        core_of env B_PLAIN=1 "$P" debug "${how%:*}"
        assert_failure "${how#*:}"
        plain=$frames
        core_of env LD_PRELOAD="$LIB" MMIOSHIM_LOG=none "$P" debug "${how%:*}"
        assert_failure "${how#*:}"
        [ "$(grep -cE '(first|second|main) \(' <<< "$plain")" = 3 ] || fail "$plain"
        differs "$plain" "$frames"
    done
}

# --- debuggers and tracers ---

# traced_calls VARIABLE=VALUE...: calls of the guest between its marks, as strace -ff shows them
traced_calls() {
    rm -f "$BATS_TEST_TMPDIR"/trace.*
    # A file a process: lines do not mix.
    strace -ff -qq -o "$BATS_TEST_TMPDIR/trace" env "$@" "$P" traced $how > "$BATS_TEST_TMPDIR/printed"
    # Signals are left out: a window access is one. Below /dev, /proc and /sys links are looked for.
    sed -n '\|/mark/begin|,\|/mark/end|p' "$BATS_TEST_TMPDIR"/trace.* | grep -vE '^(---|rt_sig|\+\+\+|readlink\("/(dev|proc|sys)/)' |
        sed -E 's/0x[0-9a-f]{6,}/ADDRESS/g; s/ = [0-9]{2,}$/ = PID/'
}

@test "strace: the calls of a program that uses nothing for the moment are those without us, and looks where its paths lead" {
    how=quiet
    plain=$(traced_calls B_PLAIN=1)
    [ "$(wc -l <<< "$plain")" -ge 12 ] || fail "too little: $plain"
    differs "$plain" "$(traced_calls LD_PRELOAD="$LIB" MMIOSHIM_LOG=none |
        grep -vE '^openat2\(.*O_PATH.*resolve=RESOLVE_NO_SYMLINKS|^readlink\("/dev/zero"')"
}

@test "strace -ff: the calls of a program that uses the window and forks are all there, in their order" {
    how=
    traced_calls B_PLAIN=1 > "$BATS_TEST_TMPDIR/plain"
    log=$BATS_TEST_TMPDIR/log
    traced_calls LD_PRELOAD="$LIB" MMIOSHIM_BACKTRACE=0 MMIOSHIM_LOG="$log" > "$BATS_TEST_TMPDIR/ours"
    assert_count 8 '^\[MMIO\]'
    assert_ended
    # Of all that differs nothing is missing.
    run diff "$BATS_TEST_TMPDIR/plain" "$BATS_TEST_TMPDIR/ours"
    refute_line --regexp '^<'
    [ "$(wc -l < "$BATS_TEST_TMPDIR/plain")" -ge 12 ]
}
