#!/usr/bin/env bats
# Programs written without any thought of us print the same and end the same with the library as without it, and those
# that touch nothing leave no transcript.

setup() {
    load common
    cd "$BATS_TEST_TMPDIR"
}

# same PROGRAM...: standard output, standard error and exit status with and without; the last two are in $output, $status
same() {
    local out err code

    run --separate-stderr timeout 60 "$@"
    out=$output err=$stderr code=$status
    log=$BATS_TEST_TMPDIR/log
    rm -f "$log"
    run --separate-stderr timeout 60 env LD_PRELOAD="$LIB" MMIOSHIM_LOG="$log" "$@"
    assert_equal "$output" "$out"
    assert_equal "$stderr" "$err"
    assert_equal "$status" "$code"
    [ ! -s "$log" ] || fail "a transcript: $(head -n 3 "$log")"
}

@test "coreutils, find, tar, gzip" {
    same ls -l /usr
    same find /usr -maxdepth 2
    same ls -l /nonexistent
    [ "$status" = 2 ]
    same sh -c 'tar -C /usr/share -cf - common-licenses perl-base 2>/dev/null | gzip -n | sha256sum'
    same sh -c 'dd if=/dev/zero bs=64k count=64 2>/dev/null | sha256sum'
    same sort -R --random-source=/etc/passwd /etc/passwd
    same env -u LD_PRELOAD true
}

@test "dash and bash: pipelines, traps, jobs, statuses" {
    cat > script <<'END'
trap 'echo on exit' EXIT
trap 'echo usr1' USR1
kill -USR1 $$
seq 100 | sort -rn | head -n 3
(exit 42); echo $?
sh -c 'kill -TERM $$'; echo $?
{ sh -c 'kill -SEGV $$'; } 2>/dev/null; echo $?
false | true; echo $?
sleep 0.05 & wait $!; echo $?
x=$(echo sub; exit 3); echo "$x $?"
printf '%s\n' a b c | while read line; do echo "<$line>"; done
ulimit -n
umask
exit 9
END
    same dash script
    assert_failure 9
    same bash script
    same bash -c 'set -o pipefail; false | cat; echo $?; echo ${PIPESTATUS[@]}; coproc cat; echo hi >&${COPROC[1]}; read -u ${COPROC[0]} x; echo $x; exec 5<>/dev/null; echo done'
    same bash -c 'f() { trap "echo int; exit 3" INT; kill -INT $$; }; f'
}

@test "python3: subprocess, threads, multiprocessing by fork, signals, select, mmap" {
    cat > all.py <<'END'
import ctypes, mmap, multiprocessing, os, select, signal, subprocess, sys, tempfile, threading
print(subprocess.run(['echo', 'child'], capture_output=True, text=True).stdout.strip())
print(subprocess.run(['sh', '-c', 'exit 5']).returncode, subprocess.run(['sh', '-c', 'kill -9 $$']).returncode)
print(subprocess.run(['cat'], input=b'x' * 100000, stdout=subprocess.PIPE, close_fds=True).stdout.count(b'x'))
total = []
threads = [threading.Thread(target=lambda n: total.append(n * n), args=(i,)) for i in range(50)]
[t.start() for t in threads]
[t.join() for t in threads]
print(sum(total))
with multiprocessing.get_context('fork').Pool(4) as pool:
    print(sum(pool.map(abs, range(-100, 100))))
got = []
signal.signal(signal.SIGALRM, lambda *a: got.append(a[0]))
signal.setitimer(signal.ITIMER_REAL, 0.01)
signal.pause()
print(got, signal.getsignal(signal.SIGSEGV), signal.pthread_sigmask(signal.SIG_BLOCK, []))
r, w = os.pipe()
os.write(w, b'pipe')
print(r, w, select.select([r], [], [], 1)[0] == [r], os.read(r, 10))
with tempfile.TemporaryFile() as f:
    f.truncate(8192)
    m = mmap.mmap(f.fileno(), 8192)
    m[4096] = 7
    f.seek(4096)
    print(f.read(1))
pid = os.fork()
if pid == 0:
    os._exit(11)
print(os.waitpid(pid, 0)[1])
print(os.path.exists('/dev/zero'), sorted(int(x) for x in os.listdir('/proc/self/fd') if int(x) < 32)[:3])
try:
    os.close(500)
except OSError as e:
    print(e)
sys.exit(3)
END
    same python3 all.py
    assert_failure 3
    same python3 -X faulthandler -c 'import faulthandler; print(faulthandler.is_enabled())'
    # A crash has a line in the transcript, and nothing else of it differs.
    logged python3 -c 'import ctypes; ctypes.string_at(0)'
    assert_failure 139
    assert_equal "$stderr" ""
    assert_count 1 '^\[FAULT\] read[0-9]+ 0x0 unmapped, nearest test@100000 begins at 0x100000$'
    same python3 -c 'raise SystemExit("text")'
    assert_failure 1
}

