"""ZIP archives, and files that are one (Word, Excel, PowerPoint, e-books), opened within limits. It knows nothing of what is in them.

A bomb is told before anything is unpacked, by the sizes that its directory states; `zipfile` itself ends where a member is longer
than stated.
"""

import io
import zipfile
from typing import Any

from tracer1.toolbox.inside import Unusable

MOST_MEMBERS = 2_000
MOST_UNPACKED = 100 << 20  # bytes, of all members together
MOST_RATIO = 200  # unpacked over packed, of a member larger than SMALL: text shrinks to a tenth, a bomb to a thousandth
SMALL = 1 << 20
PARTS = {
    "word/document.xml": "docx",
    "ppt/presentation.xml": "pptx",
    "xl/workbook.xml": "xlsx",
    "xl/workbook.bin": "xlsx",
}


def opened(data: bytes) -> zipfile.ZipFile:
    """The archive; raises Unusable for a bomb, and `zipfile.BadZipFile` for a broken one."""
    archive = zipfile.ZipFile(io.BytesIO(data))
    members = archive.infolist()
    unpacked = sum(member.file_size for member in members)
    packed_tightly = [
        member.filename
        for member in members
        if member.file_size > SMALL and member.file_size > MOST_RATIO * member.compress_size
    ]
    if len(members) > MOST_MEMBERS or unpacked > MOST_UNPACKED or packed_tightly:
        raise Unusable(
            "refused", f"The archive looks like a bomb: {len(members):,} files, {unpacked:,} bytes unpacked from {len(data):,}. "
            f"At most {MOST_MEMBERS:,} files and {MOST_UNPACKED >> 20} MiB are unpacked."
        )  # fmt: skip
    return archive


def content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """One member, unpacked; raises Unusable where it has a password or a compression that Python lacks."""
    try:
        with archive.open(member) as stream:
            return stream.read(MOST_UNPACKED)
    except (RuntimeError, NotImplementedError) as problem:
        raise Unusable("refused", f"{member.filename!r} cannot be unpacked: {problem}.") from problem


def office(data: bytes) -> io.BytesIO:
    """An Office file, once it is known to be no bomb of either kind; raises Unusable where it is one."""
    with opened(data) as archive:
        for member in archive.infolist():
            if member.filename.endswith((".xml", ".rels")) and b"<!DOCTYPE" in archive.open(member).read(4096).upper():
                raise Unusable(
                    "refused", f"{member.filename!r} declares XML entities, which an Office file never does: a bomb."
                )
    return io.BytesIO(data)


def kind(data: bytes) -> str:
    """docx, pptx, xlsx, epub or zip; a broken archive is a zip."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names: Any = set(archive.namelist())
            if "mimetype" in names and archive.open("mimetype").read(64).startswith(b"application/epub"):
                return "epub"
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError):
        return "zip"
    return next((kind for part, kind in PARTS.items() if part in names), "zip")
