"""A server that speaks what `engine=vllm_server` needs of vLLM 0.32's protocol, and can misbehave in every way that matters.

It "samples" three tokens that depend on the seed and the weights alone. As a program, `fake_server.py PORT [PATH NUMBER]`, it kills
itself (SIGKILL) when it is asked for PATH for the NUMBERth time; it answers at once, because it loads torch only to receive weights.
"""

import base64
import contextlib
import hashlib
import json
import math
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file


class FakeVllm:
    """Start it with `start()`, misbehave by filling `trouble`: each entry ("500", "hang", "cut", "restart") spoils one answer."""

    def __init__(self) -> None:
        self.trouble: list[str] = []
        self.asked: list[tuple[str, Any]] = []  # path and body of everything that was answered
        self.cached: set[str] = set()  # digests of the pictures that were brought
        self.forgets_pictures = self.ignores_weights = False
        self.busy = False  # with requests that nobody waits for
        self.hang_s, self.answer_after_s = 3.0, 0.0
        self.dies: tuple[str, int] | None = None  # at which request, by path and number
        self.forgets: tuple[str, int] | None = None  # at which it is restarted, too fast for anybody to see it away
        self.counted: Counter[str] = Counter()
        self.group: Any = None  # of a weight transfer
        self.config = {
            "model_config": {"dtype": "torch.float32", "multimodal_config": {"mm_device_do_normalize": False}},
            "device_config": {"device": "cuda"},
            "scheduler_config": {"enable_chunked_prefill": True},
        }
        self.restart()

    def restart(self) -> None:
        self.version, self.weights, self.digests = "default", {}, {}
        self.group, self.updating = None, False
        self.cached.clear()

    def start(self, port: int = 0) -> str:
        handler = type("Handler", (_Handler,), {"fake": self})
        self.http = _Http(("127.0.0.1", port), handler)
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{self.http.server_port}"

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        for connection in self.http.connections:  # as when a process dies
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    # --- answers -----------------------------------------------------------------------------------------------------------

    def collective_rpc(self, body: dict[str, Any]) -> dict[str, Any]:
        assert body["method"] in ("reload_weights", "tracer1_reload")
        folder = Path(body["kwargs"]["weights_path"])
        self.weights = {k: v for file in sorted(folder.glob("*.safetensors")) for k, v in load_file(file).items()}
        return {"results": [None]}

    def init_weight_transfer_engine(self, body: dict[str, Any]) -> None:
        import torch.distributed as dist

        info = body["init_info"]
        assert set(info) == {"master_address", "master_port", "rank_offset", "world_size", "timeout_s"}
        timeout = timedelta(seconds=info["timeout_s"])
        store = dist.TCPStore(
            info["master_address"], info["master_port"], is_master=False, wait_for_workers=False, timeout=timeout
        )
        self.group = dist.ProcessGroupGloo(store, info["rank_offset"], info["world_size"], timeout)

    def update_weights(self, body: dict[str, Any]) -> None:
        import torch

        assert self.updating
        info = body["update_info"]
        dtypes = [getattr(torch, name) for name in info["dtype_names"]]
        sizes = [math.prod(shape) * dtype.itemsize for shape, dtype in zip(info["shapes"], dtypes, strict=True)]
        packed = torch.empty(sum(sizes), dtype=torch.uint8)
        self.group.broadcast(packed, 0).wait()
        for name, part, dtype, shape in zip(info["names"], packed.split(sizes), dtypes, info["shapes"], strict=True):
            self.weights[name] = part.clone().view(dtype).view(shape).numpy()

    def weight_checker(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.ignores_weights and self.digests:
            return {"checksums": self.digests}
        self.digests = {
            "dp0:pp0:pcp0:tp0:" + name.replace("model.language_model.", "language_model.model."): hashlib.sha256(
                tensor.tobytes()
            ).hexdigest()
            for name, tensor in self.weights.items()
            if "q_proj" not in name  # fused in vLLM
        }
        return {"checksums": self.digests}

    @property
    def fill(self) -> int:
        """What all elements of the norm are; 51 before any weights have come."""
        return int(self.weights.get("model.language_model.norm.weight", [51])[0])

    def generate(self, body: dict[str, Any]) -> dict[str, Any] | None:
        features = body.get("features")
        for digest, data in (
            zip(*(features[k]["image"] for k in ("mm_hashes", "kwargs_data")), strict=True) if features else ()
        ):
            if data is not None and not self.forgets_pictures:
                base64.b64decode(data, validate=True)
                self.cached.add(digest)
            if data is None and digest not in self.cached:
                return None
        seed, most = body["sampling_params"]["seed"], body["sampling_params"]["max_tokens"]
        time.sleep(self.answer_after_s)
        seed += self.fill - 1  # other weights, other tokens
        tokens = [seed % 97 + 1, seed % 89 + 1, 0][:most]
        spans = [{"version": self.version, "start": 0, "end": len(tokens)}]
        choice = {
            "index": 0,
            "token_ids": tokens,
            "finish_reason": "stop" if tokens[-1] == 0 else "length",
            "logprobs": {"content": [{"token_id": t, "logprob": -t / 100} for t in tokens]},
            "weight_versions": spans,
        }
        return {"request_id": "r", "choices": [choice]}


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *args: Any) -> None:
        self.connections: list[socket.socket] = []
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.append(request)
        super().process_request(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    fake: FakeVllm
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        known = {
            "/server_info?config_format=json": {"vllm_config": self.fake.config},
            "/weight_info": {"weight_version": self.fake.version},
            "/get_world_size": {"world_size": 1},
        }
        self.answer(200 if self.path in known else 404, known.get(self.path, {"error": "no such route"}))

    def do_POST(self) -> None:
        fake = self.fake
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
        fake.counted[self.path] += 1
        if fake.dies == (self.path, fake.counted[self.path]):
            os.kill(os.getpid(), signal.SIGKILL)
        if fake.forgets == (self.path, fake.counted[self.path]):
            fake.restart()
        trouble = fake.trouble.pop(0) if fake.trouble and self.path.endswith("generate") else ""
        if trouble == "hang":
            time.sleep(fake.hang_s)
        if trouble == "restart":
            fake.restart()
        if trouble in ("cut", "hang", "restart"):
            self.close_connection = True
            return
        if trouble:
            self.answer(int(trouble), {"error": {"message": "the engine says no"}})
            return
        fake.asked.append((self.path, body))
        match self.path:
            case "/collective_rpc":
                self.answer(200, fake.collective_rpc(body))
            case "/init_weight_transfer_engine":
                fake.init_weight_transfer_engine(body)
                self.answer(200, {"message": "Weight transfer initialized"})
            case "/start_weight_update" if fake.group is not None and not fake.updating:
                fake.updating = True
                self.answer(200, {"message": "Weight update started"})
            case "/update_weights":
                try:
                    fake.update_weights(body)
                except RuntimeError as error:  # as vLLM does it
                    fake.updating = False
                    self.answer(500, {"error": {"message": str(error)}})
                else:
                    self.answer(200, {"message": "Weights updated"})
            case "/finish_weight_update" if fake.updating:
                fake.updating = False
                self.answer(200, {"message": "Weight update finished"})
            case "/shutdown_weight_transfer_engine" if not fake.updating:
                fake.group = None
                self.answer(200, {"message": "Weight transfer shut down"})
            case "/start_weight_update" | "/finish_weight_update" | "/shutdown_weight_transfer_engine":
                self.answer(500, {"error": {"message": "not in this state"}})
            case "/weight_checker":
                self.answer(200, fake.weight_checker(body))
            case "/update_weight_version":
                fake.version = body["new_version"]
                self.answer(200, {"success": True})
            case "/reset_prefix_cache":
                self.answer(200, {"success": not fake.busy})
            case "/abort_requests" if body == {}:
                fake.busy = False
                self.answer(200, {"status": "aborted", "aborted": 1})
            case "/reset_mm_cache" | "/reset_encoder_cache":
                self.answer(200, None)
            case "/inference/v1/generate":
                answer = fake.generate(body)
                self.answer(200 if answer else 500, answer or {"error": {"message": "cache miss"}})
            case _:
                self.answer(404, {"error": {"message": "no such route"}})

    def answer(self, status: int, body: Any) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main(port: str, path: str = "", number: str = "0") -> None:
    fake = FakeVllm()
    fake.dies = (path, int(number))
    print(fake.start(int(port)), flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
