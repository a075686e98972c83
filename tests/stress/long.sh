#!/bin/sh
# long.sh SECONDS SEED: tests/stress.bats in its long form, with one seed after another, until the time is over or a
# test fails. Every compiler, level and kind of file; the seed is what to give to see the same again.
set -u
cd "$(dirname "$0")/../.." || exit 2
end=$(($(date +%s) + ${1:?seconds}))
seed=${2:?seed}
make -s -j2 -f tests/guests/Makefile CC="${CC:-cc}" all || exit 1
export STRESS_SIGNALS=5000 STRESS_ROUNDS=60
while :; do
    echo "stress: seed $seed"
    rm -rf "build/tests/stress/$((seed - 1))-150"
    make -s -j2 -f tests/stress/Makefile CC="${CC:-cc}" SEED="$seed" COUNT=150 WIDE=1 all &&
        bats --tap tests/stress.bats || { echo "stress: failed with seed $seed"; exit 1; }
    seed=$((seed + 1))
    [ "$(date +%s)" -lt "$end" ] || break
done
echo "stress: no failure"
