"""What is typed in a chat can be recalled in the next one: `turbine run` on a terminal, at a server that follows a script."""
import stat

import pytest

from server_helper import NAME, Server
from terminal_helper import Terminal
from test_run_server import environment

UP = '\x10'  # Ctrl-P


@pytest.fixture
def server():
    with Server([{'text': 'An answer.'}, {'match': 'first', 'text': 'To the first.'}, {'match': 'Übung \\ 🐋', 'text': 'To the second.'}]) as s:
        yield s


def chat(tmp_path, server, **more):
    return Terminal('run', NAME, env=environment(tmp_path, server.url, XDG_STATE_HOME=str(tmp_path / 'state'), **more))


def file(tmp_path):
    return tmp_path / 'state/turbine/history'


def test_lines_of_earlier_runs(tmp_path, server):
    with chat(tmp_path, server) as t:
        t.wait('>>> ')
        t.say('first question', 'To the first')
        # Kept while the chat goes on: it may end in any way.
        assert stat.S_IMODE(file(tmp_path).stat().st_mode) == 0o600 and 'first' in file(tmp_path).read_text()
        assert stat.S_IMODE(file(tmp_path).parent.stat().st_mode) == 0o700
        t.say('zweite Frage: Übung \\ 🐋', 'To the second')
    with chat(tmp_path, server) as t:  # the other one was killed
        t.wait('>>> ')
        t.say(UP + UP, 'To the first')
        t.say(UP + UP, 'To the second')
        assert t.leave() == 0
    assert [p.name for p in file(tmp_path).parent.iterdir()] == ['history']  # no leftovers


@pytest.mark.parametrize('name', ['TURBINE_NOHISTORY', 'OLLAMA_NOHISTORY'])
def test_none_is_kept(tmp_path, server, name):
    with chat(tmp_path, server, **{name: '1'}) as t:
        t.wait('>>> ')
        t.say('a secret', 'An answer')
        assert t.leave() == 0
    assert not file(tmp_path).exists()
    with chat(tmp_path, server, **{name: '0'}) as t:
        t.wait('>>> ')
        t.say('/set nohistory', 'Set .nohistory. mode')
        t.say('a secret', 'An answer')
        t.say('/set history', 'Set .history. mode')
        t.say('no secret', 'An answer')
        assert t.leave() == 0
    text = file(tmp_path).read_text()
    assert 'a\\040secret' not in text and 'a secret' not in text and 'no' in text


def test_where_none_can_be_kept(tmp_path, server):
    """It is said once, and the chat goes on."""
    (tmp_path / 'state').write_text('')
    with chat(tmp_path, server) as t:
        t.wait('>>> ')
        t.say('one', 'the history is not kept: .*Not a directory')
        t.say('two', 'An answer')
        assert t.leave() == 0
        assert t.output.count('not kept') == 1
    with chat(tmp_path, server, TURBINE_NOHISTORY='perhaps') as t:
        t.wait('TURBINE_NOHISTORY')
        assert t.leave() == 1
