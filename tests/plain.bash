# For files whose programs know nothing of us, and must do the same with the library as without it.

# plain PROGRAM...: runs it without us; standard output, standard error and exit status are kept for like()
plain() {
    SECONDS=0
    run --separate-stderr timeout -k 1 "${LIMIT:-60}" "$@" < "${INPUT:-/dev/null}"
    [ "$SECONDS" -lt "${LIMIT:-60}" ] || fail "stands still without the library: $*"
    plain_output=$output plain_stderr=$stderr plain_status=$status
}

# like PROGRAM...: runs it with us, behind the library in FIRST; all three must be those of plain(). Its transcript is $log.
like() {
    log=$BATS_TEST_TMPDIR/log
    rm -f "$log"
    run --separate-stderr timeout -k 1 "${LIMIT:-60}" env LD_PRELOAD="${FIRST:+$FIRST }$LIB" MMIOSHIM_LOG="$log" "$@" < "${INPUT:-/dev/null}"
    [ "$plain_output" = "$output" ] || diff <(echo "$plain_output") <(echo "$output") | head -n 40 | fail
    [ "$plain_stderr" = "$stderr" ] || diff <(echo "$plain_stderr") <(echo "$stderr") | head -n 40 | fail
    assert_equal "$status" "$plain_status"
}

# untouched PROGRAM...: the same with and without, and it leaves no transcript
untouched() {
    plain "$@"
    like "$@"
    [ ! -s "$log" ] || fail "a transcript: $(head -n 3 "$log")"
}
