#!/usr/bin/env bats
# Client requests: the header alone, with every compiler, linker and kind of executable.

setup() {
    load common
}

WITH='active 1 outside -1 before 0 after 1 next 0 cleared 0 again 1 '
WITHOUT='active 0 outside -1 '

# builds COMPILER... : the client by these words runs right with the library and without
builds() {
    local program=$BATS_TEST_TMPDIR/client

    run "$@" -Wall -Wextra -Werror -pedantic -I"$ROOT/preload" -o "$program" "$ROOT/tests/guests/b_client.cc"
    assert_success
    assert_output ""
    assert_equal "$("$program" | tr '\n' ' ')" "$WITHOUT"
    log=$BATS_TEST_TMPDIR/log
    rm -f "$log"
    assert_equal "$(shim MMIOSHIM_LOG="$log" "$program" | tr '\n' ' ')" "$WITH"
    assert_count 1 '^\[MARK\] hello$'
    assert_count 1 '^\[DIRTY\] [a-z]+: 1 of 131072 pages: 0x80001000-0x80001fff$'
}

@test "gcc, C: position-independent and not, each level, link-time optimisation, without PLT" {
    for kind in '-fPIE -pie' '-fno-pie -no-pie'; do
        for level in -O0 -O2 '-O2 -flto' '-O2 -fno-plt'; do
            builds gcc -x c -std=c99 $kind $level
        done
    done
}

@test "g++" {
    for kind in '-fPIE -pie' '-fno-pie -no-pie'; do
        for level in -O0 -O2; do
            builds g++ -std=c++11 $kind $level
            builds g++ -std=c++20 $kind $level
        done
    done
}

@test "clang and clang++" {
    for kind in '-fPIE -pie' '-fno-pie -no-pie'; do
        for level in -O0 -O2; do
            builds clang -x c -std=gnu17 $kind $level
            builds clang++ -std=c++17 $kind $level
        done
    done
}

@test "other linkers, where they are installed" {
    for linker in gold lld; do
        command -v ld.$linker >/dev/null || continue
        builds gcc -x c -std=gnu17 -fno-pie -no-pie -O2 -fuse-ld=$linker
        builds gcc -x c -std=gnu17 -fPIE -pie -O2 -fuse-ld=$linker
    done
}

@test "a static program: the requests do nothing" {
    gcc -x c -static -O1 -I"$ROOT/preload" -o "$BATS_TEST_TMPDIR/client" "$ROOT/tests/guests/b_client.cc" || skip "no static libc"
    assert_equal "$("$BATS_TEST_TMPDIR/client" | tr '\n' ' ')" "$WITHOUT"
}

@test "the header alone, included twice, with every warning" {
    printf '#include "mmioshim/client.h"\n#include "mmioshim/client.h"\nint main(void) { return mmioshim_active(); }\n' > "$BATS_TEST_TMPDIR/twice.c"
    run gcc -Wall -Wextra -Werror -Wshadow -Wmissing-prototypes -Wstrict-prototypes -pedantic -std=c99 -I"$ROOT/preload" \
        -o "$BATS_TEST_TMPDIR/twice" "$BATS_TEST_TMPDIR/twice.c"
    assert_success
    assert_output ""
    run "$BATS_TEST_TMPDIR/twice"
    assert_success
    run shim MMIOSHIM_LOG=none "$BATS_TEST_TMPDIR/twice"
    assert_failure 1
}

@test "two translation units that use it link together" {
    cd "$BATS_TEST_TMPDIR"
    printf '#include "mmioshim/client.h"\nint other(void); int other(void) { return mmioshim_active(); }\n' > one.c
    printf '#include "mmioshim/client.h"\nint other(void); int main(void) { return mmioshim_active() + 2 * other(); }\n' > two.c
    gcc -O0 -I"$ROOT/preload" -o two one.c two.c
    run ./two
    assert_success
    run shim MMIOSHIM_LOG=none ./two
    assert_failure 3
}
