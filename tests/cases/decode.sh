#!/bin/sh
# Golden cases of `mmioshim decode`: each line of decode/NAME.in is the arguments of one command, decode/NAME.out
# what they print. `decode.sh --rebase` writes the .out files anew; look at the difference before you keep it.
# MMIOSHIM names the program, ./mmioshim by default.
set -u
cd "$(dirname "$0")/../.." || exit 1
program=${MMIOSHIM:-./mmioshim}
rebase=no
case ${1:-} in
--rebase) rebase=yes ;;
'') ;;
*) echo "usage: decode.sh [--rebase]" >&2 && exit 2 ;;
esac

new=$(mktemp) || exit 1
trap 'rm -f "$new"' EXIT

run_case() {
    while IFS= read -r line; do
        case $line in '' | '#'*) continue ;; esac
        printf '$ decode %s\n' "$line"
        # Quotes in a line group words, as a shell would do.
        eval "\"\$program\" decode $line" 2>&1
        status=$?
        [ "$status" = 0 ] || echo "exit status $status"
    done < "$1"
}

failed=0
count=0
for in in tests/cases/decode/*.in; do
    out=${in%.in}.out
    count=$((count + 1))
    run_case "$in" > "$new"
    if [ "$rebase" = yes ]; then
        cat "$new" > "$out"
    elif ! diff -u "$out" "$new"; then
        failed=$((failed + 1))
    fi
done
echo "$count cases, $failed differ"
[ "$failed" = 0 ] && [ "$count" -gt 0 ]
