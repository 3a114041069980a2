"""`turbine codec`: figures against theory, the picture, messages."""
import json
import xml.etree.ElementTree as xml

import pytest
from measure_helper import assert_fails, turbine


def table(dim, *options):
    r = json.loads(turbine('codec', '--dim', dim, '--json', *options).stdout)
    assert r['dim'] == dim
    return {row['format']: row for row in r['results']}


@pytest.fixture(scope='module')
def at128(tmp_path_factory):
    path = tmp_path_factory.mktemp('plot') / 'codec.svg'
    rows = table(128, '--plot', path)
    return rows, xml.parse(path).getroot()


def test_distortion(at128):
    rows, _ = at128
    # The exact law of a coordinate of a unit vector in 128 dimensions.
    for name, want in (('mse2', .1160), ('mse3', .03397), ('mse4', .00932)):
        assert rows[name]['nmse'] == pytest.approx(want, rel=.01)
    for name, most in (('turbo2', .0870), ('turbo3', .0236), ('turbo4', .0065), ('turbo8', .00005)):
        assert rows[name]['nmse'] < most
    assert rows['q4_0']['nmse'] == pytest.approx(.00737, rel=.01)
    for row in rows.values():
        # No code beats the bound; 6.02 dB are one bit.
        assert row['gap_db'] > 0
        assert row['bits_per_value'] >= 2.125


def test_inner_products(at128):
    rows, _ = at128
    pi = 3.141592653589793
    for b, d_mse in ((2, .36338), (3, .1160), (4, .03397)):
        prod, mse = rows[f'prod{b}'], rows[f'mse{b}']
        # Unbiased, at pi / 2 times the distortion of one bit less (theorem 2).
        assert abs(prod['inner_product_bias']) < .01
        assert prod['inner_product_error'] == pytest.approx(pi / 2 * d_mse, rel=.04)
        # Biased by minus its distortion, but closer in the mean square and in softmax.
        assert mse['inner_product_bias'] == pytest.approx(-mse['nmse'], rel=.05)
        for kl_prod, kl_mse in zip(prod['softmax_kl'], mse['softmax_kl']):
            assert kl_prod['kl'] > 2 * kl_mse['kl']
        assert rows[f'turbo{b}']['softmax_kl'][1]['kl'] < .8 * mse['softmax_kl'][1]['kl']


def test_plot(at128):
    rows, svg = at128
    text = [t.text for t in svg.iter('{http://www.w3.org/2000/svg}text')]
    for name, row in rows.items():
        if row['bits_per_value'] < 5:
            assert name in text
            assert f'{name} {row["gap_db"]:.1f}' in text


def test_other_dimension():
    rows = table(80, '--cpu', 'c')
    assert 'turbo4' in rows and 'mse3' in rows
    assert 'q4_0' not in rows  # blocks of 32
    assert rows['mix2.5']['bits_per_value'] == 29 * 8 / 80


def test_text_and_errors(tmp_path):
    assert_fails(['100', '128', '512 or 576'], 'codec', '--dim', 100)
    r = turbine('codec', '--dim', 64, '--plot', tmp_path / 'missing/x.svg', check=False)
    assert sum(line.startswith('turbo') for line in r.stdout.decode().splitlines()) == 4
    assert r.returncode == 1 and b'cannot write' in r.stderr and b'missing' in r.stderr
