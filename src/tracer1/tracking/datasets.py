"""What a run trains and validates on, as datasets of its MLflow run. It knows the facts of a set, not how they were found.

The facts are a plain mapping: `name`, `digest` (of the shards), `context` (`training` or `validation`), `source` (a path or URL), and
`profile` (counts, shown beside the digest).
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.tracking import MlflowClient

CONTEXT = "mlflow.data.context"  # MLflow's pages show it as a badge
MOST_SOURCE = 60_000  # characters; MLflow's limit is 65,535


def log_dataset(client: MlflowClient, run_id: str, facts: Mapping[str, Any]) -> None:
    """Says that a run uses a data set; again changes nothing."""
    source = str(facts["source"])[:MOST_SOURCE]
    kind = source_kind(source)
    dataset = Dataset(
        name=facts["name"],
        digest=facts["digest"],
        source_type=kind,
        source=json.dumps({"url": source} if kind == "http" else {"uri": source}),  # as MLflow's own sources write it
        profile=json.dumps(facts["profile"]),
    )
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag(CONTEXT, facts["context"])])])


def source_kind(source: str) -> str:
    """What MLflow calls a place: `local`, `http`, `s3`, `gs`, ..."""
    scheme = urlsplit(source).scheme if "://" in source else ""
    return {"": "local", "file": "local", "https": "http", "gcs": "gs"}.get(scheme, scheme)
