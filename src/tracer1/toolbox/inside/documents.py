"""Reads a file as Markdown-like text, within limits: which reader is for which file, and what is refused. It knows no file format.

Every reader is a function of the file's bytes that yields pieces of text; reading stops when there is enough. What a file is, is told
by its first bytes: a file that is not what its name says is refused, and so are bombs (`_archives.py`, `_markup.py`).
"""

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any

from tracer1.toolbox.inside import Unusable, _archives, _markup, _office, _pdf, _tables, answering

MOST_CHARACTERS = 70_000  # T3's
MOST_BYTES = 100 << 20
Reader = Callable[[bytes], Iterator[str]]

READERS: dict[str, Reader] = {
    "pdf": _pdf.pages, "docx": _office.document, "pptx": _office.slides, "xlsx": _tables.workbook, "xls": _tables.old_workbook,
    "epub": _markup.book, "csv": _tables.separated, "tsv": _tables.separated, "html": _markup.page, "xml": _markup.xml,
    "ipynb": _markup.notebook, "text": _markup.plain,
}  # fmt: skip
SAME = {
    "htm": "html",
    "xhtml": "html",
    "xlsm": "xlsx",
    "docm": "docx",
    "pptm": "pptx",
    "tab": "tsv",
    "svg": "xml",
    "rss": "xml",
}
IMAGES = {"png", "jpg", "jpeg", "gif", "bmp", "webp", "tif", "tiff", "heic"}
SOUNDS = {"mp3", "wav", "m4a", "flac", "ogg", "aac", "mp4", "mov", "mkv", "avi", "webm"}
NAMES = {
    "pdf": "a PDF", "docx": "a Word document", "pptx": "a PowerPoint presentation", "xlsx": "an Excel workbook",
    "xls": "an old Excel workbook", "epub": "an e-book", "zip": "a ZIP archive", "ole": "an old Office file (or one with a password)",
    "image": "an image", "sound": "a sound or film", "binary": "not text",
}  # fmt: skip
STARTS = {
    b"%PDF-": "pdf", b"PK\x03\x04": "zip", b"PK\x05\x06": "zip", b"\xd0\xcf\x11\xe0": "ole", b"\x89PNG": "image", b"\xff\xd8\xff": "image",
    b"GIF8": "image", b"BM": "image", b"II*\x00": "image", b"MM\x00*": "image", b"ID3": "sound", b"\xff\xfb": "sound", b"fLaC": "sound",
    b"OggS": "sound", b"RIFF": "sound",
}  # fmt: skip


@answering
def as_text(path: str) -> dict[str, Any]:
    """A file as text.

    Returns:
        `text`, of at most MOST_CHARACTERS, and whether it was `cut`.
    """
    with open(path, "rb") as stream:
        data = stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise Unusable("refused", f"{path!r} has more than {MOST_BYTES >> 20} MiB; such files are not read.")
    pieces, length = [], 0
    for piece in read(data, path):
        pieces.append(piece)
        length += len(piece) + 1
        if length > MOST_CHARACTERS:
            break
    text = "\n".join(pieces)
    return {"text": text[:MOST_CHARACTERS].rstrip(), "cut": len(text) > MOST_CHARACTERS}


def read(data: bytes, path: str, depth: int = 0) -> Iterator[str]:
    """The text of a file, piece by piece.

    Args:
        data: Its content.
        path: Its name, for its suffix and for messages.
        depth: How many archives it lies in.
    """
    kind = _kind(data, path)
    try:
        if kind == "zip":
            yield from _members(data, depth)
        else:
            yield from READERS[kind](data)
    except (Unusable, MemoryError, ImportError):
        raise
    except (
        Exception
    ) as problem:  # each reader's library has errors of its own; all of them mean that the file is broken
        raise Unusable(
            "failed", f"{path!r} is damaged or cut off: it cannot be read as {NAMES.get(kind, kind)} "
            f"({type(problem).__name__}: {str(problem)[:200]})."
        ) from problem  # fmt: skip


def _kind(data: bytes, path: str) -> str:
    """Which reader a file takes; raises Unusable for a file that none reads, or whose name says something else."""
    suffix = PurePosixPath(path).suffix.lower().removeprefix(".")
    found = _found(data)
    if suffix in IMAGES or found == "image":
        raise Unusable(
            "refused", f"{path!r} is an image; use the tool ocr for its text, or visualizer for what it shows."
        )
    if suffix in SOUNDS or found == "sound":
        raise Unusable("unavailable", f"{path!r} is a sound or film; there is no backend that listens to it.")
    wanted = SAME.get(suffix, suffix)
    if wanted in READERS or wanted == "zip":
        binary = wanted in NAMES
        fits = found == wanted or (wanted == "xls" and found == "ole") if binary else found == "text"
        if not data and binary:
            raise Unusable("failed", f"{path!r} is empty.")
        if not fits and not (found == "zip" and binary and wanted != "pdf"):  # a broken archive says so itself
            raise Unusable("failed", f"{path!r} is not {NAMES.get(wanted, f'a {suffix} file')}: it is {NAMES.get(found, found)}. "
                           "Was it given the wrong suffix, or cut off?")  # fmt: skip
        return wanted
    if found in READERS or found == "zip":
        return found
    raise Unusable(
        "refused",
        f"{path!r} is {NAMES.get(found, found)}: nothing that is read here. Readable: {', '.join(sorted(READERS))}, zip.",
    )


def _found(data: bytes) -> str:
    """What the first bytes say: a name of READERS, or zip, ole, image, sound, binary."""
    kind = next((kind for start, kind in STARTS.items() if data.startswith(start)), None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image"
    if kind == "zip":
        return _archives.kind(data)
    if kind and not (kind in ("image", "sound") and len(data) < 16):
        return kind
    if b"%PDF-" in data[:1024]:
        return "pdf"
    return "text" if _markup.decoded(data[:65536], strict=False) is not None else "binary"


def _members(data: bytes, depth: int) -> Iterator[str]:
    """An archive: what is in it, then the text of each file that can be read."""
    if depth >= 2:
        yield "(an archive within an archive within an archive: not opened)"
        return
    with _archives.opened(data) as archive:
        files = [member for member in archive.infolist() if not member.is_dir()]
        yield f"{len(files)} files:"
        yield from (f"- {member.filename} ({member.file_size:,} bytes)" for member in files)
        for member in files:
            yield f"\n## {member.filename}\n"
            try:
                yield from read(_archives.content(archive, member), member.filename, depth + 1)
            except Unusable as problem:
                if "bomb" in str(problem):
                    raise
                yield f"({problem})"
