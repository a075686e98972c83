#!/usr/bin/env bats
# Go: its runtime makes its own threads' stacks, its own system calls, and handles every signal.

setup_file() {
    sh "$BATS_TEST_DIRNAME/../deps.sh" golang-go gcc libc6-dev file >&3
    export GOCACHE=$BATS_FILE_TMPDIR/cache GO111MODULE=off HOME=$BATS_FILE_TMPDIR
    CGO_ENABLED=1 go build -o "$BATS_FILE_TMPDIR/all" "$BATS_TEST_DIRNAME/all.go"
    CGO_ENABLED=1 go build -buildmode=pie -o "$BATS_FILE_TMPDIR/all-pie" "$BATS_TEST_DIRNAME/all.go"
}

setup() {
    load ../common
    load ../plain
    cd "$BATS_TEST_TMPDIR"
    ALL=$BATS_FILE_TMPDIR/all
    dtc -q -I dts -O dtb -o map.dtb "$ROOT/tests/guests/b_scratch.dts"
    export MMIOSHIM_MAP=$PWD/map.dtb MMIOSHIM_BACKTRACE=0
}

# 8 goroutines, 1000 times three stores and two loads: the third is known to the compiler, which stored it last
counted() {
    assert_count 16000 '^\[MMIO\] .* read[14] '
    assert_count 24000 '^\[MMIO\] .* write[148] '
    assert_count 40000 '^\[MMIO\]'
}

@test "go, dynamic, without signals: goroutines, collection, HTTP, a window at its address and behind /dev/mem" {
    export GODEBUG=asyncpreemptoff=1
    plain "$ALL" quiet
    [ "$status" = 4 ]
    like "$ALL" quiet
    [ ! -s "$log" ]
    WINDOW=0x40000000 like "$ALL" quiet
    counted
    WINDOW='devmem 0x40000000' like "$ALL" quiet
    counted
}

@test "go, dynamic, within reach of the library: all of it, under a flood of preemption signals" {
    # The loader, started as a program, puts the program beside its libraries.
    set -- /lib64/ld-linux-x86-64.so.2 "$ALL-pie"
    plain "$@"
    [ "$status" = 5 ]
    like "$@"
    [ ! -s "$log" ]
    for window in 0x40000000 'devmem 0x40000000'; do
        WINDOW=$window like "$@"
        counted
        assert_count 1 '^\[EXIT\] 40000 accesses \(16000 reads, 24000 writes\), 0 lint, 0 lost$'
    done
}

@test "go, static: the launcher says so" {
    printf 'package main\nfunc main() { println("static") }\n' > static.go
    CGO_ENABLED=0 go build -o static static.go
    run --separate-stderr "$CMD" run ./static
    assert_refused '^mmioshim run: ./static is statically linked: a preloaded library cannot reach it$'
    untouched ./static
}
