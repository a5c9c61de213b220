"""vLLM's end of a gloo weight transfer, the backend `tracer1_gloo`: it runs in the server's workers, on any device.

`_vllm_worker.py` registers it. Each bucket comes as one broadcast from rank 0 and is loaded as a checkpoint's tensors are. It knows
vLLM's weight-transfer interface and no trainer.
"""

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.model_executor.model_loader.reload import finalize_layerwise_reload, initialize_layerwise_reload

from tracer1.engines._vllm_sync import retie_head


@dataclass
class GlooInitInfo(WeightTransferInitInfo):
    """Where the group meets, and who is in it."""

    master_address: str
    master_port: int
    rank_offset: int  # the rank of this server's first worker
    world_size: int
    timeout_s: float


@dataclass
class GlooUpdateInfo(WeightTransferUpdateInfo):
    """One bucket's tensors, in order."""

    names: list[str]
    dtype_names: list[str]
    shapes: list[list[int]]


class GlooReceiver(WeightTransferEngine[GlooInitInfo, GlooUpdateInfo]):
    """Receives weights over TCP."""

    init_info_cls = GlooInitInfo
    update_info_cls = GlooUpdateInfo

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._group: Any = None
        self._store: Any = None
        self._begun = False

    def init_transfer_engine(self, init_info: GlooInitInfo) -> None:
        """Joins the trainer's group."""
        self.shutdown()
        parallel, timeout = self.parallel_config, timedelta(seconds=init_info.timeout_s)
        worker = parallel.data_parallel_index * parallel.world_size + parallel.rank
        self._store = dist.TCPStore(
            init_info.master_address, init_info.master_port, is_master=False, wait_for_workers=False, timeout=timeout
        )
        self._group = dist.ProcessGroupGloo(self._store, init_info.rank_offset + worker, init_info.world_size, timeout)

    def start_weight_update(self) -> None:
        """Layer by layer, as a checkpoint is read again. What a push that broke off has left half-way is closed first."""
        if self._begun:
            finalize_layerwise_reload(self.model, self.model_config)
        initialize_layerwise_reload(self.model)
        self._begun = True

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Like vLLM's, which would also wait for an accelerator that a CPU does not have."""
        self.receive_weights(self.parse_update_info(update_info))
        if self.device.type != "cpu":
            torch.accelerator.synchronize()

    def receive_weights(self, update_info: GlooUpdateInfo) -> None:
        """One bucket."""
        if self._group is None:
            raise RuntimeError("update_weights before init_weight_transfer_engine: nobody sends.")
        dtypes = [getattr(torch, name) for name in update_info.dtype_names]
        sizes = [math.prod(s) * d.itemsize for s, d in zip(update_info.shapes, dtypes, strict=True)]
        # a new one each time: layerwise reload may keep views of it
        packed = torch.empty(sum(sizes), dtype=torch.uint8)
        self._group.broadcast(packed, 0).wait()
        parts = zip(update_info.names, packed.to(self.device).split(sizes), dtypes, update_info.shapes, strict=True)
        # a part that begins at an odd place is copied: a view must be aligned
        self.model.load_weights([(name, part.clone().view(dtype).view(shape)) for name, part, dtype, shape in parts])

    def finish_weight_update(self) -> None:
        """The weights are in use; a tied head follows the embedding."""
        finalize_layerwise_reload(self.model, self.model_config)
        retie_head(self.model)
        self._begun = False

    def shutdown(self) -> None:
        """Leaves the group."""
        self._group = self._store = None
