"""How rank 0 broadcasts a bucket: over gloo, which any machine has, or over vLLM's NCCL engine. They know no server.

gloo (`tracer1_gloo`, see `_gloo_receiver.py`) sends from the CPU's memory over TCP. NCCL goes from GPU to GPU, and needs vLLM in the
trainer's environment, too: its communicator is vLLM's.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from tracer1.engines._vllm_build import import_vllm
from tracer1.engines._weight_broadcast import Bucket, FanOut, described
from tracer1.errors import EngineError


class GlooSender:
    """Broadcasts over TCP.

    Args:
        timeout_s: The longest that a broadcast may take.
    """

    backend, recovers = "tracer1_gloo", True

    def __init__(self, timeout_s: float) -> None:
        self.timeout = timedelta(seconds=timeout_s)
        self._group: Any = None
        self._store: Any = None
        self._fan_out: FanOut

    def join(self, fan_out: FanOut, address: str) -> None:
        """See Sender."""
        self._fan_out = fan_out
        # on a port of the system's choice; it lives in this process
        self._store = dist.TCPStore(address, 0, is_master=True, wait_for_workers=False, timeout=self.timeout)
        init_info = {
            "master_address": address,
            "master_port": self._store.port,
            "world_size": fan_out.world_size,
            "timeout_s": self.timeout.total_seconds(),
        }

        def make() -> None:
            self._group = dist.ProcessGroupGloo(self._store, 0, fan_out.world_size, self.timeout)

        together(lambda: fan_out.init_weight_transfer_engine(init_info), make, self.timeout.total_seconds())

    def send(self, bucket: Bucket) -> None:
        """See Sender."""
        packed = torch.cat([tensor.cpu().view(-1).view(torch.uint8) for _, tensor in bucket])

        def broadcast() -> None:
            self._group.broadcast(packed, 0).wait()

        update = described(bucket)
        together(lambda: self._fan_out.update_weights(update), broadcast, self.timeout.total_seconds())

    def leave(self) -> None:
        """See Sender."""
        self._group = self._store = None  # their connections close, and who waits at the other end is told


class NcclSender:
    """Drives vLLM's own trainer side (`NCCLTrainerWeightTransferEngine`).

    Args:
        bucket_mb: Of its buffers, in MiB.
        timeout_s: The longest that joining, or a broadcast, may take.
    """

    backend, recovers = "nccl", False

    def __init__(self, bucket_mb: int, timeout_s: float) -> None:
        self.buffer, self.timeout_s = bucket_mb * 2**20, timeout_s
        self._engine: Any = None
        self._source: Any = None

    def join(self, fan_out: FanOut, address: str) -> None:
        """See Sender."""
        import_vllm()
        from vllm.distributed.weight_transfer import WeightTransferTrainerFactory
        from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

        self._source = _bucket_source()
        init_info = NCCLTrainerInitInfo(
            rank=0,
            master_address=address,
            master_port=_free_port(address),
            world_size=fan_out.world_size,
            packed=True,
            packed_buffer_size_bytes=self.buffer,
        )

        device = torch.accelerator.current_device_index()

        def make() -> None:
            with torch.accelerator.device_index(device):  # a thread begins with the first one
                self._engine = WeightTransferTrainerFactory.trainer_init(init_info, client=fan_out, source=self._source)

        in_time(make, self.timeout_s, "form a group with the vLLM servers")

    def send(self, bucket: Bucket) -> None:
        """See Sender."""
        device = torch.accelerator.current_device_index()
        place = torch.device(torch.accelerator.current_accelerator().type, device)
        self._source.bucket = [(name, tensor.to(place)) for name, tensor in bucket]
        torch.accelerator.synchronize()  # vLLM packs on streams of its own

        def send() -> None:
            with torch.accelerator.device_index(device):
                self._engine.send_weights()

        in_time(send, self.timeout_s, "send weights to the vLLM servers")

    def leave(self) -> None:
        """See Sender. A communicator with a dead member cannot be destroyed in good order: it is left to the process's end."""
        self._engine = None


def _bucket_source() -> Any:
    """A vLLM `WeightSource` over one bucket at a time."""
    from vllm.distributed.weight_transfer import ParamMeta, WeightSource

    class BucketSource(WeightSource):
        def __init__(self) -> None:
            self.bucket: Bucket = []

        def metadata(self) -> list[Any]:
            return [ParamMeta(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in self.bucket]

        def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
            return iter(self.bucket)

    return BucketSource()


def together(call: Callable[[], None], broadcast: Callable[[], None], timeout_s: float) -> None:
    """Runs the servers' side, an HTTP call, beside ours: both meet in the broadcast.

    Raises:
        EngineError: whatever fails first; the other side is then left alone.
    """
    failed: list[BaseException] = []
    ended = [threading.Event(), threading.Event()]
    either = threading.Semaphore(0)

    def side(run: Callable[[], None], end: threading.Event) -> None:
        try:
            run()
        except BaseException as error:  # raised below, in the caller's thread
            failed.append(error)
        end.set()
        either.release()

    for run, end in zip((call, broadcast), ended, strict=True):
        threading.Thread(target=side, args=(run, end), daemon=True).start()
    for _ in ended:
        if not either.acquire(timeout=timeout_s):
            raise EngineError(f"The weights did not arrive within {timeout_s:g} s.")
        if failed:
            raise failed[0]


def in_time(run: Callable[[], None], timeout_s: float, what: str) -> None:
    """Runs something that may hang for ever, and does not wait for ever."""
    failed: list[BaseException] = []

    def guarded() -> None:
        try:
            run()
        except BaseException as error:  # raised below, in the caller's thread
            failed.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        raise EngineError(f"It took more than {timeout_s:g} s to {what}.")
    if failed:
        raise failed[0]


def _free_port(address: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as free:
        free.bind((address, 0))
        return free.getsockname()[1]
