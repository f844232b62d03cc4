"""The SQLite store is made whole or not at all."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from pipeline.tracking.store import open_store, resolve_uri

MAKE = """
import sys
from pathlib import Path
from pipeline.tracking.store import open_store, resolve_uri
root = Path(sys.argv[1])
open_store(resolve_uri(None, root), root, "e")
"""


def test_a_store_whose_making_was_killed_is_made_again(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MAKE, str(tmp_path)], cwd=Path(__file__).parents[2]
    ) as process:
        while (
            process.poll() is None
            and not list(tmp_path.glob(".mlflow.db.new*"))
            and not (tmp_path / "mlflow.db").exists()
        ):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "mlflow.db").exists()  # killed while the schema was being made
    store = open_store(resolve_uri(None, tmp_path), tmp_path, "e")
    assert store.client.get_experiment(store.experiment_id).name == "e"
    assert [path.name for path in tmp_path.glob("*.db")] == ["mlflow.db"]
