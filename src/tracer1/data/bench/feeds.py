"""What is compared: decoding and nothing else, the data module's stream, and Hugging Face `datasets`. Each gives steps per second.

All decode every screenshot to the last pixel. It knows nothing about repetitions or tables.
"""

import io
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from PIL import Image

from tracer1.data.datamodule import StepDataModule
from tracer1.data.shards import read_stored

BLOCK = 2  # shards that are shuffled together


def screenshots(urls: Sequence[str]) -> list[bytes]:
    """Every screenshot of the shards."""
    return [
        stored.screenshot or b""
        for url in urls
        for trajectory in read_stored(url, verify_images=False)
        for stored in trajectory
    ]


def decode(image: bytes) -> None:
    """Decodes one image, as `Image.open(...).load()` does."""
    with Image.open(io.BytesIO(image)) as picture:
        picture.load()


def plain(images: Sequence[bytes], epochs: int, processes: int) -> float:
    """Images per second when each process decodes its share, which lies in its memory already, so many times."""
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(processes + 1)

    def work(share: Sequence[bytes]) -> None:
        ready.wait()
        for image in chain.from_iterable([share] * epochs):
            decode(image)

    workers = [context.Process(target=work, args=(images[n::processes],)) for n in range(processes)]
    for worker in workers:
        worker.start()
    ready.wait()
    began = time.perf_counter()
    for worker in workers:
        worker.join()
    return epochs * len(images) / (time.perf_counter() - began)


def data_module(urls: Sequence[str], per_shard: int, epochs: int, workers: int) -> float:
    """Steps per second of the training stream, from the second shuffled block on and over so many epochs.

    Steps come in bursts, a block at a time: the clock runs from the first step of one block to the first of another, so that what
    lies ready at the beginning is made up for at the end, but for a shard more or less: short runs scatter.
    """
    data = StepDataModule({"made": {"train": list(urls)}}, num_workers=workers, shuffle_shards=BLOCK)
    stream = data.train_stream()
    steps = epochs * len(urls) * per_shard
    try:
        _take(stream, BLOCK * per_shard)
        next(stream)
        began = time.perf_counter()
        _take(stream, steps)
        return steps / (time.perf_counter() - began)
    finally:
        stream.close()


def _take(stream: Iterator[Any], count: int) -> None:
    for _ in range(count):
        next(stream)


def as_parquet(urls: Sequence[str], folder: Path, files: int) -> list[str]:
    """The same records as Parquet files that Hugging Face `datasets` reads, with an Image column."""
    from datasets import Dataset, Features, Value
    from datasets import Image as ImageColumn

    features = Features({"key": Value("string"), "record": Value("string"), "image": ImageColumn()})
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"key": s.record["key"], "record": str(s.record), "image": {"bytes": s.screenshot, "path": None}}
        for url in urls
        for trajectory in read_stored(url, verify_images=False)
        for s in trajectory
    ]
    paths = []
    for n in range(files):
        path = folder / f"part{n:03d}.parquet"
        Dataset.from_list(rows[n::files], features=features).to_parquet(path, batch_size=64)
        paths.append(str(path))
    return paths


def hugging_face(paths: Sequence[str], steps: int, workers: int, *, decoded: bool) -> float:
    """Rows per second of a streamed `datasets` data set behind torch's DataLoader, in the order of the files.

    Args:
        paths: Parquet files, at least one for each worker.
        steps: Rows in all.
        workers: Loading processes.
        decoded: Hand over decoded pictures, as it does by itself; otherwise decode in the worker but hand over bytes, as
            tracer1 does.
    """
    from datasets import Image as ImageColumn
    from datasets import load_dataset
    from torch.utils.data import DataLoader

    rows = load_dataset("parquet", data_files=list(paths), split="train", streaming=True)
    if not decoded:
        rows = rows.cast_column("image", ImageColumn(decode=False)).map(_decoded_once)
    loader = DataLoader(rows, batch_size=None, num_workers=workers, collate_fn=_as_it_is)
    skip = steps // 5
    return _timed(loader, skip, steps - skip, _loaded if decoded else _nothing)


def _timed(rows: Iterable[Any], skip: int, count: int, use: Callable[[Any], None]) -> float:
    """The speed from row `skip` to the end."""
    began = 0.0
    for n, row in enumerate(rows):
        use(row)
        if n + 1 == skip:
            began = time.perf_counter()
    return count / (time.perf_counter() - began)


def _decoded_once(row: dict[str, Any]) -> dict[str, Any]:
    decode(row["image"]["bytes"])
    return row


def _as_it_is(row: Any) -> Any:
    return row


def _loaded(row: dict[str, Any]) -> None:
    row["image"].load()


def _nothing(row: dict[str, Any]) -> None:
    """Nothing is left to do."""
