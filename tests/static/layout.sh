#!/bin/sh
# Nothing else at the top level; no long files but tables; no machine paths.
set -u
cd "$(dirname "$0")/../.."
bad=0
for entry in $(git ls-files | cut -d/ -f1 | sort -u); do
    case $entry in
    preload | tools | examples | tests | Makefile | README.md | LICENSE | .*) ;;
    *) echo "$entry: not at the top level" && bad=1 ;;
    esac
done
for file in $(git ls-files 'preload/*.[ch]' 'tools/*.[ch]'); do
    lines=$(wc -l < "$file")
    [ "$lines" -le 600 ] || { echo "$file: $lines lines; split it"; bad=1; }
done
if git grep -nE '/work/|/home/[a-z]' -- . ':!tests/static/layout.sh'; then
    echo "paths of one machine"
    bad=1
fi
exit $bad
