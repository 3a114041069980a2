#!/usr/bin/env python3
"""Print tests/data/templates.json: small templates with variables and what jinja2 makes
of them, in the environment that Hugging Face's tokenizers render chat templates in.

  python3 ref/make_template_cases.py > tests/data/templates.json

A case is {template, vars, text} or {template, vars, error}: the message of the exception,
or null where only failing counts.  {.., compile: true} must fail at compilation."""
import datetime
import json
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox

NOW = 1700000000  # 2023-11-14 22:13:20 UTC


class Generation(jinja2.ext.Extension):
    """{% generation %}: its body, as transformers' tracker of assistant text does."""
    tags = {'generation'}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(['name:endgeneration'], drop_needle=True)
        call = self.call_method('_support')
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _support(self, caller):
        return caller()


def environment(immutable=True, now=NOW):
    """transformers uses the immutable sandbox; the other one allows list.append."""
    cls = (jinja2.sandbox.ImmutableSandboxedEnvironment if immutable
           else jinja2.sandbox.SandboxedEnvironment)
    env = cls(trim_blocks=True, lstrip_blocks=True,
              extensions=[Generation, 'jinja2.ext.loopcontrols'])

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent,
                          separators=separators, sort_keys=sort_keys)

    def strftime_now(fmt):
        at = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
        return at.replace(tzinfo=None).strftime(fmt)

    env.filters['tojson'] = tojson
    env.globals['raise_exception'] = raise_exception
    env.globals['strftime_now'] = strftime_now
    return env


V = {
    'messages': [{'role': 'system', 'content': 'Be kind.'},
                 {'role': 'user', 'content': 'Grüße, 世界 👋'},
                 {'role': 'assistant', 'content': None,
                  'tool_calls': [{'function': {'name': 'f', 'arguments': {'a': 1}}}]}],
    'n': None, 't': True, 'f': False, 'i': 7, 'z': 0, 'neg': -3, 'x': 2.5, 'big': 1e22,
    's': 'hello world', 'e': '', 'u': 'äöü ß 世界', 'nl': 'a\nb\n\nc\n', 'sp': '  pad \t\n',
    'l': [3, 1, 2], 'el': [], 'd': {'b': 1, 'a': [1, 2], 'c': {'k': 'v'}}, 'ed': {},
    'people': [{'name': 'Bob', 'age': 30, 'on': True}, {'name': 'alice', 'age': 25},
               {'name': 'Carol', 'age': 30, 'on': False}],
    'words': ['b', 'A', 'c', 'a', 'B'], 'q': "it's", 'qq': 'say "hi"', 'both': '\'"',
    'ctl': 'tab\there\x01\x7f\u2028', 'html': '<b>&"\'</b>', 'nested': [[1, [2, [3]]], 'x'],
}

