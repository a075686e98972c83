#!/usr/bin/env bats
# One machine, many processes: who shares it, for how long, and who does not.

setup() {
    load common
    NAME=bats-$$-$BATS_TEST_NUMBER
    UART_SCR=0x10000007
}

teardown() {
    "$CMD" machine rm "$NAME" >/dev/null 2>&1 || true
}

# background PROGRAM...: under the library; its process is $pid, its output in $out, and it has said something
background() {
    out=$BATS_TEST_TMPDIR/out
    env LD_PRELOAD="$LIB" "$@" > "$out" 3>&- &
    pid=$!
    for _ in $(seq 250); do
        [ -s "$out" ] && return
        sleep 0.02
    done
    fail "nothing from $*"
}

scratch() {
    map=$BATS_TEST_TMPDIR/b_scratch.dtb
    dtc -q -I dts -O dtb -o "$map" "$ROOT/tests/guests/b_scratch.dts"
}

# numbers [FILE]: the event numbers as they stand in the transcript
numbers() {
    sed -n 's/^\[MMIO\] .* #\([0-9]*\)$/\1/p' "${1:-$log}"
}

# --- unnamed ---

@test "devmem after devmem in one script: two processes, one machine" {
    logged sh -c "busybox devmem $UART_SCR 8 0x5a; busybox devmem $UART_SCR 8"
    assert_success
    assert_output 0x5A
    assert_equal "$(accesses)" "$(cat <<'END'
[MMIO] trap at 0x10000007 -> uart@10000000 SCR write1 0x5a #1
[MMIO] trap at 0x10000007 -> uart@10000000 SCR read1 0x5a #2
END
)"
    assert_count 14 '^\[MEM\]'
    assert_count 1 '^\[EXIT\] 2 accesses \(1 reads, 1 writes\), 0 lint, 0 lost$'
    assert_ended
}

@test "unrelated processes are two machines" {
    logged busybox devmem $UART_SCR 8 0x5a
    assert_success
    logged busybox devmem $UART_SCR 8
    assert_output 0x00
    assert_count 1 'SCR read1 0x0 #1$'
    assert_count 1 '^\[EXIT\] 1 accesses'
}

@test "a pipeline shares one machine" {
    logged sh -c "{ busybox devmem $UART_SCR 8 0x31; echo go; } | { read go; busybox devmem $UART_SCR 8; }"
    assert_success
    assert_output 0x31
    assert_equal "$(numbers | tr '\n' ' ')" "1 2 "
    assert_ended
}

@test "a subshell, a background job and a command substitution share it" {
    logged bash -c "(busybox devmem $UART_SCR 8 1); busybox devmem $UART_SCR 8 & wait; x=\$(busybox devmem $UART_SCR 8); echo got \$x"
    assert_success
    assert_output "$(printf '0x01\ngot 0x01')"
    assert_count 1 '^\[EXIT\] 3 accesses \(2 reads, 1 writes\)'
    assert_ended
}

@test "the machine outlives its first process as long as a child lives" {
    scratch
    logged MMIOSHIM_MAP="$map" sh -c "busybox devmem $UART_SCR 8 0x77; (sleep 0.3; busybox devmem $UART_SCR 8 > $BATS_TEST_TMPDIR/late) & exit 0"
    assert_success
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ -s "$BATS_TEST_TMPDIR/late" ] && [ "$(grep -c EXIT "$log")" = 1 ] && break
        sleep 0.1
    done
    assert_equal "$(cat "$BATS_TEST_TMPDIR/late")" 0x77
    assert_count 1 '^\[EXIT\] 2 accesses'
    assert_ended
}

@test "env -i loses the machine, without an error" {
    logged sh -c "busybox devmem $UART_SCR 8 0x21; env -i sh -c 'busybox true; echo alone'; env -i LD_PRELOAD=$LIB MMIOSHIM_LOG=none busybox devmem $UART_SCR 8; busybox devmem $UART_SCR 8"
    assert_success
    assert_line --index 0 alone
    assert_line --index 2 0x21
    assert_equal "$stderr" ""
    assert_ended
}

