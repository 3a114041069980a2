#!/bin/sh
# run_fuzz.sh SECONDS FUZZER...: each fuzzer on its seed corpus, as many at a time as there
# are processors; a finding fails.  What they learn stays in build/fuzz/corpus.  Ends with
# "N passed, N failed".

run_fuzzer() {
    f=$1 name=$(basename "$1")
    learned=build/fuzz/corpus/$name seeds=tests/fuzz/corpus/${name#fuzz_}
    mkdir -p "$learned"
    [ -d "$seeds" ] || seeds=
    if "$f" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=5 -print_final_stats=1 \
        -artifact_prefix="build/fuzz/$name-" "$learned" $seeds >"$f.log" 2>&1; then
        echo "ok   $name ($(sed -n 's/^stat::number_of_executed_units: *//p' "$f.log") inputs)"
    else
        echo "FAIL $name"
        tail -n 40 "$f.log"
    fi
}

# One of the jobs: what it prints appears at once, when it has ended.
if [ "${1:-}" = --job ]; then
    seconds=$2
    text=$(run_fuzzer "$3")
    echo "$text"
    exit 0
fi

seconds=$1
shift
printf '%s\n' "$@" | xargs -P "$(nproc 2>/dev/null || echo 2)" -n 1 "$0" --job "$seconds" |
    awk -v jobs=$# '
        { print; fflush() }
        /^ok   fuzz_/ { p++ }
        END { printf "%d passed, %d failed\n", p, jobs - p; exit p < jobs }'
