"""TFRecord: records come out whole and in order, or the file and the offset are named."""

import gzip
import random
import tracemalloc
from pathlib import Path

import pytest
from raw_android import crc32c, framed, write_shard

from tracer1.data.converters._tfrecord import masked_crc32c, read_records
from tracer1.errors import DataError

RECORDS = [b"", b"one", bytes(range(64)) * 4, random.Random(1).randbytes(90)]
PLACES = [0, 16, 35, 307]  # where each begins: 16 bytes of framing a record
END = 413


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    return write_shard(tmp_path / "shard", RECORDS)


def test_the_checksum_is_the_standards():
    # RFC 3720, section B.4
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert masked_crc32c(bytes(32)) == ((0x8A9136AA >> 15 | 0x8A9136AA << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_records_come_in_order_with_their_places(shard: Path):
    assert list(read_records(str(shard))) == list(zip(PLACES, RECORDS, strict=True))


def test_a_file_of_several_gzip_members_is_one_stream(tmp_path: Path):
    stream = framed(RECORDS)
    path = tmp_path / "shard"
    path.write_bytes(gzip.compress(stream[:100]) + gzip.compress(stream[100:]) + bytes(512))
    assert [data for _, data in read_records(str(path))] == RECORDS


def read_or_error(path: Path) -> tuple[list[bytes], str]:
    found: list[bytes] = []
    try:
        for place, data in read_records(str(path)):
            assert place == PLACES[len(found)]
            found.append(data)
    except DataError as error:
        return found, str(error)
    return found, ""


def test_every_cut_names_the_file_and_the_offset(shard: Path):
    whole = shard.read_bytes()
    offsets = set()
    for length in range(len(whole)):
        shard.write_bytes(whole[:length])
        found, error = read_or_error(shard)
        assert found == RECORDS[: len(found)]
        due = PLACES[len(found)] if len(found) < len(RECORDS) else END
        assert error.startswith(f"{shard} is cut off or damaged at byte {due} of its uncompressed stream ("), length
        offsets.add(due)
    assert offsets == {*PLACES, END}


def test_no_flipped_bit_gives_a_wrong_record(shard: Path):
    whole = shard.read_bytes()
    clean = 0
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        shard.write_bytes(damaged)
        found, error = read_or_error(shard)
        assert found == RECORDS[: len(found)], bit
        if error:
            assert error.startswith(f"{shard} is cut off or damaged at byte "), bit
        else:
            assert found == RECORDS
            clean += 1
    assert 0 < clean < 100  # the gzip header's time and system say nothing about the data


def test_no_bit_flipped_before_compression_gives_a_wrong_record(tmp_path: Path):
    path = tmp_path / "shard"
    for bit in range(0, 8 * END, 5):
        damaged = bytearray(framed(RECORDS))
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(gzip.compress(damaged, 1))
        found, error = read_or_error(path)
        hit = max(i for i, place in enumerate(PLACES) if place <= bit // 8)
        assert found == RECORDS[:hit]
        assert f"at byte {PLACES[hit]} of its uncompressed stream" in error


def test_a_stream_that_ends_within_a_record(tmp_path: Path):
    path = tmp_path / "shard"
    for length in range(1, END):
        path.write_bytes(gzip.compress(framed(RECORDS)[:length], 1))
        found, error = read_or_error(path)
        assert found == RECORDS[: len(found)]
        assert error == "" if length in PLACES else "are there" in error


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "it is empty"), (b"no gzip", "Not a gzipped file"), (gzip.compress(b"", mtime=0), "it is empty")],
)
def test_what_is_no_tfrecord(tmp_path: Path, content: bytes, reason: str):
    path = tmp_path / "shard"
    path.write_bytes(content)
    assert f"{path} is cut off or damaged at byte 0 of its uncompressed stream ({reason}" in read_or_error(path)[1]


@pytest.mark.parametrize("name", ["absent", "."])
def test_a_file_that_cannot_be_opened(tmp_path: Path, name: str):
    with pytest.raises(DataError, match=r"cannot be opened \((No such file|Is a directory)"):
        list(read_records(str(tmp_path / name)))


def test_memory_is_that_of_one_record(tmp_path: Path):
    size, count = 1_000_000, 40
    path = tmp_path / "shard"
    with gzip.open(path, "wb", 1) as stream:
        for number in range(count):
            record = bytes([number]) * size
            length = size.to_bytes(8, "little")
            checksums = [masked_crc32c(part).to_bytes(4, "little") for part in (length, record)]
            stream.write(length + checksums[0] + record + checksums[1])
    tracemalloc.start()
    seen = sum(1 for _ in read_records(str(path)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen == count
    assert peak < 6 * size  # of 40
