#!/bin/sh
# Runs every test, and ends with the line "N passed, N failed, N skipped". Called by `make test` after the build.
#   tests/run.sh [unit|static|cases|fuzz|diff|bats|all|FILE.bats]...
set -u
cd "$(dirname "$0")/.."
# Tests begin with an empty standard input, however this is started.
exec < /dev/null
CC=${CC:-cc}
B=build/tests
# How many test programs, and how many files of bats, run at once.
JOBS=${JOBS:-$(nproc)}
mkdir -p "$B"
log=$B/log
: > "$log"

# TAP of one test program or file: shown where something fails, counted always.
collect() {
    name=$1
    shift
    "$@" > "$B/out" 2>&1
    count "$name" "$?" "$B/out"
}

# count NAME STATUS OUTPUT
count() {
    name=$1
    status=$2
    out=$3
    passed=$(grep -c '^ok ' "$out")
    skipped=$(grep -c '^ok .*# skip' "$out")
    failed=$(grep -c '^not ok ' "$out")
    plan=$(sed -n 's/^1\.\.\([0-9]*\)$/\1/p' "$out" | head -n 1)
    # A program that dies, or says less than it planned, has failed.
    if [ "$failed" = 0 ] && { [ "$status" != 0 ] || [ "${plan:-none}" != "$passed" ]; }; then
        failed=1
    fi
    echo "$((passed - skipped)) $failed $skipped" >> "$log"
    if [ "$failed" != 0 ]; then
        echo "--- $name (exit status $status)"
        cat "$out"
    else
        grep '^ok .*# skip' "$out" | sed "s|^|    $name: |"
    fi
    echo "$name: $((passed - skipped)) passed, $failed failed, $skipped skipped"
}

# Several at once: collect_all KIND SUFFIX COMMAND [ARGUMENT...] -- FILE...: "COMMAND ARGUMENT... FILE" for each.
collect_all() {
    kind=$1
    suffix=$2
    shift 2
    command=
    while [ "$1" != -- ]; do
        command="$command $1"
        shift
    done
    shift
    rm -rf "$B/at-once"
    mkdir -p "$B/at-once"
    printf '%s\n' "$@" | xargs -P "$JOBS" -I FILE sh -c '
        out=$1/$(basename "$2" '"$suffix"')
        '"$command"' "$2" > "$out.out" 2>&1
        echo $? > "$out.status"
        echo "    $(basename "$2" '"$suffix"')"' sh "$B/at-once" FILE
    for file in "$@"; do
        base=$B/at-once/$(basename "$file" "$suffix")
        count "$kind $(basename "$file" "$suffix")" "$(cat "$base.status")" "$base.out"
    done
}

# A command that passes or fails as a whole.
check() {
    name=$1
    shift
    if "$@" > "$B/out" 2>&1; then
        echo "1 0 0" >> "$log"
        echo "$name: 1 passed, 0 failed, 0 skipped"
    else
        echo "0 1 0" >> "$log"
        echo "--- $name"
        cat "$B/out"
        echo "$name: 0 passed, 1 failed, 0 skipped"
    fi
}

unit() {
    check "unit tests build" make -s -j2 -f tests/unit/Makefile CC="$CC" all
    programs=
    for source in tests/unit/*.c; do
        program=$B/unit/$(basename "$source" .c)
        [ -x "$program" ] && programs="$programs $program"
    done
    # shellcheck disable=SC2086
    collect_all unit .c -- $programs
}

static() {
    for script in tests/static/*.sh; do
        check "static $(basename "$script" .sh)" sh "$script"
    done
}

cases() {
    check "cases decode" sh tests/cases/decode.sh
}

fuzz() {
    check "fuzzers build" make -s -j2 -f tests/fuzz/Makefile CC="$CC" all
    check "fuzz fdt" "$B/fuzz/fuzz_fdt" "${FUZZ_RUNS:-20000}" 1 tests/fuzz/corpus-fdt/*
    check "fuzz dirtyfile" "$B/fuzz/fuzz_dirtyfile" "${FUZZ_RUNS:-20000}" 1
    check "fuzz virtqueue" "$B/fuzz/fuzz_virtqueue" "${FUZZ_RUNS:-20000}" 1
    check "fuzz iommu" "$B/fuzz/fuzz_iommu" "${FUZZ_RUNS:-2000}" 1
    check "fuzz net" "$B/fuzz/fuzz_net" "${FUZZ_RUNS:-20000}" 1
    check "fuzz pci" "$B/fuzz/fuzz_pci" "${FUZZ_RUNS:-2000}" 1
    check "fuzz ring" "$B/fuzz/fuzz_ring" "${FUZZ_RUNS:-2000}" 1
}

# One instruction in ordinary memory and in a window, under the library: everything that can be compared is.
diff() {
    check "diff tests build" make -s -j2 -f tests/diff/Makefile CC="$CC" all
    for program in forms harvest fuzz_insn; do
        collect "diff $program" env LD_PRELOAD=./libmmioshim.so MMIOSHIM_MAP="$B/diff/diff.dtb" MMIOSHIM_LOG=none \
            MMIOSHIM_BACKTRACE=0 "$B/diff/$program"
        grep '^ok ' "$B/out" | sed 's/^ok [0-9]* /    /'
    done
}

bats_files() {
    [ -e "$1" ] || return 0
    check "guests build" make -s -j2 -f tests/guests/Makefile CC="$CC" all
    case " $* " in
    *" tests/stress.bats "*) check "stress programs build" make -s -j2 -f tests/stress/Makefile CC="$CC" all ;;
    esac
    collect_all bats .bats bats --tap -- "$@"
}

[ $# -gt 0 ] || set -- unit static cases fuzz diff bats
for what in "$@"; do
    case $what in
    unit | static | cases | fuzz | diff) $what ;;
    bats) bats_files tests/*.bats ;;
    all) bats_files tests/all/*.bats ;;
    *.bats) bats_files "$what" ;;
    *) echo "tests/run.sh: $what: allowed: unit static cases fuzz diff bats all FILE.bats" >&2 && exit 2 ;;
    esac
done

awk '{ p += $1; f += $2; s += $3 } END { printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f != 0 || p == 0 }' "$log"
