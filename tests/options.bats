#!/usr/bin/env bats
# Configuration: every variable is checked before main, every variable is an option of `mmioshim run`.

setup() {
    load common
}

refused() { # VARIABLE VALUE PATTERN...
    local variable=$1 value=$2

    shift 2
    run --separate-stderr shim "$variable=$value" "$POKE" puts:ran
    assert_refused "^mmioshim: $variable=" "$@"
    [[ $stderr == *"$variable=$value: "* ]] || fail "the value is not named: $stderr"
}

@test "an unknown variable: refused, the known ones are listed" {
    run --separate-stderr shim MMIOSHIM_LOGS=x "$POKE" puts:ran
    assert_refused '^mmioshim: MMIOSHIM_LOGS=x: unknown variable'
    for variable in MAP ATTACH LOAD MACHINE LOG LOG_FORMAT LOG_SHOW LOG_FILTER LOG_FOLD BACKTRACE DIRTY DIRTY_MODE PATCH LINT \
        UNASSIGNED CLOCK PLUGIN OVERLAY DEBUG; do
        [[ " $stderr " == *" MMIOSHIM_$variable "* ]] || fail "MMIOSHIM_$variable is not listed: $stderr"
    done
}

@test "bad words: variable, value and what is allowed" {
    refused MMIOSHIM_LOG_FORMAT xml 'allowed: text\|json'
    refused MMIOSHIM_DIRTY_MODE maybe 'allowed: auto\|uffd\|mprotect\|off'
    refused MMIOSHIM_LINT yes 'allowed: on\|off\|error'
    refused MMIOSHIM_UNASSIGNED nothing 'allowed: ones\|zero\|fault'
    refused MMIOSHIM_PATCH maybe 'allowed: on\|off'
    refused MMIOSHIM_LOG_SHOW time,colour 'allowed: time\|pid\|insn'
}

@test "bad numbers" {
    for value in -1 65 9999999999999999999999 eight 8frames 0x; do
        refused MMIOSHIM_BACKTRACE "$value" 'allowed: 0-64'
    done
    for value in 0 64 0x10; do
        logged MMIOSHIM_BACKTRACE=$value "$POKE" puts:ran
        assert_success
        assert_output ran
    done
}

@test "bad filters" {
    refused MMIOSHIM_LOG_FILTER 'op=both' 'read' 'write'
    refused MMIOSHIM_LOG_FILTER 'colour=red' 'device' 'op' 'addr'
    refused MMIOSHIM_LOG_FILTER 'addr=0x20-0x10'
    refused MMIOSHIM_LOG_FILTER 'addr=zz'
    refused MMIOSHIM_LOG_FILTER 'device='
    refused MMIOSHIM_LOG_FILTER 'op=read,op=write'
}

@test "bad attachments" {
    refused MMIOSHIM_ATTACH uart 'allowed:'
    refused MMIOSHIM_ATTACH 'nosuch@0=null' 'nosuch@0'
    refused MMIOSHIM_ATTACH 'uart@10000000=teapot' 'teapot'
    refused MMIOSHIM_ATTACH 'uart@10000000=file:/nonexistent/x'
}

@test "bad names, paths, debug domains" {
    refused MMIOSHIM_MACHINE '../escape' 'allowed:'
    refused MMIOSHIM_MACHINE 'a b' 'allowed:'
    refused MMIOSHIM_LOG '/tmp/%d' '%'
    refused MMIOSHIM_CLOCK fast 'allowed: real.virtual'
    refused MMIOSHIM_DEBUG 'nosuch:1' 'trap' 'proc'
    refused MMIOSHIM_DEBUG 'trap:99' 'allowed'
}

@test "features that are not built yet take their default only" {
    refused MMIOSHIM_PLUGIN ./x.so 'allowed: none'
    run --separate-stderr shim MMIOSHIM_LOG_FOLD=off MMIOSHIM_CLOCK=real MMIOSHIM_PLUGIN=none MMIOSHIM_OVERLAY=none \
        MMIOSHIM_PATCH=off "$POKE" puts:ran
    assert_success
    assert_output ran
}

