#!/bin/sh
# Exported: the libc names that preload/interpose defines and the mmioshim_ client requests, nothing else.
set -u
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
nm -D --defined-only libmmioshim.so | awk '{ print $3 }' | sort > "$work/exported"
sed -n 's/^EXPORT [^(]*[ *]\([a-zA-Z_0-9]*\)(.*/\1/p' preload/interpose/*.c | sort -u > "$work/wanted"
if ! diff "$work/wanted" "$work/exported"; then
    echo "< defined with EXPORT but not exported (add it to preload/mmioshim.map); > exported but not meant to be"
    exit 1
fi
[ "$(grep -c '^mmioshim_' "$work/exported")" = 4 ] || { echo "client requests: not four"; exit 1; }
# Every exported libc name must be one that libc has, or it intercepts nothing.
libc=$(ldd /bin/sh | awk '/libc\.so/ { print $3 }')
nm -D --defined-only "$libc" | awk '{ sub(/@.*/, "", $3); print $3 }' | sort -u > "$work/libc"
grep -v '^mmioshim_' "$work/exported" | comm -23 - "$work/libc" > "$work/unknown"
if [ -s "$work/unknown" ]; then
    echo "not names of libc:"
    cat "$work/unknown"
    exit 1
fi