@test "relative LD_PRELOAD and relative variables survive chdir" {
    scratch
    cd "$BATS_TEST_TMPDIR"
    cp "$LIB" ./libmmioshim.so
    printf 'abcd' > image
    mkdir elsewhere
    run --separate-stderr env LD_PRELOAD=./libmmioshim.so MMIOSHIM_MAP=b_scratch.dtb MMIOSHIM_LOG=rel.log MMIOSHIM_DIRTY=rel.dirty \
        MMIOSHIM_LOAD=image@0x80002000 MMIOSHIM_ATTACH=uart@10000000=file:rel.out \
        sh -c 'cd elsewhere; busybox devmem 0x40000000 32 77; cd /; busybox devmem 0x80001000 32 5; busybox devmem 0x40000000; busybox devmem 0x80002000; busybox devmem 0x10000000 8 0x41'
    assert_success
    assert_output "$(printf '0x0000004D\n0x64636261')"
    assert_equal "$stderr" ""
    log=rel.log
    assert_count 1 '^\[EXIT\] 3 accesses'
    assert_ended
    assert_equal "$(dirty_pages rel.dirty | tr ' ' '\n' | grep -c 0x80001000)" 1
    assert_equal "$(cat rel.out)" A
    assert_equal "$(ls elsewhere)" ""
}

@test "two maps nested: each sees its own machine" {
    scratch
    logged sh -c "busybox devmem $UART_SCR 8 0x11
        MMIOSHIM_MAP=$map MMIOSHIM_LOG=$BATS_TEST_TMPDIR/inner sh -c 'busybox devmem $UART_SCR 8 0x33; busybox devmem 0x40000000 32 0x99; busybox devmem $UART_SCR 8'
        busybox devmem $UART_SCR 8"
    assert_success
    assert_output "$(printf '0x33\n0x11')"
    assert_equal "$(numbers | tr '\n' ' ')" "1 2 "
    assert_equal "$(numbers "$BATS_TEST_TMPDIR/inner" | tr '\n' ' ')" "1 2 3 "
    assert_count 1 '^\[EXIT\] 2 accesses'
    assert_count 1 '^\[EXIT\] 3 accesses' "$BATS_TEST_TMPDIR/inner"
    assert_count 5 '^\[MEM\]' "$BATS_TEST_TMPDIR/inner"
}

@test "four maps nested, and the outermost again inside" {
    scratch
    printf '#!/bin/sh\nbusybox devmem 0x10000007 8\n' > "$BATS_TEST_TMPDIR/look"
    chmod +x "$BATS_TEST_TMPDIR/look"
    cd "$BATS_TEST_TMPDIR"
    run --separate-stderr shim MMIOSHIM_LOG=none MMIOSHIM_MAP=virt sh -c "busybox devmem $UART_SCR 8 1
        MMIOSHIM_MAP=b_scratch.dtb sh -c 'busybox devmem $UART_SCR 8 2
            MMIOSHIM_MAP=virt-low sh -c \"busybox devmem $UART_SCR 8 3
                MMIOSHIM_MAP=virt ./look; ./look\"
            ./look'
        ./look"
    assert_success
    assert_output "$(printf '0x01\n0x03\n0x02\n0x01')"
    assert_equal "$stderr" ""
}

@test "a descendant that cannot host the addresses goes on without them, after one line" {
    printf '#include <stdio.h>\nint main(void) { puts("runs"); return 3; }\n' > "$BATS_TEST_TMPDIR/low.c"
    gcc -no-pie -fno-pie -Wl,-Ttext-segment=0x10000000 -o "$BATS_TEST_TMPDIR/low" "$BATS_TEST_TMPDIR/low.c"
    logged sh -c "busybox devmem $UART_SCR 8 0x5a; $BATS_TEST_TMPDIR/low; echo status \$?; busybox devmem $UART_SCR 8"
    assert_success
    assert_output "$(printf 'runs\nstatus 3\n0x5A')"
    assert_equal "${#stderr_lines[@]}" 1
    assert_regex "$stderr" '^mmioshim: .*uart@10000000.* collides with .*/low'
    assert_equal "$(numbers | tr '\n' ' ')" "1 2 "
    assert_ended
    # Nobody waits for it to join.
    strace -f -o "$BATS_TEST_TMPDIR/calls" -e trace=nanosleep,clock_nanosleep,exit_group env LD_PRELOAD="$LIB" MMIOSHIM_LOG=none \
        /usr/bin/python3 -c 'import subprocess, sys; subprocess.run(sys.argv[1])' "$BATS_TEST_TMPDIR/low" > /dev/null 2>&1
    grep -q exit_group "$BATS_TEST_TMPDIR/calls"
    assert_equal "$(grep -c nanosleep "$BATS_TEST_TMPDIR/calls")" 0
    # As the first process it is refused.
    logged "$BATS_TEST_TMPDIR/low"
    assert_refused 'uart@10000000' '/low'
}