@test "perl: fork, pipes, signals, sockets" {
    same perl -e '
        $| = 1;
        $SIG{ALRM} = sub { print "alarm\n" }; alarm 1 if 0;
        $SIG{USR1} = sub { print "usr1\n" }; kill USR1 => $$;
        pipe(R, W); my $pid = fork; if (!$pid) { close R; print W "from child\n"; exit 4 }
        close W; print <R>; waitpid $pid, 0; print $? >> 8, "\n";
        print `echo backtick`; print system("sh", "-c", "exit 6") >> 8, "\n";
        open(my $f, "-|", "seq 3") or die; print <$f>; close $f;
        use Socket; socketpair(A, B, AF_UNIX, SOCK_STREAM, 0); syswrite A, "sock"; sysread B, my $x, 4; print "$x\n";
        exec "sh", "-c", "echo exec; exit 8"'
    assert_failure 8
}

@test "git" {
    command -v git >/dev/null || skip "git is not installed"
    git init -q repo
    cd repo
    printf 'a\nb\n' > file
    git -c user.name=t -c user.email=t@example.org add file
    same git status
    same git diff --cached
    same git -c user.name=t -c user.email=t@example.org stash list
    same git log
    assert_failure 128
}

@test "gcc and g++ compile and link; what they made runs" {
    # cc1 of Debian is linked at a fixed address that virt's windows meet: a map without them.
    dtc -q -I dts -O dtb -o map.dtb "$ROOT/tests/guests/b_scratch.dts"
    export MMIOSHIM_MAP=$PWD/map.dtb
    printf '#include <stdio.h>\nint main(void) { printf("hello\\n"); return 4; }\n' > hello.c
    same gcc -O2 -o hello hello.c
    assert_success
    same ./hello
    assert_failure 4
    same gcc -c -o /dev/null nothing.c
    assert_failure 1
    printf '#include <stdexcept>\nint main() { try { throw std::runtime_error("x"); } catch (...) { return 5; } }\n' > throws.cc
    same g++ -o throws throws.cc
    same ./throws
    assert_failure 5
}

@test "gcc on the map virt compiles too: what cannot host it says so, a line a process" {
    printf 'int main(void) { return 4; }\n' > four.c
    logged gcc -o four four.c
    assert_success
    assert_output ""
    for line in "${stderr_lines[@]}"; do
        assert_regex "$line" '^mmioshim: .* collides with .*/(cc1|collect2|as|ld)'
    done
    run ./four
    assert_failure 4
}

@test "C++: exceptions, static objects" {
    same "$GUESTS/b_cxx" plain
    assert_failure 7
    assert_output "$(printf 'caught plain\nwhole ends')"
}

@test "gdb runs a program, stops in it, and sees its end" {
    printf '#include <stdio.h>\nint twice(int x) { return 2 * x; }\nint main(void) { printf("%%d\\n", twice(21)); return 3; }\n' > debugged.c
    gcc -g -O0 -o debugged debugged.c
    run gdb -nx -batch -ex 'break twice' -ex run -ex 'print x' -ex backtrace -ex continue ./debugged
    plain=$(grep -E '^(\$1|#[0-9]|42|\[Inferior.*exited)' <<< "$output" | sed 's/process [0-9]*/process N/')
    run gdb -nx -batch -ex "set environment LD_PRELOAD $LIB" -ex "set environment MMIOSHIM_LOG none" \
        -ex 'break twice' -ex run -ex 'print x' -ex backtrace -ex continue ./debugged
    assert_success
    assert_equal "$(grep -E '^(\$1|#[0-9]|42|\[Inferior.*exited)' <<< "$output" | sed 's/process [0-9]*/process N/')" "$plain"
    assert_equal "$(grep -c exited <<< "$plain")" 1
}

@test "gdb with its recipe runs a program that uses a window" {
    run gdb -nx -batch -ex "set environment LD_PRELOAD $LIB" -ex "set environment MMIOSHIM_LOG $BATS_TEST_TMPDIR/log" \
        -ex 'handle SIGSEGV nostop noprint pass' -ex 'run seen 0' "$GUESTS/b_process"
    assert_success
    assert_output --partial 'exited normally'
    log=$BATS_TEST_TMPDIR/log
    assert_count 2 '^\[MMIO\]'
    assert_ended
}

