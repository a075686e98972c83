#!/usr/bin/env bats
# Programs of a small machine, written without any thought of us: the same output, complaints and status with the
# library as without it, and no transcript. More of them, which must be installed first: tests/all/.

setup() {
    load common
    load plain
    cd "$BATS_TEST_TMPDIR"
}

# script SHELL...: the script on standard input, in a file
script() {
    cat > script
    untouched "$@" script
}

@test "coreutils that start others: timeout, nohup, nice, env -i, stdbuf, setsid, chroot, xargs -P" {
    untouched timeout 0.1 sleep 5
    [ "$status" = 124 ]
    untouched timeout -s KILL 0.1 sh -c 'trap "" TERM; sleep 5'
    untouched timeout --preserve-status 0.1 sh -c 'trap "exit 9" TERM; while :; do :; done'
    [ "$status" = 9 ]
    untouched nohup sh -c 'echo out; echo err >&2; kill -HUP $$; exit 4'
    [ "$status" = 4 ]
    untouched nice -n 5 nice
    assert_output 5
    untouched env -i PATH="$PATH" A=1 env
    untouched env -i PATH="$PATH" LD_PRELOAD="$LIB" MMIOSHIM_LOG=none A=1 sh -c 'echo $A'
    untouched env --block-signal=SEGV --default-signal=PIPE --ignore-signal=INT sh -c 'grep -E "Sig(Blk|Ign)" /proc/self/status'
    untouched stdbuf -o0 printf 'a\nb\n'
    untouched stdbuf -oL sh -c 'for i in 1 2 3; do echo $i; done'
    untouched setsid -w sh -c 'ps -o pid= -o sid= -p $$ | { read a b; test $a = $b; }'
    [ "$status" = 0 ]
    untouched sh -c 'seq 200 | xargs -n 1 -P 4 sh -c "expr \$0 \\* 2" | sort -n | md5sum'
    untouched sh -c 'seq 200 | xargs -n 50 sh -c "exit 255"'
    [ "$status" = 124 ]
    untouched sh -c 'rm -f p; mkfifo p; tee p < /etc/passwd > a & cat p > b; wait; cmp a b; echo $?'
    untouched sh -c 'split -n 4 --filter="md5sum" /etc/services; tac /etc/passwd | nl | od -c | md5sum; shuf -i 1-9 --random-source=/etc/passwd'
}

@test "dd with O_DIRECT, sparse files, holes, signals that ask for progress" {
    untouched sh -c 'dd if=/dev/zero of=direct bs=4096 count=64 oflag=direct 2>/dev/null; echo $?; md5sum < direct'
    untouched sh -c 'dd if=direct of=again bs=4096 iflag=direct,fullblock oflag=direct,append conv=notrunc 2>/dev/null; echo $?; cmp direct again; rm again'
    untouched sh -c 'dd if=/etc/passwd of=/dev/null bs=513 oflag=direct 2>&1 | head -n 2'
    untouched sh -c 'truncate -s 1G sparse; cp --sparse=always sparse copy; du copy; stat -c %s copy; rm sparse copy'
    untouched sh -c 'dd if=/dev/zero of=/dev/full bs=512 count=1 2>/dev/null; echo $?'
    untouched sh -c 'dd if=/dev/zero bs=1k count=1 status=none | dd conv=ucase,swab ibs=7 obs=11 2>/dev/null | cksum'
}

@test "tar and gzip there and back, find and sort of a large tree" {
    untouched sh -c 'find /usr/share/doc /usr/lib/python3 2>/dev/null | sort | md5sum'
    untouched sh -c 'tar -C /usr/lib/python3 -cf - . 2>/dev/null | gzip -1n > t.gz; mkdir t; gzip -dc t.gz | tar -C t -xf -; md5sum < t.gz; diff -r /usr/lib/python3 t | head -n 3; rm -r t t.gz'
    untouched sh -c 'find /usr/bin -maxdepth 1 -type f -size -64k -print0 | sort -z | xargs -0 -n 20 -P 4 md5sum | sort | md5sum'
}

