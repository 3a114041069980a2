"""A server for tests with the official clients: the real one, whose model is a script.

The vocabulary is SmolLM2's; the template is a small one of our own, with tools and
reasoning in the most common syntax, so that answers written in it must come back as the
clients' own objects."""
import json
import os
import pathlib
import re
import select
import subprocess
import sys
import time
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('TURBINE', ROOT / 'build/turbine')).resolve().parent
SCRIPTED = BUILD / 'tests/server/scripted_server'
sys.path.append(str(ROOT / 'ref'))
import gguf_meta  # noqa: E402
import gguf_write  # noqa: E402

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


def make_model(path):
    meta = gguf_meta.read(ROOT / 'tests/data/smollm2_vocab.gguf')
    meta['tokenizer.chat_template'] = TEMPLATE.encode()
    gguf_write.write(path, meta, {})
    return path


class Server:
    """rules: [{'match': part of the prompt, 'text': ...}], the one whose match ends last
    answers; script: more of what tests/server/scripted.h has."""

    def __init__(self, folder, rules, *options, name='tiny-chat', **script):
        if not SCRIPTED.exists():
            pytest.skip(f'{SCRIPTED} is not built')
        model, file = folder / f'{name}.gguf', folder / 'script.json'
        if not model.exists():
            make_model(model)
        file.write_text(json.dumps({'rules': rules, **script}))
        self.log = open(folder / 'server.log', 'w+b')
        self.process = subprocess.Popen([SCRIPTED, model, file, '--port', '0', *map(str, options)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log)
        self.url = self.wait()
        self.model = name

    def wait(self):
        text, end = b'', time.monotonic() + 60
        while time.monotonic() < end:
            if not select.select([self.process.stdout], [], [], 0.2)[0]:
                continue
            piece = os.read(self.process.stdout.fileno(), 4096)
            text += piece
            if found := re.search(rb'listening on (http://\S+)', text):
                return found[1].decode()
            if not piece:
                break
        self.close()
        self.log.seek(0)
        pytest.fail(f'the server did not start: {text.decode()} {self.log.read().decode()[-2000:]}')

    def close(self):
        """Its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self.process.stdout.close()

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=20) as r:
            return json.load(r)


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
    {'text': 'No rule.'},
]


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    s = Server(tmp_path_factory.mktemp('server'), RULES)
    yield s
    assert s.close() == 0