@test "what such a descendant starts is in the machine again" {
    printf '#include <stdlib.h>\nint main(void) { return system("busybox devmem 0x10000007 8"); }\n' > "$BATS_TEST_TMPDIR/low.c"
    gcc -no-pie -fno-pie -Wl,-Ttext-segment=0x10000000 -o "$BATS_TEST_TMPDIR/low" "$BATS_TEST_TMPDIR/low.c"
    logged sh -c "busybox devmem $UART_SCR 8 0x5a; $BATS_TEST_TMPDIR/low; true"
    assert_success
    assert_output 0x5A
    assert_equal "$(numbers | tr '\n' ' ')" "1 2 "
}

@test "ulimit -n 64 is enough" {
    logged sh -c "ulimit -n 64; busybox devmem $UART_SCR 8 0x12; busybox devmem $UART_SCR 8; $GUESTS/b_process become execv closefrom"
    assert_success
    assert_output 0x12
    assert_count 1 '^\[EXIT\] 5 accesses'
}

@test "ulimit -v smaller than the RAM: one line that says so" {
    run --separate-stderr sh -c "ulimit -v 400000; LD_PRELOAD=$LIB busybox true"
    assert_refused 'ulimit -v' 'memory@80000000'
}

# --- concurrency ---

@test "4 processes x 4 threads: every locked instruction counts once" {
    scratch
    logged MMIOSHIM_LOG=none MMIOSHIM_MAP="$map" "$GUESTS/b_hammer" sum 4 4 1000
    assert_success
    logged MMIOSHIM_LOG=none MMIOSHIM_MAP="$map" "$GUESTS/b_hammer" sum 8 1 1000
    assert_success
    logged MMIOSHIM_LOG=none MMIOSHIM_MAP="$map" "$GUESTS/b_hammer" sum 1 16 500
    assert_success
}

@test "event numbers of 16 threads in 4 processes: 1 to N in order, without gaps, every line whole" {
    scratch
    logged MMIOSHIM_MAP="$map" "$GUESTS/b_hammer" sum 4 4 200
    assert_success
    assert_equal "$(numbers | awk '$1 != NR { bad++ } END { print bad + 0 }')" 0
    assert_equal "$(grep -vcE '^(\[(MEM|DIRTY|EXIT)\] .*|\[MMIO\] trap at 0x[0-9a-f]+ -> scratch@40000000 \+0x[0-9a-f]+ (read|write)[248] 0x[0-9a-f]+ #[0-9]+|    (at|by) [^ ]+ \(b_hammer\))$' "$log")" 0
    # xadd and inc: two events each, 3200 times; a compare-and-swap is a read before it and two events, also where it fails.
    total=$(numbers | wc -l)
    writes=$(accesses | grep -c ' write')
    assert_equal "$total" $((writes + 2 * writes - 2 * 3200 + 3))
    assert_count 1 "^\[EXIT\] $total accesses \($((total - writes)) reads, $writes writes\), 0 lint, 0 lost\$"
    assert_ended
}

@test "the same as JSON lines: every line parses, numbers without gaps, stacks before their use" {
    scratch
    json_logged MMIOSHIM_MAP="$map" "$GUESTS/b_hammer" sum 4 4 50
    assert_success
    run python3 - "$log" <<'END'
import json, sys
seq, stacks, pids, tids = 0, {0}, set(), set()
for line in open(sys.argv[1]):
    e = json.loads(line)
    if e['type'] == 'stack':
        stacks.add(e['id'])
    if e['type'] == 'mmio':
        seq += 1
        assert e['seq'] == seq, (e['seq'], seq)
        assert e['stack'] in stacks, e
        pids.add(e['pid'])
        tids.add(e['tid'])
    last = e
assert last['type'] == 'exit' and last['accesses'] == seq and last['lost'] == 0, last
print(len(pids), len(tids))
END
    assert_output "5 17"
}

