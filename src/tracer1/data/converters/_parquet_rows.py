"""Rows of parquet files by their number, a few at a time: memory does not grow with the files.

Parquet is unpacked page by page, and a page of screenshots may hold a whole row group; so some twice a row group's screenshots lie
in memory. Reading forward is one pass; going back starts again at the row's group. It knows nothing about what the columns mean.
"""

import contextlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from tracer1.errors import DataError

BATCH = 4  # rows handed on at once, with a screenshot of some MB in each
BUFFER = 1 << 20  # bytes read ahead per column, instead of a column's whole part of a row group


class ParquetRows:
    """The rows of one file.

    Args:
        path: The file.
        columns: What is read of each row; all of them must be there.

    Raises:
        DataError: The file is missing, damaged or lacks a column.
    """

    def __init__(self, path: str, columns: Sequence[str]) -> None:
        from pyarrow.parquet import ParquetFile

        self.path, self.columns = path, list(columns)
        with _readable(path, "its footer"):
            self._file = ParquetFile(path, buffer_size=BUFFER, pre_buffer=False, page_checksum_verification=True)
        if missing := [name for name in columns if name not in self._file.schema_arrow.names]:
            raise DataError(
                f"{path} has no column {missing[0]!r}, but {', '.join(self._file.schema_arrow.names)}. Is it a file of "
                "another data set? Correct --source."
            )
        groups = range(self._file.num_row_groups)
        sizes = (self._file.metadata.row_group(group).num_rows for group in groups)
        self._starts = [0, *accumulate(sizes)]  # of each row group; the last is the number of rows
        self._batches: Iterator[Any] = iter(())
        self._batch: Any = None
        self._first = self._next = 0  # rows of the batch at hand, and the first after it

    def __len__(self) -> int:
        return self._starts[-1]

    def row(self, number: int) -> dict[str, Any]:
        """The row as plain values. Raises DataError where the file cannot be read."""
        if not self._first <= number < self._next:
            with _readable(self.path, f"row {number}"):
                self._seek(number)
        return self._batch.slice(number - self._first, 1).to_pylist()[0]

    def column(self, name: str) -> list[Any]:
        """One (small) column of all rows."""
        with _readable(self.path, f"column {name!r}"):
            return self._file.read(columns=[name]).column(0).to_pylist()

    def _seek(self, number: int) -> None:
        group = bisect_right(self._starts, number) - 1
        if number < self._next or self._starts[group] > self._next or self._batch is None:
            groups = list(range(group, self._file.num_row_groups))
            self._batches = self._file.iter_batches(BATCH, groups, self.columns, use_threads=False)
            self._first = self._next = self._starts[group]
        while self._next <= number:
            self._batch = next(self._batches)
            self._first, self._next = self._next, self._next + self._batch.num_rows


@contextlib.contextmanager
def _readable(path: str, where: str) -> Iterator[None]:
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, OSError, StopIteration) as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise DataError(f"{path}: {where} cannot be read ({reason:.200}). Fetch the file again.") from error
