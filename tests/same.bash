# For files whose guests e_*.c must do the same with the library and without it, on ordinary memory (B_PLAIN=1).
TALLY=$BATS_TEST_TMPDIR/tally

# same COUNT PROGRAM ACTION...: output, complaints and exit status are those without the library, and the transcript
# has so many accesses, "-": as many as the guest itself counted
same() {
    local count=$1 plain

    shift
    rm -f "$TALLY" "$BATS_TEST_TMPDIR/log"
    truncate -s 8 "$TALLY"
    run --separate-stderr env B_PLAIN=1 E_TALLY="$TALLY" timeout -k 1 10 "$@"
    plain="$output
--- $stderr
--- $status"
    [ "$status" != 77 ] || skip "not possible here: $*"
    [ "$status" != 124 ] && [ "$status" != 137 ] || fail "stands still without the library: $*"
    [ "$count" = - ] || assert_equal "without the library $(tallied)" "without the library $count"
    truncate -s 0 "$TALLY"
    truncate -s 8 "$TALLY"
    logged E_TALLY="$TALLY" MMIOSHIM_BACKTRACE=0 timeout -k 1 10 "$@"
    differs "$plain" "$output
--- $stderr
--- $status" "$*"
    counted "$count"
}

tallied() {
    od -An -tu8 "$TALLY" | tr -d ' \n'
}

differs() {
    [ "$1" = "$2" ] || diff <(echo "$1") <(echo "$2") | head -n 40 | fail
}

# counted COUNT: the guest counted what it should, and the transcript has that, no more, no less, and ends
counted() {
    local tally

    tally=$(tallied)
    [ "$1" = - ] || assert_equal "the guest counted $tally" "the guest counted $1"
    [ "$tally" -gt 0 ] || fail "the guest counted nothing"
    assert_count 1 "^\[EXIT\] $tally accesses \(.*\), 0 lint, 0 lost\$"
    assert_count "$tally" '^\[MMIO\]'
    assert_equal "$(accesses | sed 's/.* #//' | awk '$1 != NR { print "#" $1 " is the " NR "th"; exit }')" ""
    assert_ended
}