@test "accesses of processes that write no log have numbers too, in the order of the machine" {
    scratch
    logged MMIOSHIM_BACKTRACE=0 MMIOSHIM_MAP="$map" sh -c "busybox devmem 0x40000010 32 1
        MMIOSHIM_LOG=none busybox devmem 0x40000010
        busybox devmem 0x40000010
        MMIOSHIM_LOG=none busybox devmem 0x40000ffc
        MMIOSHIM_LOG=none busybox devmem 0x40001ffc
        MMIOSHIM_LOG=none busybox devmem 0x10000100
        busybox devmem 0x40000010"
    assert_success
    assert_equal "$(numbers | tr '\n' ' ')" "1 3 7 "
    assert_count 1 '^\[EXIT\] 7 accesses \(6 reads, 1 writes\), 0 lint, 0 lost$'
}

@test "the same of four processes at once: as many accesses before each as the register shows" {
    scratch
    logged MMIOSHIM_BACKTRACE=0 MMIOSHIM_MAP="$map" sh -c "MMIOSHIM_LOG=none $GUESTS/b_hammer add 3000 &
        MMIOSHIM_LOG=none $GUESTS/b_hammer add 3000 &
        $GUESTS/b_hammer add 400 & $GUESTS/b_hammer add 400
        wait; busybox devmem 0x40000008"
    assert_success
    assert_output 0x00001A90 # 6800
    # Each addition is a read and a write. That of #N finds what N-1 accesses left.
    run python3 - "$log" <<'END'
import re, sys
count = 0
for op, value, number in re.findall(r'\+0x8 (read|write)4 (0x[0-9a-f]+) #(\d+)$', open(sys.argv[1]).read(), re.M):
    before = 2 * int(value, 16) if op == 'read' else 2 * int(value, 16) - 1
    assert int(number) == before + 1, (op, value, number)
    count += 1
print(count, number)
END
    assert_output "1601 13601"
    assert_count 1 '^\[EXIT\] 13601 accesses \(6801 reads, 6800 writes\), 0 lint, 0 lost$'
}

@test "a log of each process counts what its own threads did, and not what its parent did" {
    scratch
    log=$BATS_TEST_TMPDIR/log
    run shim MMIOSHIM_LOG="$log.%p" MMIOSHIM_MAP="$map" MMIOSHIM_LOG_FILTER=device=uart@10000000 "$GUESTS/b_hammer" sum 2 4 20
    assert_success
    # The parent looks at the three sums; a compare-and-swap may fail and be made again.
    assert_equal "$(cat "$log".* | sed -n 's/^\[EXIT\] \([0-9]*\) .*/\1/p' | wc -l)" 3
    assert_equal "$(cat "$log".* | grep -c '^\[EXIT\] 3 accesses (3 reads, 0 writes)')" 1
    run awk '/^\[EXIT\]/ && $2 > 3 { n++; if ($2 < 560 || $6 + 0 < 240) bad++ } END { print n, bad + 0 }' "$log".*
    assert_output "2 0"
}

@test "a process killed in the middle of its accesses: the others go on, the transcript stays in order" {
    scratch
    cat > "$BATS_TEST_TMPDIR/kill.sh" <<'END'
for i in 1 2 3 4 5 6 7 8; do
    $GUESTS/b_hammer spin > /dev/null & victim=$!
    $GUESTS/b_hammer spin > /dev/null & other=$!
    sleep 0.03
    kill -9 $victim
    sleep 0.02
    before=$(busybox devmem 0x40000008 32)
    sleep 0.02
    [ "$before" != "$(busybox devmem 0x40000008 32)" ] || echo "stuck at $before"
    kill -9 $other
    wait $victim $other 2> /dev/null
done
exit 0
END
    logged MMIOSHIM_BACKTRACE=0 MMIOSHIM_MAP="$map" GUESTS="$GUESTS" timeout 30 sh "$BATS_TEST_TMPDIR/kill.sh"
    assert_success
    refute_output --partial stuck
    # Numbers ascend; each of the 16 deaths may take the number of the access that it interrupted with it: that is said.
    run awk '/^\[MMIO\]/ { n = substr($NF, 2) + 0; if (n <= last) bad++; gaps += n - last - 1; last = n }
        /^\[EXIT\]/ { lost = $(NF - 1) } END { print bad + 0, gaps <= lost && lost <= 16 ? "said" : gaps " but " lost }' "$log"
    assert_output "0 said"
    assert_equal "$(grep -vcE '^\[(MEM|DIRTY|EXIT)\] .|^\[MMIO\] trap at 0x40000008 -> scratch@40000000 \+0x8 (read|write)4 0x[0-9a-f]+ #[0-9]+$' "$log")" 0
    assert_count 1 '^\[DIRTY\] uffd: 0 of 4352 pages \(pages that only 16 killed processes wrote are missing\)$'
    assert_ended
}

