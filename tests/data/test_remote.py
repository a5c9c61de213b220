"""Shards that lie elsewhere: connections that break, servers that are busy, stores that only fsspec knows."""

import hashlib
import io
import json
import logging
import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry
from shaky_server import serving
from toy_steps import one_shard, picture, toy_shards, trajectory
from toy_streams import keys, module

from tracer1.data import cache as cache_module
from tracer1.data import remote
from tracer1.data.cache import cached
from tracer1.data.remote import open_remote
from tracer1.data.shards import expand_urls, read_steps
from tracer1.errors import ConfigError, DataError, MissingDependency


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(remote, "WAITS", (0.01,) * 4)
    cache_module._manifest.cache_clear()


@pytest.fixture(scope="module")
def shard(tmp_path_factory) -> bytes:
    """Some 1.3 MB: ten trajectories of six steps with pictures of noise."""
    noise = picture(7, size=(96, 64))
    steps = [
        [replace(step, screenshot=noise, image_size=(96, 64)) for step in trajectory(f"t{n}", 6)] for n in range(10)
    ]
    return one_shard(tmp_path_factory.mktemp("made"), *steps).read_bytes()


@pytest.fixture
def server(shard):
    with serving({"a.tar": shard}) as shaky:
        yield shaky


def all_keys(*urls: str, **settings) -> list[str]:
    return [step.key for step in read_steps(urls, **settings)]


EVERY = [f"toy-t{n}-{t:03d}" for n in range(10) for t in range(6)]


def test_a_shard_is_read_over_http(server):
    assert all_keys(f"{server.url}/a.tar") == EVERY
    assert server.asked == [("a.tar", 0)]  # one request


FAULTS = {
    "cut": [("cut", 300_000)],
    "cut again and again": [("cut", 200_000)]
    * 6,  # more often than there are attempts in a row, but each brings something
    "busy": [("status", 503), ("status", 503), ("status", 429)],
    "cut, busy, cut before its first byte, slow": [("cut", 500_000), ("status", 503), ("cut", 0), ("slow", 0.001)],
}


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_a_broken_stream_goes_on_without_a_step_twice(shard, faults, ranges, caplog):
    with serving({"a.tar": shard}, ranges) as server:
        server.fail("a.tar", *faults)
        if not ranges and len(faults) == 6:  # whoever only sends from the beginning must get further each time
            server.fail("a.tar", *(("cut", 200_000 * n) for n in range(1, 7)))
        with caplog.at_level(logging.WARNING):
            assert all_keys(f"{server.url}/a.tar") == EVERY
        starts = [start for _, start in server.asked]
        assert starts == sorted(starts) if ranges else set(starts) == {0}
        assert (starts[-1] > 200_000) == (ranges and faults[0][0] == "cut")
        assert "attempt 2 of 5 follows in" in caplog.text
        assert server.url in caplog.text


def test_a_server_that_falls_silent_counts_as_broken(server, monkeypatch):
    monkeypatch.setattr(remote, "STALL_S", 0.3)
    server.fail("a.tar", ("slow", 1.0))
    assert all_keys(f"{server.url}/a.tar") == EVERY
    assert len(server.asked) > 1


def error_of(*urls: str, **settings) -> str:
    with pytest.raises(DataError) as caught:
        all_keys(*urls, **settings)
    assert "\n" not in str(caught.value)
    assert " @ <" not in str(caught.value)
    return str(caught.value)


def test_a_shard_that_is_gone_is_named_at_once(server):
    assert error_of(f"{server.url}/b.tar") == (
        f"Shard {server.url}/b.tar cannot be read: it is not there. Correct data.sets, or put the shard back."
    )
    server.fail("a.tar", ("status", 403))
    assert "cannot be read: access is denied (HTTP 403)" in error_of(f"{server.url}/a.tar")
    server.fail("a.tar", ("cut", 300_000), ("status", 404))
    assert re.search(r"cannot be read any more, at byte [\d,]{7} of", error_of(f"{server.url}/a.tar"))
    assert len(server.asked) == 4


def test_a_server_that_stays_down_is_given_up(server):
    server.fail("a.tar", ("cut", 300_000), *[("status", 503)] * 9)
    text = error_of(f"{server.url}/a.tar")
    assert re.search(r"Shard http://.*/a.tar cannot be read on at byte [\d,]{7} of ", text)
    assert "5 attempts in a row failed, the last with 503" in text
    assert len(server.asked) == 1 + 4


