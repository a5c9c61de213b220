"""Separate `vllm serve` processes over HTTP: token ids and the trainer's own pixels in, token ids and log-probs out.

Rank 0 brings the weights to all servers before every round (`_weight_folder.py`, `_weight_broadcast.py`). Whole groups are shared out
by their tokens; which server answers changes nothing, because every response has a seed of its own. Every response names the
version of the weights that it was sampled from, so a server that was restarted in between is noticed and brought up to date. Start
each with its development routes:

    VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --dtype bfloat16 --max-model-len 8192 --enable-scale-out --no-mm-device-do-normalize

(scale-out: the route that takes token ids and pixels; the pixels come normalised.)

It knows nothing about rewards, plans or steps.
"""

import itertools
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist

from tracer1.engines import ENGINES
from tracer1.engines._balance import group_cost
from tracer1.engines._patient_http import Gone, PatientServer
from tracer1.engines._server_pool import Dispatch, ServerPool
from tracer1.engines._server_wording import Wording
from tracer1.engines._side_by_side import side_by_side
from tracer1.engines._vllm_remote import Place, RemoteVllm
from tracer1.engines._weight_broadcast import BroadcastTransfer
from tracer1.engines._weight_folder import FolderTransfer
from tracer1.engines._weight_senders import GlooSender, NcclSender
from tracer1.errors import ConfigError, EngineError, Tracer1Error
from tracer1.interfaces import Sampling
from tracer1.schema import Prompt, Response

_PUSHES = 3  # to one server within one round: it may be restarted while it samples