@test "[DIRTY] says that pages of a killed process are missing" {
    out=$BATS_TEST_TMPDIR/out
    logged sh -c "$GUESTS/b_process touch 1; $GUESTS/b_process touch-wait 2 > $out & victim=\$!
        until [ -s $out ]; do sleep 0.02; done; kill -9 \$victim; wait \$victim; $GUESTS/b_process touch 3"
    assert_success
    if grep -q '^\[DIRTY\] uffd' "$log"; then
        assert_count 1 '^\[DIRTY\] uffd: 2 of 131072 pages: 0x80001000-0x80001fff 0x80003000-0x80003fff \(pages that only 1 killed process wrote are missing\)$'
    else
        assert_count 1 '^\[DIRTY\] mprotect: 3 of 131072 pages: 0x80001000-0x80003fff$'
    fi
    assert_ended
}

@test "a pty is one terminal for all processes of the machine, both ways" {
    link=$BATS_TEST_TMPDIR/terminal
    background_log=$BATS_TEST_TMPDIR/pty-log
    shim_exec MMIOSHIM_LOG="$background_log" MMIOSHIM_ATTACH="uart@10000000=pty,link=$link" sh -c "
        busybox devmem 0x10000000 8 0x41; busybox devmem 0x10000000 8 0x42
        until [ \$(busybox devmem 0x10000005 8) = 0x61 ]; do sleep 0.02; done
        busybox devmem 0x10000000 8 > $BATS_TEST_TMPDIR/got; busybox devmem 0x10000000 8 0x43; sleep 0.3" 2> /dev/null 3>&- &
    pid=$!
    await "$link"
    exec 4<> "$link"
    run timeout 5 head -c 2 <&4
    assert_output AB
    printf z >&4
    run timeout 5 head -c 1 <&4
    assert_output C
    exec 4>&-
    wait $pid
    assert_equal "$(cat "$BATS_TEST_TMPDIR/got")" 0x7A
    assert_count 3 'THR write1' "$background_log"
    # The link goes with the machine.
    [ ! -e "$link" ]
}

@test "processes of another pid namespace belong to the machine, and end with it" {
    unshare -pf true 2> /dev/null || skip "no pid namespaces here"
    logged MMIOSHIM_BACKTRACE=0 sh -c "busybox devmem $UART_SCR 8 1; unshare -pf sh -c 'busybox devmem $UART_SCR 8; busybox true'; busybox devmem $UART_SCR 8 3; busybox devmem $UART_SCR 8"
    assert_success
    assert_output "$(printf '0x01\n0x03')"
    assert_count 1 '^\[EXIT\] 4 accesses \(2 reads, 2 writes\), 0 lint, 0 lost$'
    assert_count 0 killed
    assert_ended
}

# --- named ---

