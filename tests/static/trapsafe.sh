#!/bin/sh
# What runs in the trap may call these functions of libc, and no others: none of them allocates, locks, or sets errno.
set -u
cd "$(dirname "$0")/../.."
allowed='^(clock_gettime|getauxval|__tls_get_addr|_GLOBAL_OFFSET_TABLE_|_dl_find_object|__popcountdi2|__rseq_offset|__rseq_size|__ehdr_start|etext)$'
bad=0
dir=$(ls -d build/*/preload | grep -v tests | head -n 1)
objects=$(grep -l 'base/trapsafe.h' -r preload --include=*.c | grep -v 'trapsafe.h$' | sed "s|^preload|$dir|; s|\$|.o|")
# Defined anywhere in the library: fine.
nm --defined-only $(find "$dir" -name '*.o') | awk 'NF == 3 { print $3 }' | sort -u > "$dir/defined"
count=0
for object in $objects; do
    [ -e "$object" ] || { echo "$object is not built"; bad=1; continue; }
    count=$((count + 1))
    for symbol in $(nm -u "$object" | awk '{ print $2 }'); do
        grep -qx "$symbol" "$dir/defined" && continue
        echo "$symbol" | grep -qE "$allowed" && continue
        echo "$object calls $symbol"
        bad=1
    done
done
[ "$count" -ge 20 ] || { echo "only $count objects were looked at"; bad=1; }
# On the short way of a patched site the program's DF may be set: no string instruction is used but where DF is looked at.
for object in "$dir"/devices/*.o "$dir"/virtio/*.o "$dir"/pci/*.o "$dir"/bus/*.o "$dir"/memory/*.o "$dir"/backends/*.o "$dir"/patch/*.o "$dir"/base/*.o; do
    case ${object##*/} in mem.c.o | guard.c.o) continue ;; esac # guard_copy() says that it wants DF clear
    objdump -d --no-show-raw-insn "$object" | grep -E '[[:space:]](rep|repz|repnz)[[:space:]]|%es:' || continue
    echo "$object has string instructions"
    bad=1
done
# The whole trap path must carry the poison header; these files alone are called from it after start-up and do not.
for file in preload/trap/*.c preload/patch/*.c preload/cpu/*.c preload/bus/bus.c preload/bus/host.c preload/bus/ports.c preload/trace/*.c; do
    grep -q 'base/trapsafe.h' "$file" && continue
    case $file in
    preload/cpu/decode.c | preload/cpu/init.c | preload/cpu/zydis*.c | preload/trap/unwind_open.c | preload/trap/unwind_imports.c) ;;
    *) echo "$file does not include base/trapsafe.h" && bad=1 ;;
    esac
done
exit $bad
