#!/usr/bin/env bats
# System calls of a program go through the library, and nothing of that is to be seen.

setup() {
    load common
    cd "$BATS_TEST_TMPDIR"
}

# steps FORM CALL PATTERN: a signal at each of its instructions; so many of them ran that the call came to us
steps() {
    run --separate-stderr shim timeout 100 "$GUESTS/f_step" "$1" "$2"
    assert_success
    [[ $output =~ ^$1\ $2:\ 0\ failures,\ seen\ inside:\ $3$ ]] || fail "$output"
    [[ $stderr =~ ^$1\ $2:\ ([0-9]+)\ signals ]] || fail "$stderr"
    ((BASH_REMATCH[1] >= 60)) || fail "not rewritten: $stderr"
}

@test "a signal at every instruction of a call: frames, registers, flags, masks and results are the program's" {
    steps move read 0
    steps gap read 0
    steps gap nanosleep 0
    steps gap none 0
}

@test "a signal at every instruction of a call that asks for the mask, or waits with another one" {
    steps gap procmask 0
    steps gap ppoll 0
}

@test "a signal at every instruction of a call whose neighbours were moved: frames may show the copy of them" {
    steps prev procmask '[0-9]+'
    steps next read '[0-9]+'
}

@test "mappings to run from that are longer than their file, and a library whose first segment is" {
    echo 'char big[1 << 22]; int f(void) { return big[5]; }' > big.c
    cc -shared -fPIC -Wl,-z,noseparate-code -o libbig.so big.c
    run --separate-stderr timeout 10 "$GUESTS/f_text" ./libbig.so
    assert_success
    plain=$output
    run --separate-stderr shim timeout 10 "$GUESTS/f_text" ./libbig.so
    assert_success
    assert_equal "$output" "$plain"
    assert_line --index 3 "library: loaded"
}

@test "lengths that nothing has, beside a buffer in a window: no endless look at them" {
    run --separate-stderr shim timeout -s KILL 20 "$GUESTS/f_huge"
    assert_success
    assert_output $'1\n1\n1'
}

@test "a system call at the very end of the text" {
    run --separate-stderr shim timeout 10 "$GUESTS/f_last"
    assert_success
    assert_output "0 default"
}

@test "two tasks that share thread-local storage make calls at once" {
    for _ in 1 2 3; do
        run shim MMIOSHIM_LOG=none timeout 20 "$GUESTS/f_shared"
        assert_success
        assert_output 0
    done
}

@test "every site found in libc and in the loader is a system call, by objdump's reading" {
    which objdump || skip "no objdump"
    run --separate-stderr shim MMIOSHIM_DEBUG=sys:3 true
    for file in $(ldd /bin/sh | awk '/libc\.so/ { print $3 } /ld-linux/ { print $1 }'); do
        base=$(readelf -lW "$file" | awk '$1 == "LOAD" && $7 == "R" && $8 == "E" { print $3 } $1 == "LOAD" && $7 == "RE" { print $3 }' | head -n 1)
        sed -nE "s|^mmioshim: sys: site: $file\\+0x([0-9a-f]+), way [1-4]\$|\\1|p" <<< "$stderr" |
            while read -r offset; do printf '%x\n' $((0x$offset + base)); done | sort > "$BATS_TEST_TMPDIR/found"
        objdump -d "$file" | sed -nE 's/^ *([0-9a-f]+):.*\tsyscall *$/\1/p' | sort > "$BATS_TEST_TMPDIR/calls"
        [ "$(wc -l < "$BATS_TEST_TMPDIR/found")" -ge 20 ] || fail "$file: $(wc -l < "$BATS_TEST_TMPDIR/found") sites"
        assert_equal "$file: $(comm -23 "$BATS_TEST_TMPDIR/found" "$BATS_TEST_TMPDIR/calls" | head)" "$file: "
    done
}

@test "a constant in the code that holds the bytes of a system call stays what it is" {
    run shim MMIOSHIM_LOG=none "$GUESTS/f_template"
    assert_success
    assert_output c3050f00000002b8
}
