"""Starts vLLM inside the training process, and leaves the process as it was. It knows nothing of prompts or weights.

vLLM gets a folder with the model's configuration and tokenizer but no weights: it begins with zeros, and the first `serving()`
pushes the policy's. (Its own `load_format=dummy` would also write random numbers into buffers, which no push repairs.)
"""

import functools
import json
import logging
import os
import random
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tracer1.errors import ConfigError, EngineError, MissingDependency

# In-process: the weights are pushed tensor by tensor, without another process or a copy in between
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}


def import_vllm() -> Any:
    """The vllm package.

    Raises:
        MissingDependency: it is not installed.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("vllm").setLevel(os.environ["VLLM_LOGGING_LEVEL"])
    try:
        import vllm
    except ImportError as error:
        raise MissingDependency(
            f"engine=vllm needs vLLM 0.32 ({error}). Install it: pip install 'tracer1[vllm]' on a GPU host; on a machine without "
            "one `make test-vllm` shows which packages the CPU build takes. Or choose engine=transformers."
        ) from error
    return vllm


def build_llm(backbone: Any, tensor_parallel_size: int, **settings: Any) -> Any:
    """A vllm.LLM of the backbone's architecture, with weights of 0.

    Args:
        backbone: Its configuration, tokenizer and image processor are taken.
        tensor_parallel_size: Training processes that share one vLLM.
        settings: Arguments of vllm.LLM.

    Raises:
        ConfigError: settings that vLLM refuses.
        EngineError: it does not start, e.g. for want of memory.
        MissingDependency: vLLM is not installed.
    """
    launcher = _launcher(tensor_parallel_size)
    vllm = import_vllm()
    with tempfile.TemporaryDirectory(prefix="tracer1-vllm-") as folder, undisturbed():
        save_without_weights(backbone, Path(folder))
        try:
            return vllm.LLM(
                model=folder,
                load_format=_register_loader(),
                dtype=str(backbone.model.dtype).removeprefix("torch."),
                generation_config="vllm",
                tensor_parallel_size=tensor_parallel_size,
                **{**launcher, **settings},
            )
        except (TypeError, ValueError) as error:
            raise ConfigError(f"vLLM does not start with these settings (engine.*): {_first_line(error)}") from error
        except (RuntimeError, OSError) as error:
            raise EngineError(
                f"vLLM did not start: {_first_line(error)} Its log above says more (VLLM_LOGGING_LEVEL=INFO for all of it); where "
                "memory is short, lower engine.gpu_memory or engine.kv_cache_gb."
            ) from error


@functools.cache
def _register_loader() -> str:
    """The name of a way to load that reads nothing."""
    from vllm.model_executor.model_loader import register_model_loader
    from vllm.model_executor.model_loader.base_loader import BaseModelLoader

    class Pushed(BaseModelLoader):
        def download_model(self, model_config: Any) -> None:
            pass

        def load_weights(self, model: torch.nn.Module, model_config: Any) -> None:
            for parameter in model.parameters():
                parameter.data.zero_()

    register_model_loader("tracer1_pushed")(Pushed)
    return "tracer1_pushed"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _launcher(tensor_parallel_size: int) -> dict[str, Any]:
    """With several training processes each is a worker of vLLM too, started by whoever started the training."""
    world = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    if tensor_parallel_size < 1 or world % tensor_parallel_size:
        raise ConfigError(
            f"engine.tensor_parallel_size={tensor_parallel_size} needs training processes in multiples of it; there "
            f"{'is' if world == 1 else 'are'} {world}. Run with strategy=ddp trainer.devices=N, or lower it."
        )
    if world == 1:
        return {}
    os.environ["RANK"], os.environ["WORLD_SIZE"] = str(dist.get_rank()), str(world)
    os.environ.setdefault("LOCAL_RANK", os.environ["RANK"])
    return {"distributed_executor_backend": "external_launcher"}


def save_without_weights(backbone: Any, folder: Path) -> None:
    """A model's folder in which only the weights are missing."""
    backbone.model.config.save_pretrained(folder)
    backbone.model.generation_config.save_pretrained(folder)
    backbone.tokenizer.save_pretrained(folder)
    backbone.image_processor.save_pretrained(folder)
    video = folder / "video_preprocessor_config.json"  # vLLM wants one, though no video is ever sent
    settings = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    settings.pop("image_processor_type", None)
    video.write_text(json.dumps({**settings, "video_processor_type": "Qwen3VLVideoProcessor"}), encoding="utf-8")


@contextmanager
def undisturbed() -> Iterator[None]:
    """Puts back what vLLM changes for the whole process: seeds, thread functions, matmul precision, environment variables."""
    torch_state, python_state = torch.get_rng_state(), random.getstate()
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    set_threads, threads, precision = (
        torch.set_num_threads,
        torch.get_num_threads(),
        torch.get_float32_matmul_precision(),
    )
    environment: Mapping[str, str] = dict(os.environ)
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        random.setstate(python_state)
        if cuda_states:
            torch.cuda.set_rng_state_all(cuda_states)
        torch.set_num_threads = set_threads  # vLLM's CPU build replaces it by a function that does nothing
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
        for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
            if name in environment:
                os.environ[name] = environment[name]
            else:
                os.environ.pop(name, None)
