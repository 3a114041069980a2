"""Grammars against an independent judge: texts made by masks are valid by jsonschema, texts
that jsonschema refuses are not accepted, and texts in the form that grammars write are."""
import json
import os
import pathlib
import random
import re
import subprocess

import jsonschema
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TURBINE = pathlib.Path(os.environ.get('TURBINE', ROOT / 'build' / 'turbine'))
WALK = TURBINE.parent / 'tests' / 'unit' / 'test_grammar_walk'
TOOLS = json.loads((ROOT / 'tests' / 'data' / 'tool_schemas.json').read_text())
WALKS = 40

if not WALK.exists():
    pytest.skip(f'{WALK} is not built', allow_module_level=True)


@pytest.fixture(scope='module')
def serve():
    p = subprocess.Popen([WALK, '--serve'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)

    def ask(**request):
        p.stdin.write(json.dumps(request).encode() + b'\n')
        p.stdin.flush()
        return json.loads(p.stdout.readline())

    yield ask
    p.stdin.close()
    assert p.wait(20) == 0


O, A, S, I = 'object', 'array', 'string', 'integer'
SCHEMAS = {
    'anything': {},
    'true': True,
    'object': {'type': O},
    'array': {'type': A},
    'types': {'type': [S, 'null', I, 'boolean']},
    'const': {'const': {'a': [1, 'x\n"', None], 'b': {}}},
    'consts': {'enum': [1, 12, 'one', 'onetwo', 'on', None, [1], 0.1, -3]},
    'enum of one type': {'type': S, 'enum': ['a', 1, 'b', None]},
    'enum beside bounds': {'enum': [1, 5, 2.5, 9, 'a', 'bcd', None, 'éé'], 'minimum': 2, 'exclusiveMaximum': 9, 'minLength': 2,
                           'type': ['number', S]},
    'integer': {'type': I},
    'number': {'type': 'number'},
    **{f'integer {lo} {hi}': {'type': I, 'minimum': lo, 'maximum': hi}
       for lo, hi in [(0, 9), (-5, 5), (7, 7), (10, 105), (-1000, -99), (98, 1203), (-1, 100000), (0, 2 ** 53 - 1)]},
    'integer above': {'type': I, 'exclusiveMinimum': 41},
    'integer below': {'type': I, 'exclusiveMaximum': -41},
    'integer between halves': {'type': I, 'minimum': 0.5, 'exclusiveMaximum': 3},
    **{f'number {lo} {hi}': {'type': 'number', 'minimum': lo, 'maximum': hi}
       for lo, hi in [(0, 1), (-0.5, 0.25), (99.5, 100), (-3, -2.75), (0.001, 0.002), (1.25, 1.25)]},
    'number open': {'type': 'number', 'exclusiveMinimum': 0, 'exclusiveMaximum': 1},
    'number open above': {'type': 'number', 'exclusiveMinimum': 99999.5},
    'lengths': {'type': S, 'minLength': 2, 'maxLength': 5},
    'long': {'type': S, 'minLength': 20},
    'length 0': {'type': S, 'maxLength': 0},
    'pattern': {'type': S, 'pattern': '^[a-z]{2,3}(-[A-Z]{2})?$'},
    'pattern anywhere': {'type': S, 'pattern': 'fo+'},
    'pattern at begin': {'type': S, 'pattern': '^ab'},
    'pattern at end': {'type': S, 'pattern': '(x|y$)'},
    'pattern with escapes': {'type': S, 'pattern': '^\\d+\\.[\\w-]*\\s?[^\\\\"a-z]\\/$'},
    'pattern of all characters': {'type': S, 'pattern': '^.[^a].$'},
    'pattern and lengths': {'type': S, 'pattern': '^[a-c]+(-[a-c]+)*$', 'minLength': 4, 'maxLength': 9},
    'pattern and even lengths': {'type': S, 'pattern': '^(ab)*$', 'minLength': 3, 'maxLength': 7},
    'pattern and least length': {'type': S, 'pattern': '[éa]+', 'minLength': 6},
    'pattern that must grow': {'type': S, 'pattern': '^(a|bcde|f.*)$', 'minLength': 3},
    'pattern that must not': {'type': S, 'pattern': '^(ab|cdefgh|i.{4,}j)$', 'maxLength': 5, 'minLength': 1},
    'counted pattern': {'type': S, 'pattern': '^([0-9a-f]{2}:){5,1000}[0-9a-f]{2}$'},
    'two patterns': {'type': S, 'allOf': [{'pattern': '^a'}, {'pattern': 'b$'}, {'maxLength': 5}]},
    'items': {'type': A, 'items': {'type': I, 'minimum': 0, 'maximum': 3}, 'minItems': 2, 'maxItems': 4},
    'items at least': {'type': A, 'items': {'type': 'boolean'}, 'minItems': 3},
    'one item': {'type': A, 'items': {'type': 'null'}, 'minItems': 1},
    'items at most': {'type': A, 'items': {'type': 'null'}, 'maxItems': 2},
    'tuple': {'type': A, 'prefixItems': [{'type': S}, {'type': I}], 'items': {'type': 'null'}, 'minItems': 1, 'maxItems': 4},
    'closed tuple': {'type': A, 'prefixItems': [{'const': 1}, {'const': 2}], 'items': False},
    'nested arrays': {'type': A, 'items': {'type': A, 'items': {'type': I}, 'maxItems': 2}, 'maxItems': 2},
    'no items': {'type': A, 'items': False},
    'optional members': {'type': O, 'properties': {k: {'type': I, 'minimum': 0, 'maximum': 9} for k in 'abcd'},
                         'required': ['b'], 'additionalProperties': False},
    'open members': {'type': O, 'properties': {'a': {'const': 1}, 'ab': {'const': 2}, 'b"\\é': {'const': 3}},
                     'required': ['ab']},
    'other members': {'type': O, 'properties': {'name': {'type': S}}, 'additionalProperties': {'type': I}},
    'map': {'type': O, 'additionalProperties': {'type': 'boolean'}, 'propertyNames': {'pattern': '^[a-z]+$', 'maxLength': 4}},
    'listed names': {'type': O, 'additionalProperties': {'type': 'boolean'}, 'propertyNames': {'enum': ['x', 'y']}},
    'names of both': {'type': O, 'additionalProperties': {'type': 'boolean'}, 'propertyNames': {'enum': ['a', 'bb'], 'maxLength': 1}},
    'integers listed': {'type': I, 'enum': [1, 2.0, 1e300, 2.5]},
    'at least one': {'type': O, 'minProperties': 1, 'additionalProperties': {'type': 'null'}},
    'undeclared required': {'type': O, 'required': ['z'], 'properties': {'a': {'type': I}}},
    'false member': {'type': O, 'properties': {'a': False, 'b': {'type': I}}},
    'anyOf': {'anyOf': [{'type': I}, {'type': S, 'maxLength': 3}, {'type': 'null'}]},
    'anyOf beside': {'type': O, 'properties': {'k': {'type': S}, 'v': {'type': I}}, 'additionalProperties': False,
                     'anyOf': [{'required': ['k']}, {'required': ['v']}]},
    'union': {'anyOf': [{'type': O, 'properties': {'kind': {'const': 'a'}, 'x': {'type': I}}, 'required': ['kind', 'x']},
                        {'type': O, 'properties': {'kind': {'const': 'b'}, 'y': {'type': S}}, 'required': ['kind', 'y']}]},
    'oneOf': {'oneOf': [{'type': I, 'maximum': 3}, {'type': S}]},
    'allOf': {'allOf': [{'type': O, 'properties': {'a': {'type': I}}, 'required': ['a']},
                        {'properties': {'b': {'type': S}, 'a': {'minimum': 5, 'maximum': 6}}, 'required': ['b']}]},
    'allOf of closed': {'allOf': [{'type': O, 'properties': {'a': {'type': I}}, 'additionalProperties': False},
                                  {'type': O, 'properties': {'b': {'type': I}}}]},
    'allOf of items': {'allOf': [{'type': A, 'items': {'minimum': 1}}, {'items': {'type': I, 'maximum': 3}, 'minItems': 1}]},
    'ref': {'$defs': {'n': {'type': I, 'minimum': 0, 'maximum': 50}}, 'type': A, 'items': {'$ref': '#/$defs/n'}},
    'ref with siblings': {'$defs': {'n': {'type': I, 'minimum': 0}}, '$ref': '#/$defs/n', 'maximum': 7},
    'tree': {'definitions': {'t/~': {'type': O, 'properties': {'v': {'type': I}, 'kids': {'type': A, 'items': {
        '$ref': '#/definitions/t~1~0'}}}, 'required': ['v']}}, '$ref': '#/definitions/t~1~0'},
    'recursive root': {'type': O, 'properties': {'next': {'anyOf': [{'$ref': '#'}, {'type': 'null'}]}}, 'required': ['next'],
                       'additionalProperties': False},
    'inferred types': {'properties': {'a': {'minLength': 1}}, 'required': ['a']},
    'draft 4': {'type': I, 'minimum': 3, 'exclusiveMinimum': True, 'maximum': 5},
    'draft 7': {'type': A, 'items': [{'type': I}, {'type': S}], 'additionalItems': {'type': 'null'}},
    **{f: {'type': S, 'format': f} for f in
       ['date', 'time', 'date-time', 'duration', 'uuid', 'email', 'hostname', 'ipv4', 'ipv6', 'uri', 'made-up']},
    **{t['name']: t['input_schema'] for t in TOOLS},
}
DRAFTS = {'draft 4': jsonschema.Draft4Validator, 'draft 7': jsonschema.Draft7Validator}


def validator(name, schema):
    return DRAFTS.get(name, jsonschema.Draft202012Validator)(schema)


def values(v):
    """v, and values that differ from it a little."""
    yield v
    if isinstance(v, dict):
        for k in v:
            yield {**{k2: v2 for k2, v2 in v.items() if k2 != k}}
            for other in values(v[k]):
                yield {**v, k: other}
        yield {**v, 'zzz': None}
    elif isinstance(v, list):
        for i, one in enumerate(v):
            yield v[:i] + v[i + 1:]
            for other in values(one):
                yield v[:i] + [other] + v[i + 1:]
        yield v + v
        yield v + [None]
    elif isinstance(v, bool) or v is None:
        yield 0
        yield not v
    elif isinstance(v, (int, float)):
        yield from (v + 1, v - 1, -v, v * 10, v + 0.5, str(v))
    elif isinstance(v, str):
        yield from (v + 'a', v[:-1], v[1:], v + v, v.upper(), 'x' + v, v + '\n', v + '"', 'é', '', [v])


@pytest.mark.parametrize('name', SCHEMAS)
def test_schema(serve, name):
    schema, rng = SCHEMAS[name], random.Random(name)
    judge = validator(name, schema)
    done = serve(schema=schema, walks=WALKS, seed=rng.randrange(1 << 40))
    assert 'error' not in done, done
    made = []
    for text in done['walks']:
        assert isinstance(text, str), text
        value = json.loads(text)
        judge.validate(value)
        made.append(value)
    different = [json.dumps(o, ensure_ascii=rng.random() < .3) for v in made for o in values(v)]
    texts = list(dict.fromkeys(different))
    rng.shuffle(texts)
    texts = texts[:300]
    verdicts = serve(schema=schema, texts=texts)['texts']
    wrong = [t for t, v in zip(texts, verdicts) if v and not judge.is_valid(json.loads(t))]
    assert not wrong


@pytest.mark.parametrize('name', [n for n in SCHEMAS if n not in ('pattern', 'draft 4')])
def test_what_python_writes(serve, name):
    """Values that walks made, written by json.dumps in three forms, are accepted."""
    schema = SCHEMAS[name]
    made = [json.loads(t) for t in serve(schema=schema, walks=10, seed=7)['walks']]
    texts = [json.dumps(v, ensure_ascii=False, **form) for v in made
             for form in ({}, {'separators': (',', ':')}, {'indent': 2}, {'indent': '\t'})
             if not re.search(r'[0-9]e|\d{17}|\.\d{11}', json.dumps(v))]
    verdicts = serve(schema=schema, texts=texts)['texts']
    assert [t for t, v in zip(texts, verdicts) if not v] == []


RANGES = [(None, 0), (0, None), (-5, 5), (7, 7), (10, 105), (-1203, -99), (98, 1203), (0.5, 2.5), (-0.05, 12.125), (-3, -2.75),
          (0.001, 0.02), (1.25, 1.25), (99.5, 100), (-100, 1e3)]


@pytest.mark.parametrize('open_ends', [False, True])
@pytest.mark.parametrize('integer', [True, False])
@pytest.mark.parametrize('lo, hi', RANGES)
def test_ranges_are_complete(serve, lo, hi, integer, open_ends):
    """Every number near the bounds, by plain comparison of decimals."""
    from decimal import Decimal
    schema = {'type': 'integer' if integer else 'number'}
    if lo is not None:
        schema['exclusiveMinimum' if open_ends else 'minimum'] = lo
    if hi is not None:
        schema['exclusiveMaximum' if open_ends else 'maximum'] = hi
    texts = {str(n) for n in range(-1300, 1300)}
    if not integer:
        for b in (lo, hi):
            base = Decimal(str(b or 0))
            texts |= {f'{base + Decimal(k) / 10 ** d:f}' for d in range(1, 5) for k in range(-30, 31)}
        texts |= {f'{k / 8:.3f}' for k in range(-900, 900)}
    texts = sorted(t for t in texts if not (t.startswith('-') and Decimal(t) == 0))

    def fits(t):
        v = Decimal(t)
        low, high = (Decimal(str(b)) if b is not None else None for b in (lo, hi))
        if open_ends:
            return (low is None or v > low) and (high is None or v < high)
        return (low is None or v >= low) and (high is None or v <= high)

    want = [fits(t) for t in texts]
    done = serve(schema=schema, texts=texts)
    if not any(want):
        assert 'error' in done or not any(done['texts'])
        return
    assert [t for t, v, w in zip(texts, done['texts'], want) if v != w] == []


FORMATS = {
    'date': (['2024-02-29', '2023-12-31', '2000-02-29'], ['2023-02-29', '1900-02-29', '2023-13-01', '2023-04-31', '23-01-01']),
    'time': (['12:00:00Z', '23:59:59.123+02:00'], ['24:00:00Z', '12:00', '12:00:00']),
    'date-time': (['2024-02-29T12:00:00Z'], ['2024-02-30T12:00:00Z', '2024-02-29 12:00:00Z']),
    'uuid': (['123e4567-e89b-12d3-a456-426614174000'], ['123e4567e89b12d3a456426614174000', '']),
    'email': (['a.b+c@example.org'], ['a@', '@b.c', 'a b@c.d', 'a@b']),
    'ipv4': (['255.0.10.1'], ['256.0.0.1', '1.2.3', '01.2.3.4']),
    'ipv6': (['::1', '2001:db8::ff', '1:2:3:4:5:6:7:8'], ['1:2', ':::', '12345::']),
    'hostname': (['a-b.example'], ['-a', 'a..b', '']),
    'uri': (['https://example.org/a?b=c#d', 'mailto:a@b'], ['/a/b', 'a b:c', 'http://a b', 'http:']),
    'duration': (['P1D', 'PT5M', 'P1Y2M3DT4H'], ['P', '1D', 'PT']),
}


@pytest.mark.parametrize('name', FORMATS)
def test_format(serve, name):
    good, bad = FORMATS[name]
    texts = [json.dumps(t) for t in good + bad]
    verdicts = serve(schema={'type': 'string', 'format': name}, texts=texts)['texts']
    assert verdicts == [True] * len(good) + [False] * len(bad)


ERRORS = [
    ({'type': 'object', 'properties': {'a': {'type': 'string', 'pattern': '('}}}, '$.properties.a.pattern'),
    ({'type': 'object', 'properties': {'a': {'not': {}}}}, '$.properties.a.not'),
    ({'type': 'strin'}, '$.type'),
    ({'type': 'string', 'minLength': '3'}, '$.minLength'),
    ({'type': 'string', 'minLength': 3, 'maxLength': 2}, 'minLength is above maxLength'),
    ({'type': 'integer', 'minimum': 3, 'maximum': 2}, 'no number'),
    ({'$ref': '#/$defs/x'}, '$.$ref'),
    ({'$ref': 'https://example.org/x'}, '$.$ref'),
    ({'$ref': '#'}, ''),
    ({'type': 'object', 'properties': {'a': {'$ref': '#'}}, 'required': ['a']}, 'contains itself'),
    ({'allOf': [{'$ref': '#'}, {'type': 'object'}]}, 'nested'),
    ({'allOf': [{'type': 'string'}, {'type': 'integer'}]}, 'no type in common'),
    (False, 'nothing is allowed'),
    ({'enum': []}, '$.enum'),
    ({'type': 'array', 'items': {'type': 'string', 'pattern': 'a(?=b)'}}, '$.items.pattern'),
    ({'type': 'string', 'pattern': '(a)\\1'}, 'reference to a group'),
    ({'type': 'string', 'pattern': '^+[a-z]$'}, '$.pattern'),
    ({'type': 'string', 'pattern': '\\bword'}, 'word boundary'),
    ({'type': 'string', 'pattern': 'a^b'}, 'anchor'),
    ({'type': 'string', 'pattern': '^a{3}$', 'maxLength': 2}, 'no string meets'),
    ({'type': 'array', 'uniqueItems': True}, '$.uniqueItems'),
    ({'type': 'object', 'patternProperties': {'a': {}}}, '$.patternProperties'),
    ({'type': 'number', 'multipleOf': 3}, '$.multipleOf'),
    ({'if': {}, 'then': {}}, '$.if'),
    ({'type': 'object', 'required': ['a'], 'properties': {'a': False}}, 'no value is valid'),
    ({'type': 'object', 'properties': {'a': {'enum': ['x'], 'pattern': 'y'}}}, '$.properties.a.pattern'),
    ({'type': 'object', 'properties': {'foo': {}, 'b': {}}, 'additionalProperties': False, 'propertyNames': {'maxLength': 1}},
     '$.propertyNames'),
    ({'type': 'object', 'propertyNames': {'enum': ['a']}, 'required': ['z']}, '$.propertyNames'),
    (7, 'a schema is an object'),
]


@pytest.mark.parametrize('schema, where', ERRORS, ids=[json.dumps(e[0])[:60] for e in ERRORS])
def test_errors_say_where(serve, schema, where):
    done = serve(schema=schema, walks=1, seed=1)
    assert 'error' in done, done
    assert done['error'].startswith('schema-0: ') and where in done['error'], done