@test "a very long and a binary value: still one line" {
    long=$(head -c 9000 /dev/zero | tr '\0' x)
    run --separate-stderr shim MMIOSHIM_LOG_FORMAT="$long" "$POKE" puts:ran
    assert_refused '^mmioshim: MMIOSHIM_LOG_FORMAT=xxxx' 'allowed: text'
    run --separate-stderr shim MMIOSHIM_LOG_FORMAT=$'two\nlines\033[31m' "$POKE" puts:ran
    assert_refused '^mmioshim: MMIOSHIM_LOG_FORMAT=two'
}

@test "an empty value is the default" {
    logged MMIOSHIM_LOG_FORMAT= MMIOSHIM_MAP= MMIOSHIM_BACKTRACE= MMIOSHIM_DIRTY= "$POKE" w1:0x10000007=1
    assert_success
    assert_count 1 '^\[MMIO\]'
    assert_count 1 '^    by main\+'
}

# The lines of MMIOSHIM_DEBUG=sys:1 for the C library and the loader, without the way in which their sites were found.
sites_of() {
    run --separate-stderr env LD_PRELOAD="$1" MMIOSHIM_DEBUG=sys:1 /bin/true
    assert_success
    grep -E '/(libc|ld-linux)[^/]*: ' <<< "$stderr" | sed "s/ ($2), /, /"
}

@test "sites that are known from the build are those that a search finds" {
    local file id

    sites_of "$LIB" known > "$BATS_TEST_TMPDIR/known"
    assert_count 2 'sys: /[^ ]*: [0-9]+ system calls, [0-9]+ of interest, [0-9]+ rewritten$' "$BATS_TEST_TMPDIR/known"
    # The same library, made for another build of both.
    cp "$LIB" "$BATS_TEST_TMPDIR/other.so"
    for file in $(ldd /bin/true | grep -o '/[^ ]*'); do
        id=$(readelf -n "$file" | sed -n 's/.*Build ID: //p')
        run python3 -c 'import sys
old, path = bytes.fromhex(sys.argv[1]), sys.argv[2]
data = open(path, "rb").read()
print(data.count(old))
open(path, "wb").write(data.replace(old, bytes(20)))' "$id" "$BATS_TEST_TMPDIR/other.so"
        assert_output 1
    done
    sites_of "$BATS_TEST_TMPDIR/other.so" searched > "$BATS_TEST_TMPDIR/searched"
    run diff "$BATS_TEST_TMPDIR/known" "$BATS_TEST_TMPDIR/searched"
    assert_success
}

@test "MMIOSHIM_DEBUG speaks on standard error, the program's output stays clean" {
    log=$BATS_TEST_TMPDIR/log
    run --separate-stderr shim MMIOSHIM_LOG="$log" MMIOSHIM_DEBUG=map:1,proc:2 "$POKE" puts:ran
    assert_success
    assert_output ran
    [[ $stderr == "mmioshim: "* ]]
    run --separate-stderr shim MMIOSHIM_LOG="$log" MMIOSHIM_DEBUG=proc:0 "$POKE" puts:ran
    assert_success
    assert_equal "$stderr" ""
}

# --- the options of `mmioshim run` are the variables ---

@test "every variable has its option, its values and its default in run --help" {
    run --separate-stderr "$CMD" run --help
    assert_success
    found=0
    while IFS='"' read -r _ variable _ option type default _ values _; do
        [[ $output == *"--$option=VALUE"* ]] || fail "--$option is not in the help"
        [[ $output == *"$values"* ]] || fail "the values of --$option are not in the help: $values"
        found=$((found + 1))
    done < <(sed -n 's/^OPTION([A-Z_]*, \("[^"]*"\), \("[^"]*"\), \([A-Z]*\), \("[^"]*"\), \("[^"]*"\),.*/\1 \2 \3 \4 \5/p' \
        "$ROOT/preload/config/options.def")
    assert_equal "$found" "$(grep -c '^OPTION(' "$ROOT/preload/config/options.def")"
}

