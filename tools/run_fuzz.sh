#!/bin/sh
# run_fuzz.sh SECONDS FUZZER...: each fuzzer on its seed corpus; a finding fails.
seconds=$1; shift
rc=0
for f in "$@"; do
    name=$(basename "$f")
    mkdir -p "build/fuzz/corpus/$name"
    if "$f" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=5 -print_final_stats=1 \
        -artifact_prefix="build/fuzz/$name-" "build/fuzz/corpus/$name" "tests/fuzz/corpus/${name#fuzz_}" \
        >"$f.log" 2>&1; then
        echo "ok   $name $(grep -o 'stat::number_of_executed_units: .*' "$f.log")"
    else
        echo "FAIL $name"; tail -n 40 "$f.log"; rc=1
    fi
done
exit $rc
