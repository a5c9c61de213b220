"""Weights handed over as safetensors in a folder that trainer and servers share. It knows no HTTP route but vLLM's reload.

The files stay until the next push: a server that is restarted in between reads them again, whichever rank notices.
"""

import hashlib
import shutil
import tempfile
import uuid
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tracer1.engines._patient_http import Gone
from tracer1.engines._side_by_side import side_by_side
from tracer1.engines._vllm_names import name_in_vllm
from tracer1.engines._vllm_remote import RemoteVllm
from tracer1.errors import EngineError


class FolderTransfer:
    """Writes once, lets every server read.

    Args:
        folder: Where; None takes the temporary folder, which serves servers on this machine.
        bucket_mb: Size of one file, in MiB.
        reload: The servers' method that reads weights.
    """

    def __init__(self, folder: str | None, bucket_mb: int, reload: str) -> None:
        self.root = Path(folder) if folder else Path(tempfile.gettempdir())
        self.bucket_mb, self.reload = bucket_mb, reload
        self.place: Path | None = None  # the folder of the last push; other ranks are told of it
        self._at_exit: Any = None  # deletes it, in the process that wrote it

    def deliver(
        self, weights: Iterable[tuple[str, Tensor]], servers: Sequence[RemoteVllm]
    ) -> tuple[dict[str, str], list[tuple[RemoteVllm, Gone]]]:
        """Brings the weights to all servers.

        Returns:
            Digests of the tensors under vLLM's names, and the servers that died.

        Raises:
            EngineError: the files cannot be written, or a server refuses them.
        """
        self.forget()
        self.place = self.root / f"tracer1-weights-{uuid.uuid4().hex}"
        self._at_exit = weakref.finalize(self, shutil.rmtree, self.place, ignore_errors=True)
        try:
            digests = self._write(weights)
        except OSError as error:
            raise EngineError(
                f"The weights cannot be written to {self.place}: {error.strerror or error}. Free some space or choose another "
                "engine.folder."
            ) from error
        gone: list[tuple[RemoteVllm, Gone]] = []

        def bring(server: RemoteVllm) -> None:
            try:
                self.bring(server)
            except Gone as error:
                gone.append((server, error))

        side_by_side(bring, servers, len(servers))
        return digests, gone

    def bring(self, server: RemoteVllm) -> None:
        """Lets one server read the last push's files."""
        where: dict[str, Any] = {"weights_path": str(self.place.absolute())}
        server.development("POST", "/collective_rpc", {"method": self.reload, "kwargs": where})

    def forget(self) -> None:
        """Deletes the files of the last push, if they are this process's."""
        if self._at_exit is not None:
            self._at_exit()
        self.place = self._at_exit = None

    def _write(self, weights: Iterable[tuple[str, Tensor]]) -> dict[str, str]:
        """Files of about `bucket_mb`."""
        digests: dict[str, str] = {}
        bucket: dict[str, Tensor] = {}
        files = 0
        self.place.mkdir(parents=True)
        for name, tensor in weights:
            bucket[name] = tensor.detach().cpu().contiguous()
            digests[name_in_vllm(name)] = digest(bucket[name])
            if sum(held.nbytes for held in bucket.values()) >= self.bucket_mb * 2**20:
                save_file(bucket, self.place / f"model-{files:05d}.safetensors")
                bucket, files = {}, files + 1
        if bucket:
            save_file(bucket, self.place / f"model-{files:05d}.safetensors")
        return digests


def digest(tensor: Tensor) -> str:
    """What vLLM's `/weight_checker` says of such a tensor (contiguous, on the CPU)."""
    return hashlib.sha256(tensor.view(-1).view(torch.uint8).numpy()).hexdigest()
