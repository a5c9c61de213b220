"""A SLURM of this user's own on one machine: munged, slurmctld, and a slurmd for each of several nodes, all of them on 127.0.0.1.

apt-get install slurmctld slurmd slurm-client munge
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
BEGUN_S, REQUEUED_S = 30, 5  # SLURM holds a requeued job until its credential has expired

CONF = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire={requeued}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmctldPort={port}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=2
KillWait=5
AccountingStorageType=accounting_storage/none
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1"


class RealSlurm:
    """What a user of a cluster has: `sbatch` and what tells of a job."""

    def __init__(self, conf: Path) -> None:
        self.environment = {**os.environ, "SLURM_CONF": str(conf)}

    def run(self, *command: str) -> str:
        """A command's output."""
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=True
        ).stdout

    def state(self, job: str) -> dict[str, str]:
        """What `scontrol show job` says."""
        return dict(part.split("=", 1) for part in self.run("scontrol", "show", "job", job).split() if "=" in part)


@contextmanager
def real_slurm(folder: Path, nodes: int) -> Iterator[RealSlurm]:
    """A cluster until the end of the context."""
    host = socket.gethostname().partition(".")[0]
    ports = [_free_port() for _ in range(nodes + 1)]
    names = [host, *(f"{host}-{i}" for i in range(1, nodes))]  # ranks look up the first one only
    lines = [NODE.format(name=name, host=host, port=port) for name, port in zip(names, ports[1:], strict=True)]
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    conf = folder / "slurm.conf"
    conf.write_text(
        CONF.format(host=host, user=user, folder=folder, port=ports[0], nodes="\n".join(lines), requeued=REQUEUED_S)
    )
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o400)
    os.chmod(key, 0o600)
    key.write_bytes(os.urandom(1024))
    own = {name: f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "seed", "log")}
    daemons = [
        ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *own.values()],
        ["slurmctld", "-D", "-f", str(conf)],
        *(["slurmd", "-D", "-f", str(conf), "-N", name] for name in names),
    ]
    running: list[subprocess.Popen[bytes]] = []
    try:
        with (folder / "daemons.log").open("wb") as log:
            for daemon in daemons:
                running.append(subprocess.Popen([_program(daemon[0]), *daemon[1:]], stdout=log, stderr=log))
                if daemon[0] == "munged":
                    _until((folder / "munge.socket").exists, "munged answers")
        slurm = RealSlurm(conf)
        _until(lambda: slurm.run("sinfo", "--noheader", "--format=%D %t").split() == [str(nodes), "idle"], "nodes")
        try:
            yield slurm
        finally:  # slurmd would leave the tasks of its jobs running
            slurm.run("scancel", f"--user={user}", "--full")
            slurm.run("scancel", f"--user={user}", "--signal=KILL")
            _until(lambda: not slurm.run("squeue", "--noheader"), "no job is left")
    finally:
        for daemon in reversed(running):
            daemon.terminate()
        for daemon in running:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def missing() -> list[str]:
    """What is not installed."""
    return [name for name in NEEDED if _program(name) is None]


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _until(true: Callable[[], bool], what: str) -> None:
    end, error = time.monotonic() + BEGUN_S, ""
    while time.monotonic() < end:
        try:
            if true():
                return
        except subprocess.CalledProcessError as failed:
            error = failed.stderr
        time.sleep(0.2)
    raise TimeoutError(f"{what}: not within {BEGUN_S} s. {error}")
