"""GZIP TFRecord files, record by record: whatever comes out has passed its checksums. It knows nothing about what a record holds.

The framing is TensorFlow's (`tensorflow/core/lib/io/record_writer.h`): the length as 8 bytes little-endian, its masked CRC32C, the
data, their masked CRC32C. The `tfrecord` package would not do: it reads no checksum, and stops a gzip file where its *compressed*
size ends.
"""

import gzip
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from tracer1.errors import DataError

_HEADER, _CHECKSUM = struct.Struct("<QI"), struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8
_DAMAGED = (OSError, EOFError, zlib.error)  # gzip.BadGzipFile is an OSError


def masked_crc32c(data: bytes) -> int:
    """The checksum of `data` as TFRecord stores it: rotated right by 15 bits, plus a constant."""
    import google_crc32c  # late: only this format needs it

    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def read_records(path: str) -> Iterator[tuple[int, bytes]]:
    """The records of a GZIP TFRecord file, in order; one of them is in memory at a time.

    Args:
        path: The file. An empty one holds no record and is refused, since a download that failed looks like that.

    Yields:
        Where the record begins in the uncompressed stream, in bytes, and its data.

    Raises:
        DataError: A file that cannot be opened, or that is cut off or damaged; with its name and the offset.
    """
    try:
        stream = gzip.open(path)  # noqa: SIM115 - closed below
    except OSError as error:
        raise DataError(f"{path} cannot be opened ({_reason(error)}). Correct the source.") from error
    offset = 0
    try:
        with stream:
            for data in _records(stream):
                yield offset, data
                offset += _HEADER.size + len(data) + _CHECKSUM.size
        if offset == 0:
            raise EOFError("it is empty")
    except (*_DAMAGED, ValueError) as error:
        raise DataError(
            f"{path} is cut off or damaged at byte {offset} of its uncompressed stream ({_reason(error)}). Fetch this file again; "
            "what stands before that byte is whole."
        ) from error


def _records(stream: BinaryIO) -> Iterator[bytes]:
    """The data of each record up to the stream's regular end. Raises ValueError or what the decompression raises."""
    while header := stream.read(_HEADER.size):
        if len(header) < _HEADER.size:
            raise ValueError(f"{len(header)} bytes of a record's header of {_HEADER.size} are there")
        length, checksum = _HEADER.unpack(header)
        if masked_crc32c(header[:8]) != checksum:
            raise ValueError("the checksum of a record's length is wrong: this is no TFRecord, or no longer")
        data = stream.read(length)
        footer = stream.read(_CHECKSUM.size)
        if len(data) < length or len(footer) < _CHECKSUM.size:
            raise ValueError(f"{len(data)} of a record's {length} bytes are there")
        if masked_crc32c(data) != _CHECKSUM.unpack(footer)[0]:
            raise ValueError(f"the checksum of a record's {length} bytes is wrong")
        yield data


def _reason(error: BaseException) -> str:
    """What went wrong, without the path that an OSError repeats and without the full stop of some."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return said.rstrip(".") or type(error).__name__
