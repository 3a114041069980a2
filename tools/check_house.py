#!/usr/bin/env python3
"""House rules that a compiler does not check: sizes of files and functions, one
definition of each static function name, malloc only in base/, no environment
reads outside cli/, no architecture names outside model/arch_*.c."""
import pathlib
import re
import sys

FILE_MAX, FUNC_MAX, KERNEL_FUNC_MAX = 700, 120, 200
root = pathlib.Path(sys.argv[1])
errors = []


def functions(lines):
    """(name, first line, length, is static) of each function: a brace in column 0
    opens the body, one in column 0 closes it."""
    start = None
    for i, line in enumerate(lines):
        if line.rstrip() == '{' and i:
            start, head = i, ''
            j = i - 1
            while j >= 0 and lines[j].strip() and lines[j][0] not in '}#/*':
                head = lines[j].rstrip() + ' ' + head
                if lines[j][0] not in ' \t':
                    break
                j -= 1
        elif line.startswith('}') and start is not None:
            m = re.search(r'(\w+)\s*\(', re.sub(r'__attribute__\s*\(\(.*?\)\)', '', head))
            if m:
                yield m[1], start, i - start, head.startswith('static')
            start = None


statics = {}
for path in sorted(root.rglob('*.[ch]')):
    text = path.read_text()
    lines = text.splitlines()
    rel = path.relative_to(root)
    if len(lines) > FILE_MAX and 'generated' not in lines[0]:
        errors.append(f'{path}: {len(lines)} lines, at most {FILE_MAX}')
    limit = KERNEL_FUNC_MAX if rel.name.startswith('kernels_') else FUNC_MAX
    for name, line, length, static in functions(lines):
        if length > limit:
            errors.append(f'{path}:{line}: {name} has {length} lines, at most {limit}')
        if static and not rel.name.startswith('kernels_'):
            statics.setdefault(name, []).append(f'{path}:{line}')
    for n, line in enumerate(lines, 1):
        code = line.split('//')[0]
        if rel.parts[0] != 'base' and re.search(r'\b(malloc|calloc|realloc|free)\s*\(', code):
            errors.append(f'{path}:{n}: allocation belongs to base/')
        if rel.parts[0] != 'cli' and re.search(r'\b(getenv|secure_getenv)\s*\(', code):
            errors.append(f'{path}:{n}: only cli/ reads the environment')
        if not rel.name.startswith(('arch', 'labels')) and 'general.architecture' in code and 'gguf_put' not in code:
            errors.append(f'{path}:{n}: only arch files, and labels for people, look at general.architecture')
        if re.search(r'\b(TODO|FIXME|XXX)\b', line):
            errors.append(f'{path}:{n}: a TODO without an issue')
for name, where in sorted(statics.items()):
    files = {w.split(':')[0] for w in where}
    if len(files) > 1 and not re.match(r'(main|usage|check_|test_)', name):
        errors.append(f'static {name} is defined in {len(files)} files: ' + ', '.join(where))
print('\n'.join(errors))
sys.exit(bool(errors))
