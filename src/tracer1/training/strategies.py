"""Lightning's DeepSpeed and FSDP2 strategies as this training needs them, on GPUs and, through gloo, on CPUs.

What Lightning leaves to be done: a loss that is divided once by the micro-batches of an update, a mesh that spreads weights over all
ranks, an answer to whether an update took place, and batches that are not rounded. They know no model.
"""

import math
import os
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.seed import reset_seed
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import DeepSpeedStrategy, ModelParallelStrategy
from lightning.pytorch.strategies.ddp import DDPStrategy
from torch import Tensor
from torch.distributed.tensor import DTensor

from tracer1.errors import ConfigError, MissingDependency

_NAMES = {torch.bfloat16: "bfloat16", torch.float32: "float32"}


class ZeroStrategy(DeepSpeedStrategy):
    """ZeRO (arXiv:1910.02054) by DeepSpeed: stage 1 spreads the optimizer's state, 2 the gradients too, 3 the weights too.

    DeepSpeed keeps float32 weights beside those in bfloat16, sums gradients in float32, clips them by `trainer.gradient_clip_val`,
    and skips an update whose gradient is not finite, on all ranks.

    Args:
        stage: 1, 2 or 3.
        offload: Weights (stage 3) and the optimizer's state wait in main memory, where the optimizer works.
        zero: Further settings of DeepSpeed's `zero_optimization`.
        settings: Further arguments of Lightning's DeepSpeedStrategy.
    """

    def __init__(
        self, stage: int = 2, offload: bool = False, zero: dict[str, Any] | None = None, **settings: Any
    ) -> None:
        if not torch.cuda.is_available():
            os.environ.setdefault("DS_ACCELERATOR", "cpu")
        try:
            import deepspeed  # noqa: F401
        except ImportError as error:
            raise MissingDependency(
                "strategy=zero… needs DeepSpeed: pip install 'tracer1[deepspeed]', or strategy=fsdp2."
            ) from error
        super().__init__(
            stage=stage,
            offload_optimizer=offload,
            offload_parameters=offload and stage == 3,
            logging_batch_size_per_gpu=1,  # else Lightning looks for a batch sampler, which a stream has not
            **settings,
        )
        self.config["zero_optimization"] |= zero or {}
        self.config["zero_force_ds_cpu_optimizer"] = False  # conf/optimizer says which optimizer it is
        self.config["data_types"] = {"grad_accum_dtype": "fp32"}

    @property
    def root_device(self) -> torch.device:
        """DeepSpeed wants a number with it."""
        device = super().root_device
        return torch.device("cpu", 0) if device.type == "cpu" else device

    def setup_environment(self) -> None:
        """Lightning lets only GPUs pass."""
        if not self._on_cpu:
            return super().setup_environment()
        from deepspeed.accelerator import get_accelerator

        if get_accelerator().device_name() != "cpu":
            raise ConfigError("DeepSpeed has found a GPU, and trainer.accelerator is cpu: set DS_ACCELERATOR=cpu.")
        return DDPStrategy.setup_environment(self)

    def setup_distributed(self) -> None:
        """As Lightning's, but that CPUs have no numbers, and nothing is compiled: a build that a kill has interrupted leaves a lock
        for which all later runs wait."""
        if not self._on_cpu:
            return super().setup_distributed()
        from deepspeed.ops import __compatible_ops__ as compiled

        compiled["deepspeed_shm_comm"] = False  # tensors go through gloo, within a machine as between machines
        reset_seed()
        self.set_world_ranks()
        return self._init_deepspeed_distributed()

    def setup(self, trainer: L.Trainer) -> None:
        """As Lightning's, but that weights are never cast without a word.

        Raises:
            ConfigError: model.dtype is not what DeepSpeed would compute in.
        """
        computed = torch.bfloat16 if "bf16" in trainer.precision else torch.float32
        if (held := next(self.model.parameters()).dtype) != computed:
            raise ConfigError(
                f"strategy=zero… computes in {_NAMES[computed]} at trainer.precision={trainer.precision}, and model.dtype is "
                f"{str(held).removeprefix('torch.')}. Set model.dtype=bfloat16 trainer.precision=bf16-true (DeepSpeed keeps "
                "float32 weights beside them), or model.dtype=float32 trainer.precision=32-true."
            )
        super().setup(trainer)

    def backward(self, closure_loss: Tensor, optimizer: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Lightning has divided the loss by the micro-batches of the update already; DeepSpeed would do it again."""
        return super().backward(closure_loss, optimizer, *args, scale_wrt_gas=False, **kwargs)

    def teardown(self) -> None:
        """Leaves the weights where their ranks can bring them together for the export."""
        if not self.zero_stage_3:
            return super().teardown()
        self.precision_plugin.teardown()
        self.accelerator.teardown()
        return None

    @property
    def last_gradient_norm(self) -> float:
        """Of the last update, before clipping, over all ranks; infinite when it was skipped."""
        zero = self.deepspeed_engine.optimizer
        return math.inf if zero.overflow else float(zero._global_grad_norm)

    @property
    def _on_cpu(self) -> bool:
        return isinstance(self.accelerator, CPUAccelerator)


class ShardedStrategy(ModelParallelStrategy):
    """FSDP2: weights, gradients and the optimizer's state are spread over all ranks, parameter by parameter.

    The module spreads them itself, in `configure_model`, over the mesh that it finds.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(data_parallel_size=1, tensor_parallel_size=1, **settings)

    def setup_environment(self) -> None:
        """One data-parallel mesh of all ranks."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()


def gradient_norm(module: torch.nn.Module) -> float:
    """Of all gradients, over all ranks where they are spread; every rank must ask."""
    norm = torch.nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)


def keep_inputs(trainer: L.Trainer) -> L.Trainer:
    """At `bf16-true` Lightning would round whatever is in a batch, the old log-probs and the advantages among it."""
    trainer.precision_plugin.convert_input = lambda batch: batch
    return trainer