def test_a_shard_that_is_replaced_meanwhile_is_noticed(server, shard):
    place = shard.index(b"toy-t9-000.json")

    def cut_and_replace() -> None:
        server.files["a.tar"] = shard[:place] + b"toy-t9-001.json" + shard[place + 15 :]

    server.fail("a.tar", ("cut", 300_000), ("status", 503))
    stream = open_remote(f"{server.url}/a.tar")
    assert stream.read(10_000) == shard[:10_000]
    cut_and_replace()
    with pytest.raises(DataError, match="was replaced by another file while it was being read"):
        stream.read()


def test_a_cut_shard_on_a_healthy_server_is_still_a_cut_shard(server, shard):
    server.files["a.tar"] = shard[:400_000]
    assert "the shard is cut off or damaged after step" in error_of(f"{server.url}/a.tar")


def test_gzip_and_signed_urls(server, tmp_path):
    server.files["a.tar.gz"] = one_shard(tmp_path / "gz", trajectory("a", 3), compress=True).read_bytes()
    server.fail("a.tar.gz", ("cut", 700))
    assert len(all_keys(f"{server.url}/a.tar.gz?signature=x.y/z")) == 3
    assert len(all_keys(f"{server.url}/a.tar.gz?signature=x.y/z", cache=tmp_path / "cache")) == 3


def test_a_page_of_links_can_be_globbed(server, shard):
    server.files |= {"b-01.tar": shard, "b-00.tar": shard, "manifest.json": b"{}"}
    server.fail("", ("status", 503))
    assert expand_urls([f"{server.url}/b-*.tar"]) == [f"{server.url}/b-00.tar", f"{server.url}/b-01.tar"]
    with pytest.raises(DataError, match=r"No shard matches http://.*/c-\*\.tar"):
        expand_urls([f"{server.url}/c-*.tar"])


@pytest.mark.parametrize("workers", [0, 2])
def test_training_and_validation_read_from_a_server(tmp_path, workers):
    paths = [Path(path) for path in toy_shards(tmp_path, 6)]
    expected = keys(module([str(path) for path in paths]).train_stream(), 80)
    with serving({path.name: path.read_bytes() for path in paths}) as server:
        urls = [f"{server.url}/{path.name}" for path in paths]
        server.fail(paths[1].name, ("cut", 3_000), ("status", 503))
        for cache in (None, str(tmp_path / "cache")):
            data = module(urls, num_workers=workers, cache=cache, sets={"toy": {"train": urls, "val": urls[:2]}})
            stream = data.train_stream()
            assert len(data.val_steps()) == 12  # in this process, before the workers begin
            assert keys(stream, 80) == expected
            data.teardown()
        asked = [name for name, _ in server.asked]
        server.files.clear()
        assert keys(module(urls, cache=cache).train_stream(), 80) == expected  # all of it is here now
        assert [name for name, _ in server.asked if name != "manifest.json"][len(asked) :] == []


@pytest.mark.parametrize("workers", [0, 1])
def test_a_worker_names_the_shard_that_is_gone(server, workers):
    urls = [f"{server.url}/absent.tar"]
    with pytest.raises(DataError, match=r"^Shard http://127.*/absent.tar cannot be read: it is not there"):
        next(module(urls, num_workers=workers).train_stream())


# --- the cache ---------------------------------------------------------------------------------------------------------


def manifest_of(name: str, content: bytes) -> bytes:
    entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return json.dumps({"schema_version": 1, "shards": {name: entry}}).encode()


def copies(folder: Path) -> list[Path]:
    """Of shards."""
    return sorted(path for path in folder.iterdir() if not path.name.endswith((".lock", "-manifest.json")))


def test_the_cache_keeps_one_whole_copy(server, shard, tmp_path):
    server.files["manifest.json"] = manifest_of("a.tar", shard)
    server.fail("a.tar", ("cut", 300_000))
    url, folder = f"{server.url}/a.tar", tmp_path / "cache"
    assert all_keys(url, cache=folder) == EVERY
    assert all_keys(url, cache=folder) == EVERY
    assert [name for name, _ in server.asked].count("a.tar") == 2  # the second for the rest
    [copy] = copies(folder)
    assert copy.read_bytes() == shard
    assert copy.name.endswith("-a.tar")


