"""Weights through vLLM's own transfer API: rank 0 and the workers of all servers form one group, and rank 0 broadcasts.

vLLM's routes drive it: `init_weight_transfer_engine` forms the group, then `start_weight_update`, one `update_weights` for every
bucket while that is broadcast, `finish_weight_update`. A group with a dead member is of no use: it is formed anew with those who
are left, or who have come back. It knows no model and no version.
"""

import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

from torch import Tensor

from tracer1.engines._patient_http import Gone, Refused
from tracer1.engines._side_by_side import side_by_side
from tracer1.engines._vllm_names import name_in_vllm
from tracer1.engines._vllm_remote import RemoteVllm
from tracer1.engines._weight_folder import digest
from tracer1.errors import EngineError

Bucket = list[tuple[str, Tensor]]
_COMPARED_BYTES = 2**20  # larger tensors are not digested: that would take longer than sending them


class FanOut:
    """vLLM's control plane of a weight transfer (its `VLLMWeightSyncClient`), over several servers at once.

    Args:
        servers: Whose workers take part, in the order of their ranks; rank 0 is the trainer.
    """

    def __init__(self, servers: Sequence[RemoteVllm]) -> None:
        self.servers = list(servers)
        sizes = [int(server.http.call("GET", "/get_world_size")["world_size"]) for server in servers]
        self.offsets = {server: 1 + sum(sizes[:i]) for i, server in enumerate(servers)}
        self.world_size = 1 + sum(sizes)

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Lets every server's workers join, each at its own place."""

        def join(server: RemoteVllm) -> None:
            body = {"init_info": {**init_info, "rank_offset": self.offsets[server]}}
            server.http.at_once("POST", "/init_weight_transfer_engine", body)

        side_by_side(join, self.servers, len(self.servers))

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Lets every server receive one bucket; returns when all have it."""
        self._all("/update_weights", {"update_info": update_info})

    def start_weight_update(self) -> None:
        """Nothing: `begin` has opened one session for all buckets."""

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Nothing: `end` closes it."""

    def begin(self) -> None:
        """Opens the servers' sessions."""
        self._all("/start_weight_update")

    def end(self) -> None:
        """Closes them: the weights are in use."""
        self._all("/finish_weight_update")

    def abandon(self) -> None:
        """Closes what an error left open, where anybody is left to hear it."""
        for path in ("/finish_weight_update", "/shutdown_weight_transfer_engine"):
            side_by_side(lambda server, path=path: server.http.once("POST", path), self.servers, len(self.servers))

    def _all(self, path: str, body: Any = None) -> None:
        side_by_side(lambda server: server.http.at_once("POST", path, body), self.servers, len(self.servers))


class Sender(Protocol):
    """The trainer's place in a group."""

    backend: str  # what a server is started with
    recovers: bool  # whether servers get over a push that broke off in the middle

    def join(self, fan_out: FanOut, address: str) -> None:
        """Forms the group; `address` is where servers reach this process."""

    def send(self, bucket: Bucket) -> None:
        """Brings one bucket to all servers."""

    def leave(self) -> None:
        """Gives the group up."""


