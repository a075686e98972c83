#!/bin/sh
# Installs the Debian packages named that are not installed: says which, and why. With sudo where not root; where
# that cannot be done either, prints the one line to type and fails.
set -u
missing=
for package in "$@"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)
    [ "$status" = installed ] || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
echo "mmioshim: to build and test it needs these Debian packages, which are missing:$missing"
line="apt-get update && apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" = 0 ]; then
    run="sh -c"
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    run="sudo sh -c"
elif command -v sudo >/dev/null 2>&1 && [ -t 0 ]; then
    run="sudo sh -c"
else
    echo "mmioshim: neither root nor sudo here. Type this as root:" >&2
    echo "    $line" >&2
    exit 1
fi
echo "mmioshim: installing them with apt-get"
if ! DEBIAN_FRONTEND=noninteractive $run "$line" >/tmp/mmioshim-deps.$$ 2>&1; then
    tail -n 20 /tmp/mmioshim-deps.$$ >&2
    rm -f /tmp/mmioshim-deps.$$
    echo "mmioshim: that failed. Type this as root:" >&2
    echo "    $line" >&2
    exit 1
fi
rm -f /tmp/mmioshim-deps.$$
