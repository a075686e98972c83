#!/bin/sh
# Measures costs as ratios within one run: everything is interleaved over ROUNDS rounds, medians are shown.
# Absolute times are those of this machine on this day; only the ratios carry over.
set -eu
cd "$(dirname "$0")/../.."
CC=${CC:-cc}
ROUNDS=${ROUNDS:-5}
B=build/bench
mkdir -p "$B"
$CC -O2 -g -Wall -Wextra -Werror -fno-omit-frame-pointer -o "$B/bench" tests/bench/bench.c
$CC -O2 -g -Wall -Wextra -Werror -mno-red-zone -o "$B/insns" tests/bench/insns.c
dtc -q -I dts -O dtb -o "$B/window.dtb" tests/diff/diff.dts
"$B/insns" -l > "$B/families"
rm -f "$B"/*.figures

plain() { name=$1; shift; "$B/bench" "$@" >> "$B/$name.figures"; }
shim() { name=$1; shift; env LD_PRELOAD="$PWD/libmmioshim.so" "$@" >> "$B/$name.figures" 2>/dev/null; }
median() { sort -n "$B/$1.figures" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

round=0
while [ "$round" -lt "$ROUNDS" ]; do
    plain bare-load bare-load
    plain bare-store bare-store
    shim load MMIOSHIM_LOG=none "$B/bench" load
    shim store MMIOSHIM_LOG=none "$B/bench" store
    shim load-text MMIOSHIM_LOG="$B/log" "$B/bench" load 1000
    shim store-text MMIOSHIM_LOG="$B/log" "$B/bench" store 1000
    shim load-text-0 MMIOSHIM_LOG="$B/log" MMIOSHIM_BACKTRACE=0 "$B/bench" load 1000
    shim load-json MMIOSHIM_LOG="$B/log" MMIOSHIM_LOG_FORMAT=json "$B/bench" load 1000
    plain plain-copy plain-copy
    shim copy MMIOSHIM_LOG=none "$B/bench" copy
    plain plain-first-write plain-first-write
    for mode in uffd mprotect off; do
        shim first-write-$mode MMIOSHIM_LOG=none MMIOSHIM_DIRTY_MODE=$mode "$B/bench" first-write
    done
    plain plain-start start
    shim start MMIOSHIM_LOG=none "$B/bench" start
    plain plain-resident resident
    shim resident MMIOSHIM_LOG=none "$B/bench" resident
    for bare in bare bare-vector bare-blocked; do "$B/insns" $bare >> "$B/insn-$bare.figures"; done
    while read -r id _; do
        shim "insn-$id" MMIOSHIM_LOG=none MMIOSHIM_BACKTRACE=0 MMIOSHIM_MAP="$B/window.dtb" "$B/insns" "$id"
    done < "$B/families"
    round=$((round + 1))
done

row() {
    awk -v what="$1" -v a="$(median "$2")" -v b="$(median "$3")" -v unit="$4" \
        'BEGIN { printf "%-46s %8.3f   %10.1f / %10.1f %s\n", what, a / b, a, b, unit }'
}
echo "what                                              ratio     measured /       base"
row "trapped load, no log / bare trap" load bare-load ns
row "trapped store, no log / bare trap" store bare-store ns
row "trapped load, text log, 8 frames / bare trap" load-text bare-load ns
row "trapped store, text log, 8 frames / bare trap" store-text bare-store ns
row "trapped load, text log, no frames / bare trap" load-text-0 bare-load ns
row "trapped load, JSON log, 8 frames / bare trap" load-json bare-load ns
row "copy speed, RAM / plain shared memory" copy plain-copy MB/s
row "first write to a page, uffd / plain" first-write-uffd plain-first-write ns
row "first write to a page, mprotect / plain" first-write-mprotect plain-first-write ns
row "first write to a page, not tracked / plain" first-write-off plain-first-write ns
row "start of an empty program / plain" start plain-start us
row "resident memory of an idle program / plain" resident plain-resident kB
echo
echo "one instruction on a window, no log / bare trap (the least of all rounds: what disturbs only adds)"
least() { sort -n "$B/$1.figures" | head -n 1; }
cost() {
    awk -v what="$1" -v a="$(least "$2")" -v b="$(least insn-bare)" -v most="$3" 'BEGIN {
        ratio = a / b; aim = most / 100; text = "-"; mark = ""
        if (most) text = sprintf("%.2f", aim)
        if (most && ratio > aim) mark = "  above"
        printf "%-46s %8.3f   aim %4s   %8.1f ns%s\n", what, ratio, text, a, mark }'
}
cost "bare trap" insn-bare 0
cost "bare trap, vector state in use" insn-bare-vector 0
cost "bare trap, handler blocks all signals" insn-bare-blocked 0
while IFS='	' read -r id name most; do
    cost "$name" "insn-$id" "$most"
done < "$B/families"
