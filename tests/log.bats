#!/usr/bin/env bats
# The transcript as a file: where it goes, JSON lines, many processes, every way to end, what is lost.

setup() {
    load common
}

# --- JSON lines ---

# Every line parses; keys and their order are those of the contract; stacks come once, before their first use.
check_json() {
    python3 - "$1" <<'END'
import json, sys
access = ['type', 'seq', 'op', 'width', 'addr', 'device', 'offset', 'register', 'value', 'pid', 'tid', 'insn', 'pc', 'stack']
keys = {
    'mmio': access, 'port': access,
    'stack': ['type', 'id', 'frames'],
    'map': ['type', 'kind', 'base', 'size', 'device', 'compatible'],
    'lint': ['type', 'rule', 'seq', 'device', 'register', 'text'],
    'dma': ['type', 'device', 'op', 'addr', 'length', 'ok'],
    'irq': ['type', 'device', 'line', 'level'],
    'mark': ['type', 'text'],
    'fault': ['type', 'op', 'width', 'addr', 'pc'],
    'repeat': ['type', 'seq', 'count'],
    'dirty': ['type', 'mode', 'pages', 'total', 'ranges'],
    'exit': ['type', 'accesses', 'reads', 'writes', 'lint', 'lost'],
}
counts, stacks, seq = {}, set(), 0
for number, line in enumerate(open(sys.argv[1]), 1):
    assert line.endswith('\n'), 'line %d is not whole' % number
    pairs = json.loads(line, object_pairs_hook=lambda p: p)
    record, names = dict(pairs), [k for k, v in pairs]
    kind = record['type']
    wanted = keys[kind] + (['time'] if 'time' in names else [])
    assert names == wanted, 'line %d: keys %s, wanted %s' % (number, names, wanted)
    counts[kind] = counts.get(kind, 0) + 1
    if kind == 'stack':
        assert record['id'] not in stacks and record['id'] > 0, 'line %d: stack twice' % number
        assert record['frames'] and all(isinstance(f, str) for f in record['frames'])
        stacks.add(record['id'])
    if kind == 'mmio':
        assert record['seq'] == seq + 1, 'line %d: number %d behind %d' % (number, record['seq'], seq)
        seq = record['seq']
        assert record['stack'] == 0 or record['stack'] in stacks, 'line %d: stack not yet seen' % number
        for key in 'addr', 'value':
            assert record[key] == hex(int(record[key], 16)), record[key]
print(' '.join('%s=%d' % (k, counts[k]) for k in sorted(counts)))
END
}

@test "JSON: every line parses, keys are fixed and in order, a stack comes once and before its first use" {
    json_logged "$POKE" w1:0x10000000=0x41 loop:5 r1:0x10000005 r4:0x10001234 w1:0x10000001=2 w1:0x10000001=0 \
        w4:0x10001000=1 w1:0x80000000=1 w1:0x80005000=1
    assert_success
    run check_json "$log"
    assert_success
    # a load or store of 1 byte is another place than one of 4
    assert_output 'dirty=1 exit=1 irq=2 lint=1 map=14 mmio=10 stack=4'
    assert_count 1 '^\{"type":"dirty","mode":"(uffd|mprotect)","pages":2,"total":131072,"ranges":\["0x80000000-0x80000fff","0x80005000-0x80005fff"\]\}$'
    assert_count 1 '^\{"type":"exit","accesses":10,"reads":6,"writes":4,"lint":1,"lost":0\}$'
    assert_count 1 '^\{"type":"irq","device":"uart@10000000","line":10,"level":1\}$'
    assert_count 1 '^\{"type":"irq","device":"uart@10000000","line":10,"level":0\}$'
    assert_count 1 '^\{"type":"map","kind":"ram","base":"0x80000000","size":536870912,"device":"memory@80000000","compatible":null\}$'
    assert_count 1 '^\{"type":"map","kind":"mmio","base":"0x10000000","size":4096,"device":"uart@10000000","compatible":"ns16550a"\}$'
    assert_count 1 '^\{"type":"lint","rule":"read-only","seq":10,"device":"virtio_mmio@10001000","register":"MagicValue","text":".*"\}$'
    assert_count 0 '^\['
}

