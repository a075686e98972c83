# What the bats files share. Each loads it in setup().
bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
LIB=$ROOT/libmmioshim.so
CMD=$ROOT/mmioshim
MAPS=$ROOT/tests/cases/maps
GUESTS=$ROOT/build/tests/guests
POKE=$GUESTS/a_poke

unset LD_PRELOAD
for variable in $(env | sed -n 's/^\(MMIOSHIM_[A-Z_]*\)=.*/\1/p'); do unset "$variable"; done
export LC_ALL=C
# No core files: the tests end programs by signals.
ulimit -c 0

# shim [VARIABLE=VALUE...] PROGRAM [ARGUMENT...]
shim() {
    env LD_PRELOAD="$LIB" "$@"
}

# The same for `shim_exec ... &`, where $! is the program's own number.
shim_exec() {
    exec env LD_PRELOAD="$LIB" "$@"
}

# logged [VARIABLE=VALUE...] PROGRAM...: `run` with the transcript in $log
logged() {
    log=$BATS_TEST_TMPDIR/log
    run --separate-stderr shim MMIOSHIM_LOG="$log" "$@"
}

# json_logged: the same, as JSON lines
json_logged() {
    logged MMIOSHIM_LOG_FORMAT=json "$@"
}

# Lines of $log (or of the file given) that are no part of the [MEM] block and no stack frames. How dirty pages are
# tracked depends on the kernel.
events() {
    sed '/^\[MEM\]/d; /^ /d; s/^\[DIRTY\] [a-z]*:/[DIRTY] MODE:/' "${1:-$log}"
}

# The same with stacks; their offsets depend on the compiler, so they become +0x.
stacks() {
    sed -E '/^\[MEM\]/d; /^    (at|by) /s/\+0x[0-9a-f]+/+0x/; s/^\[DIRTY\] [a-z]*:/[DIRTY] MODE:/' "${1:-$log}"
}

# Only the accesses.
accesses() {
    grep '^\[MMIO\]' "${1:-$log}" || true
}

# assert_count NUMBER PATTERN [FILE]: so many lines match the extended regular expression
assert_count() {
    local found

    found=$(grep -cE -- "$2" "${3:-$log}") || true
    [ "$found" = "$1" ] && return
    {
        echo "expected $1 lines that match: $2"
        echo "found    $found in ${3:-$log}:"
        grep -v '^\[MEM\]' "${3:-$log}" | head -n 60
    } | fail
}

# Event lines of $log must be those on standard input.
assert_events() {
    assert_equal "$(events "$@")" "$(cat)"
}

# assert_refused PATTERN...: exit status 125, nothing on standard output, one line on standard error with every pattern
assert_refused() {
    [ "$status" = 125 ] || fail "exit status $status, expected 125; standard error: $stderr"
    assert_equal "$output" ""
    [ "${#stderr_lines[@]}" = 1 ] || fail "expected one line on standard error: $stderr"
    for pattern; do
        [[ $stderr =~ $pattern ]] || fail "not in the line: $pattern: $stderr"
    done
}

# The last two lines of a transcript that ended well, once each.
assert_ended() {
    assert_count 1 '^\[DIRTY\] '
    assert_count 1 '^\[EXIT\] '
    assert_equal "$(tail -n 2 "${log}" | cut -d ' ' -f 1 | tr '\n' ' ')" '[DIRTY] [EXIT] '
}

# await FILE: until it is there, for 5 seconds at most
await() {
    for _ in $(seq 500); do
        [ -e "$1" ] && return
        sleep 0.01
    done
    fail "$1 did not appear"
}

# dtb NAME: compiles the source on standard input, prints the path of the blob
dtb() {
    dtc -q -I dts -O dtb -o "$BATS_TEST_TMPDIR/$1.dtb" - && echo "$BATS_TEST_TMPDIR/$1.dtb"
}

# scratch_map: a machine with a scratch window of two pages at 0x10000000 and 1 MB of RAM
scratch_map() {
    dtb scratch <<'END'
/dts-v1/;
/ {
	#address-cells = <1>;
	#size-cells = <1>;
	memory@80000000 { device_type = "memory"; reg = <0x80000000 0x100000>; };
	scratch@10000000 { compatible = "mmioshim,scratch"; reg = <0x10000000 0x2000>; };
};
END
}

# dirty_pages FILE: numbers of the dirty pages in the bitmap file, read by the rules of its header alone
dirty_pages() {
    python3 - "$1" <<'END'
import struct, sys
data = open(sys.argv[1], 'rb').read()
magic, version, page, banks, reserved, size = struct.unpack_from('<8sIIIIQ', data)
assert (magic, version, page, reserved, size) == (b'MMIODIRT', 1, 4096, 0, len(data)), 'header'
found = []
for i in range(banks):
    base, length, offset, name = struct.unpack_from('<QQQ64s', data, 32 + 88 * i)
    for n in range(length // page):
        if data[offset + n // 8] >> (n % 8) & 1:
            found.append('%#x' % (base + n * page))
print(' '.join(found))
END
}