@test "dash, bash, busybox ash: traps in pipelines, nested; signals between processes; here documents; wait" {
    for shell in dash bash 'busybox ash'; do
        script $shell <<'END2'
trap 'echo exit $?' EXIT
( trap 'echo inner; exit 3' TERM; kill -TERM $(exec sh -c 'echo $PPID') ; echo never ) | cat
echo "pipe $?"
cat <<HERE | { while read a b; do echo "$b $a"; done; exit 7; }
one two
three $(echo "$(echo four)")
HERE
echo $?
n=0; trap 'n=$((n+1))' USR1
for i in 1 2 3 4 5; do sh -c "kill -USR1 $$"; done
echo $n
{ sleep 4 >&- 2>&- 3>&-; echo late; } & first=$!
(sleep 0.05; exit 6) & wait $!; echo $?
kill $first; wait $first 2>/dev/null; echo $?
i=0; while [ $i -lt 300 ]; do i=$((i+1)); x=$(echo $i); done; echo $x
for i in 1 2 3 4 5 6 7 8 9 10; do echo $i | sed s/1/x/ | tr 0-9 a-j; done
f() { local x=1; return 5; }; f || echo $?
set -e; false || true; (exit 8)
echo never
END2
        [ "$status" = 8 ] || fail "$shell: $status"
    done
    script bash <<'END2'
mapfile -t lines < <(seq 5); echo ${#lines[@]}
diff <(seq 3) <(seq 4); echo $?
exec {fd}> file; echo x >&$fd; exec {fd}>&-; cat file
time_out() { read -t 0.05 x < <(sleep 1); echo $?; }; time_out | sed 's/1../over/'
wait -n; printf '%(%Y)T\n' 0; echo "${BASH_VERSINFO[0]}"; ulimit -s; ulimit -Sn 100; ulimit -n
kill -l 11; trap -p; trap 'echo segv' SEGV; kill -SEGV $$; trap -p SEGV
END2
}

@test "make -j2 of a tree, with a failure in it" {
    mkdir -p tree
    for i in $(seq 20); do
        printf 'all: a b\na b:\n\t@sh -c "echo $@ %s > $@"\n' $i > tree/$i.mk
    done
    printf 'all: $(addprefix m,$(shell seq 20)) bad\nm%%:\n\t@$(MAKE) -s -B -f $*.mk\n\t@rm -f a b\nbad:\n\t@exit 9\n' > tree/Makefile
    untouched sh -c 'make --no-print-directory -k -j2 -C tree 2>&1 | sort'
    untouched make --no-print-directory -s -C tree bad
    [ "$status" = 2 ]
}

@test "perl and python3: threads of their own, sockets, 20 children at once" {
    untouched perl -e '
        use strict; use IO::Socket::INET; use POSIX ":sys_wait_h";
        my $s = IO::Socket::INET->new(Listen => 50, LocalAddr => "127.0.0.1") or die;
        for my $n (1 .. 20) { my $p = fork; if (!$p) { my $c = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $s->sockport);
            print $c "kid $n\n"; close $c; POSIX::_exit($n) } }
        my @lines; for (1 .. 20) { my $c = $s->accept; push @lines, scalar <$c> } print sort @lines;
        my $sum = 0; while ((my $p = waitpid(-1, 0)) > 0) { $sum += $? >> 8 } print "$sum\n";
        local $SIG{ALRM} = sub { die "alarm\n" }; eval { alarm 1; select undef, undef, undef, 3; }; print $@;
        local $SIG{SEGV} = sub { print "segv\n" }; kill SEGV => $$; print "on\n"; kill KILL => $$'
    [ "$status" = 137 ]
    untouched python3 -c '
import asyncio, concurrent.futures, hashlib, socketserver, threading, socket, zlib
async def one(i):
    p = await asyncio.create_subprocess_exec("sh", "-c", f"echo {i}; exit {i}", stdout=-1)
    out, _ = await p.communicate()
    return out.strip(), p.returncode
async def main():
    print(await asyncio.gather(*[one(i) for i in range(20)]))
asyncio.run(main())
class H(socketserver.BaseRequestHandler):
    def handle(self): self.request.sendall(self.request.recv(100).upper())
with socketserver.ThreadingTCPServer(("127.0.0.1", 0), H) as s:
    threading.Thread(target=s.serve_forever).start()
    def ask(i):
        with socket.create_connection(s.server_address) as c:
            c.sendall(b"ask %d" % i)
            return c.recv(100)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        print(sorted(pool.map(ask, range(40))))
    s.shutdown()
with concurrent.futures.ProcessPoolExecutor(2) as pool:
    print(hashlib.md5(b"".join(pool.map(zlib.compress, [b"x" * n for n in range(1000)]))).hexdigest())
'
}

