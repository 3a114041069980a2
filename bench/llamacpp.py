"""llama.cpp from the npm package node-llama-cpp, driven through its C interface.

The parameter structs differ between releases, so they are treated as opaque blocks that
are larger than the real ones (the System V ABI returns such a struct through a hidden
pointer and passes it last, on the stack); only fields whose place is known for the pinned
release are set.  LLAMA_LIB names a folder with libllama to use instead of the package."""
import ctypes as C
import glob
import os
import pathlib
import platform
import subprocess

PACKAGE = 'node-llama-cpp@3.22.1'  # llama.cpp release v0.5.0
ROOT = pathlib.Path(__file__).resolve().parent.parent
# Places of 32-bit words in llama_context_params of that release, and of one byte.
N_CTX, N_BATCH, N_UBATCH, N_SEQ_MAX, FLASH_ATTN, TYPE_K, TYPE_V = 0, 1, 2, 3, 13, 26, 27
KV_UNIFIED = 133
FLASH_AUTO, FLASH_OFF, FLASH_ON = 0xffffffff, 0, 1
KV_TYPES = {'f32': 0, 'f16': 1, 'q4_0': 2, 'q8_0': 8}  # enum ggml_type
# What llama_context_default_params has there: another release would hardly agree.
DEFAULTS = {N_CTX: 512, N_BATCH: 2048, N_UBATCH: 512, N_SEQ_MAX: 1, FLASH_ATTN: FLASH_AUTO, TYPE_K: 1, TYPE_V: 1}


class Params(C.Structure):
    _fields_ = [('word', C.c_uint32 * 256)]


class Batch(C.Structure):
    _fields_ = [('n_tokens', C.c_int32), ('token', C.POINTER(C.c_int32)), ('embd', C.c_void_p),
                ('pos', C.POINTER(C.c_int32)), ('n_seq_id', C.POINTER(C.c_int32)),
                ('seq_id', C.POINTER(C.POINTER(C.c_int32))), ('logits', C.POINTER(C.c_int8))]


def library_folder():
    if os.environ.get('LLAMA_LIB'):
        return os.environ['LLAMA_LIB']
    here = ROOT / 'build' / 'node'
    machine = {'x86_64': 'linux-x64', 'aarch64': 'linux-arm64'}[platform.machine()]
    folder = here / 'node_modules' / '@node-llama-cpp' / machine / 'bins' / machine
    if not folder.exists():
        here.mkdir(parents=True, exist_ok=True)
        subprocess.run(['npm', 'install', '--no-audit', '--no-fund', '--ignore-scripts', '--prefix', str(here),
                        PACKAGE], check=True, stdout=subprocess.DEVNULL)
    return str(folder)


def _load():
    folder = library_folder()
    one = lambda name: C.CDLL(glob.glob(f'{folder}/{name}')[0], mode=C.RTLD_GLOBAL)
    one('libggml-base.so*')
    ggml, lib = one('libggml.*so*'), one('libllama.*so*')
    keep = C.CFUNCTYPE(None, C.c_int, C.c_char_p, C.c_void_p)
    lib.quiet = keep(lambda level, text, data: None)
    lib.llama_log_set(lib.quiet, None)
    ggml.ggml_backend_load_all_from_path(folder.encode())
    for name, result, args in (
            ('llama_model_default_params', Params, []),
            ('llama_context_default_params', Params, []),
            ('llama_model_load_from_file', C.c_void_p, [C.c_char_p, Params]),
            ('llama_init_from_model', C.c_void_p, [C.c_void_p, Params]),
            ('llama_model_get_vocab', C.c_void_p, [C.c_void_p]),
            ('llama_vocab_n_tokens', C.c_int32, [C.c_void_p]),
            ('llama_vocab_bos', C.c_int32, [C.c_void_p]),
            ('llama_vocab_get_add_bos', C.c_bool, [C.c_void_p]),
            ('llama_tokenize', C.c_int32, [C.c_void_p, C.c_char_p, C.c_int32, C.POINTER(C.c_int32), C.c_int32,
                                           C.c_bool, C.c_bool]),
            ('llama_token_to_piece', C.c_int32, [C.c_void_p, C.c_int32, C.c_char_p, C.c_int32, C.c_int32, C.c_bool]),
            ('llama_model_free', None, [C.c_void_p]),
            ('llama_free', None, [C.c_void_p]),
            ('llama_n_ctx', C.c_uint32, [C.c_void_p]),
            ('llama_n_ctx_seq', C.c_uint32, [C.c_void_p]),
            ('llama_n_batch', C.c_uint32, [C.c_void_p]),
            ('llama_n_ubatch', C.c_uint32, [C.c_void_p]),
            ('llama_n_seq_max', C.c_uint32, [C.c_void_p]),
            ('llama_n_threads', C.c_int32, [C.c_void_p]),
            ('llama_n_threads_batch', C.c_int32, [C.c_void_p]),
            ('llama_set_n_threads', None, [C.c_void_p, C.c_int32, C.c_int32]),
            ('llama_batch_init', Batch, [C.c_int32, C.c_int32, C.c_int32]),
            ('llama_batch_free', None, [Batch]),
            ('llama_decode', C.c_int32, [C.c_void_p, Batch]),
            ('llama_synchronize', None, [C.c_void_p]),
            ('llama_get_logits_ith', C.POINTER(C.c_float), [C.c_void_p, C.c_int32]),
            ('llama_get_memory', C.c_void_p, [C.c_void_p]),
            ('llama_memory_clear', None, [C.c_void_p, C.c_bool]),
            ('llama_memory_seq_rm', C.c_bool, [C.c_void_p, C.c_int32, C.c_int32, C.c_int32]),
            ('llama_memory_seq_cp', None, [C.c_void_p, C.c_int32, C.c_int32, C.c_int32, C.c_int32]),
            ('llama_state_seq_get_size', C.c_size_t, [C.c_void_p, C.c_int32]),
            ('llama_state_seq_get_data', C.c_size_t, [C.c_void_p, C.c_char_p, C.c_size_t, C.c_int32]),
            ('llama_state_seq_set_data', C.c_size_t, [C.c_void_p, C.c_char_p, C.c_size_t, C.c_int32]),
            ('llama_print_system_info', C.c_char_p, [])):
        f = getattr(lib, name)
        f.restype, f.argtypes = result, args
    return lib


