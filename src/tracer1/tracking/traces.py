"""Brings finished traces to MLflow from a background thread. It knows nothing about what is traced.

Nobody waits for MLflow: a trace is handed over whole, when what it is about has ended, and where the server is down it is dropped,
counted, and said once. An SQLite store takes about 7 traces a second; beyond that the queue fills, and what does not fit is dropped.
"""

import logging
import os
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tracer1.tracking.config_text import without_passwords

log = logging.getLogger(__name__)

MOST_WAITING = 64  # traces, with their pictures, in memory
PAUSE_S = 30.0  # after a failure, in which traces are dropped without another attempt
_SYNCHRONOUS = {
    "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false"
}  # this thread is the queue; MLflow's own would hide failures


@dataclass(frozen=True, slots=True)
class TraceSpan:
    """A span with those below it."""

    name: str
    kind: str  # MLflow's: AGENT, LLM, TOOL, RETRIEVER, CHAIN, ...
    time: tuple[int, int]  # from, to: nanoseconds since 1970
    inputs: Mapping[str, Any] = field(default_factory=dict)  # plain values; bytes become attachments
    outputs: Mapping[str, Any] = field(default_factory=dict)  # likewise
    attributes: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    below: tuple["TraceSpan", ...] = ()


class TraceSender:
    """A queue with a thread behind it.

    Args:
        tracking_uri: `sqlite:///mlflow.db`, or the address of a server.
        experiment: MLflow's experiment.

    Attributes:
        dropped: Traces that MLflow did not get.
    """

    def __init__(self, tracking_uri: str, experiment: str) -> None:
        self.tracking_uri, self.experiment, self.dropped = tracking_uri, experiment, 0
        self._queue: queue.Queue[tuple[TraceSpan, Mapping[str, str]] | None] = queue.Queue(MOST_WAITING)
        self._experiment_id = ""
        self._client: Any = None
        self._again_at = 0.0
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def send(self, root: TraceSpan, tags: Mapping[str, str]) -> None:
        """Takes a trace and returns at once."""
        try:
            self._queue.put_nowait((root, tags))
        except queue.Full:
            self.dropped += 1

    def close(self, wait_s: float = 20.0) -> bool:
        """Waits until MLflow has everything, at most so long; whether it has."""
        until = time.monotonic() + wait_s
        try:
            self._queue.put(None, timeout=wait_s)
        except queue.Full:
            pass
        else:
            self._thread.join(max(0.0, until - time.monotonic()))
        missing = self.dropped + self._queue.qsize() + self._thread.is_alive()
        if missing:
            log.warning(
                "MLflow at %s has not taken %d traces; the record has them.",
                without_passwords(self.tracking_uri),
                missing,
            )
        return not missing

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if time.monotonic() < self._again_at:
                self.dropped += 1
                continue
            try:
                self._deliver(*item)
            except Exception as error:  # whatever a store does, the episodes go on
                first = not self.dropped
                self.dropped += 1
                self._again_at = time.monotonic() + PAUSE_S
                if first:
                    text = without_passwords(f"{type(error).__name__}: {error}".split("\n")[0])
                    log.warning("MLflow does not take traces (%.250s). The episodes go on, and are recorded.", text)
                log.debug("A trace was not delivered", exc_info=True)

    def _deliver(self, root: TraceSpan, tags: Mapping[str, str]) -> None:
        import mlflow

        from tracer1.tracking import mlflow_store

        if self._client is None:
            for name, value in _SYNCHRONOUS.items():
                os.environ[name] = value
            client = mlflow_store.connected(self.tracking_uri)
            self._experiment_id = mlflow_store.experiment_id_of(client, self.tracking_uri, self.experiment)
            mlflow.set_tracking_uri(self.tracking_uri)  # traces have no client of their own
            self._client = client
        self._client.get_experiment(self._experiment_id)  # the exporter swallows what this raises
        _write(root, None, tags, self._experiment_id)


def _write(span: TraceSpan, parent: Any, tags: Mapping[str, str], experiment_id: str) -> None:
    """Starts a span, those below it, and ends it; the end of the root sends all."""
    import mlflow
    from mlflow.entities import SpanEvent

    top = {"tags": dict(tags), "experiment_id": experiment_id} if parent is None else {}
    live = mlflow.start_span_no_context(
        span.name,
        span_type=span.kind,
        parent_span=parent,
        inputs=dict(_attached(span.inputs)),
        attributes=dict(span.attributes),
        start_time_ns=span.time[0],
        **top,
    )
    for below in span.below:
        _write(below, live, tags, experiment_id)
    if span.error:
        live.add_event(SpanEvent("exception", span.time[1], {"exception.message": span.error}))
    live.set_outputs(dict(_attached(span.outputs)))
    live.end(status="ERROR" if span.error else "OK", end_time_ns=span.time[1])


def _attached(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    from mlflow.tracing.attachments import Attachment

    for name, value in values.items():
        if isinstance(value, bytes):
            kind = "image/jpeg" if value[:2] == b"\xff\xd8" else "image/png"
            value = Attachment(content_type=kind, content_bytes=value)
        yield name, value