CASES = r'''
# literals and str()
{{ 1 }} {{ -1 }} {{ 1.0 }} {{ 1e3 }} {{ 1_000 }} {{ 0x1f }} {{ 0b11 }} {{ 0o17 }} {{ 1.5e-7 }}
{{ true }} {{ True }} {{ false }} {{ False }} {{ none }} {{ None }}
{{ n }}|{{ t }}|{{ i }}|{{ x }}|{{ big }}|{{ missing }}|{{ e }}
{{ 0.1 }} {{ 0.1 + 0.2 }} {{ 1e16 }} {{ 123456789012345.6 }} {{ 1e15 }} {{ 0.0001 }} {{ 0.00001 }} {{ 5e-324 }} {{ 1.7976931348623157e308 }} {{ 1/3 }} {{ 100.0 }} {{ -0.0 }}
{{ "a\nb\tc\\d\'e\"f" }} {{ 'x\x41\u00e4\U0001F600\101\q' }}
{{ "a" "b" 'c' }}
{{ "it's" }}{{ 'say "x"' }}
{{ [1, 'a', none, true, 1.5, [], {}, ()] }}
{{ (1,) }}{{ (1, 2) }}{{ () }}{{ 1, 2 }}{{ (1) }}
{{ {'a': 1, 'b': [1, {'c': none}], 3: 'x', none: 0, 1.5: 1} }}
{{ [q, qq, both, ctl, u] }}
{{ d }} {{ l }} {{ nested }} {{ messages }}
{{ {'a': 1, 'a': 2}['a'] }} {{ {1: 'x', true: 'y', 1.0: 'z'} }}
{{ [1, 2,] }} {{ {'a': 1,} }}
{{ ['\u200b', '\xa0', '\xad', 'é'] }}
# arithmetic
{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 // -2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7 / 2 }} {{ 6 / 2 }}
{{ 7.5 // 2 }} {{ -7.5 // 2 }} {{ 7.5 % 2 }} {{ -7.5 % 2 }} {{ 7.5 % -2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 2.0 ** 0.5 }} {{ 0 ** 0 }} {{ (-1) ** 3 }}
{{ 1 + 2 * 3 }} {{ (1 + 2) * 3 }} {{ 2 ** 3 ** 2 }} {{ -2 ** 2 }} {{ 10 - 3 - 2 }} {{ 100 / 10 / 2 }} {{ 7 - -3 }} {{ +i }} {{ - i }}
{{ 1 + 1.5 }} {{ true + true }} {{ true * 3 }} {{ -true }} {{ 3 - 0.5 }}
{{ 'a' + 'b' }} {{ [1] + [2] }} {{ (1,) + (2,) }} {{ 'ab' * 3 }} {{ 3 * 'ab' }} {{ [1, 2] * 2 }} {{ 'x' * -1 }} {{ 'x' * 0 }}|
{{ 1 ~ 2 ~ 'x' ~ none ~ 1.5 ~ [1] }} {{ 'a' ~ missing ~ 'b' }} {{ 1 ~ 2 ~ 3 }} {{ 2 * 3 ~ 4 }} {{ 'a' + 1 ~ 'b' }}
{{ i * 2 + 1 }} {{ i / z if z else 'none' }}
{{ 9223372036854775807 }} {{ -9223372036854775807 - 1 }}
# comparison, logic
{{ 1 < 2 }} {{ 1 <= 1 }} {{ 2 > 1 }} {{ 2 >= 3 }} {{ 1 == 1.0 }} {{ 1 != 2 }} {{ true == 1 }} {{ 'a' < 'b' }} {{ 'Z' < 'a' }} {{ 'é' > 'z' }}
{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1 == 1 }} {{ 3 > 2 > 1 }} {{ 1 < 2 == true }}
{{ [1, 2] == [1, 2] }} {{ [1, 2] < [1, 3] }} {{ (1,) == [1] }} {{ {'a': 1} == {'a': 1.0} }} {{ none == false }} {{ [] == () }} {{ 'a' == none }} {{ missing == missing2 }} {{ missing == none }} {{ {'a': 1, 'b': 2} == {'b': 2, 'a': 1} }}
{{ 1 in [1, 2] }} {{ 3 not in [1, 2] }} {{ 'a' in 'cat' }} {{ 'x' not in 'cat' }} {{ 'b' in d }} {{ 'k' in d.c }} {{ '' in 'abc' }} {{ 1.0 in [1] }} {{ 'a' in missing }} {{ 2 in (1, 2) }} {{ 5 in range(10) }}
{{ not true }} {{ not 1 == 2 }} {{ not (1 and 0) }} {{ 1 and 2 }} {{ 0 and 2 }} {{ 0 or 'x' }} {{ '' or none }} {{ 1 or missing.x }} {{ not not 1 }}
{{ true and false or true }} {{ true or false and false }} {{ not true or true }} {{ not false and false }}
{{ 'a' if true else 'b' }} {{ 'a' if false else 'b' }} {{ 'a' if false }}| {{ 1 if 0 else 2 if 0 else 3 }} {{ (1 if t else 2) + 1 }} {{ 1 + 2 if t else 4 }}
{{ 'x' if 'a' in 'abc' and not f else 'y' }}
{{ missing is defined and missing.x }} {{ (missing or {}).x is defined }}
{{ [] or 'e' }}{{ {} or 'e' }}{{ 0.0 or 'e' }}{{ '0' or 'e' }}{{ range(0) or 'e' }}{{ none or 'e' }}
# access
{{ d.b }} {{ d['b'] }} {{ d.c.k }} {{ d['c']['k'] }} {{ d.a[0] }} {{ d.a.0 }} {{ d.a[-1] }} {{ d.nope }}| {{ d['nope'] }}| {{ l[10] }}| {{ l['x'] }}| {{ n.x }}| {{ i.x }}|
{{ s[0] }} {{ s[-1] }} {{ u[0] }} {{ u[-1] }} {{ s[99] }}| {{ u[6:] }} {{ s[true] }}
{{ l[1:] }} {{ l[:1] }} {{ l[::-1] }} {{ l[-2:] }} {{ l[:] }} {{ l[::2] }} {{ l[5:] }} {{ l[2:0:-1] }} {{ l[-1:-4:-1] }} {{ l[-100:100] }} {{ l[none:2] }}
{{ s[1:4] }} {{ s[::-1] }} {{ s[:-1] }} {{ s[-5:] }} {{ u[::-1] }} {{ u[1:3] }} {{ u[::2] }} {{ s[3:1] }}| {{ s[4:1:-1] }} {{ e[::-1] }}| {{ s[100:] }}|
{{ (1, 2, 3)[1:] }} {{ range(10)[2:5] }} {{ range(10)[::-2] | list }} {{ range(5)[-1] }}
{{ 'ok' if d['items'] else 'no' }}|{{ d.get('b') }} {{ d.get('q') }} {{ d.get('q', 5) }} {{ d.keys() }} {{ d.values() }} {{ d.items() }}
{{ {'items': 3}['items'] }} {{ {'items': 3}.items() | list }}
{{ messages[0].role }} {{ messages[-1]['tool_calls'][0].function.arguments.a }} {{ messages | length }}
{{ d.keys() | list }} {{ d.values() | list | length }}
{{ x.real is defined and false }}
# set, scopes
{% set a = 1 %}{{ a }}{% set a = a + 1 %}{{ a }}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (c, dd) = [3, 4] %}{{ c }}{{ dd }}
{% set a %}text {{ i }}{% endset %}[{{ a }}]{{ a is string }}
{% set a | upper %}text{% endset %}{{ a }}{% set b | replace('x', 'y') | trim %} xx {% endset %}{{ b }}
{% if t %}{% set a = 5 %}{% endif %}{{ a }}
{% set a = 1 %}{% for k in l %}{% set a = k %}{{ a }}{% endfor %}{{ a }}
{% set a = 1 %}{% for k in l %}{{ a }}{% set a = a + k %}{{ a }},{% endfor %}
{% set ns = namespace(a=1, b='x') %}{% for k in l %}{% set ns.a = ns.a + k %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}
{% set ns = namespace({'q': 1}, r=2) %}{{ ns.q }}{{ ns.r }}{{ ns['q'] is defined }}
{% set ns = namespace(x=none) %}{% if ns.x is none %}{% set ns.x = [1] %}{% endif %}{{ ns.x }}
{% set a = 0 %}{% with a = 5, b = a %}{{ a }}{{ b }}{% set a = 9 %}{% endwith %}{{ a }}
{% set i = i + 1 %}{{ i }}{% for i in [100] %}{{ i }}{% endfor %}{{ i }}
{% set a %}{% set b = 1 %}{{ b }}{% endset %}{{ a }}{{ b }}|
{% set t = 'x', 'y' %}{{ t }}
{% set messages = messages[1:] %}{{ messages[0].role }}{{ messages | length }}
# for
{% for k in l %}{{ k }}{% if not loop.last %}, {% endif %}{% endfor %}
{% for k in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}
{% for k in l %}{{ loop.previtem }}<{{ k }}>{{ loop.nextitem }} {% endfor %}{% for k in l %}{{ loop.previtem is defined }}{{ loop.nextitem is undefined }}{% endfor %}
{% for k in el %}x{% else %}empty{% endfor %}{% for k in missing %}x{% else %}undef{% endfor %}
{% for k in l if k > 1 %}{{ k }}{{ loop.length }}{{ loop.index }} {% endfor %}{% for k in l if k > 9 %}x{% else %}none{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}
{% for a, b in [[1, 2], (3, 4)] %}{{ a }}{{ b }} {% endfor %}{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for c in u %}{{ c }}.{% endfor %}
{% for k in range(3) %}{{ k }}{% endfor %} {% for k in range(2, 8, 2) %}{{ k }}{% endfor %} {% for k in range(5, 0, -2) %}{{ k }}{% endfor %}
{% for k in l %}{% if k == 1 %}{% continue %}{% endif %}{{ k }}{% endfor %} {% for k in l %}{% if k == 1 %}{% break %}{% endif %}{{ k }}{% endfor %}
{% for k in l %}{% break %}{% else %}else{% endfor %}{% for k in l %}{% continue %}{% else %}else{% endfor %}
{% for a in [1, 2] %}{% for b in [1, 2] %}{{ a }}{{ b }}{{ loop.index }}{% if b == 1 %}{% continue %}{% endif %}.{% endfor %}{{ loop.index }}{% endfor %}
{% for k in l %}{{ loop.cycle('odd', 'even') }} {{ loop.changed(k > 1) }} {% endfor %}
{% for m in messages[::-1] %}{{ m.role }}{{ loop.index0 }} {% endfor %}
{% for k in 'ab' ~ 'cd' %}{{ k }}-{% endfor %}
{% for k in (1, 2) %}{{ k }}{% endfor %}{% for k in [1, 2], [3] %}{{ k }}{% endfor %}
{% for m in messages %}{{ messages[loop.index0 - 1].role if loop.index0 else '-' }} {% endfor %}
{% for k in d.keys() %}{{ k }}{% endfor %}{% for k in d | dictsort %}{{ k[0] }}{% endfor %}{% for k, v in d | items %}{{ k }}{% endfor %}
{% for k in l %}{{ loop.depth }}{{ loop.depth0 }}{% endfor %}{{ loop is defined }}
{%for k in l%}{{k}}{%endfor%}
{% for k in l: %}{{ k }}{% endfor %}{% if t: %}x{% endif %}
# if
{% if f %}a{% elif t %}b{% else %}c{% endif %}{% if f %}a{% elif f %}b{% else %}c{% endif %}{% if n %}x{% endif %}
{% if l and d and s %}y{% endif %}{% if not el and not ed and not e %}y{% endif %}{% if missing %}n{% else %}y{% endif %}
{% if messages[0]['role'] == 'system' %}{% set sys = messages[0]['content'] %}{% else %}{% set sys = '' %}{% endif %}{{ sys }}
{% if 1 %}{% if 0 %}{% else %}x{% if 1 %}y{% endif %}{% endif %}{% endif %}
# macros
{% macro m(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(1, c='z') }} {{ m(b=5, a=4) }} {{ m() }}
{% macro f(k) %}{% if k > 0 %}{{ k }}{{ f(k - 1) }}{% endif %}{% endmacro %}{{ f(5) }}
{% macro m(a) %}[{{ a }}]{% endmacro %}{{ m('x') | upper }}{{ m('y') + 'z' }}{% set r = m(1) %}{{ r | length }}{{ r is string }}
{% macro m(x, y=x) %}{{ x }}{{ y }}{% endmacro %}{{ m(1) }}{{ m(1, 2) }}
{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, k=3) }}
{% macro m() %}{{ i }}{% set i = 99 %}{% endmacro %}{{ m() }}{{ i }}
{% set g = 1 %}{% macro m() %}{{ g }}{% endmacro %}{% set g = 2 %}{{ m() }}
{% macro m(a) %}{{ a is defined }}{{ a }}{% endmacro %}{{ m() }}{{ m(none) }}{{ m(missing) }}
{% macro a() %}A{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}
{% macro m(l) -%} {% for k in l %}{{ k }}{% endfor %} {%- endmacro %}|{{ m([1, 2]) }}|{{ m.name }}
{% for k in l %}{{ mm(k) if mm is defined }}{% macro mm(k) %}<{{ k }}>{% endmacro %}{{ mm(k) }}{% endfor %}
{% macro t(x, flag=false) %}{{ 'Y' if flag else 'N' }}{{ x }}{% endmacro %}{{ t('a', true) }}{{ t('b', flag=1) }}
# blocks
{% filter upper %}abc {{ s }}{% endfilter %}{% filter replace('a', 'b') | upper %}banana{% endfilter %}
{% generation %}x{{ i }}{% set i = 0 %}{% endgeneration %}{{ i }}
{% raw %}{{ x }}{% y %}{# z #}{% endraw %}|{%- raw -%}  {{ a }}  {%- endraw -%}  |
{# comment {{ x }} #}a{#- b -#} c {#- d #} e
{% print 1, 'x' %}
a{% raw %} b {% endraw %}c
# whitespace control
a {%- if t %} b {%- endif %} c
a {% if t -%} b {% endif -%} c
a {{- i -}} b {{ i -}} c {{- i }} d
a {%- set a = 1 -%} b {#- c -#} d {# e #} f
   {%+ if t +%} x {%+ endif %}
# filters
{{ s | upper }} {{ 'ABC' | lower }} {{ s | capitalize }} {{ s | title }} {{ 'foo-bar (baz) [q] <z>' | title }} {{ u | upper }} {{ 'ÄÖÜ ΑΒΓ ЖЩ' | lower }} {{ 'straße' | upper }}
{{ sp | trim }}| {{ 'xxaxx' | trim('x') }} {{ n | trim }} {{ missing | trim }}| {{ 5 | trim }} {{ '\u3000x\u00a0' | trim }}|
{{ s | length }} {{ u | length }} {{ l | length }} {{ d | length }} {{ missing | length }} {{ l | count }} {{ range(5) | length }} {{ '👋' | length }}
{{ l | join }} {{ l | join(', ') }} {{ people | join('/', attribute='name') }} {{ 'abc' | join('-') }} {{ [1, none, 'x'] | join(',') }} {{ el | join(',') }}| {{ missing | join }}| {{ [['a']] | join }}
{{ missing | default('d') }} {{ n | default('d') }} {{ e | default('d', true) }} {{ missing | d }}| {{ d.q | default([]) }} {{ e | default('x', boolean=true) }} {{ 0 | default(default_value=3) }}
{{ l | first }} {{ l | last }} {{ s | first }} {{ el | first }}| {{ d | first }} {{ u | last }} {{ el | last is defined }}
{{ l | sort }} {{ words | sort }} {{ words | sort(case_sensitive=true) }} {{ l | sort(reverse=true) }} {{ l | sort(true) }} {{ people | sort(attribute='age') | map(attribute='name') | list }} {{ people | sort(attribute='name') | join(',', 'name') }}
{{ words | unique | list }} {{ words | unique(true) | list }} {{ [1, 1.0, true, 2] | unique | list }} {{ people | unique(attribute='age') | map(attribute='name') | join }}
{{ l | reverse | list }} {{ s | reverse }} {{ u | reverse }} {{ d | list }} {{ s | list | length }} {{ missing | list }} {{ (1, 2) | list }}
{{ l | sum }} {{ l | sum(start=10) }} {{ people | sum(attribute='age') }} {{ l | min }} {{ l | max }} {{ words | min }} {{ words | max }} {{ people | max(attribute='age') }} {{ el | min }}|
{{ l | map('string') | list }} {{ words | map('upper') | join }} {{ people | map(attribute='name') | list }} {{ people | map(attribute='zip', default='-') | list }} {{ ['a b', 'c'] | map('replace', ' ', '_') | list }} {{ d | map('length') | list }}
{{ [[1, 2], [3]] | map('join', '+') | list }} {{ [{'a': {'b': [5]}}] | map(attribute='a.b.0') | list }}
{{ l | select('odd') | list }} {{ l | reject('odd') | list }} {{ l | select('>', 1) | list }} {{ [0, 1, '', 'x'] | select | list }} {{ l | reject('equalto', 3) | list }} {{ l | select('in', [1, 2]) | list }} {{ [1, 'a', none] | select('string') | list }}
{{ people | selectattr('on') | map(attribute='name') | list }} {{ people | rejectattr('on') | map(attribute='name') | list }} {{ people | selectattr('age', 'equalto', 30) | list | length }} {{ people | selectattr('on', 'defined') | list | length }} {{ people | rejectattr('name', 'eq', 'Bob') | map(attribute='age') | list }} {{ people | selectattr('age', '<', 30) | first }}
{{ 'y' if people | selectattr('age', '>', 99) else 'n' }} {{ people | selectattr('age', '>', 99) | list }}
{% set g = l | select('odd') %}{{ g | list }}{{ g | list }}{{ g is iterable }}{{ g is sequence }}
{{ d | dictsort }} {{ {'b': 1, 'A': 2} | dictsort }} {{ {'b': 1, 'A': 2} | dictsort(true) }} {{ {'b': 1, 'a': 2} | dictsort(by='value') }} {{ {'b': 1, 'a': 2} | dictsort(false, 'key', true) }}
{{ d | items | list }} {{ missing | items | list }}
{% for g in [words | unique, l | reverse, l | batch(2), l | map('string'), l | select, d | items] %}{{ g is sequence }}{{ 'y' if g else 'n' }}{{ g[0] is defined }}{{ g | list }}{{ g | list }} {% endfor %}
{{ '\u1680\u2003a\x1c\u2028\u202f\u205f\x85b\u200b\u180e' | trim | list }} {{ 'a\u3000b\x1fc\u200bd'.split() }}
{{ s | replace('o', '0') }} {{ s | replace('o', '0', 1) }} {{ 'aaa' | replace('aa', 'b') }} {{ 'ab' | replace('', '-') }} {{ 'abc' | replace('', '-', 2) }} {{ u | replace('ö', 'oe') }} {{ 5 | replace(5, 6) }}
{{ '42' | int }} {{ '4.9' | int }} {{ 'x' | int }} {{ 'x' | int(5) }} {{ 3.9 | int }} {{ -3.9 | int }} {{ true | int }} {{ n | int }} {{ '0x1f' | int(0, 16) }} {{ ' 7 ' | int }} {{ '1_000' | int }} {{ '12' | int(base=8) }} {{ 'ff' | int(base=16) }} {{ '1e3' | int }}
{{ '4.5' | float }} {{ 'x' | float }} {{ 3 | float }} {{ 'x' | float(1.5) }} {{ '1e5' | float }} {{ ' 2 ' | float }} {{ n | float }} {{ 'inf' | float }} {{ '-nan' | float }}
{{ -3 | abs }} {{ neg | abs }} {{ -2.5 | abs }} {{ x | round }} {{ 3.5 | round }} {{ 2.675 | round(2) }} {{ 7 | round }} {{ 2.1 | round(0, 'ceil') }} {{ 2.9 | round(method='floor') }} {{ 1.2345 | round(3) }} {{ 7 | round(1, 'floor') }} {{ -1.5 | round }}
{{ nl | indent }}|{{ nl | indent(2) }}|{{ nl | indent(2, true) }}|{{ nl | indent(1, blank=true) }}|{{ 'a\nb' | indent('>> ') }}|{{ 'a\n' | indent(2) }}|{{ '' | indent(2, true) }}|
{{ [1, 2, 3, 4, 5] | batch(2) | list }} {{ [1, 2, 3] | batch(2, 'x') | list }}
{{ 5 | string }} {{ n | string }} {{ l | string }} {{ d | string | length }} {{ s | safe }} {{ 'x' | string is string }}
{{ -1 | abs }} {{ (-1) | abs }} {{ 2 + 3 | string | length }} {{ 'a' ~ 'b' | upper }} {{ not l | length }} {{ l | length == 3 }} {{ l | first + 1 }}
# tojson
{{ d | tojson }} {{ l | tojson }} {{ s | tojson }} {{ u | tojson }} {{ n | tojson }} {{ t | tojson }} {{ x | tojson }} {{ big | tojson }} {{ i | tojson }} {{ el | tojson }} {{ ed | tojson }}
{{ d | tojson(indent=2) }}
{{ messages | tojson(indent=4) }}
{{ d | tojson(indent=0) }} {{ el | tojson(indent=2) }} {{ {'a': []} | tojson(indent=1) }} {{ {'a': 1} | tojson(indent='--') }} {{ [[]] | tojson(indent=-1) }}
{{ html | tojson }} {{ ctl | tojson }} {{ qq | tojson }} {{ '\\ \b\f\r/' | tojson }}
{{ {1: 2, none: 3, true: 4, 1.5: 5} | tojson }} {{ (1, 2) | tojson }} {{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }} {{ d | tojson(separators=(',', ':')) }} {{ u | tojson(ensure_ascii=true) }} {{ '👋' | tojson(true) }} {{ d | tojson(indent=2, separators=(', ', ': ')) }}
{{ 1e22 | tojson }} {{ 1e-7 | tojson }} {{ 0.1 | tojson }} {{ 1.0 | tojson }} {{ ('inf' | float) | tojson }}
{{ 'a' ~ d | tojson ~ 'b' }} {{ (d | tojson)[:5] }} {{ d | tojson | length }} {{ d | tojson | safe | upper }}
# tests
{{ missing is defined }} {{ n is defined }} {{ missing is undefined }} {{ missing is not defined }} {{ d.x is defined }} {{ d.b is defined }} {{ n is none }} {{ i is not none }} {{ missing is none }}
{{ s is string }} {{ i is string }} {{ i is number }} {{ x is number }} {{ t is number }} {{ s is number }} {{ i is integer }} {{ t is integer }} {{ x is float }} {{ i is float }} {{ t is boolean }} {{ i is boolean }}
{{ t is true }} {{ 1 is true }} {{ f is false }} {{ 0 is false }} {{ n is false }}
{{ d is mapping }} {{ l is mapping }} {{ l is sequence }} {{ s is sequence }} {{ d is sequence }} {{ i is sequence }} {{ l is iterable }} {{ s is iterable }} {{ d is iterable }} {{ i is iterable }} {{ missing is iterable }} {{ n is iterable }} {{ d.items() is sequence }} {{ range(3) is sequence }} {{ (1,) is sequence }}
{{ 3 is odd }} {{ 4 is even }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(2) }} {{ 'a' is in 'abc' }} {{ 1 is in [1] }} {{ 1 is eq 1 }} {{ 1 is equalto(2) }} {{ 1 is ne 2 }} {{ 1 is lt 2 }} {{ 2 is gt(1) }} {{ 1 is le 1 }} {{ 2 is ge 3 }} {{ 'abc' is lower }} {{ 'ABC' is upper }} {{ 'Abc' is lower }} {{ n is sameas none }} {{ range is callable }} {{ i is callable }}
{{ i is defined and i is number }} {{ not i is defined }} {{ i is not string and t }} {{ 'y' if i is defined else 'n' }} {{ i is number == true }} {{ 3 + 4 is odd }}
{{ 'upper' is filter }} {{ 'nope' is filter }} {{ 'odd' is test }}
# string methods
{{ 'a,b,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a,b,c'.split(',', 1) }} {{ 'abc'.split('x') }} {{ ''.split(',') }} {{ ''.split() }} {{ 'a</think>b</think>c'.split('</think>')[-1] }} {{ 'a b c d'.split(none, 2) }} {{ ' a b  '.split(maxsplit=1) }} {{ 'äxö'.split('x') }}
{{ 'a,b,c'.rsplit(',', 1) }} {{ ' a b c '.rsplit(none, 1) }} {{ 'abc'.rsplit() }} {{ 'a,b'.rsplit(',') }} {{ nl.splitlines() }} {{ 'a\r\nb\rc'.splitlines(true) }}
[{{ sp.strip() }}][{{ sp.lstrip() }}][{{ sp.rstrip() }}][{{ 'xyxaxyx'.strip('xy') }}][{{ '\n\na\n'.lstrip('\n') }}][{{ 'aé'.rstrip('é') }}][{{ 'abc'.strip('') }}][{{ '   '.strip() }}][{{ 'abc'.strip(none) }}]
{{ s.startswith('hell') }} {{ s.endswith('d') }} {{ s.startswith(('x', 'h')) }} {{ s.endswith('') }} {{ e.startswith('a') }} {{ u.endswith('界') }}
{{ s.upper() }} {{ 'ABC'.lower() }} {{ s.title() }} {{ s.capitalize() }} {{ "they're bill's".title() }} {{ 'aBc'.swapcase() }} {{ 'ǅx'.lower() }}
{{ s.replace('l', 'L') }} {{ s.replace('l', 'L', 1) }} {{ s.find('o') }} {{ s.rfind('o') }} {{ s.find('zz') }} {{ u.find('世') }} {{ u.rfind('界') }} {{ s.index('w') }} {{ s.count('l') }} {{ 'aaa'.count('aa') }} {{ 'ab'.count('') }}
{{ ','.join(['a', 'b']) }} {{ ''.join(words) }} {{ '-'.join('abc') }} {{ 'a-b-c'.partition('-') }} {{ 'a-b-c'.rpartition('-') }} {{ 'abc'.partition('x') }} {{ 'abc'.rpartition('x') }} {{ 'prefix_x'.removeprefix('prefix_') }} {{ 'x.py'.removesuffix('.py') }} {{ 'x'.removesuffix('') }}
{{ '12'.isdigit() }} {{ 'ab'.isalpha() }} {{ 'a1'.isalnum() }} {{ ' '.isspace() }} {{ 'A'.isupper() }} {{ 'a'.islower() }} {{ ''.isdigit() }} {{ 'é'.isalpha() }}
{{ s.nope is defined }} {{ 'abc'.upper().lower()[1] }} {{ s['upper']() }}
# dict and list methods
{{ d.get('a')[0] }} {{ d.copy() == d }} {{ l.index(2) }} {{ l.count(1) }} {{ l.copy() }} {{ (1, 2, 2).count(2) }} {{ (5, 6).index(6) }}
{{ dict(a=1, b=2) }} {{ dict({'x': 1}, y=2) }} {{ dict([('k', 'v')]) }} {{ dict() }}
{% for k, v in d.c.items() %}{{ k }}:{{ v }}{% endfor %} {{ d.items() | list | last }}
# globals
{{ range(3) }} {{ range(1, 4) | list }} {{ range(10, 0, -3) | list }} {{ range(0) | list }} {{ range(3) | sum }} {{ range(1, 9, 2) }}
{{ strftime_now('%Y-%m-%d') }} {{ strftime_now('%d %b %Y') }} {{ strftime_now('%B %d, %Y') }} {{ strftime_now('%H:%M:%S %A %j') }} {{ strftime_now('%%') }} {{ strftime_now('') }}| {{ strftime_now('%z%Z') }}|
{% set j = joiner(', ') %}{% for k in l %}{{ j() }}{{ k }}{% endfor %} {% set j = joiner() %}{{ j() }}a{{ j() }}b
{{ range is defined }} {{ namespace is defined }} {{ raise_exception is defined }}
# precedence corners
{{ 1 if t else 2 | string }} {{ -(l | length) }} {{ 5 - 2 | abs }} {{ 2 * 3 % 4 }} {{ 2 ~ 3 * 4 }} {{ 'a' in 'ab' ~ 'c' }} {{ not 'a' in 'b' }} {{ -1 ** 2 }} {{ 2 ** -1 }} {{ 10 % 4 * 2 }} {{ (1 - 1) ~ 'x' }}
{{ [1, 2, 3] | length > 2 and 'x' is string }} {{ (1, 2) == (1, 2) }} {{ -i.real if false else 0 }} {{ {'a': {'b': {}}}.a.b }} {{ {}['x'] is defined }} {{ [[1, 2], [3]][0][1] }} {{ {'a':{'b':1}}['a']['b'] }}
{{ 'a' 'b' ~ 'c' }} {{ ('x') }} {{ ((1)) }} {{ [(1, 2), (3,)] }} {{ 1 == 1 and 2 == 2 or false }} {{ 1 is number and not 2 is string }}
{{ '}}' }} {{ '%}' }} {{ "{{" }} {% if '%}' == '%}' %}ok{% endif %}
'''

