#!/usr/bin/env bats
# mmioshim trace: transcripts of every kind, converted, counted and summed up.

setup() {
    load common
    dir=$BATS_TEST_TMPDIR
}

WORDS='w1:0x10000000=0x41 loop:5 r1:0x10000005 r4:0x10001234 w1:0x10000001=2 w1:0x10000001=0 w4:0x10001000=1
    w1:0x80000000=1 r8:0x10001000 v32:0x10001000=4 fork r1:0x10000005 w4:0x40000=1 join r4:0x101004'

# record [VARIABLE=VALUE...] PROGRAM...: the same run as $dir/t.ring, $dir/t.text and $dir/t.json
record() {
    local format

    for format in ring text json; do
        shim MMIOSHIM_LOG="$dir/t.$format" MMIOSHIM_LOG_FORMAT=$format "$@" > /dev/null < /dev/null || true
    done
}

convert() {
    "$CMD" trace convert "$@"
}

# --- mmiotrace ---

# Every line is one of the format's, its mappings were made before, its times do not go back; how many there are of each.
check_mmiotrace() {
    python3 - "$1" <<'END'
import re, sys
counts, mapped, last = {}, {}, 0.0
lines = open(sys.argv[1]).read().split('\n')
assert lines[0] == 'VERSION 20070824' and lines.pop() == ''
for line in lines[1:]:
    assert len(line) < 1024
    word = line.split(' ')[0]
    counts[word] = counts.get(word, 0) + 1
    time = r'(\d+\.\d{6})'
    if word in 'RW':
        m = re.fullmatch(r'[RW] ([1-8]) %s (\d+) (0x[0-9a-f]+) (0x[0-9a-f]+) (0x[0-9a-f]+) (\d+)' % time, line)
        assert m, line
        base, size = mapped[m[3]]
        assert base <= int(m[4], 16) < base + size and int(m[5], 16) < 1 << 8 * int(m[1]) and int(m[7]) > 1, line
        stamp = m[2]
    elif word == 'MAP':
        m = re.fullmatch(r'MAP %s (\d+) (0x[0-9a-f]+) (0x[0-9a-f]+) (0x[0-9a-f]+) 0x[0-9a-f]+ \d+' % time, line)
        assert m and m[2] not in mapped and m[2] != '0', line
        mapped[m[2]] = (int(m[3], 16), int(m[5], 16))
        stamp = m[1]
    else:
        m = re.fullmatch(r'MARK %s .+' % time, line)
        assert m, line
        stamp = m[1]
    assert float(stamp) >= last, line
    last = float(stamp)
print(' '.join('%s=%d' % (k, counts[k]) for k in sorted(counts)))
END
}

@test "mmiotrace: the kernel's grammar; wide accesses in pieces; stacks, findings and interrupts are marks" {
    record "$POKE" $WORDS
    convert -t mmiotrace -o "$dir/made" "$dir/t.ring"
    run check_mmiotrace "$dir/made"
    assert_success
    # 14 accesses, one of them in four pieces; 14 stacks, 3 findings, 2 interrupts, a fault, [DIRTY], [EXIT]
    assert_output 'MAP=13 MARK=22 R=9 W=8'
    log=$dir/made
    assert_count 1 '^W 8 [0-9.]+ 6 0x10001018 0x232221201f1e1d1c 0x[0-9a-f]+ [0-9]+$'
    assert_equal "$(awk '$1 == "W" && $2 == 8 { print $3 }' "$log" | uniq | wc -l)" 1
    assert_count 1 '^MARK [0-9.]+ stack of #1 at store\+0x[0-9a-f]+ \(a_poke\) by do_word.* by main\+0x[0-9a-f]+ \(a_poke\)$'
    assert_count 1 '^MARK [0-9.]+ \[IRQ\] uart@10000000 10 raised$'
    assert_count 1 '^MARK [0-9.]+ \[LINT\] wide-access #11 '
    assert_count 1 '^MARK [0-9.]+ \[FAULT\] write4 0x40000 unmapped'
    assert_count 1 '^MARK [0-9.]+ \[EXIT\] 14 accesses '
}

@test "mmiotrace written live is the same, but for the time, the place in memory and the process" {
    record "$POKE" $WORDS
    shim MMIOSHIM_LOG="$dir/live" MMIOSHIM_LOG_FORMAT=mmiotrace "$POKE" $WORDS > /dev/null
    run check_mmiotrace "$dir/live"
    assert_output 'MAP=13 MARK=22 R=9 W=8'
    convert -t mmiotrace -o "$dir/made" "$dir/t.ring"
    for file in live made; do
        sed -E 's/[0-9]+\.[0-9]{6}/T/; s/^([RW] .*) 0x[0-9a-f]+ [0-9]+$/\1/' "$dir/$file" > "$dir/$file.plain"
    done
    cmp "$dir/live.plain" "$dir/made.plain"
}

