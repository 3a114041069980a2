"""Claude Code itself through `turbine route` to a backend that speaks OpenAI's API alone:
`make check-claude`."""
import json

import pytest
from claude_code import Claude
from clients_helper import call, serve
from route_helper import Router

ECHO = 'Run echo turbine-42 and tell me what it printed.'
PRINTED = 'It printed turbine-42.'
NEXT = 'And this is the second question.'
ANSWER = 'Hello, this is an answer.'
RULES = [
    {'match': NEXT, 'text': ANSWER},
    {'match': '<tool_response>\nturbine-42', 'text': PRINTED},
    {'match': ECHO, 'text': 'I will run it.\n' + call('Bash', command='echo turbine-42', description='Print')},
    {'text': ANSWER},
]


@pytest.fixture
def server():
    yield from serve(RULES, ctx=65536, name='mymodel')


@pytest.fixture
def router(server):
    fleet = f'backend {server.url}/v1\n  dialects openai\n  context 65536\n  model mymodel\n'
    with Router(config=fleet) as r:
        r.wait_known()
        yield r


def test_a_tool_is_called_and_the_conversation_goes_on(server, router):
    claude = Claude(router.url, n_ctx=65536)
    try:
        for prompt, answer, n_turn, more in (ECHO, PRINTED, 2, ['--allowedTools', 'Bash']), \
                (NEXT, ANSWER, 1, ['--continue']):
            done = claude.ask(prompt, '--output-format', 'json', *more)
            assert done.returncode == 0, done.stdout + done.stderr
            r = json.loads(done.stdout)
            u = r['usage']
            assert not r['is_error'] and r['result'] == answer and r['num_turns'] == n_turn
            # What the backend counted and had kept came through.
            assert u['cache_read_input_tokens'] > 5000 and u['output_tokens'] > 0
    finally:
        claude.close()
    b, = router.status()['backends']
    assert b['dialects'] == ['openai'] and b['finished'] >= 3 and not any(b['failed'].values())