@test "git: clone of a local repository, gc, fsck" {
    git init -q -b main one
    for i in 1 2 3 4 5; do
        seq $((i * 100)) > one/file
        git -C one add file
        GIT_AUTHOR_DATE="2000-01-0$i 00:00Z" GIT_COMMITTER_DATE="2000-01-0$i 00:00Z" git -C one -c user.name=t -c user.email=t@example.org commit -qm $i
    done
    untouched sh -c 'rm -rf two; git clone -q --no-local one two; git -C two log --oneline --stat; git -C two gc -q; git -C two fsck --no-progress; git -C two archive HEAD | md5sum'
    untouched sh -c 'rm -rf two; git clone -q --no-local one two; git -C two bisect start -q HEAD HEAD~4; git -C two bisect run sh -c "test \$(wc -l < file) -lt 300" 2>&1; git -C two bisect reset -q 2>/dev/null'
}

@test "a pseudo terminal: script(1) and what runs in it" {
    untouched script -qec 'tty | grep -c pts; stty -a | head -n 1; echo in; kill -SEGV $$' /dev/null
    untouched script -qec "sh -c 'exit 3'" typescript
    [ "$status" = 3 ]
    untouched script -qec 'stty -echo -icanon; sh -i -c "sleep 0.05 & wait; echo done" 2>&1 | sed "s/[0-9]\{2,\}/N/"' /dev/null
}

@test "gcc: a compile of 2000 lines, in a map that it can live with" {
    dtc -q -I dts -O dtb -o map.dtb "$ROOT/tests/guests/b_scratch.dts"
    export MMIOSHIM_MAP=$PWD/map.dtb
    for i in $(seq 500); do
        printf 'int f%d(int a, const char *b)\n{\n    return a * %d + b[a %% 3] + (a > 9 ? f%d(a - 1, b) : 0);\n}\n' $i $i $((i > 1 ? i - 1 : 1))
    done > many.c
    untouched sh -c 'gcc -O2 -pipe -c -o many.o many.c; md5sum < many.o; gcc -O2 -S -o - many.c | md5sum'
}

@test "in other places: a user namespace, a changed root directory, without /proc, without address randomisation" {
    cat > stores.c <<'END2'
#include <stdint.h>
#include <stdio.h>
int main(int argc, char **argv)
{
    (void)argv;
    for (int i = 0; i < 100 && argc > 1; i++)
        *(volatile uint8_t *)0x10000007 = (uint8_t)i;
    puts("done");
    return 4;
}
END2
    gcc -o stores stores.c
    export MMIOSHIM_BACKTRACE=0
    for how in 'unshare -Ur' 'setarch -R' 'setarch -L' 'prlimit --nofile=64' 'prlimit --stack=unlimited' 'prlimit --core=0 --as=700000000:700000000' \
        'env -C /' 'nice' 'setsid -w' 'chrt -b 0'; do
        $how true 2>/dev/null || continue
        plain $how "$PWD/stores"
        like $how "$PWD/stores" w
        assert_count 100 '^\[MMIO\] .* write1 '
        assert_count 1 '^\[EXIT\] 100 accesses \(0 reads, 100 writes\), 0 lint, 0 lost$'
    done
    if unshare -Urm true 2>/dev/null; then
        plain unshare -Urm sh -c "mount -t tmpfs none /proc; exec $PWD/stores"
        like unshare -Urm sh -c "mount -t tmpfs none /proc; exec $PWD/stores w"
        assert_count 1 '^\[EXIT\] 100 accesses \(0 reads, 100 writes\), 0 lint, 0 lost$'
    fi
    plain env -i A="$(printf '%0100000d' 0)" B="$(printf '%0100000d' 1)" ./stores
    like env A="$(printf '%0100000d' 0)" B="$(printf '%0100000d' 1)" ./stores w
    assert_count 100 '^\[MMIO\] .* write1 '
}

@test "a seccomp filter: what it refuses us, with and without a way back from a handler" {
    cat > box.c <<'END2'
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#define ALLOW(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
int main(int argc, char **argv)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(SYS_write), ALLOW(SYS_exit_group),
        ALLOW(argv[1][0] == 'r' ? SYS_rt_sigreturn : SYS_exit_group),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    };
    struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        _exit(77);
    for (int i = 0; i < 3 && argc > 2; i++)
        *(volatile uint8_t *)0x10000007 = (uint8_t)i;
    _exit(write(1, "boxed\n", 6) == 6 ? 6 : 7);
}
END2
    gcc -o box box.c
    untouched ./box n
    [ "$status" = 6 ]
    untouched ./box r
    plain ./box r
    like ./box r window
    assert_count 3 '^\[MMIO\] .* write1 '
    # rt_sigreturn is refused: no way back. It must end, not turn for ever.
    logged timeout -s KILL 10 ./box n window
    [ "$status" -gt 128 ] && [ "$status" != 137 ] || fail "status $status"
    assert_count 1 '^\[MMIO\] .* write1 '
}