@test "JSON: an access, word for word" {
    json_logged "$GUESTS/a_stack"
    assert_equal "$(grep '"type":"mmio"' "$log" | sed -E 's/a_stack\+0x[0-9a-f]+/a_stack+0x/; s/\[0x0*/[0x/')" "$(
        for n in 1 2; do
            printf '{"type":"mmio","seq":%d,"op":"write","width":1,"addr":"0x10000007","device":"uart@10000000",' $n
            printf '"offset":7,"register":"SCR","value":"0x5a","pid":1,"tid":1,'
            printf '"insn":"mov byte ptr [0x10000007], 0x5a","pc":"a_stack+0x","stack":1}\n'
        done)"
    assert_count 1 '^\{"type":"stack","id":1,"frames":\["f12\+0x[0-9a-f]+ \(a_stack\)",("f[0-9]+\+0x[0-9a-f]+ \(a_stack\)",?){7}\]\}$'
    pc=$(objdump -d "$GUESTS/a_stack" | sed -n 's/^ *\([0-9a-f]*\):.*movb .*0x10000007.*/\1/p')
    assert_count 2 "\"pc\":\"a_stack\\+0x$pc\""
    json_logged MMIOSHIM_BACKTRACE=0 "$GUESTS/a_stack"
    assert_count 2 '"stack":0\}$'
    assert_count 0 '"type":"stack"'
}

@test "JSON: no register is null, a value wider than 8 bytes is one integer, faults and marks" {
    json_logged MMIOSHIM_MAP="$(scratch_map)" "$POKE" v16:0x10000020=1 crash:0x30000000
    assert_failure 139
    assert_count 1 '"width":16,.*"offset":32,"register":null,"value":"0x100f0e0d0c0b0a090807060504030201",'
    assert_count 1 '^\{"type":"fault","op":"read","width":4,"addr":"0x30000000","pc":"a_poke\+0x[0-9a-f]+"\}$'
    check_json "$log"
    json_logged "$GUESTS/a_client"
    assert_count 1 '^\{"type":"mark","text":"two(\\n|\\u000a)lines"\}$'
    check_json "$log"
}

@test "JSON with LOG_SHOW: real process and thread numbers, time" {
    shim_exec MMIOSHIM_LOG="$BATS_TEST_TMPDIR/log" MMIOSHIM_LOG_FORMAT=json MMIOSHIM_LOG_SHOW=pid,time "$POKE" w1:0x10000007=1 &
    pid=$!
    wait $pid
    log=$BATS_TEST_TMPDIR/log
    assert_count 1 "\"pid\":$pid,\"tid\":$pid,.*,\"stack\":1,\"time\":\"[0-9]+\.[0-9]{6}\"\}\$"
    check_json "$log"
}

@test "JSON: several processes in one file" {
    json_logged sh -c "$POKE w1:0x10000007=1 fork w1:0x10000007=2 join w1:0x10000007=3; $POKE r1:0x10000007"
    assert_success
    assert_output 0x3
    run check_json "$log"
    assert_success
    assert_output --partial 'dirty=1 exit=1 map=14 mmio=4 '
    assert_equal "$(sed -n 's/.*"pid":\([0-9]*\),"tid":\([0-9]*\).*/\1.\2/p' "$log" | tr '\n' ' ')" '1.1 2.2 1.1 3.3 '
}

# --- determinism ---

@test "two runs give the same bytes, as text and as JSON" {
    for format in text json; do
        for run in 1 2; do
            shim MMIOSHIM_LOG="$BATS_TEST_TMPDIR/$format$run" MMIOSHIM_LOG_FORMAT=$format "$ROOT/examples/driver" > /dev/null
        done
        cmp "$BATS_TEST_TMPDIR/${format}1" "$BATS_TEST_TMPDIR/${format}2"
        [ -s "$BATS_TEST_TMPDIR/${format}1" ]
    done
}

