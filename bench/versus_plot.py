"""One SVG of bench/versus: tokens/s (log) against depth, decode beside prefill, every line labelled."""
import math
from xml.sax.saxutils import escape

import versus_table as table

PANEL, LABELS, HEIGHT = 330, 190, 400          # widths of a plot and of its labels, height of a plot
LEFT, TOP, BOTTOM, LINE = 50, 60, 45, 12       # margins; the pitch of labels
OURS = ('#c0392b', '#d35400', '#8e44ad', '#b7950b')
THEIRS = {'off': '#1f618d', 'on': '#7f8c8d'}   # llama.cpp by flash attention


def decade_ticks(low, high):
    """1, 2, 5 and so on around a range."""
    ticks = [m * 10.0 ** e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) for m in (1, 2, 5)]
    first = max((t for t in ticks if t <= low), default=ticks[0])
    last = min((t for t in ticks if t >= high), default=ticks[-1])
    return [t for t in ticks if first <= t <= last]


def spread_labels(wanted, low, high, pitch=LINE):
    """Places near the wanted ones, at least `pitch` apart, between low and high if they fit."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    out, at = list(wanted), low - pitch
    for i in order:
        at = out[i] = max(wanted[i], at + pitch)
    at = high + pitch
    for i in reversed(order):
        at = out[i] = min(out[i], at - pitch)
    return out


def lines_of(rows, phase):
    """[(engine, setting, [(depth, tokens/s)])], Turbine last: it is drawn on top."""
    lines = {}
    for r in sorted(table.select(rows, phase=phase), key=lambda r: (r['engine'], r['depth'])):
        lines.setdefault((r['engine'], r['setting']), []).append((r['depth'], table.speed(r)))
    return [(engine, setting, points) for (engine, setting), points in lines.items()]


def _text(x, y, text, more=''):
    return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{escape(text)}</text>'


def panel(rows, phase, left, kvs):
    lines = lines_of(rows, phase)
    speeds = [s for _, _, points in lines for _, s in points]
    depths = sorted({d for _, _, points in lines for d, _ in points})
    ticks = decade_ticks(min(speeds), max(speeds))
    low, high = math.log(ticks[0]), math.log(ticks[-1])
    x = lambda d: left + PANEL * (d / depths[-1] if depths[-1] else 0)
    y = lambda s: TOP + HEIGHT * (1 - (math.log(s) - low) / ((high - low) or 1))
    out = [_text(left, TOP - 12, f'{phase}, tokens/s', ' font-weight="bold"')]
    for t in ticks:
        out.append(f'<path d="M{left} {y(t):.1f}h{PANEL}" stroke="#ddd"/>')
        out.append(_text(left - 6, y(t) + 4, f'{t:g}', ' text-anchor="end"'))
    for i, d in enumerate(depths):
        out.append(f'<path d="M{x(d):.1f} {TOP}v{HEIGHT}" stroke="#eee"/>')
        out.append(_text(x(d), TOP + HEIGHT + 16, f'{d:,}', f' text-anchor="{"start" if d == 0 else "middle"}"'))
    out.append(_text(left + PANEL / 2, TOP + HEIGHT + 34, 'depth, tokens', ' text-anchor="middle"'))
    places = spread_labels([y(points[-1][1]) for _, _, points in lines], TOP + 6, TOP + HEIGHT)
    for (engine, setting, points), place in zip(lines, places):
        ours = engine == table.TURBINE
        colour = OURS[kvs.index(setting) % len(OURS)] if ours else THEIRS[setting.split()[-1]]
        path = ' '.join(f'{x(d):.1f},{y(s):.1f}' for d, s in points)
        end = x(points[-1][0]), y(points[-1][1])
        out.append(f'<path d="M{end[0]:.1f} {end[1]:.1f}L{left + PANEL + 12} {place:.1f}" stroke="{colour}" '
                   'stroke-width=".6" stroke-dasharray="1 2" fill="none"/>')
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{2.5 if ours else 1.2}"/>')
        out += [f'<circle cx="{x(d):.1f}" cy="{y(s):.1f}" r="{3 if ours else 2}" fill="{colour}"/>' for d, s in points]
        out.append(_text(left + PANEL + 15, place + 4, f'{engine} {setting}: {points[-1][1]:.3g}',
                         f' fill="{colour}"' + (' font-weight="bold"' if ours else '')))
    return out


def draw(rows, title):
    kvs = list(dict.fromkeys(r['setting'] for r in table.select(rows, engine=table.TURBINE)))
    width = 2 * (LEFT + PANEL + LABELS) + 20
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{TOP + HEIGHT + BOTTOM}" '
           f'font-family="sans-serif" font-size="11">', '<rect width="100%" height="100%" fill="white"/>',
           _text(LEFT, 22, title, ' font-size="13"')]
    for i, phase in enumerate(table.PHASES):
        if table.select(rows, phase=phase):
            out += panel(rows, phase, LEFT + i * (LEFT + PANEL + LABELS), kvs)
    return '\n'.join(out + ['</svg>']) + '\n'