@test "mmiotrace: ports and marks of programs are marks" {
    dtc -q -I dts -O dtb -o "$dir/ports.dtb" "$ROOT/tests/guests/c_ports.dts"
    record MMIOSHIM_MAP="$dir/ports.dtb" "$GUESTS/c_ports" outb:0x3f8=0x41 inb:0x90
    convert -t mmiotrace -o "$dir/made" "$dir/t.ring"
    check_mmiotrace "$dir/made"
    log=$dir/made
    assert_count 0 '^[RW] '
    assert_count 2 '^MARK [0-9.]+ \[PORT\] trap at 0x'
    record "$GUESTS/a_client"
    convert -t mmiotrace -o "$dir/made" "$dir/t.ring"
    check_mmiotrace "$dir/made"
    assert_count 1 '^MARK [0-9.]+ \[MARK\] two\\nlines$'
}

# --- Chrome ---

@test "Chrome: one JSON object; tracks, times, flows, frames" {
    record "$POKE" $WORDS
    convert -t chrome -o "$dir/made" "$dir/t.ring"
    python3 -m json.tool "$dir/made" > /dev/null
    run python3 - "$dir/made" <<'END'
import json, sys
trace = json.load(open(sys.argv[1]))
assert trace['displayTimeUnit'] == 'ns' and set(trace) == {'displayTimeUnit', 'traceEvents', 'stackFrames', 'otherData'}
frames = trace['stackFrames']
for frame in frames.values():
    assert set(frame) <= {'name', 'category', 'parent'} and frame.get('parent', '1') in frames

def chain(number):
    names = []
    while number:
        names.append(frames[number]['name'].split('+')[0])
        number = frames[number].get('parent')
    return names

named, slices, flows, counts = set(), {}, {}, {}
for e in trace['traceEvents']:
    counts[e['ph']] = counts.get(e['ph'], 0) + 1
    track = (e['pid'], e['tid'])
    if e['ph'] == 'M':
        assert e['name'] in ('process_name', 'thread_name') and e['args']['name']
        named.add(track)
        continue
    assert isinstance(e['ts'], float) and e['ts'] >= 0
    if e['ph'] != 'C':
        assert track in named, track
    if e['ph'] == 'X':
        assert e['ts'] >= slices.get(track, 0), 'slices overlap'
        slices[track] = e['ts'] + e['dur']
        assert all(isinstance(e['args'][k], str) for k in ('seq', 'addr', 'value', 'pc'))
        assert chain(str(e['sf']))[-2:] == ['do_word', 'main'], chain(str(e['sf']))
    if e['ph'] == 'i':
        assert e['s'] == 't'
    if e['ph'] in 'sf':
        flows.setdefault(e['id'], []).append((e['ph'], e['ts'], track))
assert len(slices) == 2
for (s, f) in flows.values():
    assert s[0] == 's' and f[0] == 'f' and s[1] <= f[1] and s[2] != f[2]
assert len({(f['name'], f.get('parent')) for f in frames.values()}) == len(frames)
assert trace['otherData']['accesses'] == '14'
print(' '.join('%s=%d' % (k, counts[k]) for k in sorted(counts)))
END
    assert_success
    # 13 devices and two processes of one thread have names
    assert_output 'C=1 M=18 X=14 f=1 i=6 s=1'
}

# --- VCD ---

@test "VCD: read by its grammar; registers have the values of the program" {
    record "$POKE" $WORDS
    convert -t vcd -o "$dir/made" "$dir/t.ring"
    run python3 "$ROOT/tests/vcd.py" "$dir/made" uart_10000000.THR uart_10000000.LSR uart_10000000.IER uart_10000000.irq \
        uart_10000000.wr
    assert_success
    assert_output --partial 'uart_10000000.THR 01000001
uart_10000000.LSR 01100000
uart_10000000.IER 00000010 00000000
uart_10000000.irq 1 0
uart_10000000.wr 1 0 1 0 1 0'
}

# --- lines as input ---

@test "text and JSON lines come out of their own readers as they were" {
    record "$POKE" $WORDS
    convert "$dir/t.text" | cmp - "$dir/t.text"
    convert -t json "$dir/t.json" | cmp - "$dir/t.json"
    shim MMIOSHIM_LOG="$dir/shown" MMIOSHIM_LOG_SHOW=time,pid,insn "$POKE" $WORDS > /dev/null
    convert --show time,pid,insn "$dir/shown" | cmp - "$dir/shown"
    record "$GUESTS/a_client"
    convert "$dir/t.text" | cmp - "$dir/t.text"
    convert -t json "$dir/t.json" | cmp - "$dir/t.json"
    record MMIOSHIM_MAP="$(scratch_map)" "$POKE" v64:0x10000080=3 r8:0x10000ffc crash:0x30000000
    convert "$dir/t.text" | cmp - "$dir/t.text"
    convert -t json "$dir/t.json" | cmp - "$dir/t.json"
}

