#!/usr/bin/env bats
# What a program does with processes: each way to make one, or to become another, keeps the machine.

setup() {
    load common
    P=$GUESTS/b_process
}

# become HOW [CLOSE]: a write here, a read and a write there, and where this process lives on a read of what that left
become() {
    local events=4

    case $1 in exec* | fexecve) events=3 ;; esac
    logged MMIOSHIM_BACKTRACE=0 timeout 20 "$P" become "$@"
    assert_success
    assert_equal "$stderr" ""
    assert_equal "$(events | grep -c 'SCR')" $events
    assert_count 1 "SCR write1 0x41 #1\$"
    assert_count 1 "SCR read1 0x41 #2\$"
    assert_count 1 "SCR write1 0x42 #3\$"
    assert_count 14 '^\[MEM\]'
    assert_count 1 "^\[EXIT\] $events accesses"
    assert_ended
}

@test "execve, execv, execvp, execvpe, execl, execlp, execle, fexecve, execveat" {
    for how in execve execv execvp execvpe execl execlp execle fexecve execveat; do
        become $how
    done
}

@test "fork and exec, vfork and exec, posix_spawn, posix_spawnp, system, popen" {
    for how in fork vfork posix_spawn posix_spawnp system popen; do
        become $how
    done
}

@test "the same after all descriptors were closed, one by one" {
    for how in execv fork vfork posix_spawn system popen; do
        become $how loop
    done
}

@test "the same after close_range, closefrom, close_range(CLOEXEC), dup2 over every descriptor" {
    for close in close_range closefrom cloexec dup2; do
        become execv $close
        become fork $close
        become popen $close
    done
}

@test "an exec that fails leaves all as it was" {
    logged MMIOSHIM_BACKTRACE=0 "$P" exec-fails
    assert_success
    assert_count 2 '^\[MMIO\]'
    assert_ended
}

@test "fork: child and parent see one device and one RAM; numbers go on; the child's pages count" {
    logged MMIOSHIM_BACKTRACE=0 "$P" fork
    assert_success
    assert_equal "$(accesses)" "$(cat <<'END'
[MMIO] trap at 0x10000007 -> uart@10000000 SCR write1 0x11 #1
[MMIO] trap at 0x10000007 -> uart@10000000 SCR read1 0x11 #2
[MMIO] trap at 0x10000007 -> uart@10000000 SCR write1 0x22 #3
[MMIO] trap at 0x10000007 -> uart@10000000 SCR read1 0x22 #4
END
)"
    assert_count 1 '^\[DIRTY\] [a-z]+: 2 of 131072 pages: 0x80000000-0x80000fff 0x80005000-0x80005fff$'
    assert_count 1 '^\[EXIT\] 4 accesses \(2 reads, 2 writes\), 0 lint, 0 lost$'
    assert_ended
}

@test "fork in each dirty mode: pages of the child are in the bitmap" {
    for mode in auto mprotect; do
        logged MMIOSHIM_DIRTY_MODE=$mode MMIOSHIM_DIRTY="$BATS_TEST_TMPDIR/dirty" "$P" fork
        assert_success
        assert_equal "$(dirty_pages "$BATS_TEST_TMPDIR/dirty")" "0x80000000 0x80005000"
    done
}

@test "twenty generations: each sees what the one before left" {
    logged MMIOSHIM_BACKTRACE=0 "$P" generations 20
    assert_success
    assert_count 1 'SCR write1 0x14 #40$'
    assert_equal "$(accesses | sed 's/.*#//' | tr '\n' ' ')" "$(seq 40 | tr '\n' ' ')"
    assert_ended
}

@test "a child that ends by _exit, abort, a fault or a signal: its accesses and pages are there" {
    local want

    for end in _exit:0 abort:6 segv:11 15:15 2:2 6:6; do
        logged MMIOSHIM_BACKTRACE=0 "$P" child-ends "${end%:*}"
        assert_success
        assert_output "status ${end#*:}"
        assert_count 1 'SCR write1 0x77 #1$'
        assert_count 1 '^\[DIRTY\] [a-z]+: 1 of 131072 pages: 0x80007000-0x80007fff$'
        want=0
        [ "$end" = segv:11 ] && want=1
        assert_count $want '^\[FAULT\] write4 0x8 unmapped, nearest test@100000 begins at 0x100000$'
        assert_ended
    done
}

