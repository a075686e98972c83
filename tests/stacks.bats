#!/usr/bin/env bats
# Call stacks of a place that is reached again and again: what is remembered of one is never shown for another.

setup() {
    load common
}

# check_chains PATTERN: each store is followed by its place and by the function of its value, and the pattern, in which
# N stands for the value, matches some later frame. Prints how many stores there were.
check_chains() {
    awk -v pattern="$1" '
        function done(  wanted) {
            wanted = pattern
            gsub("N", value, wanted)
            if (number && (!named || !(rest ~ wanted)))
                bad++
        }
        /^\[MMIO\]/ {
            done()
            number++
            value = $9
            sub("0x", "", value)
            frame = named = 0
            rest = ""
        }
        /^    (at|by) / {
            frame++
            if (frame == 1 && $2 !~ /^store\+/) bad++
            if (frame == 2 && $2 ~ "^(caller_" value "|from_library)\\+") named = 1
            if (frame > 2) rest = rest " " $2
        }
        END { done(); printf "%d stores, %d bad\n", number, bad }' "$log"
}

# chains MODE PATTERN STORES
chains() {
    local mode=$1 pattern=$2 stores=$3

    shift 3
    logged "$GUESTS/g_chains" "$mode" "$@"
    assert_success
    run check_chains "$pattern"
    assert_output "$stores stores, 0 bad"
}

@test "one place, one depth, two to eight callers in turn" {
    for few in 2 3 4 5 8; do
        chains chains ' chains[+].* main[+]' 400 "$few"
    done
}

@test "callers that differ far up" {
    chains roots ' down[+].* down[+].* root_N[+]' 200
}

@test "callbacks out of the C library" {
    chains callbacks ' compare[+].* callbacks[+].* main[+]' 8
}

@test "signal handlers" {
    chains handlers ' on_signal[+].* handlers[+]' 200
}

@test "stacks that are left by longjmp" {
    chains jumps ' leave[+].* jumps[+]' 200
}

@test "coroutines, each on a new stack at the place of the last" {
    chains coroutines ' coroutine[+]' 100
}

@test "threads, one after the other" {
    chains threads ' thread[+]' 100
}

@test "two libraries in turn at one address, with other names and frames" {
    for n in 0 1; do
        printf 'void enter_%d(void (*f)(void)) { volatile char room[%d]; room[0] = 0; f(); room[1] = 0; }\n' \
            $n $((1024 * (n + 1) - 24)) > "$BATS_TEST_TMPDIR/$n.c"
        cc -O1 -fPIC -shared -fomit-frame-pointer -o "$BATS_TEST_TMPDIR/$n.so" "$BATS_TEST_TMPDIR/$n.c"
    done
    logged "$GUESTS/g_chains" libraries "$BATS_TEST_TMPDIR/0.so" "$BATS_TEST_TMPDIR/1.so"
    [ "$status" != 77 ] || skip "the loader chose another address"
    assert_success
    run check_chains '^ enter_N[+].* enter_library[+].* libraries[+]'
    assert_output "120 stores, 0 bad"
}

@test "every stack is written once, under one number" {
    json_logged "$GUESTS/g_chains" chains 8
    assert_success
    assert_count 8 '^\{"type":"stack",.*"caller_[0-7]\+'
    assert_count 400 '^\{"type":"mmio",.*"stack":[1-8]\}$'
}