def test_a_copy_that_is_not_the_one_listed_is_fetched_once_more(server, shard, tmp_path, caplog):
    url, folder = f"{server.url}/a.tar", tmp_path / "cache"
    server.files |= {"manifest.json": manifest_of("a.tar", shard), "a.tar": shard[:-1] + b"x"}
    assert "is not the one that manifest.json beside it lists" in error_of(url, cache=folder)
    assert "fetching it again" in caplog.text
    assert [name for name, _ in server.asked].count("a.tar") == 2
    assert copies(folder) == []
    server.files["a.tar"] = shard
    assert all_keys(url, cache=folder) == EVERY


def test_a_shard_that_was_written_again_gets_another_copy(server, tmp_path):
    url, folder = f"{server.url}/a.tar", tmp_path / "cache"
    server.files["manifest.json"] = manifest_of("a.tar", server.files["a.tar"])
    all_keys(url, cache=folder)
    again = one_shard(tmp_path / "again", trajectory("new", 2)).read_bytes()
    server.files |= {"a.tar": again, "manifest.json": manifest_of("a.tar", again)}
    cache_module._manifest.cache_clear()  # as a new run does
    assert all_keys(url, cache=folder) == ["toy-new-000", "toy-new-001"]


def test_a_training_with_copies_begins_while_the_store_is_down(shard, tmp_path, caplog):
    folder = tmp_path / "cache"
    with serving({"a.tar": shard, "b.tar": shard, "manifest.json": manifest_of("a.tar", shard)}) as up:
        url, other = f"{up.url}/a.tar", f"{up.url}/b.tar"
        all_keys(url, cache=folder)
        cache_module._manifest.cache_clear()  # as a new run does
        up.fail("manifest.json", *[("status", 503)] * 5)
        assert all_keys(url, cache=folder) == EVERY
        assert [name for name, _ in up.asked].count("a.tar") == 1
        assert "its copy from an earlier run says which shards these are" in caplog.text
        up.fail("b.tar", *[("status", 503)] * 5)
        assert "See whether its server is up" in error_of(other, cache=folder)  # of this one there is no copy
        up.fail("manifest.json", *[("status", 503)] * 5)
        assert "See whether its server is up" in error_of(url, cache=tmp_path / "empty")
        assert copies(folder) == [cached(url, folder)]
        [manifest] = folder.glob("*-manifest.json")
        assert manifest.stat().st_mode & 0o044 == 0o044  # others of this machine may read it, as the shards
        for content in (b"", b"{}", b"[]"):
            manifest.write_bytes(content)
            cache_module._manifest.cache_clear()
            up.fail("manifest.json", *[("status", 503)] * 5)
            assert "See whether its server is up" in error_of(url, cache=folder)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"shards": []}', b'{"shards": null}'])
def test_a_damaged_manifest_does_not_stop_the_reading(server, tmp_path, content):
    server.files["manifest.json"] = content
    assert all_keys(f"{server.url}/a.tar", cache=tmp_path / "cache") == EVERY


def test_what_a_killed_process_left_is_removed(server, tmp_path):
    url, folder = f"{server.url}/a.tar", tmp_path / "cache"
    path = cached(url, folder)
    left = path.with_name(f"{path.name}.abc.part")
    path.unlink()
    left.write_bytes(b"half")
    assert all_keys(url, cache=folder) == EVERY
    assert copies(folder) == [path]


class NoCredentialsError(Exception):
    """botocore's."""


def test_missing_credentials_are_not_asked_for_again(monkeypatch, caplog):
    def without(self, *_, **__):
        raise NoCredentialsError("Unable to locate credentials")

    for name in ("info", "glob"):
        monkeypatch.setattr(MemoryFileSystem, name, without)
    assert "Unable to locate credentials; set what" in error_of("memory://set/a.tar")
    with pytest.raises(DataError, match="AWS_ACCESS_KEY_ID"):
        expand_urls(["memory://set/*.tar"])
    assert "attempt" not in caplog.text


READER = """
import sys
from tracer1.data.cache import cached
print(cached(*sys.argv[1:]).stat().st_size)
"""


def test_processes_share_the_cache_and_fetch_a_shard_once(server, shard, tmp_path):
    server.fail("a.tar", ("slow", 0.002))
    environment = {"PYTHONPATH": str(Path(remote.__file__).parents[2]), "PATH": ""}
    command = [sys.executable, "-c", READER, f"{server.url}/a.tar", str(tmp_path / "cache")]
    readers = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [reader.communicate(timeout=100)[0] for reader in readers] == [f"{len(shard)}\n"] * 3
    assert [name for name, _ in server.asked].count("a.tar") == 1


