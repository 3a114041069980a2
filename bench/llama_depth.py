"""llama.cpp at a depth, without prefilling that depth.

512 tokens are prefilled into sequence 1 and their state saved.  The state is restored into
fresh cells of sequence 1 and handed to sequence 0 until the depth is reached: the positions
repeat, the causal mask lets a later token see every cell, and the work for a token is
exactly that of the depth."""
import ctypes as C
import itertools
import struct

import llamacpp
import quiet

CHUNK = 512        # tokens of the saved state, and the largest prefill
PROBE = 16         # tokens of the prefill that decides how many are timed
DECODE = (4, 64)   # fewest and most tokens of a decode run


def all_settings():
    """(K type, V type, flash attention): quantised values need flash attention on."""
    types = ('f16', 'q8_0', 'q4_0')
    return [(k, 'f16', False) for k in types] + [(k, v, True) for k, v in itertools.product(types, types)]


def setting_name(setting):
    return f'{setting[0]}/{setting[1]} flash {"on" if setting[2] else "off"}'


def named_setting(text):
    """The setting of a name like q8_0/f16:off."""
    kv, _, flash = text.partition(':')
    for setting in all_settings():
        if f'{setting[0]}/{setting[1]}' == kv and ('on' if setting[2] else 'off') == flash:
            return setting
    raise ValueError(text)


def tokens_within(seconds, per_token, least, most):
    """As many tokens as take at most that many seconds, in steps of the power of two below."""
    n = max(least, min(most, int(seconds / per_token)))
    step = max(least, 1 << max(0, n.bit_length() - 3))
    return n // step * step


class Deep(llamacpp.Llama):
    """A context in which sequence 0 stands at a depth; every measurement returns to it."""

    def __init__(self, model, setting, depth, n_threads, patience=quiet.Patience(0)):
        k, v, flash = setting
        super().__init__(model, depth + 2 * CHUNK, n_threads, CHUNK,
                         llamacpp.FLASH_ON if flash else llamacpp.FLASH_OFF, (k, v), n_seq=2)
        self.patience = patience
        self.ids = [(i * 7919 + 13) % self.n_vocab for i in range(CHUNK)]
        # The state of another context is fine: one of another format is refused by the restore.
        states = model.__dict__.setdefault('states', {})
        if setting not in states:
            states[setting] = self._save_chunk(setting)
        self.state, self.cell_bytes = states[setting]
        self._fill(depth)

    def _size(self, seq):
        return self.lib.llama_state_seq_get_size(self.context, seq)

    def _save_chunk(self, setting):
        """(state of CHUNK tokens, bytes of a token in it), and the cache is what was asked for."""
        self.eval(self.ids, 1, seq=1)
        state = C.create_string_buffer(self._size(1))
        n = self.lib.llama_state_seq_get_data(self.context, state, len(state), 1)
        got = state_format(state.raw)
        want = (CHUNK, llamacpp.KV_TYPES[setting[0]], llamacpp.KV_TYPES[setting[1]], not setting[2])
        if n != len(state) or got != want:
            raise SystemExit(f'llama.cpp: asked for {setting_name(setting)}, the cache holds {got} instead of {want} '
                             '(cells, type of keys, of values, values transposed)')
        self.lib.llama_memory_seq_rm(self.memory, 1, CHUNK - 1, -1)
        return state, n - self._size(1)

    def _fill(self, depth):
        self.lib.llama_memory_clear(self.memory, False)
        for at in range(0, depth, CHUNK):
            if not self.lib.llama_state_seq_set_data(self.context, self.state, len(self.state), 1):
                raise SystemExit(f'llama.cpp: no cells for tokens {at} to {at + CHUNK}')
            if depth - at < CHUNK:
                self.lib.llama_memory_seq_rm(self.memory, 1, depth - at, -1)
            self.lib.llama_memory_seq_cp(self.memory, 1, 0, -1, -1)
        self.lib.llama_memory_seq_rm(self.memory, 1, -1, -1)
        if depth and self._size(0) != len(self.state) + (depth - CHUNK) * self.cell_bytes:
            raise SystemExit(f'llama.cpp: sequence 0 does not hold {depth} cells')
        self.base = self.pos = min(depth, CHUNK)

    def _run(self, phase, n):
        """[seconds, cores used by others] of n tokens."""
        self.patience.wait()
        watch = quiet.Watch()
        for batch in [self.ids[:n]] if phase == 'prefill' else [[t] for t in self.ids[:n]]:
            self.eval(batch, 1)
        run = watch.stop()
        self.rewind(self.base)
        return run

    def _tokens(self, phase, seconds):
        if phase == 'prefill':
            return tokens_within(seconds, self._run(phase, PROBE)[0] / PROBE, PROBE, CHUNK)
        return tokens_within(seconds, min(self._run(phase, 1)[0] for _ in range(5)), *DECODE)

    def measure(self, phase, seconds, repeat, n=None, rival=0):
        """(n, runs of n tokens).  A probe decides n if it is not given; a run takes about
        `seconds` at most, all of them about twice that.  A run that nothing disturbed and that
        is not half as fast as the rival (tokens/s) is the last."""
        n = n or self._tokens(phase, seconds)
        runs = [self._run(phase, n)]
        while len(runs) < repeat and sum(t for t, _ in runs) + runs[0][0] <= 2 * seconds:
            if runs[-1][1] <= quiet.LIMIT and 2 * n / runs[-1][0] < rival:
                break
            runs.append(self._run(phase, n))
        return n, runs


def state_format(state):
    """(cells, type of keys, type of values, values transposed) of a saved sequence: after four
    words, the last of them the number of cells, three words for each cell; the flag; the number
    of layers; for each layer the type of the keys, the 64-bit size of a row and the rows; then
    the values, transposed where flash attention is off."""
    n_cell, = struct.unpack_from('<I', state, 12)
    transposed, n_layer, type_k, row_bytes = struct.unpack_from('<IIIQ', state, 16 + 12 * n_cell)
    values = 16 + 12 * n_cell + 8 + n_layer * (12 + n_cell * row_bytes)
    return n_cell, type_k, struct.unpack_from('<I', state, values)[0], bool(transposed)