# Templates with several lines and a name for what they show.
BLOCKS = [
    '{% for m in messages %}\n<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\n{% if true %}\nassistant\n{% endif %}\n',
    '{%- for m in messages -%}\n  {{- m.role }}: {{ m.content | default("", true) -}}\n  {%- if not loop.last %} | {% endif -%}\n{%- endfor -%}',
    'a\r\nb\rc\n', 'a\n\n', '\n', '', '{{ "x\ny" }}\n', '{% if t %}\r\nx\r\n{% endif %}\r\ny',
    '  {# only a comment #}  \nx', '{#\nmulti\nline\n#}\nx', '  {%- raw %}\n {{ a }}\n  {% endraw %}\nx', '{% raw %}\n  {{ a }}\n  {%- endraw %}\nx',
    '{{ {\n  "a": 1,\n  "b": [\n    2\n  ]\n} }}', 'x {{ i }}  \n  {{ i }} y\n', '\t{% if t %}\n\tx\n\t{% endif %}\n',
    '{% set x = "a" -%}\n\n\n{{ x }}\n\n{%- set y = 1 %}\n{{ y }}', '   {{- i }}', '{{ i -}}   ', '{% if t %}  {% endif %}|', '\n\n  {% if t %}a{% endif %}\n\n',
    '{%- macro r(s) -%}\n    {%- if s.type == "object" -%}\n        {{- "{" }}\n        {%- for k, v in s.p.items() -%}\n            {{- k + ": " }}{{ r(v) }}{%- if not loop.last -%}{{ ", " }}{%- endif -%}\n        {%- endfor -%}\n        {{- "}" }}\n    {%- else -%}\n        {{- s.type }}\n    {%- endif -%}\n{%- endmacro -%}\n{{ r({"type": "object", "p": {"a": {"type": "int"}, "b": {"type": "object", "p": {"c": {"type": "str"}}}}}) }}\n',
    'é{{ u }}世{% if t %}界{% endif %}', '{%\nif t\n%}x{%\nendif\n%}', '{{\n\n i }}', '{#-#}x', '{##}y', 'a{#+ c +#}\nb', '{ {{ i }} } { % {% if t %}%{% endif %}',
    '{% filter indent(2) %}a\nb{% endfilter %}', '  {% if t %}\n  x\n  {% endif %}\ny', '{% for k in l %}\n  {{ k }}\n{% endfor %}\nend',
    '  {%+ if t %}x{% endif +%}\ny', 'a\n  {% if t %}b{% endif %}  c\n  {{ i }}\n  {# c #}\n  d', '{%- set a = 1 -%}\n\n  x\n{{ "a" }}\n{{ "b" }}\n',
    'line {# c #}\nnext {#- c -#}\nlast\n  {%- if t +%}\n  z {%+ endif %}\n\t{% set a = 1 %}\ntab', '  {#- a #}\n  {# b -#}  \n  c',
    '{{ "\\\nx" }}', '{{ "a\r\nb" | length }}',
]

