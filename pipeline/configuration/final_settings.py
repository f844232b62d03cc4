"""Settings of what is built after a sweep: final models and their ensemble."""
# ruff: noqa: RUF009 - setting() is dataclasses.field() with words

from dataclasses import dataclass

from pipeline.configuration.settings import setting


@dataclass
class FinalSettings:
    after_sweep: bool = setting(False, "go on with final, evaluate and export when the sweep is done")
    members: int = setting(5, "best distinct trials that become members", low=0)
    kind_errors: float = setting(
        1.25, "another kind of net goes before better trials while its best has at most this many times their best's errors", low=1
    )
    folds: int = setting(3, "nets a member, each trained without one fold", low=2)
    refit: int = setting(
        0, "nets a member trained on all images that are not reserved: they predict, the folds' judge; 0: the folds' do both", low=0
    )
    fold_share: float = setting(
        1.0, "where refits predict: the folds' nets, which only judge, train this share of their epochs", above=0, high=1
    )
    epochs: int | None = setting(None, "epochs of each net; null: twice as many as the trial", low=1)
    minutes: float | None = setting(None, "train fewer epochs than final.epochs if all nets would take longer", above=0)
    overrides: list[str] = setting([], "overrides of every member: augmentation, schedule, averaged weights")
    fixed: list[list[str]] = setting([], "members beside those of the sweep, each a list of overrides")
    statistics_batches: int = setting(
        100, "batches that batch normalisation's statistics are recomputed on; 0: keep the averaged ones", low=0
    )


@dataclass
class EnsembleSettings:
    name: str = setting(
        "greedy",
        "how members are combined; auto: the best out of fold",
        choices=("auto", "uniform", "weighted", "greedy", "geometric", "stacking"),
    )
    ordinary: float = setting(0.0, "share of ordinary images in what the ensemble is chosen on, where there is a proxy", low=0, high=1)
    views: int = setting(1, "test-time views averaged at prediction: 1 none, 3 turns, 5 also zooms, 9 also shifts", low=1, high=9)
    max_ms: float | None = setting(
        None, "longest inference an image, milliseconds on one core; members that do not fit are left out", above=0
    )