@test "a named machine lives on between unrelated commands" {
    logged MMIOSHIM_MACHINE="$NAME" busybox devmem $UART_SCR 8 0x44
    assert_success
    logged MMIOSHIM_MACHINE="$NAME" sh -c "busybox devmem $UART_SCR 8; busybox devmem 0x80003000 32 0x12345678"
    assert_success
    assert_output 0x44
    # Event numbers go on; the new file has the map of its own.
    assert_count 1 'SCR read1 0x44 #2$'
    assert_count 14 '^\[MEM\]' <(sed '/^\[MMIO\]/,$d' "$log")
    run --separate-stderr shim MMIOSHIM_LOG=none MMIOSHIM_MACHINE="$NAME" busybox devmem 0x80003000 32
    assert_output 0x12345678
    run "$CMD" machine ls
    assert_success
    assert_line "$NAME 0 processes"
    run "$CMD" machine dirty "$NAME"
    assert_success
    assert_output --partial 0x80003000-0x80003fff
    run "$CMD" machine rm "$NAME"
    assert_success
    refute grep -qF "$NAME" <("$CMD" machine ls)
    run --separate-stderr shim MMIOSHIM_LOG=none MMIOSHIM_MACHINE="$NAME" busybox devmem $UART_SCR 8
    assert_output 0x00
}

@test "its files are the user's alone" {
    shim MMIOSHIM_LOG=none MMIOSHIM_MACHINE="$NAME" busybox true
    run find /var/tmp/mmioshim-"$NAME" -printf '%y %m\n'
    assert_success
    assert_equal "$(sort -u <<< "$output")" "$(printf 'd 700\nf 600')"
}

@test "reset of a named machine, also while it runs" {
    shim MMIOSHIM_LOG=none MMIOSHIM_MACHINE="$NAME" sh -c "busybox devmem $UART_SCR 8 0x44; busybox devmem 0x10000003 8 0x1f; $GUESTS/b_process touch 5"
    run --separate-stderr shim MMIOSHIM_LOG=none MMIOSHIM_MACHINE="$NAME" sh -c "$CMD machine ls | grep $NAME; $CMD machine reset $NAME; busybox devmem 0x10000003 8"
    assert_success
    assert_line --index 0 --regexp "^$NAME [1-9] process"
    assert_line --index 1 0x00
    run "$CMD" machine dirty "$NAME"
    refute_output --partial 0x80005000
}

@test "machine dirty sees what a process that still runs has written" {
    background MMIOSHIM_LOG=none MMIOSHIM_MACHINE="$NAME" "$GUESTS/b_process" touch-wait 9
    run "$CMD" machine dirty "$NAME"
    kill -9 $pid
    wait $pid || true
    assert_success
    assert_output --partial 0x80009000-0x80009fff
}

@test "machine dirty sees what lies behind a window that carves RAM" {
    map=$(dtb carved <<'END'
/dts-v1/;
/ {
	#address-cells = <1>;
	#size-cells = <1>;
	memory@80000000 { device_type = "memory"; reg = <0x80000000 0x100000>; };
	scratch@80004000 { compatible = "mmioshim,scratch"; reg = <0x80004000 0x1000>; };
	uart@10000000 { compatible = "ns16550a"; reg = <0x10000000 0x1000>; };
};
END
)
    background MMIOSHIM_LOG=none MMIOSHIM_MACHINE="$NAME" MMIOSHIM_MAP="$map" "$GUESTS/b_process" touch-wait 9
    run "$CMD" machine dirty "$NAME"
    kill -9 $pid
    wait $pid || true
    assert_success
    assert_output --partial 0x80009000-0x80009fff
}

@test "rm is refused while a process of the machine runs" {
    background MMIOSHIM_LOG=none MMIOSHIM_MACHINE="$NAME" "$GUESTS/b_process" touch-wait 1
    run "$CMD" machine rm "$NAME"
    assert_failure
    assert_output --partial "$NAME"
    assert_output --partial '1 process of it still runs'
    run "$CMD" machine ls
    assert_line "$NAME 1 process"
    kill -9 $pid
    wait $pid || true
    run "$CMD" machine rm "$NAME"
    assert_success
}

@test "a named machine is refused with another map, by its name and by its contents" {
    scratch
    shim MMIOSHIM_LOG=none MMIOSHIM_MACHINE="$NAME" MMIOSHIM_MAP="$map" busybox devmem $UART_SCR 8 0x44
    logged MMIOSHIM_MACHINE="$NAME" MMIOSHIM_MAP=virt-low busybox devmem $UART_SCR 8
    assert_refused "$NAME" 'another map' virt-low
    # The same map in another file is the same map; no map asked for is the machine's.
    cp "$map" "$BATS_TEST_TMPDIR/copy.dtb"
    logged MMIOSHIM_MACHINE="$NAME" MMIOSHIM_MAP="$BATS_TEST_TMPDIR/copy.dtb" busybox devmem $UART_SCR 8
    assert_success
    assert_output 0x44
    logged MMIOSHIM_MACHINE="$NAME" busybox devmem $UART_SCR 8
    assert_success
    assert_output 0x44
    assert_count 5 '^\[MEM\]'
}

