"""The runs of a sweep below one parent run. It knows a folder that all jobs share, not who starts them.

`sweep.json` in the sweep's folder says which run the parent is. It is made once: jobs side by side wait for one another at a lock, jobs
on other machines meet it in the shared folder, and a sweep that is resumed finds it there. Another store than before gets a parent of
its own, with the same tag.
"""

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracer1.tracking.lock import alone

if TYPE_CHECKING:  # whoever only names a sweep does not wait for MLflow
    from mlflow.tracking import MlflowClient

NOTE_TAG = "mlflow.note.content"  # a run's description on MLflow's pages
KIND, SWEEP_TAG, PARENT_TAG = "tracer1.kind", "tracer1.sweep", "mlflow.parentRunId"
FILE = "sweep.json"
MOST_NOTE = 4000  # characters
MOST = 1000  # jobs that are looked at for the parent's status
_WORST_FIRST = ("RUNNING", "FAILED", "KILLED")


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a job knows of its sweep.

    Args:
        folder: The sweep's; all jobs see it.
        name: What the parent is called.
        common: Overrides that all jobs share.
        swept: Those of this job alone, e.g. `seed=2`.
    """

    folder: Path
    name: str
    common: tuple[str, ...] = ()
    swept: tuple[str, ...] = ()

    @classmethod
    def of(cls, group: Mapping[str, Any] | None) -> "Sweep | None":
        """Reads the logger's `sweep`; None for a run that is no job of one."""
        if group is None:
            return None
        texts = {name: tuple(map(str, group.get(name) or ())) for name in ("common", "swept")}
        return cls(folder=Path(group["folder"]), name=str(group["name"]), **texts)

    def tags_of_job(self, parent: str) -> dict[str, str]:
        """What a child carries."""
        return {PARENT_TAG: parent, **({"sweep.job": " ".join(self.swept)} if self.swept else {})}


def join_sweep(client: "MlflowClient", experiment_id: str, sweep: Sweep) -> str:
    """The id of the parent run, made where there is none."""
    with alone(sweep.folder / FILE):
        known = _read(sweep.folder / FILE)
        uid = known.get("uid") or uuid.uuid4().hex
        if known.get("uid") is None:
            _write(sweep.folder / FILE, {"uid": uid})
        run_id = _living(client, known.get("run_id")) or _found(client, experiment_id, uid)
        if run_id is None:
            tags = {KIND: "sweep", SWEEP_TAG: uid, NOTE_TAG: _note(sweep)}
            run_id = client.create_run(experiment_id, tags=tags, run_name=f"sweep {sweep.name}").info.run_id
        if run_id != known.get("run_id"):
            _write(sweep.folder / FILE, {"uid": uid, "run_id": run_id})
        return run_id


def refresh_parent(client: "MlflowClient", parent: str) -> None:
    """The parent runs while one of its jobs does; then it ends as the worst of them."""
    run = client.get_run(parent)
    jobs = client.search_runs([run.info.experiment_id], f"tags.`{PARENT_TAG}` = '{parent}'", max_results=MOST)
    found = {job.info.status for job in jobs}
    status = next((status for status in _WORST_FIRST if status in found), "FINISHED")
    if status == "RUNNING":
        client.update_run(parent, status=status)
    else:
        client.set_terminated(parent, status)


def _note(sweep: Sweep) -> str:
    varied = ", ".join(f"`{text.partition('=')[0]}`" for text in sweep.swept) or "several settings"
    said = f"\n\nAll jobs share `{' '.join(sweep.common)}`." if sweep.common else ""
    return f"A sweep over {varied}.{said}\n\nTo compare its jobs: `python tools/compare_runs.py 'sweep {sweep.name}'`"[
        :MOST_NOTE
    ]


def _living(client: "MlflowClient", run_id: str | None) -> str | None:
    """The run, unless this store does not have it or it was deleted."""
    from mlflow.exceptions import MlflowException

    if run_id is None:
        return None
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return run_id if run.info.lifecycle_stage == "active" else None


def _found(client: "MlflowClient", experiment_id: str, uid: str) -> str | None:
    """The parent whose making was never acknowledged, or that this store had before another one."""
    found = client.search_runs([experiment_id], f"tags.`{SWEEP_TAG}` = '{uid}'", max_results=1)
    return found[0].info.run_id if found else None


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # it is written whole: a damaged one is not ours
        return {}
    return content if isinstance(content, dict) else {}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    draft = path.with_name(f"{path.name}.part")
    draft.write_text(json.dumps(content), encoding="utf-8")
    os.replace(draft, path)
