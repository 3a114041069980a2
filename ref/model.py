"""A model's numbers by their names in the file: metadata without the architecture's prefix,
tensors of a layer without the layer's."""
import math


class Model:
    def __init__(self, meta, tensors):
        """meta and tensors as gguf_read.read gives them."""
        self.arch = meta['general.architecture']
        self.meta, self.tensors = meta, tensors
        self.eps = self.key('attention.layer_norm_rms_epsilon')
        # The least distance by which an expert was chosen before another (see experts.py).
        self.margin = math.inf

    def key(self, name, default=None):
        return self.meta.get(f'{self.arch}.{name}', default)


class Layer:
    """Tensors are layer['attn_q.weight'], or None where the file has none."""

    def __init__(self, model, index):
        self.model, self.index, self.eps = model, index, model.eps

    def key(self, name, default=None):
        """A number of the model, or this layer's where the file has one for each."""
        v = self.model.key(name, default)
        return v[self.index] if isinstance(v, list) else v

    def __getitem__(self, name):
        return self.model.tensors.get(f'blk.{self.index}.{name}')

    def linear(self, name, x):
        """x [..][n_in] -> [..][n_out], with the bias if there is one."""
        y = x @ self[name + '.weight'].T
        bias = self[name + '.bias']
        return y if bias is None else y + bias
