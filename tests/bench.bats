#!/usr/bin/env bats
# The benchmarks run, and their tables are whole. Nothing about the times is asserted.

setup() {
    load common
    cd "$ROOT"
    out=$BATS_TEST_TMPDIR
}

# once SCRIPT: one round of short samples, into $out
once() {
    run --separate-stderr env -u BEFORE OUT="$out" ROUNDS=1 SAMPLES=1 SAMPLE_US=20 python3 -B "tests/bench/$1"
    [ "$status" = 0 ] || fail "exit status $status: $stderr"
}

# check_table FILE: prints the names of all rows with their groups; each row is in $output, and its figures agree
check_table() {
    printf '%s\n' "$output" > "$out/table"
    python3 -B - "$1" "$out/table" <<'END'
import json, math, sys
content = json.load(open(sys.argv[1]))
lines = open(sys.argv[2]).read().splitlines()
assert set(content['machine']) == {'cpu', 'cpus', 'kernel', 'compiler', 'date'} and all(content['machine'].values())
work = {'ratio': lambda v, b: v / b, 'times': lambda v, b: b / v, 'difference': lambda v, b: v - b,
        'alone': lambda v, b: v}
assert len({(row['group'], row['name']) for row in content['rows']}) == len(content['rows'])
at = 0
for row in content['rows']:
    shown = [n for n in range(at, len(lines)) if '  ' + row['name'] + '  ' in lines[n] + '  ']
    assert shown, 'not in the table, or not in its place: %s' % row['name']
    at = shown[0] + 1
    if row.get('skipped'):
        assert row['note'] and row['ratio'] is None and row['note'] in lines[shown[0]], row
        print('%s: %s: skipped' % (row['group'], row['name']))
        continue
    assert row['median'] >= row['min'] > 0 and (row['base'] is None or row['base_median'] >= row['base_min'] > 0), row
    assert math.isclose(row['ratio'], work[row['kind']](row['median'], row['base_median'])), row
    assert math.isclose(row['ratio_min'], work[row['kind']](row['min'], row['base_min'])), row
    assert (row['met'] is None) == (row['aim'] is None), row
    print('%s: %s' % (row['group'], row['name']))
END
}

@test "make bench: all rows are there, in the table and in the file" {
    make -s -f tests/bench/Makefile CC="${CC:-cc}" all
    once bench.py
    check_table "$out/bench.json" > "$out/rows"
    diff "$ROOT/tests/cases/bench.rows" <(sed 's/: skipped$//' "$out/rows")
    # What may be missing on some machine: KVM, wide vectors, the kernel's write protection, and what is built into the library later.
    run grep -vE 'KVM|uffd|AVX|masked|gather|scatter|, ring, |^A patch: |^Sites of ' <(grep ': skipped$' "$out/rows")
    assert_output ""
}

@test "make bench: a program that cannot run is a reason in its rows, and no others" {
    make -s -f tests/bench/Makefile CC="${CC:-cc}" all
    run --separate-stderr python3 -B - <<'END'
import sys
sys.path.insert(0, 'tests/bench')
from run import LIBRARY, Program, run_all
from table import Row, work_out
programs = [Program('bad', ['access', 'no-such-address', 'no-such-family']), Program('good', ['start', 'resident']),
            Program('refused', ['start', 'resident'], LIBRARY, MMIOSHIM_LOG_FORMAT='nonsense')]
samples, reasons = run_all(programs, 3)
for name in 'bad', 'good', 'refused':
    row = work_out('', Row(name, name + '/resident', kind='alone'), samples, reasons)
    print(name, len(samples.get(name + '/resident', [])), row['note'])
END
    [ "$status" = 0 ] || fail "$stderr"
    assert_line --index 0 'bad 0 exit status 2'
    assert_line --index 1 'good 3 '
    assert_line --index 2 --regexp '^refused 0 mmioshim: MMIOSHIM_LOG_FORMAT=nonsense: '
}

@test "make bench: aims, break-even and ways to write a ratio" {
    run --separate-stderr python3 -B - <<'END'
import sys
sys.path.insert(0, 'tests/bench')
from bench import break_even, patch_figures
from table import Row, text_row, work_out
print(break_even([10] * 5, [10, 30, 1, 1, 1]), break_even([10] * 3, [10, 30, 1]), break_even([10] * 3, [1, 1, 1]))
samples = {'fresh-off/accesses': [[10] * 8] * 3, 'fresh-on/accesses': [[10, 10, 40, 1, 1, 1, 1, 1]] * 3}
print(repr(patch_figures(samples)), samples['fresh-on/patch'], samples['fresh-on/number'], samples['fresh-on/break-even'])
print(patch_figures({'fresh-off/accesses': [[10] * 8], 'fresh-on/accesses': [[9] * 8]}))
for aim in ('<=', 1 / 100), ('<=', 1 / 300), ('<=', 1 / 500):
    row = Row('row', 'a', 'b', aim=aim)
    print(' '.join(text_row(work_out('', row, {'a': [5, 2.5], 'b': [1000, 1000]}, {}), aim).split()))
row = Row('row', 'a', 'b', 'times', aim=('>=', 400))
print(' '.join(text_row(work_out('', row, {'a': [10], 'b': [1000]}, {}), row.aim).split()))
END
    [ "$status" = 0 ] || fail "$stderr"
    # 10+30+1+1+1 is less than 50 from the fifth access on.
    assert_line --index 0 '5 None 1'
    assert_line --index 1 "'' [30] [3] [7]"
    assert_line --index 2 'not patched within 8 accesses'
    assert_line --index 3 '1/266.7 1/400 row 3.75 / 1000 ns <= 1/100 met'
    assert_line --index 4 '1/266.7 1/400 row 3.75 / 1000 ns <= 1/300 met by minima'
    assert_line --index 5 '1/266.7 1/400 row 3.75 / 1000 ns <= 1/500 above'
    assert_line --index 6 '100x 100x row 10 / 1000 ns >= 400x below'
}

@test "make bench-peers: all rows are there; a peer that is not installed says so" {
    make -s -f tests/bench/Makefile CC="${CC:-cc}" peers
    once peers.py
    check_table "$out/peers.json" > "$out/rows"
    assert_equal "$(wc -l < "$out/rows")" 20
    # Only a peer that is not here may be missing.
    here=$([ ! -x build/bench/peers/unicorn ] || echo Unicorn; ! command -v qemu-system-x86_64 > /dev/null || echo QEMU)
    for peer in Unicorn QEMU; do
        wanted=3
        [ $peer != QEMU ] || wanted=7
        grep -qx $peer <<< "$here" || wanted=0
        assert_count $wanted "$peer[^:]*(: [^:]*)?$" <(grep -v ': skipped$\|QEMU KVM' "$out/rows")
    done
    assert_count 4 'QEMU KVM' "$out/rows" # whose KVM may be none, or emulate the guest
    assert_count 2 'device register$|under the library$' <(grep -v 'QEMU\|: skipped$' "$out/rows")
    assert_count 4 'under the library: ' <(grep -v ': skipped$' "$out/rows")
}
