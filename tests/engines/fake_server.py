"""A server that speaks what `engine=vllm_server` needs of vLLM 0.32's protocol, and can misbehave in every way that matters.

It "samples" three tokens that depend on the seed alone.
"""

import base64
import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file


class FakeVllm:
    """Start it with `start()`, misbehave by filling `trouble`: each entry ("500", "hang", "cut", "restart") spoils one answer."""

    def __init__(self) -> None:
        self.trouble: list[str] = []
        self.asked: list[tuple[str, Any]] = []  # path and body of everything that was answered
        self.cached: set[str] = set()  # digests of the pictures that were brought
        self.forgets_pictures = self.ignores_weights = False
        self.hang_s = 3.0
        self.config = {
            "model_config": {"dtype": "torch.float32", "multimodal_config": {"mm_device_do_normalize": False}},
            "device_config": {"device": "cuda"},
            "scheduler_config": {"enable_chunked_prefill": True},
        }
        self.restart()

    def restart(self) -> None:
        self.version, self.weights, self.digests = "default", {}, {}
        self.cached.clear()

    def start(self, port: int = 0) -> str:
        handler = type("Handler", (_Handler,), {"fake": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{self.http.server_port}"

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    # --- answers -----------------------------------------------------------------------------------------------------------

    def collective_rpc(self, body: dict[str, Any]) -> dict[str, Any]:
        assert body["method"] in ("reload_weights", "tracer1_reload")
        folder = Path(body["kwargs"]["weights_path"])
        self.weights = {k: v for file in sorted(folder.glob("*.safetensors")) for k, v in load_file(file).items()}
        return {"results": [None]}

    def weight_checker(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.ignores_weights and self.digests:
            return {"checksums": self.digests}
        self.digests = {
            "dp0:pp0:pcp0:tp0:" + name.replace("model.language_model.", "language_model.model."): hashlib.sha256(
                tensor.view(-1).view(torch.uint8).numpy()
            ).hexdigest()
            for name, tensor in self.weights.items()
            if "q_proj" not in name  # fused in vLLM
        }
        return {"checksums": self.digests}

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


class _Handler(BaseHTTPRequestHandler):
    fake: FakeVllm
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        known = {
            "/server_info?config_format=json": {"vllm_config": self.fake.config},
            "/weight_info": {"weight_version": self.fake.version},
        }
        self.answer(200 if self.path in known else 404, known.get(self.path, {"error": "no such route"}))

    def do_POST(self) -> None:
        fake = self.fake
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
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
            case "/weight_checker":
                self.answer(200, fake.weight_checker(body))
            case "/update_weight_version":
                fake.version = body["new_version"]
                self.answer(200, {"success": True})
            case "/reset_prefix_cache":
                self.answer(200, {"success": True})
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