@test "two runs of a script with several processes, forks and pipes give the same bytes" {
    script="busybox devmem 0x10000007 8 0x5a; x=\$(busybox devmem 0x10000007 8); echo \$x | cat
        $POKE w4:0x80000000=1 fork w4:0x80001000=1 r1:0x10000005 join fork w1:0x10000007=7 join r1:0x10000007"
    for format in text json; do
        for run in 1 2; do
            logged MMIOSHIM_LOG_FORMAT=$format sh -c "$script"
            assert_success
            assert_output "$(printf '0x5A\n0x60\n0x7')"
            mv "$log" "$BATS_TEST_TMPDIR/$format$run"
        done
        cmp "$BATS_TEST_TMPDIR/${format}1" "$BATS_TEST_TMPDIR/${format}2"
    done
    log=$BATS_TEST_TMPDIR/text1
    assert_count 14 '^\[MEM\]'
    assert_count 5 '^\[MMIO\]'
    assert_count 1 '^\[DIRTY\] [a-z]+: 2 of 131072 pages: 0x80000000-0x80001fff$'
    assert_count 1 '^\[EXIT\] 5 accesses \(3 reads, 2 writes\), 0 lint, 0 lost$'
    assert_ended
}

# --- where it goes ---

@test "without MMIOSHIM_LOG the transcript goes to standard error, the program's output does not" {
    run --separate-stderr shim "$POKE" w1:0x10000000=0x41 err:own puts:out
    assert_success
    assert_output Aout
    log=$BATS_TEST_TMPDIR/log
    printf '%s\n' "$stderr" > "$log"
    assert_count 14 '^\[MEM\]'
    assert_count 1 '^\[MMIO\] '
    assert_count 1 '^own\[DIRTY\] '
    assert_count 1 '^\[EXIT\] '
    run --separate-stderr shim MMIOSHIM_LOG=- "$POKE" w1:0x10000000=0x41 err:own puts:out
    assert_equal "$stderr" "$(cat "$log")"
}

@test "MMIOSHIM_LOG=none: nothing is written, the devices work" {
    run --separate-stderr shim MMIOSHIM_LOG=none "$POKE" w1:0x10000007=9 r1:0x10000007 exit:3
    assert_failure 3
    assert_output 0x9
    assert_equal "$stderr" ""
}

@test "a path: what was there before is gone; standard error stays the program's" {
    yes 'an old transcript' | head -n 10000 > "$BATS_TEST_TMPDIR/log"
    logged "$POKE" w1:0x10000007=1 err:mine
    assert_success
    assert_equal "$stderr" mine
    assert_count 0 'an old transcript'
    assert_equal "$(head -c 5 "$log")" '[MEM]'
    assert_ended
}

@test "a path that cannot be written: refused before main" {
    run --separate-stderr shim MMIOSHIM_LOG=/nonexistent/log "$POKE" puts:ran
    assert_refused 'MMIOSHIM_LOG=/nonexistent/log: ' 'No such file or directory|ENOENT' 'allowed: '
    run --separate-stderr shim MMIOSHIM_LOG="$BATS_TEST_TMPDIR" "$POKE" puts:ran
    assert_refused 'MMIOSHIM_LOG='
    run --separate-stderr shim MMIOSHIM_LOG=/nonexistent/%p "$POKE" puts:ran
    assert_refused 'MMIOSHIM_LOG=/nonexistent/%p: '
}

@test "a relative path is the one of the first process, wherever its children go" {
    mkdir "$BATS_TEST_TMPDIR/a" "$BATS_TEST_TMPDIR/b"
    cd "$BATS_TEST_TMPDIR/a"
    run --separate-stderr shim MMIOSHIM_LOG=rel sh -c "cd ../b; busybox devmem 0x10000007 8 1; $POKE chdir:/ w1:0x10000007=2; cd /; busybox devmem 0x10000007 8"
    assert_success
    assert_output 0x02
    assert_equal "$(ls ../a ../b | tr '\n' ' ')" '../a: rel  ../b: '
    log=$BATS_TEST_TMPDIR/a/rel
    assert_count 3 '^\[MMIO\]'
    assert_ended
}

@test "a relative LD_PRELOAD holds for children elsewhere" {
    cd "$ROOT"
    log=$BATS_TEST_TMPDIR/log
    run --separate-stderr env LD_PRELOAD=./libmmioshim.so MMIOSHIM_LOG="$log" sh -c 'cd /; busybox devmem 0x10000005 8'
    assert_success
    assert_output 0x60
    assert_equal "$stderr" ""
}