@test "every option sets its variable, in all four spellings" {
    sees() { # VARIABLE OPTION VALUE
        for words in "--$2=$3" "--$2 $3"; do
            run --separate-stderr "$CMD" run $words env
            assert_success
            assert_line "MMIOSHIM_$1=$3"
        done
    }
    sees MAP map virt-low
    sees ATTACH attach uart@10000000=null
    sees LOG log none
    sees LOG_FORMAT log-format json
    sees LOG_SHOW log-show pid,insn
    sees LOG_FILTER log-filter op=read
    sees LOG_FOLD log-fold off
    sees BACKTRACE backtrace 3
    sees DIRTY_MODE dirty-mode off
    sees PATCH patch off
    sees LINT lint error
    sees UNASSIGNED unassigned zero
    sees CLOCK clock real
    sees PLUGIN plugin none
    sees OVERLAY overlay none
    sees DEBUG debug proc:0
    echo x > "$BATS_TEST_TMPDIR/load"
    sees LOAD load "$BATS_TEST_TMPDIR/load@0x80000000"
    sees DIRTY dirty "$BATS_TEST_TMPDIR/dirty"
    run --separate-stderr "$CMD" run -mvirt-low -o none -a uart@20000000=null "$POKE" puts:ran
    assert_refused 'uart@20000000'
    run --separate-stderr "$CMD" run -m virt-low -onone -auart@10000000=null -l "$BATS_TEST_TMPDIR/load@0x20000000" "$POKE" r1:0x20000000
    assert_success
    assert_output 0x78
}

@test "an option gives the same transcript as its variable" {
    words="w1:0x10000007=1 r4:0x10001234 w4:0x80000000=1"
    log=$BATS_TEST_TMPDIR/log
    logged MMIOSHIM_LOG_FORMAT=json MMIOSHIM_BACKTRACE=2 MMIOSHIM_UNASSIGNED=zero MMIOSHIM_LINT=off "$POKE" $words
    assert_success
    mv "$log" "$log.variable"
    run --separate-stderr "$CMD" run --log "$log" --log-format json --backtrace 2 --unassigned zero --lint off -- "$POKE" $words
    assert_success
    cmp "$log" "$log.variable"
}

@test "options win over the environment; lists grow; what follows -- is the program" {
    run --separate-stderr env MMIOSHIM_LOG=none MMIOSHIM_BACKTRACE=4 "$CMD" run --backtrace 5 -- env
    assert_line MMIOSHIM_BACKTRACE=5
    assert_line MMIOSHIM_LOG=none
    run --separate-stderr "$CMD" run -o none -a uart@10000000=null -a rtc@101000=null env
    [[ $output == *'MMIOSHIM_ATTACH=uart@10000000=null;rtc@101000=null'* || $stderr == *rtc@101000* ]]
    run --separate-stderr "$CMD" run -o none "$POKE" puts:--log puts:-m
    assert_success
    assert_output "$(printf -- '--log\n-m')"
}

@test "a bad value of an option: 125 and the line of the variable" {
    run --separate-stderr "$CMD" run --log-format xml "$POKE" puts:ran
    assert_refused 'MMIOSHIM_LOG_FORMAT=xml' 'allowed: text\|json'
    run --separate-stderr "$CMD" run --nosuch x "$POKE" puts:ran
    assert_refused "unknown option '--nosuch'" '--log-format'
    run --separate-stderr "$CMD" run --backtrace
    assert_refused 'needs a value'
    run --separate-stderr "$CMD" run -o none
    assert_refused 'no program'
}
