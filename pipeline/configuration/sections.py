"""The typed tree: one dataclass per section, except those that are cnn_core's own specs. A field
declares its default, meaning and limits; help and checks read them here.
"""

from dataclasses import dataclass

from cnn_core.field_checks import setting
from cnn_core.measures import MEASURES, metric_of


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
        "URL of a database such as postgresql+psycopg://..., or ${oc.env:NAME} of a variable that "
        "holds it; null: study.db in the study's folder",
    )
    confirm: int = setting(
        0,
        "run the best K trials again with other seeds and rank them by a lower confidence bound",
        low=0,
    )
    seeds: int = setting(
        1, "nets a trial, each with a seed of its own; trials are compared by their mean", low=1
    )
    paired: bool = setting(
        False,
        "trials begin with the same weights, where their nets are alike, and see the same batches, "
        "so that they differ by what is compared alone",
    )
    folds: int | None = setting(
        None,
        "cross-validation: nets a trial, each judged on a fold of the training images that it does "
        "not see; trials are compared by their mean; null: data.valid_fraction",
        low=2,
    )
    fork: str | None = setting(
        None, "name of a study whose compatible trials this new one takes over"
    )
    prior: list[str] = setting(
        [],
        "studies of other data or another space, by name or folder, and tables of past results "
        "(CSV), whose best configurations are tried first",
    )
    prior_trials: int = setting(
        12, "trials that study.prior suggests at most, and no more than half of them all", low=1
    )
    enqueue: list[list[str]] = setting(
        [], "trials to try first, each a list of overrides of searched keys"
    )
    fit: bool = setting(
        False, "batch, validation, folds, widths and epochs follow from the data, unless given"
    )
    objective: str = setting(
        "accuracy",
        "the contest's measure, on validation images: what trials are compared by",
        choices=MEASURES,
    )
    top_k: int = setting(
        5, "with objective=top_k: an image is right where its label is among so many", low=1
    )
    objectives: list[str] = setting(
        ["valid_accuracy"],
        "that measure, and what else trials are compared by",
        choices=(*map(metric_of, MEASURES), "multiply_adds"),
    )


@dataclass
class BudgetSettings:
    trials: int | None = setting(
        None, "trials that count (COMPLETE or PRUNED); 20 unless budget.minutes is given", low=1
    )
    minutes: float | None = setting(
        None, "wall-clock minutes, restarts included; with trials, whichever ends first", above=0
    )
    gain: float | None = setting(
        None,
        "end when another tenth of the time is likely to improve the best by less, such as 0.0005",
        above=0,
    )
    max_failed: int = setting(10, "failures that end a run; the next one counts anew", low=1)


@dataclass
class DeadlineSettings:
    epoch_s: float | None = setting(None, "an epoch that takes longer fails its trial", above=0)
    trial_s: float | None = setting(None, "a trial that takes longer fails", above=0)


@dataclass
class SlotSettings:
    name: str = setting("joblib", "where trials run", choices=("joblib", "dask"))
    n: int | None = setting(
        None,
        "trials at once; null: one a core, or for each train.threads of them (joblib), one a "
        "worker (dask)",
        low=1,
    )
    address: str | None = setting(
        None,
        "scheduler of a Dask cluster, tls://host:port, or tcp:// of one that this process has "
        "started; or ${oc.env:NAME}",
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
class TrackingSettings:
    name: str = setting("mlflow", "where runs are logged", choices=("mlflow", "none"))
    uri: str | None = setting(
        None,
        "MLflow server or store, or ${oc.env:NAME} of a variable that holds its address; null: "
        "sqlite in root/mlflow.db",
    )
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
        None,
        "wall-clock minutes of the nets and what follows them, restarts included: they train as "
        "many epochs as fit, at most final.epochs",
        above=0,
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
    calibrate: bool = setting(
        True,
        "each member's temperature is fitted to its folds' nets; false: 1, for nets of all images "
        "that train much longer than those",
    )
    mirror: bool = setting(
        False, "predict each view mirrored as well, where all members trained on mirrored images"
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
        None, "images: IDX (.gz), tables, text, .npy, .npz, .mat, parquet, pictures or a folder"
    )
    polarity: str = setting(
        "auto",
        "auto turns light and dark round in grey pictures whose background is certainly not that "
        "of the training data; keep does not",
        choices=("auto", "keep"),
    )
    normalize: str = setting(
        "auto",
        "auto repeats what training did; mnist centres and scales every image, none changes none",
        choices=("auto", "mnist", "none"),
    )
    full_scale: float | None = setting(
        None,
        "value that stands for white; null: as in training, or found where it is certain",
        above=0,
    )
    label: str = setting("auto", "a table's labels: auto, none, first, last, or a column's name")
    id: str = setting("auto", "a table's ids: auto, none, or a column's name")
    shape: list[int] = setting(
        [], "of an image in a row, such as [3,40,40]; empty: as in training, or square"
    )
    only: str | None = setting(
        None, "table whose ids name the pictures of a folder that count; null: all of them"
    )
    images_key: str = setting("auto", "array of the images in an archive of arrays")
    labels_key: str = setting("auto", "array of the labels in an archive of arrays")
    on_damaged: str = setting(
        "refuse",
        "pictures that cannot be read: refuse the input, or skip them and say which",
        choices=("refuse", "skip"),
    )