@test "%p: a file and counts for each process that touched the machine" {
    run --separate-stderr shim MMIOSHIM_LOG="$BATS_TEST_TMPDIR/log-%p" sh -c "true; $POKE w1:0x10000007=1 w4:0x80000000=1 \
        fork r1:0x10000007 r1:0x10000007 join; busybox true; $POKE r1:0x10000007"
    assert_success
    assert_output "$(printf '0x1\n0x1\n0x1')"
    assert_equal "$(ls "$BATS_TEST_TMPDIR" | grep -c '^log-[0-9]*$')" 3
    for log in "$BATS_TEST_TMPDIR"/log-*; do
        assert_count 14 '^\[MEM\]'
        assert_count 1 '^\[EXIT\]'
    done
    cat "$BATS_TEST_TMPDIR"/log-* > "$BATS_TEST_TMPDIR/all"
    assert_count 2 '^\[EXIT\] 1 accesses ' "$BATS_TEST_TMPDIR/all"
    assert_count 1 '^\[EXIT\] 2 accesses \(2 reads, 0 writes\), 0 lint, 0 lost$' "$BATS_TEST_TMPDIR/all"
    # Numbers are the machine's.
    assert_equal "$(accesses "$BATS_TEST_TMPDIR/all" | sed 's/.*#//' | sort -n | tr '\n' ' ')" '1 2 3 4 '
}

# --- several processes, one file ---

@test "the first process truncates, the others append: one [MEM] block, [DIRTY] and [EXIT] once, at the end" {
    logged sh -c 'busybox devmem 0x10000007 8 0x5a; busybox devmem 0x10000007 8; busybox true'
    assert_success
    assert_output 0x5A
    assert_equal "$(stacks)" "$(cat <<'END'
[MMIO] trap at 0x10000007 -> uart@10000000 SCR write1 0x5a #1
    at busybox+0x
[MMIO] trap at 0x10000007 -> uart@10000000 SCR read1 0x5a #2
    at busybox+0x
[DIRTY] MODE: 0 of 131072 pages
[EXIT] 2 accesses (1 reads, 1 writes), 0 lint, 0 lost
END
)"
    assert_count 14 '^\[MEM\]'
}

@test "unrelated runs are machines of their own, and truncate again" {
    logged "$POKE" w1:0x10000007=9
    logged "$POKE" r1:0x10000007
    assert_output 0x0
    assert_count 1 '^\[MMIO\]'
    assert_count 1 ' #1$'
}

@test "the last one to leave ends the transcript, also when it is a child" {
    logged sh -c "$POKE w1:0x10000007=1 & $POKE w1:0x10000007=2; wait; exit 3"
    assert_failure 3
    assert_count 2 '^\[MMIO\]'
    assert_ended
    # The parent dies first; its child goes on in the background.
    logged sh -c "(sleep 0.2; $POKE r1:0x10000005 touch:$BATS_TEST_TMPDIR/done) & $POKE w1:0x10000007=2" 3>&-
    await "$BATS_TEST_TMPDIR/done"
    sleep 0.1
    assert_count 2 '^\[MMIO\]'
    assert_ended
}

@test "whole events from processes that run at the same time, numbered in order" {
    logged sh -c "for i in 1 2 3; do $POKE loop:400 r1:0x10000005 > /dev/null & done; wait"
    assert_success
    assert_count 1200 '^\[MMIO\] trap at 0x10000005 -> uart@10000000 LSR read1 0x60 THRE\|TEMT #[0-9]+$'
    assert_count 1200 '^    at load\+0x[0-9a-f]+ \(a_poke\)$'
    assert_count 2400 '^    by (do_word|main)\+0x[0-9a-f]+ \(a_poke\)$'
    assert_equal "$(accesses | sed 's/.*#//' | md5sum)" "$(seq 1200 | md5sum)"
    # Every event is followed by its own stack.
    assert_equal "$(sed '/^\[MEM\]/d; s/^\(....\[*[A-Za-z]*\).*/\1/' "$log" | head -n 4800 | paste - - - - | sort -u | wc -l)" 1
    assert_count 1 '^\[EXIT\] 1200 accesses \(1200 reads, 0 writes\), 0 lint, 0 lost$'
    assert_ended
}

# --- every way to end ---

ends() { # STATUS WORD...
    local expected=$1

    shift
    logged "$POKE" w1:0x10000007=1 w4:0x80003000=1 "$@"
    [ "$status" = "$expected" ] || fail "$*: exit status $status, expected $expected"
    assert_count 1 '^\[MMIO\]'
    assert_count 1 '^\[DIRTY\] [a-z]+: 1 of 131072 pages: 0x80003000-0x80003fff$'
    assert_count 1 '^\[EXIT\] 1 accesses \(0 reads, 1 writes\), 0 lint, 0 lost$'
    assert_ended
}

