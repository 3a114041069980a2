"""turbine completion and turbine man: every command and option of every --help, in each of them; shells that are there."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TURBINE = str(pathlib.Path(os.environ.get('TURBINE', ROOT / 'build/turbine')).resolve())


def turbine(*args):
    done = subprocess.run([TURBINE, *args], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def commands():
    """{command: [options]} as the program's own help says it."""
    names = re.findall(r'^  (\S+) +\S', turbine('--help'), re.M)
    assert {'run', 'serve', 'pull', 'completion', 'man'} <= set(names)
    return {name: re.findall(r'^  (--?[a-z][\w-]*) ', turbine(name, '--help'), re.M) for name in names}


def section(text, start, end):
    at = text.index(start)
    return text[at:text.index(end, at + len(start))] if end in text[at + len(start):] else text[at:]


def test_bash_has_all(commands):
    text = turbine('completion', 'bash')
    first = re.search(r"compgen -W '([^']*)'", text)[1].split()
    assert set(first) == set(commands) | {'--help'}
    for name, options in commands.items():
        arm = section(text, f'    {name})\n', '        ;;\n')
        assert re.search(r"options='([^']*)'", arm)[1].split() == ['--help', *options], name


def test_zsh_has_all(commands):
    text = turbine('completion', 'zsh')
    for name, options in commands.items():
        assert re.search(rf"^ +'{name}:", text, re.M), name
        arm = section(text, f'    {name})\n', '        ;;\n')
        assert re.findall(r"'(--?[a-z][\w-]*)[=+]?\[", arm) == ['--help', *options], name


def test_fish_has_all(commands):
    text = turbine('completion', 'fish')
    for name, options in commands.items():
        assert f'-n __fish_use_subcommand -a {name} ' in text
        found = re.findall(rf"__fish_seen_subcommand_from {name}' -([ls]) (\S+)", text)
        assert [('--' if kind == 'l' else '-') + word for kind, word in found] == ['--help', *options], name


def test_manual_has_all(commands):
    text = turbine('man').replace('\\-', '-')
    for name, options in commands.items():
        part = section(text, f'\n.SS turbine {name}', '\n.SS') if f'.SS turbine {name}' in text else ''
        assert re.findall(r'^\.TP\n\\fB(--?[a-z][\w-]*)\\fR', part.split('\n.SH')[0], re.M) == options, name
    names = re.findall(r'^ENVIRONMENT\((\w+), (?:"(\w+)"|NULL)', (ROOT / 'src/cli/environment.def').read_text(), re.M)
    assert len(names) >= 12
    for name, twin in names:
        assert f'TURBINE_{name}' in text and twin in text


@pytest.mark.parametrize('check', [['groff', '-ww', '-z', '-man'], ['mandoc', '-T', 'lint', '-W', 'warning'],
                                   ['man', '--warnings', '-l']], ids=lambda c: c[0])
def test_manual_is_clean(check, tmp_path):
    if not shutil.which(check[0]):
        pytest.skip(f'{check[0]} is not there')
    page = tmp_path / 'turbine.1'
    page.write_text(turbine('man'))
    done = subprocess.run([*check, str(page)], capture_output=True, text=True, timeout=60, env={**os.environ, 'MANPAGER': 'cat'})
    said = done.stderr if check[0] != 'mandoc' else done.stdout + done.stderr
    # A date would make two builds of one release differ.
    assert [line for line in said.splitlines() if 'missing date' not in line] == []


BASH = r'''
source "$1"
turbine() { printf 'NAME  ID\nqwen3:0.6b  x\nqwen3:8b  y\nsmol:1  z\n'; }
shift
for line; do
    COMP_LINE=$line COMP_POINT=${#line}
    IFS=$' \t\n:='
    COMP_WORDS=($line)
    [[ $line == *" " ]] && COMP_WORDS+=("")
    unset IFS
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    COMPREPLY=()
    _turbine
    echo "${COMPREPLY[*]}"
done
'''


