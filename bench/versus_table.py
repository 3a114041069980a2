"""Figures of bench/versus and their tables.

A row is {engine, setting, phase, depth, n, visits}: `visits` has a list for each turn of the
engine, of runs [seconds, cores that others used meanwhile] of n tokens.  Of Turbine a turn has
two, the best and the worst, and what others used is that of the whole turn."""
import quiet

PHASES = ('decode', 'prefill')
TURBINE, LLAMA = 'turbine', 'llama.cpp'
EXCESS_BYTES = 200e6  # what a process may hold besides weights and cache


def best(row):
    return min(run for v in row['visits'] for run in v)


def speed(row):
    """Tokens/s of the best run."""
    return row['n'] / best(row)[0]


def spread(row):
    """How much longer the worst run took than the best, in percent."""
    times = [seconds for v in row['visits'] for seconds, _ in v]
    return 100 * (max(times) / min(times) - 1)


def disturbed(row):
    return best(row)[1] > quiet.LIMIT


def select(rows, **want):
    return [r for r in rows if all(r[k] == v for k, v in want.items())]


def fastest(rows):
    return max(rows, key=speed, default=None)


def ratios(rows):
    """[{phase, depth, turbine row, llama.cpp's fastest row, ratio}], llama.cpp's fastest by depth."""
    out = []
    for phase in PHASES:
        for ours in sorted(select(rows, engine=TURBINE, phase=phase), key=lambda r: (r['depth'], r['setting'])):
            theirs = fastest(select(rows, engine=LLAMA, phase=phase, depth=ours['depth']))
            out.append({'phase': phase, 'depth': ours['depth'], 'turbine': ours, 'llama.cpp': theirs,
                        'ratio': speed(ours) / speed(theirs) if theirs else None})
    return out


def contenders(rows, phase, depth):
    """Settings of llama.cpp at least half as fast as its fastest one at this depth, and those
    that others disturbed."""
    here = select(rows, engine=LLAMA, phase=phase, depth=depth)
    return [r['setting'] for r in here if disturbed(r) or 2 * speed(r) >= speed(fastest(here))]


def dropped_at(rows, setting, phase, depth):
    """The smallest depth below `depth` where a setting was less than half as fast as the
    fastest, or None."""
    for r in sorted(select(rows, engine=LLAMA, setting=setting, phase=phase), key=lambda r: r['depth']):
        if r['depth'] < depth and setting not in contenders(rows, phase, r['depth']):
            return r['depth']
    return None


def drift(rows, phase, depth):
    """Change of llama.cpp's fastest between its first and its last turn, in percent of tokens/s."""
    row = fastest(select(rows, engine=LLAMA, phase=phase, depth=depth))
    if not row or len(row['visits']) < 2:
        return None
    return 100 * (min(row['visits'][0])[0] / min(row['visits'][-1])[0] - 1)


def share_of_limit(row):
    limit = row.get('limit')
    return 100 * speed(row) / limit if limit else None


def _speed(row):
    return f'{speed(row):.2f}{"*" if disturbed(row) else ""}'


def _percent(value, sign=''):
    return '' if value is None else f'{value:{sign}.0f} %'


def comparison(rows):
    limits = any(r.get('limit') for r in rows)
    lines = []
    for phase in PHASES:
        lines.append(f'{phase:8s} {"kv":14s} {"turbine":>9s} {"tokens":>6s} {"spread":>7s} '
                     + (f'{"of limit":>8s} ' if limits else '')
                     + f'| {"llama.cpp":>9s} {"tokens":>6s} {"spread":>7s} {"drift":>6s}  {"its fastest setting":20s} '
                       f'| {"ratio":>6s}')
        for c in ratios(rows):
            if c['phase'] != phase:
                continue
            ours, theirs = c['turbine'], c['llama.cpp']
            line = f'{c["depth"]:8d} {ours["setting"]:14s} {_speed(ours):>9s} {ours["n"]:6d} {_percent(spread(ours)):>7s} '
            if limits:
                line += f'{_percent(share_of_limit(ours)):>8s} '
            if theirs:
                line += (f'| {_speed(theirs):>9s} {theirs["n"]:6d} {_percent(spread(theirs)):>7s} '
                         f'{_percent(drift(rows, phase, c["depth"]), "+"):>6s}  {theirs["setting"]:20s} | {c["ratio"]:6.2f}')
            lines.append(line)
        lines.append('')
    return '\n'.join(lines)


def by_setting(rows):
    """Every setting of llama.cpp, with where it was dropped."""
    theirs = select(rows, engine=LLAMA)
    settings = list(dict.fromkeys(r['setting'] for r in theirs))
    depths = sorted({r['depth'] for r in theirs})
    lines = []
    for phase in PHASES:
        lines.append(f'llama.cpp {phase:10s}' + ''.join(f'{d:>16d}' for d in depths))
        for setting in settings:
            line = f'{setting:20s}'
            for depth in depths:
                row = fastest(select(theirs, setting=setting, phase=phase, depth=depth))
                at = dropped_at(rows, setting, phase, depth)
                cell = f'{_speed(row)} ({row["n"]})' if row else '-' if at is None else f'< 1/2 at {at}'
                line += f'{cell:>16s}'
            lines.append(line)
        lines.append('')
    return '\n'.join(lines)


def excess(m):
    """Bytes of a process besides its weights and its cache."""
    return m['peak_bytes'] - m['weight_bytes'] - m['cache_bytes']


def memory(rows):
    """A line for each process of Turbine: peak resident memory against what it should be."""
    lines = []
    for m in rows:
        bits = f' ({m["bits"]:.2f} bits a value)' if m.get('bits') else ''
        lines.append(f'memory {m["setting"]}, depth {m["depth"]}: peak {m["peak_bytes"] / 1e6:.1f} MB = weights '
                     f'{m["weight_bytes"] / 1e6:.1f} + cache {m["cache_bytes"] / 1e6:.1f}{bits} '
                     f'+ {excess(m) / 1e6:.1f}; {"ok" if excess(m) <= EXCESS_BYTES else "FAILED"}, '
                     f'at most {EXCESS_BYTES / 1e6:.0f}')
    return '\n'.join(lines)
