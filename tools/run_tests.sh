#!/bin/sh
# Run test programs (cmocka or plain) and files of tests/api, with pytest and TURBINE, as many
# at a time as there are processors; end with "N passed, N failed, N skipped".
# run_tests.sh PROGRAM|FILE.py...

# The number before a word in pytest's last line, as in "3 passed, 1 skipped in 0.52s".
count() {
    n=$(tail -n 1 "$log" | grep -oE "[0-9]+ $1" | grep -oE '[0-9]+')
    echo "${n:-0}"
}

# Tests in one file of tests/api: its lines, and PASSED FAILED SKIPPED in $out.
run_api() {
    name=tests/api/$(basename "$1")
    log=$(dirname "$TURBINE")/$(basename "$1" .py).log
    timeout 1200 "$PYTHON" -m pytest -q -rs -p no:cacheprovider "$1" >"$log" 2>&1
    rc=$?
    p=$(count passed) f=$(count failed) e=$(count error) s=$(count skipped)
    f=$((f + e))
    # Status 5: every test of the file was left out (tests/api/conftest.py).
    [ $rc -ne 5 ] || rc=0
    [ $rc -eq 0 ] || [ $f -gt 0 ] || f=1
    if [ $rc -eq 0 ]; then
        echo "ok   $name ($p)"
        grep '^SKIPPED' "$log"
    else
        echo "FAIL $name (exit $rc)"
        cat "$log"
    fi
    echo "$p $f $s" >"$out/$(basename "$1").sum"
}

run_program() {
    log=$1.log
    timeout 600 "$1" >"$log" 2>&1
    rc=$?
    f=0
    p=$(grep -c '^\[       OK \]' "$log")
    s=$(grep -c '^\[  SKIPPED \]' "$log")
    if [ $rc -eq 0 ]; then
        [ $((p + s)) -gt 0 ] || p=1 # not a cmocka program
        echo "ok   $1 ($p)"
        grep '^skip' "$log"
    else
        f=$(grep -c '^\[  FAILED  \] [a-z]' "$log")
        [ "$f" -gt 0 ] || f=1
        echo "FAIL $1 (exit $rc)"
        cat "$log"
    fi
    echo "$p $f $s" >"$out/$(basename "$1").sum"
}

# One of the jobs: what it prints appears at once, when it has ended.
if [ "${1:-}" = --job ]; then
    out=$2
    case $3 in
    *.py) run_api "$3" ;;
    *) run_program "$3" ;;
    esac >"$out/text.$$" 2>&1
    cat "$out/text.$$"
    exit 0
fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# Those that take longest come first, so that no processor waits for the last.
long='test_golden.py test_batch test_session test_attention test_damaged_models
    test_pull.py test_store_kill.py test_route.py test_library.py test_serve.py test_route_load.py'
queue=
for name in $long; do
    for t in "$@"; do
        [ "$(basename "$t")" != "$name" ] || queue="$queue $t"
    done
done
for t in "$@"; do
    case " $queue " in
    *" $t "*) ;;
    *) queue="$queue $t" ;;
    esac
done
n_job=0
for t in $queue; do
    n_job=$((n_job + 1))
    echo "$t"
done >"$out/queue"
xargs -P "$(nproc 2>/dev/null || echo 2)" -n 1 "$0" --job "$out" <"$out/queue"

# A job without a sum was killed.
cat "$out"/*.sum | awk -v jobs="$n_job" '
    { p += $1; f += $2; s += $3 }
    END { f += jobs - NR; printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0 }'
