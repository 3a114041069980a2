#!/bin/sh
# run_fuzz.sh SECONDS FUZZER...: each fuzzer on its seed corpus; a finding fails.  What it
# learns stays in build/fuzz/corpus.  Ends with "N passed, N failed".
seconds=$1
shift
passed=0 failed=0
for f in "$@"; do
    name=$(basename "$f")
    learned=build/fuzz/corpus/$name seeds=tests/fuzz/corpus/${name#fuzz_}
    mkdir -p "$learned"
    [ -d "$seeds" ] || seeds=
    if "$f" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=5 -print_final_stats=1 \
        -artifact_prefix="build/fuzz/$name-" "$learned" $seeds >"$f.log" 2>&1; then
        passed=$((passed + 1))
        echo "ok   $name ($(sed -n 's/^stat::number_of_executed_units: *//p' "$f.log") inputs)"
    else
        failed=$((failed + 1))
        echo "FAIL $name"
        tail -n 40 "$f.log"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
