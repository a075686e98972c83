#!/bin/sh
# embed.sh FILE.dtb...: writes C source with the blobs and the table of built-in maps to standard output.
# A map's name is its file's name without .dtb.
set -eu

[ $# -gt 0 ] || { echo "usage: embed.sh FILE.dtb... > maps.c" >&2; exit 2; }

echo '#include "config/maps.h"'
for file; do
    symbol=map_$(basename "$file" .dtb | tr -c '[:alnum:]\n' _)
    # libfdt wants a blob on an 8-byte boundary
    printf '\nstatic const unsigned char %s[] __attribute__((aligned(8))) = {\n' "$symbol"
    od -An -v -t u1 "$file" | awk '{ gsub(/ +/, ","); print "   " substr($0, 2) "," }'
    echo '};'
done

printf '\nconst struct builtin_map builtin_maps[] = {\n'
for file; do
    name=$(basename "$file" .dtb)
    symbol=map_$(echo "$name" | tr -c '[:alnum:]\n' _)
    printf '    {"%s", %s, sizeof(%s)},\n' "$name" "$symbol" "$symbol"
done
printf '};\n\nconst unsigned builtin_map_count = sizeof(builtin_maps) / sizeof(builtin_maps[0]);\n'
