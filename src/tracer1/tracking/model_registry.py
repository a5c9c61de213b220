"""Exported policies in MLflow's Model Registry. It knows a folder of files, nothing of what a planner is.

Every version has files of its own (`policy/round-000024/` among the artifacts of the run that made it), so that a run which goes on
never changes an earlier version. No flavour: `mlflow artifacts download -u models:/NAME/VERSION` gives the Hugging Face folder back.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

LOAD = """A Hugging Face folder. To load it: `mlflow artifacts download -u models:/{name}/{version} -d policy`, then `model.path=policy` \
for tracer1, `from_pretrained("policy")` for transformers, or `vllm serve policy`."""


def register_folder(client: MlflowClient, run_id: str, folder: Path, model: Mapping[str, Any]) -> ModelVersion:
    """Uploads a folder and makes it a version; again gives the same version.

    Args:
        client: Connected.
        run_id: The run that made it.
        folder: What is uploaded.
        model: `name` of the registered model, which is made where there is none; `round`; `tags` of the version.
    """
    name, place = model["name"], f"policy/round-{int(model['round']):06d}"
    tags = {"round": str(model["round"]), **model["tags"]}
    client.log_artifacts(run_id, str(folder), place)
    source = f"runs:/{run_id}/{place}"
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    ours = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    version = next((one for one in ours if one.source == source), None)
    if version is None:
        version = client.create_model_version(name, source, run_id, tags=tags, await_creation_for=0)
    else:
        for key, value in tags.items():
            client.set_model_version_tag(name, version.version, key, value)
    client.update_model_version(name, version.version, LOAD.format(name=name, version=version.version))
    return version