@ENGINES.register("vllm_server")
class VllmServerEngine:
    """Samples on servers.

    Args:
        url: Of the server, or a list of several.
        transfer: How weights arrive: through a `folder`, over `gloo` (TCP), or over `nccl`.
        folder: Where weights are handed over; null takes a temporary one, which serves servers on this machine.
        concurrency: Requests under way at once, on each server.
        answer_s: The longest that one answer may take, in seconds.
        hand_over_s: How long a server may be away before its groups go to the others, in seconds.
        patience_s: How long all servers may be away before the training stops, in seconds.
        bucket_mb: Size of one file of weights, or of what is sent at a time, in MiB.
        reload: The servers' method that reads weights from a folder: vLLM's own, or `tracer1_reload` of
            `_vllm_worker.FullReload`, which a server on a CPU needs for a model with a tied head.
    """

    apart = True

    def __init__(
        self,
        url: str | Sequence[str],
        transfer: str = "folder",
        folder: str | None = None,
        concurrency: int = 64,
        answer_s: float = 1800.0,
        hand_over_s: float = 30.0,
        patience_s: float = 600.0,
        bucket_mb: int = 1024,
        reload: str = "reload_weights",
    ) -> None:
        urls = [url] if isinstance(url, str) else list(url)
        if not urls or len(set(urls)) < len(urls):
            raise ConfigError(f"engine.url={urls}: it takes one address, or a list of several different ones.")
        first_wait = min(hand_over_s, patience_s)
        servers = [RemoteVllm(PatientServer(one, answer_s, first_wait), concurrency) for one in urls]
        self.pool = ServerPool(servers, patience_s)
        self.transfer = _make_transfer(transfer, folder, bucket_mb, reload, patience_s)
        self.full_reload = reload != "reload_weights" or transfer == "gloo"
        self.version = ""  # of the weights that the servers should sample from
        self._digests: dict[str, str] = {}
        self._expected: float | None = None  # tokens of a response, as they were last
        self._policy: Any = None

    @contextmanager
    def serving(self, policy: Any) -> Iterator[None]:
        """While entered, `generate` answers with the current weights of `policy`. Every rank must call it.

        Raises:
            EngineError: all servers are gone; one refuses the weights, or holds other ones afterwards.
            MissingDependency: `transfer=nccl` without vLLM.
        """
        self._policy = policy
        try:
            self._push_once()
            yield
        finally:
            self._policy = None
            if not _several():  # with several, another rank may still have to bring them to a server
                self.transfer.forget()

    # --- weights ---------------------------------------------------------------------------------------------------------

    def _push_once(self) -> None:
        """Rank 0 brings the weights; the others help to gather them (ZeRO-3), and wait for its verdict."""
        for number in itertools.count():
            weights = self._policy.weights()
            done = self._push(weights, number) if _rank() == 0 else None
            for _ in weights:  # also what an error has left: other ranks are in step
                pass
            if not _several():
                verdict = done
            else:
                told = [done]
                dist.broadcast_object_list(told)
                verdict = told[0]
            if isinstance(verdict, Tracer1Error):
                raise verdict
            if verdict:
                self._take(verdict)
                return

    def _push(self, weights: Iterator[Any], number: int) -> dict[str, Any] | Tracer1Error | None:
        """What all ranks must know of the push; None to be called again, because servers have died; or why it failed."""
        version = uuid.uuid4().hex
        try:
            servers = self.pool.present(self.pool.servers if number > 2 * len(self.pool.servers) else ())
            lost = self._each(servers, lambda server: server.check(self._policy, self.full_reload))
            servers = [server for server in servers if server not in lost]
            digests, gone = self.transfer.deliver(weights, servers) if servers else ({}, [])
            for server, error in gone:
                self.pool.leave(server, error)
            held = [server for server in servers if not server.away] if digests else []
            lost = self._each(held, lambda server: server.settle(version, digests))
        except Tracer1Error as error:
            return error
        if len(lost) == len(held):
            return None
        away = {server.url: server.why for server in self.pool.servers if server.away}
        return {"version": version, "digests": digests, "place": self.transfer.place, "away": away}

    def _each(self, servers: Sequence[RemoteVllm], run: Any) -> list[RemoteVllm]:
        """`run` of every server; returns those that died of it."""
        lost: list[RemoteVllm] = []

        def guarded(server: RemoteVllm) -> None:
            try:
                run(server)
            except Gone as error:
                self.pool.leave(server, error)
                lost.append(server)

        side_by_side(guarded, servers, max(1, len(servers)))
        return lost

    def _take(self, verdict: dict[str, Any]) -> None:
        self.version, self._digests, self.transfer.place = verdict["version"], verdict["digests"], verdict["place"]
        for server in self.pool.servers:
            server.away = server.url in verdict["away"]
            server.why = verdict["away"].get(server.url, server.why)

    def _bring_up_to_date(self, server: RemoteVllm) -> None:
        """A server that holds other weights than it should: it was restarted, or has come back."""
        with server.mending:
            if server.version() == self.version:  # somebody has seen to it
                return
            server.checked = False
            server.check(self._policy, self.full_reload)
            self.transfer.bring(server)
            server.settle(self.version, self._digests, mended=True)

    # --- responses -------------------------------------------------------------------------------------------------------

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[Sequence[int]]) -> list[Response]:
        """`len(seeds[b])` responses for prompt b, group-adjacent.

        Raises:
            EngineError: all servers are gone for good; one refuses a request, or forgets its weights again and again.
        """
        assert self._policy is not None, "generate() belongs inside `with engine.serving(policy):`"
        wording = Wording(self._policy, sampling)
        asked = [[(b, i) for i in range(len(group))] for b, group in enumerate(seeds)]
        got: dict[Place, dict[str, Any]] = {}
        given_up: dict[Place, dict[str, Any]] = {}

        def keep(place: Place, answer: dict[str, Any]) -> None:
            if answer["finish_reason"] == "abort":  # also where another rank has mended the server
                given_up[place] = answer
            elif all(span["version"] == self.version for span in answer.get("weight_versions") or ()):
                got[place] = answer

        def left(groups: Sequence[int]) -> list[int]:
            return [b for b in groups if any(place not in got for place in asked[b])]

        def ask(server: RemoteVllm, groups: list[int]) -> None:
            for _ in range(_PUSHES):
                places = [place for b in groups for place in asked[b] if place not in got]
                server.answer(wording, prompts, seeds, places, keep)
                if not left(groups):
                    return
                self._bring_up_to_date(server)
            if given_up:
                wording.response(prompts[places[0][0]], next(iter(given_up.values())))  # says so
            raise EngineError(
                f"The vLLM server at {server.url} lost the pushed weights {_PUSHES} times in one round: something restarts it. "
                "See its log."
            )

        expected = self._expected or sampling.max_tokens / 2
        costs = [group_cost(prompt, len(group), expected) for prompt, group in zip(prompts, seeds, strict=True)]
        Dispatch(self.pool, ask, left, costs, first=_rank()).run()
        responses = [wording.response(prompts[place[0]], got[place]) for group in asked for place in group]
        if responses:
            self._expected = sum(len(response.token_ids) for response in responses) / len(responses)
        return responses


def _make_transfer(transfer: str, folder: str | None, bucket_mb: int, reload: str, patience_s: float) -> Any:
    match transfer:
        case "folder":
            return FolderTransfer(folder, bucket_mb, reload)
        case "gloo":
            return BroadcastTransfer(GlooSender(patience_s), bucket_mb)
        case "nccl":
            return BroadcastTransfer(NcclSender(bucket_mb, patience_s), bucket_mb)
    raise ConfigError(f"engine.transfer={transfer} is unknown. Known: folder, gloo, nccl.")


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _rank() -> int:
    return dist.get_rank() if _several() else 0