@test "exit, return from main, _exit, _Exit, quick_exit, the last thread: [DIRTY] and [EXIT] once" {
    ends 3 exit:3
    ends 0
    ends 4 return:4
    ends 5 _exit:5
    ends 6 _Exit:6
    ends 7 quick:7
    ends 0 thread_exit
}

@test "abort, SIGTERM, SIGINT, SIGHUP, SIGSEGV, SIGFPE, SIGALRM: [DIRTY] and [EXIT] once, and the same death" {
    ends 134 abort
    ends 143 kill:15
    ends 130 raise:2
    ends 129 kill:1
    ends 139 raise:11
    ends 136 raise:8
    ends 142 kill:14
    ends 139 crash:0x30000000
}

@test "a signal from outside ends it the same way" {
    log=$BATS_TEST_TMPDIR/log
    shim_exec MMIOSHIM_LOG="$log" "$POKE" w1:0x10000007=1 touch:"$BATS_TEST_TMPDIR/ready" pause 3>&- &
    pid=$!
    await "$BATS_TEST_TMPDIR/ready"
    kill $pid
    run wait $pid
    assert_failure
    assert_ended
}

@test "kill -9 loses no line; the machine goes on, and [DIRTY] says what may be missing" {
    ready=$BATS_TEST_TMPDIR/ready
    logged bash -c "$POKE loop:50 r1:0x10000005 w4:0x80000000=1 touch:$ready pause > /dev/null & for i in {1..500}; do [ -e $ready ] && break; sleep 0.01; done
        cp $BATS_TEST_TMPDIR/log $BATS_TEST_TMPDIR/before; kill -9 \$!; wait \$!; $POKE w1:0x10000007=1"
    assert_success
    assert_count 50 '^\[MMIO\] .* LSR read1' "$BATS_TEST_TMPDIR/before"
    assert_count 50 '^    at load\+' "$BATS_TEST_TMPDIR/before"
    assert_count 51 '^\[MMIO\]'
    assert_count 1 ' #51$'
    # In mprotect mode every page is noted when it is first written, so none is missing.
    assert_count 1 '^\[DIRTY\] (uffd: 0 of 131072 pages \(pages that only 1 killed process wrote are missing\)|mprotect: 1 of .*)$'
    assert_ended
}

@test "kill -9 with nobody left: every access is in the file" {
    log=$BATS_TEST_TMPDIR/log
    shim_exec MMIOSHIM_LOG="$log" "$POKE" loop:20 w1:0x10000007=1 touch:"$BATS_TEST_TMPDIR/ready" pause 3>&- &
    pid=$!
    await "$BATS_TEST_TMPDIR/ready"
    kill -9 $pid
    run wait $pid
    assert_count 20 '^\[MMIO\]'
    assert_count 20 '^    by main\+'
    assert_count 0 '^\[EXIT\]'
}

@test "exec: the new program goes on in the same transcript" {
    logged sh -c "busybox devmem 0x10000007 8 1; exec $POKE r1:0x10000007 exit:8"
    assert_failure 8
    assert_output 0x1
    assert_count 2 '^\[MMIO\]'
    assert_ended
}

@test "a program that loses the environment leaves the machine; the transcript is still ended" {
    logged sh -c "busybox devmem 0x10000007 8 1; exec env -i /bin/echo gone"
    assert_success
    assert_output gone
    assert_count 1 '^\[MMIO\]'
    assert_ended
}

# --- what cannot be written ---

@test "a full disk: the program goes on with its own exit status, and what is lost is counted" {
    run --separate-stderr shim MMIOSHIM_LOG=/dev/full "$POKE" w1:0x10000007=7 r1:0x10000007 exit:4
    assert_failure 4
    assert_output 0x7
    assert_equal "$stderr" ""
    # The counts are the machine's: a process whose log can be written says them.
    logged sh -c "MMIOSHIM_LOG=/dev/full $POKE loop:5 w1:0x10000007=7; $POKE r1:0x10000007"
    assert_success
    assert_count 1 '^\[EXIT\] 6 accesses \(1 reads, 5 writes\), 0 lint, 5 lost$'
}

