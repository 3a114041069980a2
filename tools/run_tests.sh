#!/bin/sh
# Run test programs (cmocka or plain), each a line; then pytest over tests/api if TURBINE
# is set; end with "N passed, N failed, N skipped".
passed=0 failed=0 skipped=0
for t in "$@"; do
    timeout 600 "$t" >"$t.log" 2>&1
    rc=$?
    n=$(grep -c '^\[       OK \]' "$t.log")
    s=$(grep -c '^\[  SKIPPED \]' "$t.log")
    passed=$((passed + n)) skipped=$((skipped + s))
    if [ $rc -eq 0 ]; then
        if [ $((n + s)) -eq 0 ]; then
            n=1 passed=$((passed + 1)) # not a cmocka program
        fi
        echo "ok   $t ($n)"
        grep '^skip' "$t.log"
    else
        f=$(grep -c '^\[  FAILED  \] [a-z]' "$t.log")
        [ "$f" -gt 0 ] || f=1
        failed=$((failed + f))
        echo "FAIL $t (exit $rc)"
        cat "$t.log"
    fi
done

# The number before a word in pytest's last line, as in "3 passed, 1 skipped in 0.52s".
count() {
    n=$(tail -n 1 "$log" | grep -oE "[0-9]+ $1" | grep -oE '[0-9]+')
    echo "${n:-0}"
}
if [ -n "$TURBINE" ]; then
    log=$(dirname "$TURBINE")/pytest.log
    timeout 1200 "$PYTHON" -m pytest -q -rs -p no:cacheprovider tests/api >"$log" 2>&1
    rc=$?
    p=$(count passed) f=$(count failed) e=$(count error) s=$(count skipped)
    [ $rc -eq 0 ] || [ $((f + e)) -gt 0 ] || f=1
    passed=$((passed + p)) failed=$((failed + f + e)) skipped=$((skipped + s))
    if [ $rc -eq 0 ]; then
        echo "ok   tests/api ($p)"
        grep '^SKIPPED' "$log"
    else
        echo "FAIL tests/api (exit $rc)"
        cat "$log"
    fi
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