def complete_bash(tmp_path, *lines):
    script, driver = tmp_path / 'c.bash', tmp_path / 'driver'
    script.write_text(turbine('completion', 'bash'))
    driver.write_text(BASH)
    done = subprocess.run(['bash', str(driver), str(script), *lines], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert not done.stderr, done.stderr
    return [sorted(line.split()) for line in done.stdout.splitlines()]


@pytest.mark.skipif(not shutil.which('bash'), reason='bash is not there')
def test_bash_completes(tmp_path):
    (tmp_path / 'Modelfile').touch()
    (tmp_path / 'qwen3.gguf').touch()
    assert complete_bash(
        tmp_path, 'turbine se', 'turbine serve --para', 'turbine run qw', 'turbine run qwen3:', 'turbine run --kv turbo',
        'turbine run --kv=turbo', 'turbine create x -f Mod', 'turbine completion ', 'turbine codec --no-such', 'turbine cp qwen3:8b sm') == [
            ['serve'], ['--parallel'], ['qwen3.gguf', 'qwen3:0.6b', 'qwen3:8b'], ['0.6b', '8b'],
            ['turbo2', 'turbo3', 'turbo4', 'turbo8'], ['turbo2', 'turbo3', 'turbo4', 'turbo8'], ['Modelfile'],
            ['bash', 'fish', 'zsh'], [], ['smol:1']]


@pytest.mark.skipif(not shutil.which('fish'), reason='fish is not there')
def test_fish_completes(tmp_path):
    script = tmp_path / 'c.fish'
    script.write_text(turbine('completion', 'fish'))

    def complete(line):
        text = f"function turbine; printf 'NAME  ID\\nqwen3:8b  y\\n'; end; source {script}; complete -C '{line}'"
        done = subprocess.run(['fish', '--no-config', '-c', text], capture_output=True, text=True, timeout=60, cwd=tmp_path)
        assert not done.stderr, done.stderr
        return sorted(line.split('\t')[0] for line in done.stdout.splitlines())
    assert complete('turbine se') == ['serve']
    assert complete('turbine serve --paral') == ['--parallel']
    assert complete('turbine show q') == ['qwen3:8b']
    assert complete('turbine completion ') == ['bash', 'fish', 'zsh']
    assert complete('turbine run --cpu avx512') == ['avx512', 'avx512vnni']


@pytest.mark.skipif(not shutil.which('zsh'), reason='zsh is not there')
def test_zsh_takes_the_script(tmp_path):
    script = tmp_path / '_turbine'
    script.write_text(turbine('completion', 'zsh'))
    text = f'autoload -U compinit; compinit -u -d {tmp_path}/dump; source {script}; print $_comps[turbine]'
    done = subprocess.run(['zsh', '-f', '-c', text], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == '_turbine' and not done.stderr


def test_version():
    release = re.search(r'TURBINE_VERSION "(.*)"', (ROOT / 'src/base/version.h').read_text())[1]
    for option in ('--version', '-v'):
        assert turbine(option) == f'turbine version is {release}\n'


def test_help_of_a_command():
    assert turbine('help') == turbine('--help')
    assert turbine('help', 'run') == turbine('run', '--help')
    assert turbine('start', '--help') == turbine('serve', '--help')  # Ollama's other name


@pytest.mark.parametrize('name, says', [('frobnicate', "'turbine help' lists"), ('push', 'no accounts'), ('signin', 'no accounts')])
def test_commands_that_are_not_here(name, says):
    done = subprocess.run([TURBINE, name, 'x'], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.count('\n')) == (2, '', 1)
    assert f"'{name}'" in done.stderr and says in done.stderr


def test_paragraphs_of_the_manual():
    """Lines of a sentence are one paragraph."""
    text = turbine('man')
    part = text[text.index('.SS turbine run '):text.index('.TP', text.index('.SS turbine run '))]
    for paragraph in re.split(r'^\.PP\n', part, flags=re.M)[1:]:
        assert re.fullmatch(r'[A-Z].*[.:]\n', paragraph, re.S), paragraph


def test_wrong_shell():
    done = subprocess.run([TURBINE, 'completion', 'tcsh'], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and 'bash, zsh or fish' in done.stderr and not done.stdout


def test_install(tmp_path):
    out = subprocess.run(['make', '-n', 'install', f'DESTDIR={tmp_path}', 'PREFIX=/usr'], cwd=ROOT, capture_output=True, text=True,
                         timeout=120).stdout
    for place in ['share/man/man1/turbine.1', 'share/bash-completion/completions/turbine', 'share/zsh/site-functions/_turbine',
                  'share/fish/vendor_completions.d/turbine.fish']:
        assert f'>{tmp_path}/usr/{place}' in out