# Change a list or dict: the immutable sandbox refuses them, the other one does not.
MUTABLE = [
    '{% set a = [1, 2] %}{% set _ = a.append(3) %}{{ a }}{{ _ }}{{ a.pop() }}{{ a.pop(0) }}{{ a }}{{ a.pop(-1) }}{{ a }}',
    '{% set a = [1, 2, 3, 4] %}{{ a.pop(1) }}{{ a }}{% set _ = a.insert(1, 9) %}{{ a }}{% set _ = a.insert(-1, 8) %}{{ a }}{% set _ = a.insert(99, 7) %}{{ a }}{% set _ = a.insert(-99, 6) %}{{ a }}',
    '{% set a = [1] %}{% set _ = a.extend("xy") %}{% set _ = a.extend(a) %}{{ a }}{% set _ = a.reverse() %}{{ a }}',
    '{% set a = {"x": 1} %}{% set _ = a.update({"y": 2}, z=3) %}{{ a }}{{ a.pop("x") }}{{ a.pop("q", 5) }}{{ a }}{{ a.setdefault("y", 9) }}{{ a.setdefault("n", 8) }}{{ a.setdefault("o") }}{{ a }}',
    '{% set a = [1] %}{% set b = a %}{% set _ = a.append(2) %}{{ b }}{% set c = a.copy() %}{% set _ = c.append(3) %}{{ a }}{{ c }}',
    '{% set a = [1, 2, 3] %}{% for k in a %}{{ k }}{% if k == 1 %}{% set _ = a.append(4) %}{% endif %}{% endfor %}',
    '{% set ns = namespace(q=[]) %}{% for m in messages %}{% set _ = ns.q.append(m.role) %}{% endfor %}{{ ns.q }}{{ ns.q.pop(0) }}{{ ns.q | length }}',
]

