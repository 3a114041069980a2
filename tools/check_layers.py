#!/usr/bin/env python3
"""Fail if a source file includes a header that its layer may not see (layers.txt)."""
import pathlib
import re
import sys

src, rules = pathlib.Path(sys.argv[1]), sys.argv[2]
allowed = {}
for line in open(rules):
    if line[0] not in '#\n':
        layer, deps = line.split(':')
        allowed[layer.strip()] = {layer.strip(), *deps.split()}

bad = 0
for path in sorted(src.rglob('*.[ch]')):
    layer = path.relative_to(src).parts[0]
    if layer not in allowed:
        print(f'{path}: {layer}/ is not in {rules}')
        bad += 1
        continue
    for n, line in enumerate(path.open(), 1):
        m = re.match(r'\s*#\s*include\s+"(\w+)/', line)
        if m and m[1] not in allowed[layer]:
            print(f'{path}:{n}: {layer}/ may not include {m[1]}/')
            bad += 1
sys.exit(bad != 0)
