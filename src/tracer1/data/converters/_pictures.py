"""Finds a screenshot by its file name in a folder of pictures, unpacked or in a zip archive that is one file.

It knows nothing about records. Archives that are split over several files cannot be read by Python, so it says how to join them.
"""

import functools
import os
import struct
import zipfile
import zlib
from pathlib import Path

from tracer1.errors import DataError

_END = b"PK\x05\x06"  # of a zip's last record, which is followed by the number of its disk
_TAIL = 22 + 0xFFFF  # bytes: that record and the longest comment


class Pictures:
    """The pictures of one folder: loose in it or in a folder within, or in its zip archives. A file goes before an archive.

    Args:
        folder: Where they are.

    Raises:
        DataError: There is no picture and no archive that can be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folders, archives = find_pictures(folder)
        self.members: dict[str, tuple[zipfile.ZipFile, zipfile.ZipInfo]] = {}
        for path in archives:
            archive = _opened(path)
            for info in archive.infolist():
                self.members.setdefault(info.filename.rpartition("/")[2], (archive, info))

    def read(self, name: str) -> bytes | None:
        """The bytes of a picture; None where there is none of that name.

        Raises:
            ValueError: It lies in an archive and cannot be unpacked.
        """
        name = Path(name).name  # never a file outside the folder
        for folder in self.folders if name else ():
            try:
                return (folder / name).read_bytes()
            except (FileNotFoundError, IsADirectoryError):
                continue
        if name not in self.members:
            return None
        archive, info = self.members[name]
        try:
            return archive.read(info)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ValueError(str(error) or "its data end too early") from error


def pictures_of(folder: str) -> Pictures:
    """The pictures of a folder, opened once in each process: archives may hold hundreds of thousands."""
    return _pictures_of(folder, os.getpid())  # a file that a parent opened would share its place with ours


@functools.lru_cache(maxsize=4)
def _pictures_of(folder: str, process: int) -> Pictures:
    return Pictures(Path(folder))


def find_pictures(folder: Path) -> tuple[list[Path], list[Path]]:
    """The folders and the whole archives where a folder's pictures may be.

    Raises:
        DataError: There is no picture and no archive that can be read.
    """
    if not folder.is_dir():
        raise DataError(f"The screenshots are missing: there is no folder {folder}. Fetch it and put it there.")
    folders, archives, loose = [folder], [], False
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                folders.append(Path(entry.path))
            elif entry.name.lower().endswith(".zip"):
                archives.append(Path(entry.path))
            else:
                loose = loose or entry.name.lower().endswith((".png", ".jpg", ".jpeg"))
    split = sorted(path for path in archives if _parts_before(path))
    whole = sorted(set(archives) - set(split))
    if split and not whole and not loose and len(folders) == 1:
        joined = split[0].with_name(f"{split[0].stem}-full.zip")
        raise DataError(
            f"{split[0]} is the last part of an archive that is split over several files, which Python cannot read. Join them "
            f"with `zip -s 0 {split[0]} --out {joined}` and run the command again."
        )
    if not (whole or loose or len(folders) > 1):
        raise DataError(f"{folder} holds neither screenshots nor a zip archive of them. Fetch them and put them there.")
    return [folders[0], *sorted(folders[1:])], whole


def _parts_before(path: Path) -> int:
    """How many files of a split archive come before its last one; 0 where it is whole. Raises DataError where it is cut off."""
    with open(path, "rb") as stream:
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - _TAIL))
        tail = stream.read()
    place = tail.rfind(_END)
    if not 0 <= place <= len(tail) - 22:
        raise DataError(f"{path} is no zip archive, or was cut off. Fetch or join it again.")
    disk = struct.unpack_from("<H", tail, place + 4)[0]
    return disk if disk < 0xFFFF else 0  # that number says: look elsewhere


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path} cannot be opened as a zip archive ({error}). Fetch or join it again.") from error
