"""A real MLflow server on a real PostgreSQL, on private ports and in a private folder. PostgreSQL refuses root: it gets another user."""

import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

PATIENCE_S = 240.0  # on a machine that does much else at the same time
USERS = ("postgres", "nobody")  # whose process PostgreSQL is where the tests run as root


def postgres_binaries() -> Path | None:
    """The folder of `initdb` and `postgres`; None where PostgreSQL is not installed."""
    found = shutil.which("initdb")
    places = (
        [str(Path(found).resolve().parent)] if found else sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)
    )
    return next((Path(place) for place in places if (Path(place) / "initdb").exists()), None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Postgres:
    """A database server; `uri` is that of its database `postgres`, with its driver: SQLAlchemy 2.1 would take another one."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self.binaries, self.port = binaries, free_port()
        data = folder / "postgres"
        data.mkdir()
        data.chmod(0o700)
        self._who = {}
        if os.geteuid() == 0:
            import pwd

            user = next(name for name in USERS if name in {entry.pw_name for entry in pwd.getpwall()})
            found = pwd.getpwnam(user)
            os.chown(data, found.pw_uid, found.pw_gid)
            self._who = {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
        said = ["-D", str(data), "-U", "mlflow", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]
        self._run("initdb", said)
        started = ["-D", str(data), "-p", str(self.port), "-k", str(data), "-c", "listen_addresses=127.0.0.1", "-F"]
        self._process = subprocess.Popen(
            [str(binaries / "postgres"), *started],
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd="/",
            **self._who,
        )
        self._wait()

    @property
    def uri(self) -> str:
        return f"postgresql+psycopg2://mlflow@127.0.0.1:{self.port}/postgres"

    def stop(self) -> None:
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(30)

    def _run(self, name: str, arguments: list[str]) -> None:
        command = [str(self.binaries / name), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd="/", timeout=PATIENCE_S, **self._who)

    def _wait(self) -> None:
        import psycopg2

        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                psycopg2.connect(host="127.0.0.1", port=self.port, user="mlflow", dbname="postgres").close()
                return
            except psycopg2.OperationalError:
                assert self._process.poll() is None, "PostgreSQL has ended"
                assert time.monotonic() < deadline, "PostgreSQL does not answer"
                time.sleep(0.1)


class Server:
    """`mlflow server` as a team runs it: figures in PostgreSQL, artifacts passed on by the server."""

    def __init__(self, database: str, folder: Path) -> None:
        self.database, self.folder, self.port = database, folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it answers."""
        place = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        stores = ["--backend-store-uri", self.database, "--artifacts-destination", str(self.folder / "artifacts")]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *stores, *place],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            )
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "server.log").read_text()[-3000:]
            assert time.monotonic() < deadline, "MLflow's server does not answer"
            time.sleep(0.2)

    def kill(self) -> None:
        """SIGKILL of the server and of all its workers."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(30)
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False