@test "strace follows a program that uses a window" {
    run --separate-stderr strace -f -o trace env LD_PRELOAD="$LIB" MMIOSHIM_LOG="$BATS_TEST_TMPDIR/log" \
        sh -c 'busybox devmem 0x10000007 8 0x5a; busybox devmem 0x10000007 8'
    assert_success
    assert_output 0x5A
    log=$BATS_TEST_TMPDIR/log
    assert_count 2 '^\[MMIO\]'
    assert_count 2 '--- SIGSEGV \{si_signo=SIGSEGV, si_code=SEGV_ACCERR' trace
    assert_ended
}

@test "busybox, awk, sed, xargs, make, bc" {
    same busybox sh -c 'for i in 1 2 3; do echo $i | busybox sed s/1/one/; done | busybox wc'
    same awk 'BEGIN { while (("seq 5" | getline x) > 0) s += x; close("seq 5"); print s; system("exit 3"); print "end" | "cat 1>&2" }'
    same sh -c 'seq 40 | xargs -n 4 -P 4 echo | sort'
    printf 'all: a b\n\t@echo all\na:\n\t@echo a\nb:\n\t@false\n' > Makefile
    same make -s -k -j4
    assert_failure 2
}

@test "a program that reads its own limits, masks and memory finds what it set" {
    same sh -c 'ulimit -a'
    same grep -E '^(SigBlk|SigPnd|ShdPnd|Threads|Umask|Groups):' /proc/self/status
    same sh -c 'trap "" INT; grep -E "^SigBlk" /proc/self/status'
    same env "$GUESTS/b_process" first-free
}

@test "standard descriptors that are closed stay closed" {
    cat > closed.c <<'END'
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
int main(void)
{
    int status = 0;

    for (int fd = 0; fd < 3; fd++)
        status |= (fcntl(fd, F_GETFD) < 0 && errno == EBADF) << fd;
    return status;
}
END
    gcc -o closed closed.c
    for redirect in '' '<&-' '>&-' '2>&-' '<&- >&-' '<&- >&- 2>&-'; do
        run sh -c "./closed $redirect"
        plain=$status
        run sh -c "LD_PRELOAD=$LIB ./closed $redirect"
        assert_equal "$redirect $status" "$redirect $plain"
    done
}

@test "a program that closes standard error, or gives it away, gets no transcript in its files" {
    cat > gives.py <<'END'
import ctypes, os, sys
scr = ctypes.c_uint8.from_address(0x10000007)
scr.value = 1
if sys.argv[1] == 'away':
    os.dup2(os.open('mine', os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
else:
    os.close(2)
    assert os.open('mine', os.O_WRONLY | os.O_CREAT | os.O_TRUNC) == 2
scr.value = 2
os.write(2, b'written\n')
END
    for how in away closed; do
        run --separate-stderr shim MMIOSHIM_LOG=- MMIOSHIM_BACKTRACE=0 python3 gives.py $how
        assert_success
        assert_equal "$(cat mine)" written
        assert_equal "$(grep -c '^\[MMIO\]' <<< "$stderr")" 1
    done
    run sh -c "LD_PRELOAD=$LIB sh -c 'busybox devmem 0x10000007 8 1; echo out' 2>&-"
    assert_success
    assert_output out
}

@test "gdb: breakpoints on instructions that access a window" {
    run gdb -nx -q -batch -ex "set exec-wrapper env LD_PRELOAD=$LIB MMIOSHIM_LOG=$BATS_TEST_TMPDIR/log" \
        -ex 'handle SIGSEGV nostop noprint pass' -ex 'break uart_putc' -ex 'ignore 1 1000' -ex run \
        "$ROOT/examples/driver" < /dev/null
    assert_success
    assert_line --partial 'exited normally'
    log=$BATS_TEST_TMPDIR/log
    assert_count 1 '^\[EXIT\] 45 accesses \(22 reads, 23 writes\), 0 lint, 0 lost$'
}

@test "a path that is no address: EFAULT from open, as without us" {
    run --separate-stderr shim MMIOSHIM_LOG=none python3 -c 'import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
for bad in 1, 0x10000000, 0x7ffffffff000:
    print(libc.open(ctypes.c_void_p(bad), 0), errno.errorcode[ctypes.get_errno()])'
    assert_success
    assert_output "$(printf -- '-1 EFAULT\n-1 EFAULT\n-1 EFAULT')"
}