@test "JSON lines become the text of the same run, but for what a fault was near" {
    record "$POKE" $WORDS
    convert "$dir/t.json" > "$dir/made"
    sed 's/^\(\[FAULT\] [^ ]* [^ ]*\) .*/\1/' "$dir/t.text" | cmp - "$dir/made"
}

@test "text becomes JSON lines as far as it says what they need" {
    record "$POKE" $WORDS
    convert -t json "$dir/t.text" > "$dir/made"
    sed -E 's/"pid":[0-9]+,"tid":[0-9]+,"insn":"[^"]*","pc":"[^"]*"/"pid":0,"tid":0,"insn":"","pc":"?"/
        s/^(\{"type":"fault".*"pc":")[^"]*/\1?/' "$dir/t.json" | cmp - "$dir/made"
}

@test "what a program wrote between the lines is left out" {
    { echo hello; shim "$POKE" w1:0x10000007=1 r1:0x10000007 2>&1 > /dev/null | sed "/by main/a between"; } > "$dir/mixed"
    grep -q between "$dir/mixed"
    convert "$dir/mixed" > "$dir/made"
    grep -vE 'hello|between' "$dir/mixed" | cmp - "$dir/made"
}

@test "formats that need times: refused for lines that have none, in one line; made where they have" {
    record "$POKE" w1:0x10000007=1
    for format in mmiotrace chrome vcd; do
        for input in text json; do
            run --separate-stderr convert -t $format "$dir/t.$input"
            assert_failure 1
            assert_equal "$output" ''
            assert_equal "${#stderr_lines[@]}" 1
            [[ $stderr == "mmioshim trace: $dir/t.$input: $format needs times,"* ]]
        done
    done
    shim MMIOSHIM_LOG="$dir/timed" MMIOSHIM_LOG_FORMAT=json MMIOSHIM_LOG_SHOW=time "$POKE" w1:0x10000007=1 r1:0x10000007
    convert -t vcd -o "$dir/made" "$dir/timed"
    run python3 "$ROOT/tests/vcd.py" "$dir/made" uart_10000000.SCR
    assert_output '4 variables, 5 changes
uart_10000000.SCR 00000001'
}

# --- stats and report ---

@test "stats: accesses by device, register and place, findings, what was lost; the same from every kind" {
    record "$POKE" $WORDS
    run "$CMD" trace stats "$dir/t.ring"
    assert_success
    assert_line --index 0 '14 accesses (9 reads, 5 writes)'
    assert_line --index 1 '3 lint, 3 other events, 0 lost'
    assert_line --index 2 'numbers #1 to #14, of which 0 are not here'
    assert_line --index 3 'uart@10000000: 9 accesses (6 reads, 3 writes)'
    assert_line --index 4 '    LSR 6 reads, 0 writes'
    assert_line '    +0x234 1 reads, 0 writes'
    assert_line --regexp '^    a_poke\+0x[0-9a-f]+ 6 uart@10000000 LSR read$'
    assert_line '    wide-access 2'
    "$CMD" trace stats "$dir/t.json" | cmp - <(printf '%s\n' "${lines[@]}")
    # text does not say where the instruction is
    "$CMD" trace stats "$dir/t.text" | sed '/^places:/,/^lint:/d' | cmp - <(printf '%s\n' "${lines[@]}" | sed '/^places:/,/^lint:/d')
    run python3 - <("$CMD" trace stats --json "$dir/t.ring") <<'END'
import json, sys
s = json.load(open(sys.argv[1]))
assert (s['accesses'], s['reads'], s['writes'], s['lint'], s['lost']) == (14, 9, 5, 3, 0)
uart = s['devices'][0]
assert uart['device'] == 'uart@10000000' and uart['reads'] == 6 and uart['writes'] == 3
assert uart['registers'][0] == {'register': 'LSR', 'reads': 6, 'writes': 0}
assert sum(p['reads'] + p['writes'] for p in s['places']) == 14
END
    assert_success
}

@test "report: call stacks, polls and findings" {
    record "$POKE" $WORDS
    for kind in ring text json; do
        run "$CMD" trace report "$dir/t.$kind"
        assert_success
        assert_line --partial ', 14 accesses (9 reads, 5 writes), 3 lint, 3 other events, 0 lost'
        assert_line '    uart@10000000 64 % (6 reads, 3 writes): LSR 6, IER 2, THR 1'
        assert_line '  6 accesses (6 reads, 0 writes), the first to uart@10000000 LSR #2'
        assert_line --regexp '^    at load\+0x'
        assert_line --regexp '^  5 times uart@10000000 LSR was 0x60, from #2'
        assert_line '    wide-access 2, the first #11 virtio_mmio@10001000'
    done
}

# --- what is refused, and what is damaged ---

# fails_with STATUS PATTERN...: nothing on standard output, one line on standard error
fails_with() {
    [ "$status" = "$1" ] || fail "exit status $status, expected $1: $stderr"
    assert_equal "${#stderr_lines[@]}" 1
    shift
    for pattern; do
        [[ $stderr =~ $pattern ]] || fail "not in the line: $pattern: $stderr"
    done
}

@test "bad usage, unknown formats, files that are none: one line" {
    record "$POKE" w1:0x10000007=1
    run --separate-stderr convert -t xml "$dir/t.ring"
    fails_with 125 "unknown format 'xml'" 'text json mmiotrace chrome vcd'
    run --separate-stderr convert --show cpu "$dir/t.ring"
    fails_with 125 '--show=cpu: unknown word' 'time'
    run --separate-stderr convert
    fails_with 125 'usage:'
    run --separate-stderr convert --nosuch "$dir/t.ring"
    fails_with 125 "unknown option '--nosuch'"
    run --separate-stderr "$CMD" trace nosuch
    fails_with 125 "unknown verb 'nosuch'; known: convert, stats, report"
    for verb in convert stats report; do
        run --separate-stderr "$CMD" trace $verb "$dir/nosuch"
        fails_with 1 'No such file'
        run --separate-stderr "$CMD" trace $verb "$dir"
        fails_with 1 'Is a directory'
        run --separate-stderr "$CMD" trace $verb "$LIB"
        fails_with 1 'no transcript'
        run --separate-stderr "$CMD" trace $verb --help
        assert_success
        assert_output --partial "Usage: mmioshim trace $verb"
    done
    run --separate-stderr convert -o "$dir/t.ring" "$dir/t.ring"
    fails_with 1 'is the transcript itself'
    run --separate-stderr convert -o /nosuch/file "$dir/t.ring"
    fails_with 1 '/nosuch/file'
    run --separate-stderr convert -o /dev/full "$dir/t.ring"
    fails_with 1 '/dev/full: No space left'
    convert "$dir/t.ring" | cmp - "$dir/t.text"
}

@test "cut off anywhere: what is there is shown, and one line says that something is missing" {
    record "$POKE" loop:200 r1:0x10000005
    size=$(stat -c %s "$dir/t.ring")
    for n in 1 8 100 160 4095 4096 5000 8192 $((size - 5000)) $((size - 1)); do
        head -c $n "$dir/t.ring" > "$dir/cut"
        run --separate-stderr convert "$dir/cut"
        fails_with 1 "$dir/cut: "
    done
    # the last cut left nearly all
    [ "$(grep -c '^\[MMIO\]' <<< "$output")" -ge 190 ]
}

@test "another version, another place for a segment, a record without an end: one line, no crash" {
    record "$POKE" loop:200 r1:0x10000005
    cp "$dir/t.ring" "$dir/bad"
    printf '\x63' | dd of="$dir/bad" bs=1 seek=8 conv=notrunc status=none
    run --separate-stderr convert "$dir/bad"
    fails_with 1 'version 99; this is for version 1'
    # the word of the second record of the first segment, whose place is that of its head
    cp "$dir/t.ring" "$dir/bad"
    at=$(grep -abo RINGSGMT "$dir/bad" | head -n 1 | cut -d : -f 1)
    printf '\xff\xff' | dd of="$dir/bad" bs=1 seek=$((at + 64 + 2)) conv=notrunc status=none
    run --separate-stderr convert "$dir/bad"
    fails_with 1 'damaged: the length of a record'
    printf 'MMIORING' > "$dir/bad"
    run --separate-stderr convert "$dir/bad"
    fails_with 1 'no binary transcript'
}

@test "standard input; an empty file is an empty transcript" {
    record "$POKE" w1:0x10000007=1 r1:0x10000007
    convert - < "$dir/t.ring" | cmp - "$dir/t.text"
    cat "$dir/t.ring" | convert - | cmp - "$dir/t.text"
    : > "$dir/empty"
    run --separate-stderr convert "$dir/empty"
    assert_success
    assert_output ''
    assert_equal "$stderr" ''
    run --separate-stderr "$CMD" trace stats "$dir/empty"
    assert_success
    assert_line --index 0 '0 accesses (0 reads, 0 writes)'
}