@test "the limit of file size: no SIGXFSZ, the lines are lost and counted" {
    logged "$POKE" w1:0x10000007=1 fsize:4096 loop:200 w1:0x10000007=7 r1:0x10000007 exit:4
    assert_failure 4
    assert_output 0x7
    assert_equal "$(stat -c %s "$log")" 4096
}

@test "a pipe whose reader is gone: no SIGPIPE, the program goes on" {
    run --separate-stderr bash -c "LD_PRELOAD=$LIB $POKE loop:200 w1:0x10000007=7 r1:0x10000007 exit:4 2> >(exec head -n 1 > /dev/null)"
    assert_failure 4
    assert_output 0x7
    run bash -c "set -o pipefail; LD_PRELOAD=$LIB $POKE loop:100 w1:0x10000007=7 exit:4 2>&1 > /dev/null | true"
    assert_failure 4
}

@test "lost lines of a pipe are counted" {
    logged bash -c "exec 2> >(:); sleep 0.1; MMIOSHIM_LOG=- $POKE loop:3 w1:0x10000007=1; $POKE r1:0x10000007"
    assert_success
    assert_output 0x1
    assert_count 1 '^\[EXIT\] 4 accesses \(1 reads, 3 writes\), 0 lint, 3 lost$'
}

@test "standard error closed by the program: the log is dropped, its new descriptor 2 is not ours" {
    run --separate-stderr shim "$POKE" w1:0x10000007=1 close:2 open:"$BATS_TEST_TMPDIR/file" w1:0x10000007=2 err:text exit:3
    assert_failure 3
    assert_output 'descriptor 2'
    assert_equal "$(cat "$BATS_TEST_TMPDIR/file")" text
    assert_equal "$(grep -c '^\[MMIO\]' <<< "$stderr")" 1
    assert_equal "$(grep -c '^\[EXIT\]' <<< "$stderr")" 0
}

@test "standard error redirected for one child of a script: only its lines are dropped there" {
    log=$BATS_TEST_TMPDIR/log
    shim sh -c "$POKE w1:0x10000007=1; $POKE w1:0x10000007=2 2> $BATS_TEST_TMPDIR/child; $POKE w1:0x10000007=3" 2> "$log"
    # Descriptor 2 as the child started is the file: it has a transcript of its own.
    assert_equal "$(accesses "$log" | sed 's/.*#//' | tr '\n' ' ')" '1 3 '
    assert_equal "$(accesses "$BATS_TEST_TMPDIR/child" | sed 's/.*#//' | tr '\n' ' ')" '2 '
    assert_count 14 '^\[MEM\]' "$BATS_TEST_TMPDIR/child"
    assert_count 14 '^\[MEM\]'
    assert_ended
}

@test "started without standard error: nothing goes astray" {
    run bash -c "LD_PRELOAD=$LIB $POKE w1:0x10000007=1 open:$BATS_TEST_TMPDIR/file w1:0x10000007=2 exit:3 2>&-"
    assert_failure 3
    assert_output 'descriptor 2'
    [ ! -s "$BATS_TEST_TMPDIR/file" ]
}

@test "a full disk does not hurt a program whose output is full too" {
    run bash -c "LD_PRELOAD=$LIB MMIOSHIM_LOG=/dev/full $POKE w1:0x10000000=0x41 exit:3 > /dev/full"
    assert_failure 3
}

@test "a reader that does not come on: SIGTERM ends the program all the same" {
    mkfifo "$BATS_TEST_TMPDIR/fifo"
    sleep 5 < "$BATS_TEST_TMPDIR/fifo" 3>&- &
    sleeper=$!
    shim_exec "$GUESTS/c_process" spin 2> "$BATS_TEST_TMPDIR/fifo" 3>&- &
    pid=$!
    sleep 0.5
    kill -0 $pid
    kill -TERM $pid
    run timeout 3 tail --pid=$pid -f /dev/null
    assert_success
    run wait $pid
    kill $sleeper
}

@test "MMIOSHIM_LINT=error: exit status 1, and buffered output only once" {
    run --separate-stderr shim MMIOSHIM_LINT=error MMIOSHIM_LOG=none "$POKE" r8:0x10001000
    assert_failure 1
    run --separate-stderr shim MMIOSHIM_LINT=error MMIOSHIM_LOG=none "$POKE" r4:0x10001000
    assert_success
}
