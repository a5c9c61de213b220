"""A real `vllm serve` (its CPU build, in a process of its own) behind the server engine: it starts once, in a minute or two."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import conformance
import pytest
import requests
import torch

from tracer1.engines._pictures import pictures
from tracer1.engines._pixel_wire import encode_picture
from tracer1.engines._vllm_build import save_without_weights
from tracer1.engines.transformers import TransformersEngine
from tracer1.engines.vllm_server import VllmServerEngine
from tracer1.errors import EngineError
from tracer1.models.policy import PolicyModule
from tracer1.schema import Prompt

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(
        find_spec("vllm") is None, reason="vLLM is not installed here; `make test-vllm` runs these tests"
    ),
    pytest.mark.timeout(600),
]
START_S = 400
# `vllm serve` itself asks for a distribution called vllm, which the CPU build is not; this is the module that it runs
SERVE = "vllm.entrypoints.openai.api_server"
OPTIONS = (
    "--dtype float32 --max-model-len 512 --enforce-eager --no-mm-device-do-normalize --enable-scale-out --block-size 32 "
    "--no-enable-chunked-prefill "
    "--worker-extension-cls tracer1.engines._vllm_worker.FullReload --host 127.0.0.1"
)


def start(folder: Path, port: int, log: Path) -> subprocess.Popen:
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src"),  # the worker extension
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "1",
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, "-m", SERVE, "--model", str(folder), "--port", str(port), *OPTIONS.split()]
    command += ["--limit-mm-per-prompt", '{"image": 1, "video": 0}']
    command += ["--weight-transfer-config", '{"backend": "tracer1_gloo"}']
    with log.open("w") as stream:
        return subprocess.Popen(command, env=environment, stdout=stream, stderr=stream, cwd=folder)


def wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(f"{url}/health", timeout=5).ok:
                return
        except requests.RequestException:
            time.sleep(0.5)
    pytest.fail(f"the server did not start:\n{log.read_text()[-20000:]}")


@pytest.fixture(scope="module")
def engine(planner: PolicyModule, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServerEngine]:
    folder = tmp_path_factory.mktemp("server")
    planner.backbone.save(folder / "model")
    save_without_weights(planner.backbone, folder / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "log.txt"
    process = start(folder / "model", port, log)
    try:
        wait_for(f"http://127.0.0.1:{port}", process, log)
        yield VllmServerEngine(
            f"http://127.0.0.1:{port}", folder=str(folder), answer_s=120, patience_s=20, reload="tracer1_reload"
        )
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture
def served(engine: VllmServerEngine, planner: PolicyModule) -> Iterator[VllmServerEngine]:
    with engine.serving(planner):
        yield engine


def test_it_samples_as_every_engine_must(served: VllmServerEngine, planner: PolicyModule, screens: list[Prompt]):
    conformance.check_the_same_seed_gives_the_same_response(served, screens)
    conformance.check_every_response_has_its_own_noise(served, screens)
    conformance.check_a_response_does_not_depend_on_what_is_sampled_beside_it(served, screens)
    conformance.check_ends_and_limits(served, screens, planner.sampler().stop_ids)


def test_logprobs_are_the_trainers(served: VllmServerEngine, planner: PolicyModule, screens: list[Prompt]):
    conformance.check_logprobs_are_the_trainers(served, planner, screens, mean=1e-5, largest=1e-3)


def test_greedy_follows_the_policys_weights(
    engine: VllmServerEngine, planner: PolicyModule, screens: list[Prompt], changed
):
    said = []
    embedded = TransformersEngine()
    for seed in (None, 1, None):
        with changed(planner, 0.4 if seed else 0.0, seed or 0), engine.serving(planner), embedded.serving(planner):
            said.append([r.token_ids for r in conformance.check_greedy_equals(engine, embedded, screens)])
            conformance.check_logprobs_are_the_trainers(engine, planner, screens, mean=1e-5, largest=1e-3)
    assert said[0] == said[2] != said[1]


def test_weights_that_the_server_cannot_find_are_an_error(engine: VllmServerEngine, planner: PolicyModule, changed):
    with engine.serving(planner):
        pass
    write = engine.transfer._write
    try:
        # what arrived is not what was sent
        engine.transfer._write = lambda weights: dict.fromkeys(write(weights), "0" * 64)
        with pytest.raises(EngineError, match="does not hold the weights that were pushed"), engine.serving(planner):
            pass
    finally:
        engine.transfer._write = write


def test_weights_come_over_vllms_own_transfer(
    engine: VllmServerEngine, planner: PolicyModule, screens: list[Prompt], changed
):
    """A backend of ours in vLLM's worker: handshake, session, buckets and layerwise reload are vLLM's."""
    (server,) = engine.pool.servers
    over_gloo = VllmServerEngine(server.url, "gloo", answer_s=120, patience_s=60, bucket_mb=1)
    embedded, said = TransformersEngine(), []
    for seed in (None, 1, 2):
        with changed(planner, 0.4 if seed else 0.0, seed or 0), over_gloo.serving(planner), embedded.serving(planner):
            said.append([r.token_ids for r in conformance.check_greedy_equals(over_gloo, embedded, screens)])
            conformance.check_logprobs_are_the_trainers(over_gloo, planner, screens, mean=1e-5, largest=1e-3)
    assert said[0] != said[1] != said[2]


def test_a_broken_transfer_is_begun_again(engine: VllmServerEngine, planner: PolicyModule, screens: list[Prompt]):
    """The trainer loses the group in the middle of a push; the real server gets over it."""
    (server,) = engine.pool.servers
    over_gloo = VllmServerEngine(server.url, "gloo", answer_s=120, patience_s=60, bucket_mb=1)
    send, sent = over_gloo.transfer.sender.send, []

    def breaks(bucket: list[tuple[str, torch.Tensor]]) -> None:
        sent.append(len(bucket))
        if len(sent) == 3:
            raise OSError("the network is gone")
        send(bucket)

    over_gloo.transfer.sender.send = breaks
    embedded = TransformersEngine()
    with over_gloo.serving(planner), embedded.serving(planner):
        conformance.check_greedy_equals(over_gloo, embedded, screens)
    assert len(sent) > 6


def test_vllm_reads_our_pictures_as_they_were(screens: list[Prompt], planner: PolicyModule):
    from vllm.entrypoints.scale_out.token_in_token_out.mm_serde import decode_mm_kwargs_item

    image_token = planner.backbone.model.config.image_token_id
    (picture,) = pictures(screens[0], image_token, planner.backbone.image_processor.merge_size)
    item = decode_mm_kwargs_item(encode_picture(picture.pixels, picture.grid))
    assert torch.equal(item["pixel_values"].data, screens[0].tensors["pixel_values"])
    assert torch.equal(item["image_grid_thw"].data, screens[0].tensors["image_grid_thw"][0])
