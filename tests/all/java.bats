#!/usr/bin/env bats
# The JVM: implicit null checks, safepoints and stack banging are faults that its own handler wants; a heap at low addresses.

setup_file() {
    sh "$BATS_TEST_DIRNAME/../deps.sh" default-jdk-headless >&3
    cd "$BATS_TEST_DIRNAME"
    javac -nowarn -d "$BATS_FILE_TMPDIR" All.java 2>/dev/null
}

setup() {
    load ../common
    load ../plain
    cd "$BATS_TEST_TMPDIR"
    dtc -q -I dts -O dtb -o map.dtb "$ROOT/tests/guests/b_scratch.dts"
    export MMIOSHIM_BACKTRACE=0
    JAVA="java -cp $BATS_FILE_TMPDIR"
}

@test "java: threads, collection, null checks, deep recursion, processes, sockets: on every built-in map" {
    plain $JAVA All
    [ "$status" = 7 ]
    for map in virt virt-low; do
        MMIOSHIM_MAP=$map like $JAVA All
        [ ! -s "$log" ]
    done
    for option in -Xint -XX:+UseSerialGC '-XX:+UseParallelGC -Xmx64m' '-XX:+UseZGC -Xmx512m' -XX:-UseCompressedOops; do
        plain $JAVA $option All
        MMIOSHIM_MAP=virt like $JAVA $option All
        [ ! -s "$log" ]
    done
}

@test "java: a window through Unsafe, interpreted and compiled: 480000 accesses" {
    export MMIOSHIM_MAP=$PWD/map.dtb
    plain $JAVA All
    like $JAVA All 0x40000000
    assert_count 1 '^\[EXIT\] 480000 accesses \(240000 reads, 240000 writes\), 0 lint, 0 lost$'
    assert_count 480000 '^\[MMIO\]'
    plain $JAVA -Xint All
    like $JAVA -Xint All 0x40000000
    assert_count 480000 '^\[MMIO\]'
}

@test "java: a heap that would lie over RAM or a window goes elsewhere" {
    plain $JAVA -Xmx256m -XX:HeapBaseMinAddress=0x80000000 All
    MMIOSHIM_MAP=virt like $JAVA -Xmx256m -XX:HeapBaseMinAddress=0x80000000 All
    plain $JAVA -Xmx1g -XX:HeapBaseMinAddress=0x10000000 All
    MMIOSHIM_MAP=virt like $JAVA -Xmx1g -XX:HeapBaseMinAddress=0x10000000 All
    MMIOSHIM_MAP=virt-low like $JAVA -Xmx1g -XX:HeapBaseMinAddress=0x10000000 All
    [ ! -s "$log" ]
}