# Runtime errors: (template, exact message?)
ERRORS = [
    ('{{ missing.x }}', True), ('{{ missing.x.y }}', True), ('{{ d.q.r }}', True), ('{{ d["q"]["r"] }}', True), ('{{ n.a.b }}', True),
    ('{{ l[9].x }}', True), ('{{ missing + 1 }}', True), ('{{ "a" + missing }}', True), ('{{ 1 - missing }}', True), ('{{ -missing }}', True),
    ('{{ missing < 1 }}', True), ('{{ missing() }}', True), ('{{ s.nope() }}', True), ('{{ d.nope() }}', True), ('{{ missing[0] }}', True),
    ('{{ missing[1:] }}', True), ('{{ messages[5].role }}', True), ('{{ i.foo.bar }}', True), ('{% for k in l %}{{ loop.nope.x }}{% endfor %}', True),
    ('{% set ns = namespace() %}{{ ns.a.b }}', True), ('{% for a in missing.x %}{% endfor %}', True), ('{% macro m(a) %}{{ a.b }}{% endmacro %}{{ m() }}', True),
    ('{{ raise_exception("Only user and assistant roles are supported!") }}', True), ('{{ raise_exception("a" ~ i) }}', True), ('{{ raise_exception("") }}', True),
    ('{{ raise_exception("äöü\\nline") }}', True), ('x{% if t %}{{ raise_exception("late") }}{% endif %}', True),
    ('{{ 1 / 0 }}', True), ('{{ 1 // 0 }}', False), ('{{ 1 % 0 }}', False), ('{{ 1.0 / 0 }}', True), ('{{ 1 + "a" }}', True), ('{{ "a" + 1 }}', True), ('{{ [1] + "a" }}', True),
    ('{{ n + 1 }}', True), ('{{ "a" * "b" }}', True), ('{{ "a" * 1.5 }}', True), ('{{ 1 < "a" }}', True), ('{{ n < 1 }}', True), ('{{ [1] < 1 }}', True), ('{{ d < d }}', True), ('{{ -s }}', True), ('{{ +n }}', True),
    ('{{ 1 in 2 }}', True), ('{{ 1 in "a" }}', True), ('{{ "a" in n }}', True), ('{{ [1] in d }}', True), ('{{ {[1]: 2} }}', True),
    ('{% for k in 5 %}{% endfor %}', True), ('{% for k in n %}{% endfor %}', True), ('{% for a, b in [1] %}{% endfor %}', True), ('{% for a, b in [[1]] %}{% endfor %}', True), ('{% for a, b in [[1, 2, 3]] %}{% endfor %}', True),
    ('{% set a, b = 1 %}', True), ('{% set x.y = 1 %}', False), ('{% set i.y = 1 %}', True), ('{{ 5() }}', False), ('{{ s() }}', False),
    ('{{ i | length }}', True), ('{{ n | length }}', True), ('{{ 5 | join }}', True), ('{{ range | tojson }}', False), ('{{ missing | tojson }}', True), ('{{ {(1, 2): 3} | tojson }}', True), ('{{ (l | map("string")) | tojson }}', True),
    ('{{ l | map("nope") | list }}', False), ('{{ l | select("nope") | list }}', False), ('{{ [1, "a"] | sort }}', True), ('{{ n | abs }}', True), ('{{ s | round }}', True), ('{{ missing | int }}', True), ('{{ 5 | items | list }}', True),
    ('{{ "a".split("") }}', True), ('{{ "a".index("b") }}', True), ('{{ ",".join([1]) }}', True), ('{{ "a".upper(1) }}', False), ('{{ "a".strip(1) }}', True), ('{{ "a".replace("b") }}', False),
    ('{{ l[::0] }}', True), ('{{ l["a":] }}', True), ('{{ d[1:] }}', True), ('{{ i[1:] }}', True), ('{{ n[:1] }}', True), ('{{ range(100001) }}', True), ('{{ range(1, 2, 0) }}', True), ('{{ range("a") }}', True), ('{{ range() }}', False),
    ('{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}', True), ('{% macro m(a) %}{% endmacro %}{{ m(b=2) }}', True), ('{{ s | replace("a") }}', False), ('{{ s | upper(1) }}', False), ('{{ d | dictsort(by="x") }}', True),
    ('{{ 2 ** 64 | tojson ~ missing.x }}', False), ('{{ (1 if false).x }}', False), ('{{ el | first + 1 }}', True), ('{{ l | batch(2) | length }}', False),
]

