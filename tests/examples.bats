#!/usr/bin/env bats
# The examples: what they print, how they end, their transcripts word for word but for offsets in call stacks.
# REBASE=1 writes examples/*.expect anew.

setup() {
    load common
}

# Offsets depend on the compiler, and so does whether it inlines uart_puts. The mode depends on the kernel.
normal() {
    sed -E '/^    by uart_puts\+/d; /^    (at|by) /s/\+0x[0-9a-f]+/+0x/; s/^\[DIRTY\] (uffd|mprotect):/[DIRTY] MODE:/' "$1"
}

example() { # NAME STATUS OUTPUT
    logged "$ROOT/examples/$1"
    assert_equal "exit status $status" "exit status $2"
    assert_equal "$output" "$3"
    [ -z "${REBASE:-}" ] || cp "$log" "$ROOT/examples/$1.expect"
    diff -u <(normal "$ROOT/examples/$1.expect") <(normal "$log")
    # Again, on standard error, and again the same bytes.
    run --separate-stderr shim "$ROOT/examples/$1"
    assert_equal "$stderr" "$(cat "$log")"
}

@test "driver: the banner, every access, two dirty pages" {
    example driver 0 $'board up\nram ok'
    assert_count 14 '^\[MEM\]'
    assert_count 45 '^\[MMIO\]'
    assert_count 16 ' THR write1 0x[0-9a-f]+'
    assert_count 16 ' LSR read1 0x60 THRE\|TEMT #'
    assert_count 6 ' -> virtio_mmio@1000[12]000 [A-Za-z]+ read4 '
    assert_count 1 "THR write1 0x62 'b' #9\$"
    assert_count 45 '^    at '
    assert_count 1 '^\[DIRTY\] [a-z]+: 2 of 131072 pages: 0x80004000-0x80005fff$'
    assert_count 1 '^\[EXIT\] 45 accesses \(22 reads, 23 writes\), 0 lint, 0 lost$'
}

@test "memmap: RAM is silent, the register traps" {
    example memmap 0 A
    assert_count 1 '^\[MEM\] RAM: 512MB'
    assert_count 1 '^\[MEM\] MMIO: UART 0x10000000-0x10000fff'
    assert_count 1 "^\\[MMIO\\] trap at 0x10000000 -> uart@10000000 THR write1 0x41 'A' #1\$"
    assert_count 1 '^\[MMIO\]'
    assert_count 1 '^\[DIRTY\] [a-z]+: 1 of 131072 pages: 0x80000000-0x80000fff$'
}

@test "threads: one order of events, the stack is the thread's own" {
    example threads 0 ababab
    assert_equal "$(accesses | sed -n "s/.* '\(.\)' .*/\1/p" | tr -d '\n')" ababab
    assert_count 7 '^    at emit\+'
    assert_count 6 '^    by worker\+'
    assert_count 1 '^    by main\+'
}

@test "irq: the interrupt goes through the controller to a handler, and comes again for each character" {
    example irq 0 ok
    assert_count 3 '^\[IRQ\] uart@10000000 10 raised$'
    assert_count 3 '^\[IRQ\] uart@10000000 10 lowered$'
    assert_count 3 '^\[IRQ\] plic@c000000 11 raised$'
    assert_count 3 ' CLAIM\[0\] read4 0xa #'
    assert_count 3 ' COMPLETE\[0\] write4 0xa #'
    assert_count 1 '^\[EXIT\] 20 accesses \(10 reads, 10 writes\), 0 lint, 0 lost$'
}

@test "wild: the diagnosis, and the death of any wild pointer" {
    example wild 139 '!'
    assert_count 1 '^\[FAULT\] read4 0x30000000 unmapped, nearest virtio_mmio@10008000 ends at 0x10008fff$'
    run "$ROOT/examples/wild"
    assert_failure 139
}

@test "every example has its transcript and its place in the README" {
    for source in "$ROOT"/examples/*.c; do
        name=$(basename "$source" .c)
        [ -s "$ROOT/examples/$name.expect" ] || fail "$name.expect"
        grep -q "^| \`$name\` " "$ROOT/examples/README.md" || fail "$name is not in README.md"
        run grep -c -i mmioshim "$source"
        assert_output 0
    done
}

@test "make run's program, as make run calls it" {
    cd "$ROOT"
    run --separate-stderr env LD_PRELOAD=./libmmioshim.so ./examples/driver
    assert_success
    assert_output $'board up\nram ok'
    assert_equal "$(grep -c '^\[MMIO\]' <<< "$stderr")" 45
}

@test "the examples under clang: the same transcript" {
    command -v clang > /dev/null || skip "no clang here"
    for name in driver memmap threads; do
        clang -O1 -g -fno-omit-frame-pointer -o "$BATS_TEST_TMPDIR/$name" "$ROOT/examples/$name.c" -lpthread
        logged "$BATS_TEST_TMPDIR/$name"
        assert_success
        diff -u <(normal "$ROOT/examples/$name.expect") <(normal "$log")
    done
}
