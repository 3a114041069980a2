"""A server for tests with the official clients: the real one, whose model is a script.

The vocabulary is SmolLM2's; the template is a small one of our own, with tools and
reasoning in the most common syntax, so that answers written in it must come back as the
clients' own objects."""
import json

import pytest
import server_helper
from server_helper import ROOT, SCRIPTED  # noqa: F401

TEMPLATE = """\
{%- if tools %}<|im_start|>system
Functions, as JSON, in <tools></tools>:
<tools>
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
</tools>
A call is a JSON object in <tool_call></tool_call>:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{% endif %}
{%- for m in messages %}
{%- if m.role == 'tool' %}<|im_start|>user
<tool_response>
{{ m.content }}
</tool_response><|im_end|>
{% else %}<|im_start|>{{ m.role }}
{% if m.reasoning_content %}<think>
{{ m.reasoning_content }}
</think>

{% endif %}{{ m.content }}
{%- for call in m.tool_calls %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}<|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and not enable_thinking %}<think>

</think>

{% endif %}{% endif %}"""


def call(name, **arguments):
    """A call in the model's syntax."""
    return f'<tool_call>\n{json.dumps({"name": name, "arguments": arguments})}\n</tool_call>'


class Server(server_helper.Server):
    """rules: [{'match': part of the prompt, 'text': ...}], the one whose match ends last
    answers; script: more of what tests/server/scripted.h has."""

    def __init__(self, rules, *options, name='tiny-chat', **script):
        if not SCRIPTED.exists():
            pytest.skip(f'{SCRIPTED} is not built')
        self.model = name
        super().__init__({'ctx': 8192, 'rules': rules, **script}, *options, template=TEMPLATE, name=name)


WEATHER = {'name': 'get_weather', 'description': 'The weather in a city.', 'parameters': {
    'type': 'object', 'required': ['city'], 'additionalProperties': False,
    'properties': {'city': {'type': 'string'}, 'days': {'type': 'integer'}}}}
CLOCK = {'name': 'get_time', 'description': 'The time in a zone.', 'parameters': {
    'type': 'object', 'properties': {'zone': {'type': 'string'}}, 'required': ['zone']}}
GREETING = 'Hello there, my friend! Grüße, 世界.'
SUNNY = 'It is sunny in Paris.'
PERSON = '{"name": "Ada", "age": 36}'
LOREM = 'One two three four five six seven eight nine ten.'

RULES = [
    {'match': 'sunny-22', 'text': SUNNY},
    {'match': 'weather and time', 'text': call('get_weather', city='Paris', days=2) + '\n' + call('get_time', zone='CET')},
    {'match': 'explain and call', 'text': 'I will look.\n' + call('get_weather', city='Paris', days=2)},
    {'match': 'weather in Paris', 'text': call('get_weather', city='Paris', days=2)},
    {'match': 'nothing to pass', 'text': call('now')},
    {'match': 'Think about it', 'text': '<think>\nTwo and two.\n</think>\n\nFour.'},
    {'match': 'Describe Ada', 'text': PERSON},
    {'match': 'Count to ten', 'text': LOREM},
    {'match': 'Say hello', 'text': GREETING},
    {'match': 'Speak slowly', 'text': LOREM, 'repeat': 100, 'delay_ms': 20},  # 20 s and more
    {'text': 'No rule.'},
]


def assert_cancelled(server):
    """Whoever asked is gone, and the server knows it: no answer is being written."""
    server.wait_busy(0)
    assert server.metric('llamacpp:requests_deferred') == 0


def serve(rules, **script):
    """For a fixture: a server that ends well."""
    s = Server(rules, **script)
    yield s
    assert s.stop() == 0