SYNTAX = [
    '{{', '{{ 1', '{% if t %}', '{% for k in l %}x', '{% endif %}', '{% if %}{% endif %}', '{{ }}', '{{ 1 + }}', '{{ (1 }}', '{{ 1) }}', '{{ [1, }}', '{{ {1} }}', '{{ "a }}', "{{ 'a\" }}",
    '{% raw %}x', '{# x', '{% nope %}', '{{ s | nope }}', '{{ s is nope }}', '{% set %}', '{% set 1 = 2 %}', '{% set a = %}', '{% for in l %}{% endfor %}', '{% for k l %}{% endfor %}',
    '{% macro %}{% endmacro %}', '{% macro m(a=1, b) %}{% endmacro %}', '{% break %}', '{% if t %}{% endfor %}', '{{ a.. }}', '{{ a b }}', '{{ 1 is }}', '{{ a | }}', '{{ $ }}', '{{ a = 1 }}', '{{ a ! b }}',
    '{% else %}', '{% if t %}{% else %}{% else %}{% endif %}', '{% filter nope %}{% endfilter %}', '{{ f(a=1, 2) }}', '{{ a is defined is none }}', '{% set x %}', '{{ {1: } }}', '{% for k in l if %}{% endfor %}', '{% if t -%} {{ } }}',
    '{% for k in a if b else c %}{% endfor %}', '{% macro m() %}{% break %}{% endmacro %}',
]
# Valid for jinja2, refused here.
REFUSED = ['{% include "a" %}', '{% import "a" as b %}', '{% from "a" import b %}', '{% extends "a" %}', '{% block a %}{% endblock %}', '{% call m() %}{% endcall %}', '{% autoescape true %}{% endautoescape %}',
           '{% for k in l recursive %}{% endfor %}', '{{ f(*l) }}', '{{ 9223372036854775808 }}', '{{ "\\ud800" }}', '{{ s | pprint }}', '{{ s | urlize }}']