class Model:
    """Weights; several contexts may share them."""

    def __init__(self, path):
        self.lib = _load()
        self.handle = self.lib.llama_model_load_from_file(str(path).encode(), self.lib.llama_model_default_params())
        if not self.handle:
            raise SystemExit(f'llama.cpp cannot load {path}')
        self.vocab = self.lib.llama_model_get_vocab(self.handle)
        self.n_vocab = self.lib.llama_vocab_n_tokens(self.vocab)

    def close(self):
        self.lib.llama_model_free(self.handle)


class Llama:
    """A context of a model; eval() appends tokens to sequence 0.  What was asked for and can be
    asked back is checked: a wrong place in the parameter struct cannot go unnoticed."""

    def __init__(self, model, n_ctx, n_threads, n_batch=512, flash=FLASH_AUTO, kv=('f16', 'f16'), n_seq=1):
        self.model = model if isinstance(model, Model) else Model(model)
        self.lib, self.vocab, self.n_vocab = self.model.lib, self.model.vocab, self.model.n_vocab
        lib, params = self.lib, self.lib.llama_context_default_params()
        if any(params.word[i] != value for i, value in DEFAULTS.items()):
            raise SystemExit(f'llama.cpp: the parameters of this library are not those of {PACKAGE}')
        n_ctx = -(-n_ctx // 256) * 256
        for i, value in ((N_CTX, n_ctx), (N_BATCH, n_batch), (N_UBATCH, n_batch), (N_SEQ_MAX, n_seq),
                         (FLASH_ATTN, flash), (TYPE_K, KV_TYPES[kv[0]]), (TYPE_V, KV_TYPES[kv[1]])):
            params.word[i] = value
        C.cast(params.word, C.POINTER(C.c_uint8))[KV_UNIFIED] = 1
        self.context = lib.llama_init_from_model(self.model.handle, params)
        if not self.context:
            raise SystemExit(f'llama.cpp cannot open a context of {n_ctx} tokens')
        lib.llama_set_n_threads(self.context, n_threads, n_threads)
        for name, value in (('n_ctx', n_ctx), ('n_ctx_seq', n_ctx), ('n_batch', n_batch), ('n_ubatch', n_batch),
                            ('n_seq_max', n_seq), ('n_threads', n_threads), ('n_threads_batch', n_threads)):
            got = getattr(lib, f'llama_{name}')(self.context)
            if got != value:
                raise SystemExit(f'llama.cpp: {name} is {got} instead of {value}')
        self.memory = lib.llama_get_memory(self.context)
        self.batch = lib.llama_batch_init(n_batch, 0, 1)
        self.n_ctx, self.n_batch, self.pos = n_ctx, n_batch, 0

    def close(self):
        """Frees the context; the model stays."""
        self.lib.llama_batch_free(self.batch)
        self.lib.llama_free(self.context)

    def tokenize(self, text, add_special=False, parse_special=False):
        data = text.encode() if isinstance(text, str) else text
        ids = (C.c_int32 * (len(data) + 2))()
        n = self.lib.llama_tokenize(self.vocab, data, len(data), ids, len(ids), add_special, parse_special)
        return list(ids[:n])

    def detokenize(self, ids):
        """The text that ids continue a text with; control tokens give none."""
        piece, out = C.create_string_buffer(256), b''
        for t in ids:
            n = self.lib.llama_token_to_piece(self.vocab, t, piece, len(piece), 0, False)
            out += piece.raw[:n]
        return out.decode()

    def bos(self):
        """The id that starts a text, or None if this model does without."""
        return self.lib.llama_vocab_bos(self.vocab) if self.lib.llama_vocab_get_add_bos(self.vocab) else None

    def rewind(self, n=0):
        if n == 0:
            self.lib.llama_memory_clear(self.memory, False)
        elif not self.lib.llama_memory_seq_rm(self.memory, 0, n, -1):
            raise SystemExit('llama.cpp cannot cut its cache')
        self.pos = n

    def eval(self, ids, n_logits, seq=0):
        """Append at most n_batch ids; the last n_logits of them compute logits, row(i) gets them."""
        b = self.batch
        for i, t in enumerate(ids):
            b.token[i], b.pos[i], b.n_seq_id[i], b.seq_id[i][0] = t, self.pos + i, 1, seq
            b.logits[i] = i >= len(ids) - n_logits
        b.n_tokens = len(ids)
        if self.lib.llama_decode(self.context, b):
            raise SystemExit('llama.cpp: decode failed')
        self.lib.llama_synchronize(self.context)
        self.pos += len(ids)

    def row(self, i):
        """Logits of token i of the last eval, valid until the next one (numpy)."""
        import numpy as np
        return np.ctypeslib.as_array(self.lib.llama_get_logits_ith(self.context, i), (self.n_vocab,))
