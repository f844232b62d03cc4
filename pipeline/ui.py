"""The MLflow server on 127.0.0.1, on the store of `root`; prints the links that open the runs and
their curves.
"""

import os
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from cnn_core.errors import InputError
from pipeline.configuration import Command, Config, command_line, setting
from pipeline.files import ARTIFACTS
from pipeline.redact import redact
from pipeline.tracking.mlflow_view import runs_link, share_view
from pipeline.tracking.store import quiet_environment, resolve_uri

HOST = "127.0.0.1"


@dataclass
class UiKeys:
    port: int = setting(5000, "port of the server, on 127.0.0.1 alone", low=1, high=65535)


COMMAND = Command(
    name="ui",
    about="Opens the MLflow UI on the runs of all studies below `root`. Stop it with Ctrl-C.",
    examples=("python -m pipeline.ui", "python -m pipeline.ui root=elsewhere port=5001"),
    keys=UiKeys,
    sections=("tracking",),
)


def main(config: Config) -> int:
    """Make the store if there is none, print the links, become the server."""
    from pipeline.tracking.store import brought_home, open_store

    root, port = Path(config.root), int(config.arguments.port)
    if config.tracking.uri is None and not root.is_dir():
        raise InputError(
            f"root: must be the folder that sweeps write to, got {root.absolute()}, which is "
            "not there"
        )
    uri = resolve_uri(config.tracking.uri, root)
    refuse_used_port(port)
    for line in brought_home(config.tracking.uri, root):
        print(line)
    try:
        store = open_store(uri, root, config.tracking.experiment)
    except InputError:
        raise
    except Exception as error:  # a store may fail in any way
        text = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(
            f"tracking.uri: must be a store that opens, got {redact(uri)} ({redact(text)[:300]})"
        ) from error
    address = f"http://{HOST}:{port}"
    shared = share_view(store.client, store.experiment_id, None)
    for about, charts in (("runs, best first:  ", False), ("their curves:      ", True)):
        link = runs_link(store.experiment_id, address=address, charts=charts, shared=shared)
        print(f"{about}{link}")
    print(f"store: {redact(uri)}; Ctrl-C stops the server (ready in a few seconds)", flush=True)
    command = server_command(uri, root, port)
    # The server takes this process's place, so that signals reach it.
    os.execv(command[0], command)


def refuse_used_port(port: int) -> None:
    """Raise InputError where something already listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise InputError(
                f"port: must be free on {HOST}, got {port} ({error.strerror}); choose another: "
                f"port={port + 1}"
            ) from error


def server_command(uri: str, root: Path, port: int) -> list[str]:
    """Return the arguments that start the server: one worker (two take a gigabyte), artifacts below
    `root`. The store's address, which may hold a password, is in this process's environment: every
    user of the machine can read arguments.
    """
    quiet_environment()
    beside = Path(sys.executable).parent
    # The server looks for its own tools there.
    os.environ["PATH"] = f"{beside}{os.pathsep}{os.environ.get('PATH', '')}"
    program = shutil.which("mlflow")
    head = [program] if program else [sys.executable, "-m", "mlflow"]
    artifacts = (root / ARTIFACTS).resolve().as_uri()
    os.environ["MLFLOW_BACKEND_STORE_URI"] = uri
    where = ["--default-artifact-root", artifacts]
    return [*head, "server", *where, "--host", HOST, "--port", str(port), "--workers", "1"]


if __name__ == "__main__":
    sys.exit(command_line(COMMAND, sys.argv[1:], main))