class BroadcastTransfer:
    """Sends all weights to all servers at once.

    Args:
        sender: How.
        bucket_mb: How much at a time, in MiB.
    """

    place = None  # where other ranks find the weights: nowhere

    def __init__(self, sender: Sender, bucket_mb: int) -> None:
        self.sender, self.bucket_mb = sender, bucket_mb
        self._fan_out: FanOut | None = None
        self._failed = False  # the last time, although every server answered

    def deliver(
        self, weights: Iterable[tuple[str, Tensor]], servers: Sequence[RemoteVllm]
    ) -> tuple[dict[str, str], list[tuple[RemoteVllm, Gone]]]:
        """Brings the weights to all servers, or to none: then some have died, or the group is to be formed anew.

        Returns:
            Digests of small tensors under vLLM's names, none where the weights did not arrive; the servers that died.

        Raises:
            EngineError: the servers are there and yet it fails, twice.
        """
        digests: dict[str, str] = {}
        begun = False
        try:
            self._joined(servers).begin()
            begun = True
            for bucket in in_buckets(weights, self.bucket_mb * 2**20):
                digests |= {name_in_vllm(n): digest(t.cpu()) for n, t in bucket if t.nbytes <= _COMPARED_BYTES}
                self.sender.send(bucket)
            self._fan_out.end()
        except (RuntimeError, OSError, EngineError) as error:  # a lost peer is a RuntimeError of torch's
            if begun and not self.sender.recovers:
                raise EngineError(
                    f"The weights were cut off on their way to the vLLM servers ({_reason(error)}), and {self.sender.backend} does "
                    "not get over that. Start the servers again and go on with ckpt_path=last, or set engine.transfer=folder."
                ) from error
            return {}, self._after(error, servers)
        self._failed = False
        return digests, []

    def bring(self, server: RemoteVllm) -> None:
        """A single server cannot be helped between two pushes: all ranks may have to gather the weights. Raises Gone."""
        raise Gone(
            f"The vLLM server at {server.url} was restarted in the middle of a round and lost the weights: it gets them at the "
            "next push (with engine.transfer=folder it would get them at once)."
        )

    def forget(self) -> None:
        """Nothing is kept."""

    def _joined(self, servers: Sequence[RemoteVllm]) -> FanOut:
        if self._fan_out is None or self._fan_out.servers != list(servers):
            self._give_up()
            self._fan_out = FanOut(servers)
            self.sender.join(self._fan_out, address_towards([server.url for server in servers]))
        return self._fan_out

    def _give_up(self) -> None:
        self.sender.leave()
        if self._fan_out is not None:
            self._fan_out.abandon()
        self._fan_out = None

    def _after(self, error: Exception, servers: Sequence[RemoteVllm]) -> list[tuple[RemoteVllm, Gone]]:
        """Who died of the error."""
        self._give_up()
        dead = [server for server in servers if not server.http.answers()]
        if not dead and (self._failed or isinstance(error, Refused)):
            raise EngineError(
                f"The weights cannot be sent to the vLLM servers: {_reason(error)} Start them with VLLM_SERVER_DEV_MODE=1 and "
                f'--weight-transfer-config \'{{"backend": "{self.sender.backend}"}}\'; they must reach this machine.'
            ) from error
        self._failed = not dead
        return [
            (server, Gone(f"The vLLM server at {server.url} died while it received weights: {_reason(error)}."))
            for server in dead
        ]


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def in_buckets(weights: Iterable[tuple[str, Tensor]], size: int) -> Iterator[Bucket]:
    """The weights in lists of about `size` bytes, at least one tensor each."""
    bucket: Bucket = []
    for name, tensor in weights:
        bucket.append((name, tensor.detach().contiguous()))
        if sum(held.nbytes for _, held in bucket) >= size:
            yield bucket
            bucket = []
    if bucket:
        yield bucket


def described(bucket: Bucket) -> dict[str, Any]:
    """A bucket's `update_info`."""
    return {
        "names": [name for name, _ in bucket],
        "dtype_names": [str(tensor.dtype).removeprefix("torch.") for _, tensor in bucket],
        "shapes": [list(tensor.shape) for _, tensor in bucket],
    }


def address_towards(urls: Sequence[str]) -> str:
    """This machine's address on its way to the servers, to the first that is elsewhere."""
    found = "127.0.0.1"
    for url in urls:
        host = urlsplit(url)
        family, kind, _, _, place = socket.getaddrinfo(host.hostname, host.port or 80, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(place)  # of a datagram socket: nothing is sent
            found = probe.getsockname()[0]
        if not found.startswith("127.") and found != "::1":
            break
    return found
