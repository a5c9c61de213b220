"""Both transfers against vLLM's own classes. `nccl`: everything is theirs but the communicator and the GPU, which a CPU does not have.

`gloo`: our receiver out of vLLM's registry, two workers of one server, weights really sent. A whole server: test_vllm_server_real.py.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tracer1.engines._side_by_side import side_by_side
from tracer1.engines._weight_broadcast import BroadcastTransfer
from tracer1.engines._weight_senders import GlooSender, NcclSender
from tracer1.errors import EngineError, MissingDependency

WEIGHTS = [
    ("model.language_model.norm.weight", torch.arange(4.0)),
    ("model.visual.a.weight", torch.arange(12.0).view(3, 4).to(torch.bfloat16).T),
    ("lm_head.weight", torch.arange(400_000.0)),
]


class Server:
    """Keeps what it is told."""

    def __init__(self, url: str, workers: int) -> None:
        self.url, self.workers, self.told = url, workers, []
        self.http = SimpleNamespace(
            call=lambda method, path: {"world_size": workers}, at_once=self.note, once=self.note, answers=lambda: True
        )

    def note(self, method: str, path: str, body: Any = None) -> None:
        self.told.append((path, body))


class Communicator:
    """In the place of PyNcclCommunicator."""

    def __init__(self) -> None:
        self.sent: list[Tensor] = []

    def broadcast(self, tensor: Tensor, src: int, stream: Any = None) -> None:
        assert src == 0
        self.sent.append(tensor.clone())


@pytest.fixture
def communicator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Communicator]:
    from vllm.distributed.weight_transfer import nccl_engine, packed_tensor

    group = Communicator()
    stream = SimpleNamespace(synchronize=lambda: None)
    monkeypatch.setattr(nccl_engine, "open_trainer_endpoint", lambda init_info: group)
    monkeypatch.setattr(packed_tensor, "_get_streams", lambda device, count: (stream,) * count)
    monkeypatch.setattr(torch.cuda, "stream", lambda given: nullcontext())
    monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: 0)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cpu"))
    monkeypatch.setattr(torch.accelerator, "device_index", lambda index: nullcontext())
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda: None)
    return group


@pytest.mark.vllm
@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed here; `make test-vllm` runs this test")
def test_vllms_own_trainer_side_sends_bucket_by_bucket(communicator: Communicator):
    from vllm.distributed.weight_transfer.nccl_engine import NCCLWeightTransferInitInfo, NCCLWeightTransferUpdateInfo
    from vllm.distributed.weight_transfer.packed_tensor import unpack_tensor

    servers = [Server("http://127.0.0.1:8001", 2), Server("http://127.0.0.1:8002", 4)]
    transfer = BroadcastTransfer(NcclSender(bucket_mb=1, timeout_s=30), bucket_mb=1)
    for _ in range(2):
        digests, gone = transfer.deliver(iter(WEIGHTS), servers)
    assert (len(digests), gone) == (2, [])  # a large tensor is not digested
    infos = [NCCLWeightTransferInitInfo(**body["init_info"]) for s in servers for p, body in s.told if "init" in p]
    assert [(info.rank_offset, info.world_size, info.packed) for info in infos] == [(1, 7, True), (3, 7, True)]
    session = ["/start_weight_update", "/update_weights", "/finish_weight_update"]
    assert [path for path, _ in servers[1].told] == ["/init_weight_transfer_engine", *session, *session]
    updates = [NCCLWeightTransferUpdateInfo(**body["update_info"]) for p, body in servers[0].told if "/update" in p]
    received: list[tuple[str, Tensor]] = []
    for update, packed in zip(updates, communicator.sent, strict=True):
        dtypes = [getattr(torch, name) for name in update.dtype_names]
        sizes = [torch.Size(s).numel() * d.itemsize for s, d in zip(update.shapes, dtypes, strict=True)]
        received += unpack_tensor(packed, update.names, update.shapes, dtypes, sizes)
    for (name, tensor), (sent, weight) in zip(received, WEIGHTS * 2, strict=True):
        assert name == sent
        assert torch.equal(tensor, weight)


@pytest.mark.vllm
@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed here; `make test-vllm` runs this test")
def test_our_receiver_is_in_vllms_registry_and_receives(monkeypatch: pytest.MonkeyPatch):
    from vllm.config.weight_transfer import WeightTransferConfig
    from vllm.distributed.weight_transfer import WeightTransferEngineFactory

    from tracer1.engines import _gloo_receiver, _vllm_worker  # noqa: F401 - registers it

    closed: list[str] = []
    monkeypatch.setattr(_gloo_receiver, "initialize_layerwise_reload", lambda model: closed.append("begin"))
    monkeypatch.setattr(_gloo_receiver, "finalize_layerwise_reload", lambda model, config: closed.append("end"))
    monkeypatch.setattr(_gloo_receiver, "retie_head", lambda model: None)
    loaded: list[dict[str, Tensor]] = [{}, {}]

    def worker(rank: int) -> Any:
        parallel = SimpleNamespace(data_parallel_index=0, world_size=2, rank=rank)
        given = SimpleNamespace(parallel_config=parallel, model_config=None)
        model = SimpleNamespace(load_weights=loaded[rank].update)
        config = WeightTransferConfig(backend="tracer1_gloo")
        return WeightTransferEngineFactory.create_engine(config, given, torch.device("cpu"), model)

    workers = [worker(0), worker(1)]
    calls = {
        "/init_weight_transfer_engine": lambda w, body: w.init_transfer_engine(w.parse_init_info(body["init_info"])),
        "/start_weight_update": lambda w, body: w.start_weight_update(),
        "/update_weights": lambda w, body: w.update_weights(body["update_info"]),
        "/finish_weight_update": lambda w, body: w.finish_weight_update(),
    }
    server = Server("http://127.0.0.1:8001", 2)
    server.http.at_once = lambda method, path, body=None: side_by_side(lambda w: calls[path](w, body), workers, 2)
    transfer = BroadcastTransfer(GlooSender(60.0), bucket_mb=1)
    assert transfer.deliver(iter(WEIGHTS), [server])[1] == []
    for held in loaded:
        assert list(held) == [name for name, _ in WEIGHTS]
        assert all(torch.equal(held[name], weight) for name, weight in WEIGHTS)
    assert closed == ["begin"] * 2 + ["end"] * 2
    workers[0].start_weight_update()
    workers[0].start_weight_update()  # the push before broke off
    assert closed[4:] == ["begin", "end", "begin"]


def test_a_push_that_is_cut_off_ends_the_run():
    sender = SimpleNamespace(backend="nccl", recovers=False, join=lambda *_: None, leave=lambda: None, send=_cut_off)
    with pytest.raises(EngineError, match=r"cut off on their way .*the peer is gone.*engine\.transfer=folder"):
        BroadcastTransfer(sender, 1).deliver(iter(WEIGHTS), [Server("http://127.0.0.1:8001", 1)])


def _cut_off(bucket: object) -> None:
    raise RuntimeError("the peer is gone\nand more")


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed here")
def test_without_vllm_the_message_says_what_to_install():
    transfer = BroadcastTransfer(NcclSender(bucket_mb=1, timeout_s=5), bucket_mb=1)
    with pytest.raises(MissingDependency, match=r"pip install 'tracer1\[vllm\]'"):
        transfer.deliver(iter(WEIGHTS), [Server("http://127.0.0.1:8001", 1)])
