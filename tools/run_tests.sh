#!/bin/sh
# Run test programs (cmocka or plain), each a line; then pytest over tests/api if TURBINE
# is set; end with "N passed, N failed[, N skipped]".
passed=0 failed=0 skipped=0
for t in "$@"; do
    if timeout 600 "$t" >"$t.log" 2>&1; then
        n=$(grep -c '^\[       OK \]' "$t.log"); s=$(grep -c '^\[  SKIPPED \]' "$t.log")
        [ $((n + s)) -gt 0 ] || n=1
        passed=$((passed + n)); skipped=$((skipped + s))
        echo "ok   $t ($n)"
    else
        f=$(grep -c '^\[  FAILED  \] [a-z]' "$t.log"); n=$(grep -c '^\[       OK \]' "$t.log")
        [ "$f" -gt 0 ] || f=1
        failed=$((failed + f)); passed=$((passed + n))
        echo "FAIL $t"; cat "$t.log"
    fi
done
if [ -n "$TURBINE" ]; then
    log=$(dirname "$TURBINE")/pytest.log
    "$PYTHON" -m pytest -q -p no:cacheprovider tests/api >"$log" 2>&1
    rc=$?
    tail -n 60 "$log"
    count() { grep -E '^(=+ )?[0-9]+ (passed|failed|skipped|error)' "$log" | tail -n 1 | grep -oE "[0-9]+ $1" | grep -oE '[0-9]+' || echo 0; }
    p=$(count passed) f=$(count failed) e=$(count error) s=$(count skipped)
    [ "$rc" -eq 0 ] || [ $((f + e)) -gt 0 ] || f=1
    passed=$((passed + p)) failed=$((failed + f + e)) skipped=$((skipped + s))
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