@test "a child that is killed: its accesses are there" {
    logged MMIOSHIM_BACKTRACE=0 "$P" child-ends 9
    assert_success
    assert_output "status 9"
    assert_count 1 'SCR write1 0x77 #1$'
    assert_count 1 '^\[EXIT\] 1 accesses'
    assert_ended
}

@test "a daemon whose parents are gone, and which closed everything" {
    for close in keep close; do
        rm -f "$BATS_TEST_TMPDIR/out"
        logged MMIOSHIM_BACKTRACE=0 "$P" daemon "$BATS_TEST_TMPDIR/out" $close
        assert_success
        for _ in $(seq 100); do
            grep -q EXIT "$log" && [ "$(wc -l < "$BATS_TEST_TMPDIR/out")" = 2 ] && break
            sleep 0.05
        done
        assert_equal "$(cat "$BATS_TEST_TMPDIR/out")" "$(printf '0x61 0\n0x62')"
        sleep 0.1
        assert_count 1 '^\[EXIT\] 4 accesses \(2 reads, 2 writes\)'
        assert_ended
    done
}

@test "the program's first free descriptor is the same, and ours are out of its way" {
    plain=$("$P" first-free)
    logged "$P" first-free
    assert_output "$plain"
    run sh -c "ulimit -n 64; LD_PRELOAD=$LIB MMIOSHIM_LOG=none $P first-free"
    assert_output "$plain"
    # /proc/self/fd shows ours: none below the soft limit's last 32.
    run shim MMIOSHIM_LOG=none sh -c 'ulimit -n 64; exec ls /proc/self/fd'
    assert_success
    assert_equal "$(awk '$1 >= 10 && $1 < 32' <<< "$output" | grep -vxFf <(ls /proc/self/fd) | wc -l)" 0
}

@test "sifive,test0 ends the process that writes, and only that" {
    logged sh -c 'busybox devmem 0x100000 32 0x73333; echo first $?; busybox devmem 0x100000 32 0x5555; echo second $?'
    assert_success
    assert_output "$(printf 'first 7\nsecond 0')"
    assert_count 1 '^\[EXIT\] 2 accesses'
    assert_ended
}

# --- corners ---

@test "exec by a second thread in the middle of accesses: the new program does not wait for itself" {
    logged MMIOSHIM_BACKTRACE=0 timeout 20 "$GUESTS/c_process" exec-thread 25
    assert_success
    assert_ended
}

@test "the first thread ends by pthread_exit: the process lives, and ends the transcript itself" {
    logged MMIOSHIM_BACKTRACE=0 "$GUESTS/c_process" main-ends
    assert_success
    assert_count 4 'SCR write1'
    assert_count 1 '^\[EXIT\] 4 accesses \(0 reads, 4 writes\), 0 lint, 0 lost$'
    assert_count 0 killed
    assert_ended
}

@test "the shell of popen() finds the machine although its parent is gone" {
    for i in 1 2 3 4 5 6; do
        rm -f "$BATS_TEST_TMPDIR/out"
        logged "$GUESTS/c_process" popen-orphan "$BATS_TEST_TMPDIR/out"
        await "$BATS_TEST_TMPDIR/out"
        assert_equal "$(cat "$BATS_TEST_TMPDIR/out")" 0x5A
    done
}

@test "descriptors of ours make way for those of the program" {
    logged MMIOSHIM_BACKTRACE=0 "$GUESTS/c_process" dup-over
    assert_success
    assert_output 7
    assert_count 2 '^\[MMIO\]'
    assert_ended
}

@test "exec of a static program leaves the machine, and nobody was killed" {
    logged sh -c "busybox devmem 0x10000007 8 1; $GUESTS/a_static; exec $GUESTS/a_static"
    assert_count 1 '^\[MMIO\]'
    assert_count 0 killed
    assert_ended
}
