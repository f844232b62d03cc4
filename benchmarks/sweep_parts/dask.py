"""The same trials on a Dask LocalCluster of two processes and in two slots of this machine."""

import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

from benchmarks.sweep_parts.command import run_sweep
from benchmarks.sweep_parts.part import Part, Row
from benchmarks.sweep_parts.real import means, row_of

SLOTS = 2
# In this order, a drift of the machine's speed affects both alike.
TURNS = (
    "joblib",
    "dask",
    "dask",
    "joblib",
)


def _proofs(security: Any, folder: Path) -> list[str]:
    """Write the cluster's certificate; return the overrides that name its files."""
    contents = {
        "ca": security.tls_ca_file,
        "cert": security.tls_client_cert,
        "key": security.tls_client_key,
    }
    for name, content in contents.items():
        (folder / f"{name}.pem").write_text(content)
    return [f"slots.tls_{name}={folder / name}.pem" for name in contents]


def measure(options: Namespace) -> list[Row]:
    """Run the sweep with equal trials alternately, after a short one of each kind that prepares
    data, store and workers.
    """
    from distributed import LocalCluster, Security

    security = Security.temporary()

    found: dict[str, list[Row]] = {"joblib": [], "dask": []}
    with (
        tempfile.TemporaryDirectory() as root,
        LocalCluster(
            n_workers=SLOTS,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            protocol="tls://",
            security=security,
        ) as cluster,  # type: ignore[no-untyped-call]
    ):
        where = {
            "joblib": [f"slots.n={SLOTS}"],
            "dask": [
                "slots=dask",
                f"slots.address={cluster.scheduler_address}",
                *_proofs(security, Path(root)),
                f"slots.n={SLOTS}",
            ],
        }
        for name, slots in where.items():
            run_sweep(
                Path(root),
                f"warm-up-{name}",
                f"data={options.data}",
                *slots,
                f"budget.trials={SLOTS}",
                "train.epochs=1",
            )
        for turn, name in enumerate(TURNS):
            sizes = (
                f"data={options.data}",
                f"budget.trials={options.trials * SLOTS}",
                f"train.epochs={options.epochs}",
            )
            found[name].append(
                row_of(run_sweep(Path(root), f"turn-{turn}", *where[name], *sizes), SLOTS)
            )
    rows = [means(turns) | {"slots": name} for name, turns in found.items()]
    for row in rows:
        row["against_local"] = row["trials_per_hour"] / rows[0]["trials_per_hour"]
    return rows


DASK = Part(
    name="dask",
    title="A cluster of two processes",
    about=(
        "Equal trials of report 5's net in two slots of this machine and on a Dask LocalCluster of "
        "two processes, in turns, two runs each, "
        "means. Against local: trials an hour, divided by those of the local slots."
    ),
    measure=measure,
    columns={
        "slots": ("slots", ""),
        "trials_per_hour": ("trials an hour", ",.0f"),
        "against_local": ("against local", ".1%"),
        "outside_training": ("outside training", ".1%"),
        "epoch_s": ("mean epoch, s", ".3f"),
        "coordinator_share": ("coordinator", ".1%"),
    },
    drawn=("against_local", "outside_training", "coordinator_share"),
    unit="share",
)
