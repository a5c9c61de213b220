"""Pushes weights into a running vLLM and checks that they arrived. It knows names and tensors, nothing of what is sampled.

After a push every weight that can be compared is: norms, biases and embeddings directly; a linear layer, whatever layout vLLM
packed it into and whatever it was fused with, by asking it for one column: a one-hot input gives that column exactly. With tensor
parallelism only what every rank holds whole is compared.
"""

import zlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from tracer1.errors import EngineError

Weights = Iterable[tuple[str, Tensor]]
_SPREAD = 256  # elements of a tensor that are remembered
_HEAD = "language_model.lm_head.weight"


def in_buckets(weights: Weights, size: int, device: torch.device, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    """The weights on `device` as `dtype`, brought there in batches of about `size` bytes: no second copy of the model exists."""
    bucket: list[tuple[str, Tensor]] = []
    held = 0
    for name, tensor in weights:
        bucket.append((name, tensor.detach().to(device, dtype, non_blocking=True)))
        held += bucket[-1][1].nbytes
        if held >= size:
            yield from bucket
            bucket, held = [], 0
    yield from bucket


def retie_head(model: nn.Module) -> None:
    """Lets a head that is tied to the embedding follow it. vLLM 0.32's reload leaves the CPU build's packed copy as it was."""
    language = model.language_model
    if model.config.tie_word_embeddings and language.lm_head is not language.model.embed_tokens:
        language.lm_head.weight = language.model.embed_tokens.weight
        language.lm_head.quant_method.process_weights_after_loading(language.lm_head)


class SyncCheck:
    """Remembers a little of every weight on its way into vLLM's model, and compares it with what the model holds then.

    Args:
        model: vLLM's model.
        device, dtype: Where and as what it computes.
    """

    def __init__(self, model: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        self.model, self.device, self.dtype = model, device, dtype
        self._layers = _whole_layers(model)
        self._held = dict(model.named_parameters(remove_duplicate=False))
        self._fused = {part: (whole, parts) for whole, parts in model.packed_modules_mapping.items() for part in parts}
        self._tied = bool(model.config.tie_word_embeddings)
        self._elements: dict[str, tuple[int, Tensor]] = {}  # a parameter's length and some elements, by vLLM's name
        self._columns: dict[str, dict[str, Tensor]] = {}  # one column of a layer, by the parts that are fused in it

    def watch(self, weights: Weights) -> Iterator[tuple[str, Tensor]]:
        """Passes the weights on."""
        self._elements, self._columns = {}, {}
        for name, tensor in weights:
            mapped = self.model.hf_to_vllm_mapper.map_name(name)
            if mapped is not None:
                self._note(mapped, tensor)
                if self._tied and mapped.endswith("embed_tokens.weight"):  # the head is the same tensor, packed anew
                    self._note(_HEAD, tensor)
            yield name, tensor

    def _note(self, name: str, tensor: Tensor) -> None:
        path, _, leaf = name.rpartition(".")
        head, _, part = path.rpartition(".")
        layer = f"{head}.{self._fused[part][0]}" if part in self._fused else path
        held = self._held.get(name)
        if leaf == "weight" and layer in self._layers:
            self._columns.setdefault(layer, {})[part] = tensor[:, _column_number(layer, tensor.shape[1])].clone()
        elif held is not None and held.shape[1:] == tensor.shape[1:] and len(held) >= len(tensor):  # padded vocabulary
            self._elements[name] = len(tensor), _some(tensor).clone()

    @property
    def compared(self) -> int:
        """How many parameters and layers `verify` looks at."""
        return len(self._elements) + len(self._columns)

    @torch.inference_mode()
    def verify(self) -> None:
        """Compares.

        Raises:
            EngineError: the engine holds another weight than was pushed.
        """
        stale = [
            name
            for name, (length, some) in self._elements.items()
            if not torch.equal(_some(self._held[name].detach()[:length]), some)
        ]
        stale += [path for path, parts in self._columns.items() if not self._holds_column(path, parts)]
        if stale or not self.compared:
            raise EngineError(
                f"vLLM does not hold the weights that were pushed to it: {len(stale)} of {self.compared} compared ones differ "
                f"({', '.join(stale[:3])}). If the policy has diverged they are not finite; else report it with your versions of "
                "torch and vllm, and go on with engine=transformers."
            )

    def _holds_column(self, path: str, parts: dict[str, Tensor]) -> bool:
        order = self._fused[next(iter(parts))][1] if len(parts) > 1 else list(parts)
        expected = torch.cat([parts[part] for part in order])
        layer = self._layers[path]
        width = getattr(layer, "input_size", None) or layer.embedding_dim
        one_hot = torch.zeros(1, width, dtype=self.dtype, device=self.device)
        one_hot[0, _column_number(path, width)] = 1
        return torch.equal(layer.quant_method.apply(layer, one_hot, None)[0, : len(expected)], expected)


def _whole_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The linear layers and heads that this rank holds whole."""
    from vllm.model_executor.layers.linear import LinearBase
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    modules = model.named_modules(remove_duplicate=False)
    return {p: m for p, m in modules if isinstance(m, (LinearBase, ParallelLMHead)) and m.tp_size == 1}


def _column_number(path: str, width: int) -> int:
    """Another column for every layer, the same one in every round."""
    return zlib.crc32(path.encode()) % width


def _some(tensor: Tensor) -> Tensor:
    """(<= 2 * _SPREAD,) elements, evenly spread."""
    return tensor.reshape(-1)[:: max(1, tensor.numel() // _SPREAD)]
