"""The typed tree: one dataclass a section. A field says its default, what it means and its limits;
help and checks read them here.
"""
# ruff: noqa: RUF009 - setting() is dataclasses.field() with words

from dataclasses import dataclass, field
from typing import Any

from pipeline.inputs import LABEL, NORMALIZE


def setting(
    default: Any,
    about: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Return a dataclass field: `about` for --help; limits ``low <= x <= high``, ``above < x <
    below``; words from `choices`.
    """
    limits = {"low": low, "high": high, "above": above, "below": below}
    metadata = {
        "about": about,
        "limits": {k: v for k, v in limits.items() if v is not None},
        "choices": choices,
    }
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class StudySettings:
    name: str = setting(
        "digits", "folder under root, and name of the Optuna study and of its MLflow run"
    )
    note: str = setting("", "free text, stored with the study")
    seed: int = setting(0, "all random streams of trials and sampler derive from it", low=0)
    deterministic: bool = setting(
        False, "rounds in lockstep: the same study to the bit with any number of slots"
    )
    round: int = setting(4, "trials asked for at once in deterministic mode", low=1)
    storage: str | None = setting(
        None,
        "URL of a database such as postgresql+psycopg://...; null: study.db in the study's folder",
    )
    confirm: int = setting(
        0,
        "run the best K trials again with other seeds and rank them by a lower confidence bound",
        low=0,
    )
    fork: str | None = setting(
        None, "name of a study whose compatible trials this new one takes over"
    )
    enqueue: list[list[str]] = setting(
        [], "trials to try first, each a list of overrides of searched keys"
    )
    objectives: list[str] = setting(["valid_accuracy"], "valid_accuracy, or also multiply_adds")


@dataclass
class BudgetSettings:
    trials: int | None = setting(
        None, "trials that count (COMPLETE or PRUNED); 20 unless budget.minutes is given", low=1
    )
    minutes: float | None = setting(None, "wall-clock minutes, restarts included", above=0)
    max_failed: int = setting(10, "failures that end a run; the next one counts anew", low=1)


@dataclass
class DeadlineSettings:
    epoch_s: float | None = setting(None, "an epoch that takes longer fails its trial", above=0)
    trial_s: float | None = setting(None, "a trial that takes longer fails", above=0)


@dataclass
class SlotSettings:
    name: str = setting("joblib", "where trials run", choices=("joblib", "dask"))
    n: int | None = setting(
        None, "trials at once; null: one a core (joblib), one a worker (dask)", low=1
    )
    address: str | None = setting(
        None, "scheduler of a Dask cluster, tcp://host:port or tls://host:port"
    )
    memory_mb: int | None = setting(None, "memory limit of a worker process", low=100)
    tls_ca: str | None = setting(None, "certificate authority of the cluster (file)")
    tls_cert: str | None = setting(None, "own certificate (file)")
    tls_key: str | None = setting(None, "own key (file)")


@dataclass
class BlasSettings:
    kernels: str = setting(
        "auto",
        "OpenBLAS kernel set of the workers: auto (its own choice), inherit (the environment's), "
        "or a name",
    )


@dataclass
class ModelSettings:
    name: str = setting("contest", "named architecture")
    filters: int = setting(
        32, "filters of the first block; later blocks keep the net's ratios", low=1
    )
    kernel: int = setting(5, "side of the convolutions' kernels", low=1)
    pool: int = setting(2, "side and stride of the pooling windows", low=1)
    hidden: list[int] = setting([], "units of the dense layers before the last", low=1)
    activation: str = setting(
        "relu",
        "after convolutions and dense layers",
        choices=("relu", "leaky_relu", "sigmoid", "tanh"),
    )
    init: str = setting(
        "he", "how weights are drawn", choices=("zeros", "normal", "xavier", "glorot", "he")
    )
    init_std: float = setting(0.01, "standard deviation for init=normal", low=0)
    dropout: float = setting(0.0, "share of units dropped in training", low=0, below=1)
    batch_norm: str = setting(
        "none",
        "batch normalisation relative to the activation",
        choices=("none", "before", "after"),
    )
    frame: str = setting(
        "none",
        "what images' own moments take out of bright figures on black",
        choices=("none", "similar", "box", "width"),
    )
    frame_beside: bool = setting(
        False,
        "where there is a frame: the net has the image as it is as well, as channels before the "
        "framed ones",
    )
    frame_jitter: float = setting(
        0.0, "how much place, size and slant vary behind the frame in training", low=0, below=0.5
    )


@dataclass
class RegularizerSettings:
    l1: float = setting(0.0, "l1 * sum |W| is added to the loss", low=0)
    l2: float = setting(0.0, "l2 / 2 * sum W^2 is added to the loss", low=0)


@dataclass
class TrainSettings:
    epochs: int = setting(10, "epochs of a trial", low=1)
    batch_size: int = setting(100, "images a step", low=1)
    steps_per_epoch: int | None = setting(
        None, "batches in an epoch; null: one pass over the training images", low=1
    )
    sampling: str = setting(
        "permutation", "how batches are drawn", choices=("permutation", "replacement")
    )
    eval_size: int | None = setting(
        None, "images of each split that metrics are computed on; null: all", low=1
    )
    label_smoothing: float = setting(
        0.0, "share of the target spread over all classes", low=0, below=1
    )
    clip_norm: float | None = setting(
        None, "largest norm of the gradient; null: no clipping", above=0
    )
    average_decay: float = setting(
        0.999, "of the moving average of weights (train.select=average)", low=0, below=1
    )
    select: str = setting(
        "last",
        "weights handed on: last, moving average, or lowest validation loss",
        choices=("last", "average", "best"),
    )


@dataclass
class TrackingSettings:
    name: str = setting("mlflow", "where runs are logged", choices=("mlflow", "none"))
    uri: str | None = setting(None, "MLflow server or store; null: sqlite in root/mlflow.db")
    experiment: str = setting("sweeps", "MLflow experiment")
    keep_weights: str = setting("best", "weights kept on disk", choices=("best", "all", "none"))
    figures: bool = setting(True, "learning curves and overview pictures as artifacts")


@dataclass
class FinalSettings:
    after_sweep: bool = setting(
        False, "go on with final, evaluate and export when the sweep is done"
    )
    members: int = setting(5, "best distinct trials that become members", low=0)
    kind_errors: float = setting(
        1.25,
        "another kind of net goes before better trials while its best has at most this many times "
        "their best's errors",
        low=1,
    )
    folds: int = setting(3, "nets a member, each trained without one fold", low=2)
    refit: int = setting(
        0,
        "nets a member trained on all images that are not reserved: they predict, the folds' "
        "judge; 0: the folds' do both",
        low=0,
    )
    fold_share: float = setting(
        1.0,
        "where refits predict: the folds' nets, which only judge, train this share of their epochs",
        above=0,
        high=1,
    )
    epochs: int | None = setting(
        None, "epochs of each net; null: twice as many as the trial", low=1
    )
    minutes: float | None = setting(
        None, "train fewer epochs than final.epochs if all nets would take longer", above=0
    )
    overrides: list[str] = setting(
        [], "overrides of every member: augmentation, schedule, averaged weights"
    )
    fixed: list[list[str]] = setting(
        [], "members beside those of the sweep, each a list of overrides"
    )
    statistics_batches: int = setting(
        100,
        "batches that batch normalisation's statistics are recomputed on; 0: keep the averaged "
        "ones",
        low=0,
    )


@dataclass
class EnsembleSettings:
    name: str = setting(
        "greedy",
        "how members are combined; auto: the best out of fold",
        choices=("auto", "uniform", "weighted", "greedy", "geometric", "stacking"),
    )
    ordinary: float = setting(
        0.0,
        "share of ordinary images in what the ensemble is chosen on, where there is a proxy",
        low=0,
        high=1,
    )
    views: int = setting(
        1,
        "test-time views averaged at prediction: 1 none, 3 turns, 5 also zooms, 9 also shifts",
        low=1,
        high=9,
    )
    max_ms: float | None = setting(
        None,
        "longest inference an image, milliseconds on one core; members that do not fit are left "
        "out",
        above=0,
    )


@dataclass
class InputKeys:
    bundle: str | None = setting(
        None, "folder that pipeline.export wrote; null: what study.name left behind"
    )
    input: str | None = setting(
        None, "images: IDX (.gz), CSV, text, .npy, .npz, a picture, a folder of pictures"
    )
    normalize: str = setting(
        "auto",
        "mnist centres and scales images as MNIST was; auto does so for pictures of another size",
        choices=NORMALIZE,
    )
    label: str = setting("auto", "label column of a table", choices=LABEL)
