# flashrom and a flash behind a PCI BAR.
setup() {
    load common
    old=$BATS_TEST_TMPDIR/old new=$BATS_TEST_TMPDIR/new chip=$BATS_TEST_TMPDIR/chip
    seq 1 100000 | head -c 131072 > "$old"
    cp "$old" "$chip"
    # Two sectors of 4 KB become others.
    { head -c 40000 "$old"; seq 9 99999 | head -c 6000; tail -c +46001 "$old"; } > "$new"
}

programmer() {
    logged MMIOSHIM_BACKTRACE=0 MMIOSHIM_LOG_FILTER="device=pci:00:03.0*,op=${op:-write}" \
        MMIOSHIM_ATTACH="pci:00:03.0=drkaiser:disk:$chip$1" \
        flashrom -p drkaiser "${@:2}"
}

@test "flashrom finds the chip and reads it" {
    op=read programmer '' -r "$BATS_TEST_TMPDIR/read"
    assert_success
    assert_output --partial 'Found SST flash chip "SST39SF010A" (128 kB, Parallel) on drkaiser.'
    assert_output --partial 'Reading flash... done.'
    cmp "$BATS_TEST_TMPDIR/read" "$old"
    [ "$(grep -c ':bar2 ARRAY read1 ' "$log")" -ge 131072 ] || fail "not every byte was read"
    assert_ended
}

@test "it erases, writes and verifies; what need not change does not" {
    programmer '' -w "$new"
    assert_success
    assert_output --partial 'Erase/write done.'
    assert_output --partial 'Verifying flash... VERIFIED.'
    cmp "$chip" "$new"
    assert_count 3 ':bar2 COMMAND write1 0x30 '
    assert_count 12288 ':bar2 PROGRAM write1 '
    assert_count 0 '^\[LINT\]'
}

@test "it erases the chip" {
    programmer '' -E
    assert_success
    assert_equal "$(tr -d '\377' < "$chip" | wc -c)" 0
}

@test "a chip whose sectors are protected does not verify" {
    programmer ,readonly -w "$new"
    assert_failure
    assert_output --partial 'No usable erase functions left.'
    cmp "$chip" "$old"
}