@test "a named machine is refused to another user" {
    [ "$(id -u)" = 0 ] || skip "needs the superuser to become somebody else"
    shim MMIOSHIM_LOG=none MMIOSHIM_MACHINE="$NAME" busybox devmem $UART_SCR 8 0x44
    install -m 755 -D "$LIB" /tmp/mmioshim-bats-$$/libmmioshim.so
    chmod 755 /tmp/mmioshim-bats-$$
    run --separate-stderr setpriv --reuid 65534 --regid 65534 --clear-groups env LD_PRELOAD=/tmp/mmioshim-bats-$$/libmmioshim.so \
        MMIOSHIM_LOG=none MMIOSHIM_MACHINE="$NAME" busybox devmem $UART_SCR 8
    rm -rf /tmp/mmioshim-bats-$$
    assert_refused "$NAME" 'another user'
}

@test "a child that gives up its rights keeps the unnamed machine" {
    [ "$(id -u)" = 0 ] || skip "needs the superuser to become somebody else"
    install -m 755 -D "$LIB" /tmp/mmioshim-bats-$$/libmmioshim.so
    install -m 755 "$GUESTS/b_process" /tmp/mmioshim-bats-$$/b_process
    chmod 755 /tmp/mmioshim-bats-$$
    log=/tmp/mmioshim-bats-$$/log
    install -m 666 /dev/null "$log"
    run --separate-stderr env LD_PRELOAD=/tmp/mmioshim-bats-$$/libmmioshim.so MMIOSHIM_LOG="$log" \
        sh -c "busybox devmem $UART_SCR 8 0x37; /tmp/mmioshim-bats-$$/b_process as-user - busybox devmem $UART_SCR 8"
    cp "$log" "$BATS_TEST_TMPDIR/log"
    log=$BATS_TEST_TMPDIR/log
    rm -rf /tmp/mmioshim-bats-$$
    assert_success
    assert_output 0x37
    assert_equal "$stderr" ""
    assert_equal "$(numbers | tr '\n' ' ')" "1 2 "
}

@test "processes of a named machine at the same time share it" {
    scratch
    for _ in 1 2 3 4; do
        shim MMIOSHIM_LOG="$BATS_TEST_TMPDIR/shared" MMIOSHIM_BACKTRACE=0 MMIOSHIM_MACHINE="$NAME" MMIOSHIM_MAP="$map" \
            sh -c 'for i in 1 2 3 4 5 6 7 8 9 10; do busybox devmem 0x40000000 32 $i; done' 3>&- &
    done
    wait
    log=$BATS_TEST_TMPDIR/shared
    assert_equal "$(numbers | tail -n 1)" 40
    assert_equal "$(shim MMIOSHIM_LOG=none MMIOSHIM_MACHINE="$NAME" busybox devmem 0x40000000 32)" 0x0000000A
}

@test "a broken state file of a named machine is refused in one line that names the remedy" {
    shim MMIOSHIM_LOG=none MMIOSHIM_MACHINE="$NAME" busybox true
    printf 'broken' | dd of=/var/tmp/mmioshim-"$NAME"/arena conv=notrunc status=none
    logged MMIOSHIM_MACHINE="$NAME" busybox true
    assert_refused "$NAME" "machine rm $NAME"
    run "$CMD" machine rm "$NAME"
    assert_success
    logged MMIOSHIM_MACHINE="$NAME" busybox devmem $UART_SCR 8
    assert_success
}

@test "commands on machines that are not there: one line" {
    run "$CMD" machine rm "$NAME"
    assert_failure
    assert_output --partial "$NAME"
    run "$CMD" machine dirty "$NAME"
    assert_failure
    run "$CMD" machine reset "$NAME"
    assert_failure
    logged MMIOSHIM_MACHINE=../etc busybox true
    assert_refused MMIOSHIM_MACHINE ../etc
}