def run(env, template, vars):
    try:
        t = env.from_string(template)
    except (jinja2.TemplateSyntaxError, SyntaxError) as e:
        return 'compile', str(e)
    try:
        return 'text', t.render(**vars)
    except Exception as e:
        return 'error', str(e)


def main():
    env = environment()
    out = []
    for t in CASES.splitlines():
        if not t.startswith('# ') and t:
            kind, text = run(env, t, V)
            assert kind == 'text', (t, text)
            out.append({'template': t, 'text': text})
    for t in BLOCKS:
        kind, text = run(env, t, V)
        assert kind == 'text', (t, text)
        out.append({'template': t, 'text': text})
    for t in MUTABLE:
        kind, text = run(environment(immutable=False), t, V)
        assert kind == 'text', (t, text)
        out.append({'template': t, 'text': text})
    for t, exact in ERRORS:
        kind, text = run(env, t, V)
        assert kind == 'error', (t, kind, text)
        out.append({'template': t, 'error': text if exact else None})
    for t in SYNTAX:
        kind, text = run(env, t, V)
        assert kind == 'compile', (t, kind, text)
        out.append({'template': t, 'compile': True})
    for t in REFUSED:
        out.append({'template': t, 'compile': True})
    json.dump({'now': NOW, 'vars': V, 'cases': out}, sys.stdout, ensure_ascii=True, indent=1)
    print()


if __name__ == '__main__':
    main()
