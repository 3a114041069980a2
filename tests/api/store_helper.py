"""A store in a folder of its own, and `turbine` on it."""
import hashlib
import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
TURBINE = str(pathlib.Path(os.environ.get('TURBINE', ROOT / 'build/turbine')).resolve())
STORIES = ROOT / 'tests/data/stories260K.gguf'
FORGET = pathlib.Path(TURBINE).parent / 'tests/store/forget.so'
MEDIA = 'application/vnd.ollama.image.'
CONFIG_MEDIA = 'application/vnd.docker.container.image.v1+json'
MANIFEST_MEDIA = 'application/vnd.docker.distribution.manifest.v2+json'


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Store:
    """Folders below `home`; `models` is where TURBINE_MODELS points, unless None."""

    def __init__(self, home, models='own'):
        self.home = pathlib.Path(home)
        self.home.mkdir(parents=True, exist_ok=True)
        self.folder = self.home / models if models else self.home / '.local/share/turbine/models'
        self.env = {k: v for k, v in os.environ.items()
                    if k not in ('TURBINE_MODELS', 'OLLAMA_MODELS', 'XDG_DATA_HOME')}
        self.env['HOME'] = str(self.home)
        self.env['TURBINE_REGISTRY'] = 'https://registry.invalid'  # that nobody is asked by mistake
        if models:
            self.env['TURBINE_MODELS'] = str(self.folder)

    def run(self, *args, stdin='', check=None, **env):
        done = subprocess.run([TURBINE, *map(str, args)], input=stdin, capture_output=True, text=True,
                              timeout=120, env={**self.env, **env}, cwd=self.home)
        if check is not None:
            assert done.returncode == check, done.stdout + done.stderr
        return done

    def ok(self, *args, **kw):
        return self.run(*args, check=0, **kw).stdout

    def start(self, *args, stdin=None, **env):
        return subprocess.Popen([TURBINE, *map(str, args)], stdin=subprocess.DEVNULL if stdin is None else stdin,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                env={**self.env, **env}, cwd=self.home)

    def modelfile(self, text, name='Modelfile'):
        (self.home / name).write_text(text)
        return self.home / name

    def create(self, name, text, **kw):
        return self.run('create', name, '-f', '-', stdin=text, **kw)

    def names(self):
        return sorted(line.split()[0] for line in self.ok('list').splitlines()[1:])

    def blobs(self, folder=None):
        return sorted(p.name for p in ((folder or self.folder) / 'blobs').iterdir())

    def manifest(self, name='m/latest'):
        return json.loads((self.folder / 'manifests/registry.ollama.ai/library' / name).read_text())


def write_blob(folder, data):
    """As Ollama does: blobs/sha256-<hex>, 0644."""
    path = folder / 'blobs' / f'sha256-{sha256(data)}'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(0o644)
    return path


def layer(kind, data):
    media = CONFIG_MEDIA if kind == 'config' else MEDIA + kind
    return {'mediaType': media, 'digest': 'sha256:' + sha256(data), 'size': len(data)}


def write_model(folder, name, layers, config=None):
    """A model by hand: layers are (kind, bytes).  Returns the bytes of its manifest."""
    config = config or json.dumps({'model_format': 'gguf', 'model_family': 'llama', 'model_families': ['llama'],
                                   'model_type': '292.80K', 'file_type': 'F32'}).encode()
    for _, data in [*layers, ('config', config)]:
        write_blob(folder, data)
    text = json.dumps({'schemaVersion': 2, 'mediaType': MANIFEST_MEDIA, 'config': layer('config', config),
                       'layers': [layer(*x) for x in layers]}, separators=(',', ':')).encode() + b'\n'
    path = folder / 'manifests' / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    return text
