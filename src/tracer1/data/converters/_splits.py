"""Reads an owner's split file: a JSON object of lists of ids. It knows nothing about what is done with a split."""

import json
from pathlib import Path

from tracer1.errors import DataError


def read_splits(path: Path) -> dict[str, str]:
    """Id -> the split that it is listed under; empty where there is no such file.

    Ids are texts here; one that is given as a file's name loses its `.json`.

    Raises:
        DataError: The file cannot be read, or holds something else.
    """
    try:
        lists = json.loads(path.read_bytes())
        return {str(name).removesuffix(".json"): split for split, names in lists.items() for name in names}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read ({error}). It should hold lists of ids by split; fetch it again."
        ) from error