def test_a_full_disk_is_read_past(server, tmp_path, caplog):
    """/dev/full takes no byte: a folder whose temporary files are that is a disk without space."""
    real = cache_module.tempfile.mkstemp

    def on_a_full_disk(**_):
        handle, name = real(dir=tmp_path)
        cache_module.os.close(handle)
        return cache_module.os.open("/dev/full", cache_module.os.O_WRONLY), name

    cache_module.tempfile.mkstemp = on_a_full_disk
    try:
        assert all_keys(f"{server.url}/a.tar", cache=tmp_path / "cache") == EVERY
    finally:
        cache_module.tempfile.mkstemp = real
    assert "is full" in caplog.text


def test_a_cache_that_cannot_be_made_is_refused(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"data.cache: .*/file/cache cannot be written to \(Not a directory\)"):
        all_keys(f"{server.url}/a.tar", cache=tmp_path / "file" / "cache")


# --- other stores ------------------------------------------------------------------------------------------------------


def test_any_store_of_fsspec(shard, tmp_path):
    store = fsspec.filesystem("memory")
    store.pipe({"/gui/x-0.tar": shard, "/gui/x-1.tar": shard, "/gui/y.txt": b""})
    urls = expand_urls(["memory://gui/*.tar"])
    assert urls == ["memory:///gui/x-0.tar", "memory:///gui/x-1.tar"]
    assert all_keys(urls[0]) == EVERY
    assert all_keys(urls[0], cache=tmp_path) == EVERY
    assert "memory://gui/z.tar cannot be read: it is not there" in error_of("memory://gui/z.tar")


class _CutFile(io.BytesIO):
    def __init__(self, content: bytes, end: int) -> None:
        super().__init__(content)
        self.end = end

    def read(self, size: int = -1) -> bytes:
        if self.tell() >= self.end:
            raise EndpointDown("no answer")
        return super().read(min(size, self.end - self.tell()))


class EndpointDown(Exception):
    """What a store's library raises: no OSError."""


class FakeBucket(MemoryFileSystem):
    """A bucket whose streams break at ever later places, and whose listing fails at first."""

    protocol = ("s3", "s3a")
    cachable = False
    root_marker = ""
    opened, listings = 0, 0

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + path.rpartition("://")[2].strip("/")

    def unstrip_protocol(self, name):
        return f"{self.protocol[0]}:/{self._strip_protocol(name)}"

    def _open(self, path, mode="rb", **_):
        FakeBucket.opened += 1
        content = super()._open(path, mode).getvalue()
        return _CutFile(content, 250_000 * FakeBucket.opened)

    def glob(self, path, **_):
        FakeBucket.listings += 1
        if FakeBucket.listings < 3:
            raise EndpointDown("slow down")
        return super().glob(path)


class FakeGoogle(FakeBucket):
    protocol = ("gs", "gcs")

    def glob(self, path, **_):
        raise PermissionError("storage.objects.list denied")


@pytest.fixture
def _buckets(shard):
    for name, kind in (("s3", FakeBucket), ("gs", FakeGoogle)):
        fsspec.register_implementation(name, kind, clobber=True)
    fsspec.filesystem("memory").pipe({"/bucket/a.tar": shard})
    FakeBucket.opened = FakeBucket.listings = 0
    yield
    for name in ("s3", "gs"):
        _registry.pop(name)


@pytest.mark.usefixtures("_buckets")
def test_buckets():
    [url] = expand_urls(["s3://bucket/*.tar"])
    assert url.startswith("s3://")
    assert FakeBucket.listings == 3
    assert all_keys(url) == EVERY
    assert FakeBucket.opened > 3
    FakeBucket.opened = 0
    assert all_keys("gs://bucket/a.tar") == EVERY
    with pytest.raises(DataError, match=r"gs://bucket/\*.tar cannot be listed \(access is denied\).*braces"):
        expand_urls(["gs://bucket/*.tar"])


def test_a_store_whose_package_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingDependency, match=r"s3://b/a.tar cannot be read .*pip install 'tracer1\[remote\]'"):
        expand_urls(["s3://b/a.tar"])
    with pytest.raises(ConfigError, match=r"ftq://b/a.tar cannot be read .*Use a path, http"):
        expand_urls(["ftq://b/a.tar"])


def test_a_stream_can_be_read_from_a_thread(server):
    """The data module's validation runs beside fsspec's own thread."""
    found: list[list[str]] = []
    thread = threading.Thread(target=lambda: found.append(all_keys(f"{server.url}/a.tar")))
    thread.start()
    thread.join(30)
    assert found == [EVERY]
