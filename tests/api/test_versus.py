"""The pure parts of bench/versus: which figure wins, the ratio, the drop rule, the plot."""
import math
import pathlib
import struct
import sys
import xml.etree.ElementTree

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / 'bench'))
import llama_depth
import versus_plot
import versus_table as table

MB = 1_000_000


def row(engine, setting, phase, depth, n, *turns, others=0.0):
    return {'engine': engine, 'setting': setting, 'phase': phase, 'depth': depth, 'n': n,
            'visits': [[[seconds, others] for seconds in turn] for turn in turns]}


def rows():
    """Turbine 40 and 20 tokens/s; llama.cpp's fastest is the second setting at depth 0 and the
    first at 4096, where the third has 4 of 10 tokens/s and the second 5."""
    a, b, c = 'f16/f16 flash off', 'f16/f16 flash on', 'q8_0/q8_0 flash on'
    return [row('turbine', 'turbo4', 'decode', 0, 40, [1.0, 1.5]), row('turbine', 'turbo4', 'decode', 4096, 40, [2.0, 2.0]),
            row('llama.cpp', a, 'decode', 0, 16, [1.0, 0.9], [0.8]), row('llama.cpp', b, 'decode', 0, 16, [0.64]),
            row('llama.cpp', a, 'decode', 4096, 10, [1.25], [1.0, 2.0]), row('llama.cpp', b, 'decode', 4096, 10, [2.0]),
            row('llama.cpp', c, 'decode', 4096, 8, [2.0])]


def test_ratio_is_to_the_fastest_setting_at_each_depth():
    got = [(c['depth'], c['llama.cpp']['setting'], c['ratio']) for c in table.ratios(rows())]
    assert got == [(0, 'f16/f16 flash on', pytest.approx(40 / 25)), (4096, 'f16/f16 flash off', pytest.approx(20 / 10))]


def test_spread_and_drift():
    deep = table.select(rows(), engine='llama.cpp', setting='f16/f16 flash off', depth=4096)[0]
    assert table.spread(deep) == pytest.approx(100)
    assert table.drift(rows(), 'decode', 4096) == pytest.approx(25)
    assert table.drift(rows(), 'decode', 0) is None  # its fastest had one turn


def test_a_setting_is_dropped_below_half_of_the_fastest():
    r = rows()
    assert table.dropped_at(r, 'q8_0/q8_0 flash on', 'decode', 16384) == 4096
    assert table.dropped_at(r, 'q8_0/q8_0 flash on', 'decode', 4096) is None
    assert table.dropped_at(r, 'f16/f16 flash on', 'decode', 16384) is None  # half is enough
    assert table.dropped_at(r, 'q8_0/q8_0 flash on', 'prefill', 16384) is None


def test_a_disturbed_run_drops_nothing():
    r = rows()
    r[-1] = row('llama.cpp', 'q8_0/q8_0 flash on', 'decode', 4096, 8, [2.0], others=0.5)
    assert table.dropped_at(r, 'q8_0/q8_0 flash on', 'decode', 16384) is None


def test_tables_say_what_was_dropped_and_where():
    r = rows() + [row('llama.cpp', 'f16/f16 flash off', 'decode', 16384, 4, [1.0])]
    assert '< 1/2 at 4096' in table.by_setting(r)
    assert ' 1.60' in table.comparison(r) and ' 2.00' in table.comparison(r)


def test_a_limit_is_optional():
    r = rows()
    assert 'of limit' not in table.comparison(r)
    r[0]['limit'] = 80
    assert '50 %' in table.comparison(r)


@pytest.mark.parametrize('excess, verdict', [(200 * MB, 'ok'), (200 * MB + 1, 'FAILED')])
def test_memory(excess, verdict):
    m = {'setting': 'turbo4', 'depth': 32768, 'weight_bytes': 400 * MB, 'cache_bytes': 1000 * MB,
         'peak_bytes': 1400 * MB + excess}
    assert table.excess(m) == excess
    assert verdict in table.memory([m])


@pytest.mark.parametrize('seconds, per_token, least, most', [(20, 1e-3, 16, 512), (20, 0.05, 16, 512), (20, 9.0, 16, 512),
                                                             (10, 0.09, 4, 64), (0.1, 1.0, 4, 64)])
def test_a_run_fits_its_time(seconds, per_token, least, most):
    n = llama_depth.tokens_within(seconds, per_token, least, most)
    assert least <= n <= most
    assert n == least or n * per_token <= seconds
    assert n == most or n * per_token >= 0.7 * seconds or n == least


def test_quantised_values_need_flash_attention():
    settings = llama_depth.all_settings()
    assert len(settings) == len(set(settings)) == 3 + 9
    assert all(flash or v == 'f16' for k, v, flash in settings)
    assert llama_depth.named_setting('q8_0/f16:off') == ('q8_0', 'f16', False)


def test_format_of_a_saved_state():
    n_cell, n_layer, row_bytes = 3, 2, 34
    state = struct.pack('<4I', 9, 9, 1, n_cell) + bytes(12 * n_cell) + struct.pack('<2I', 1, n_layer)
    state += n_layer * (struct.pack('<IQ', 8, row_bytes) + bytes(n_cell * row_bytes)) + struct.pack('<I', 1)
    assert llama_depth.state_format(state) == (3, 8, 1, True)


def test_plot_is_well_formed_and_labels_every_line():
    svg = versus_plot.draw(rows(), 'a <title> & more')
    texts = [''.join(e.itertext()) for e in xml.etree.ElementTree.fromstring(svg).iter() if e.tag.endswith('text')]
    assert 'a <title> & more' in texts
    for name in ('turbine turbo4', 'llama.cpp f16/f16 flash off', 'llama.cpp q8_0/q8_0 flash on'):
        assert sum(t.startswith(name) for t in texts) == 1


def test_labels_do_not_overlap():
    got = versus_plot.spread_labels([50, 50, 51, 99, 100], 0, 100, 10)
    gaps = [b - a for a, b in zip(sorted(got), sorted(got)[1:])]
    assert min(gaps) >= 10 and max(got) <= 100 and math.isclose(max(got), 100)
