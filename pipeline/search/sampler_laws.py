"""Laws of samplers and pruners, held in a small simulated study."""

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from cnn_core.laws.hold import hold
from pipeline.configuration.pruner_settings import PrunerSettings
from pipeline.configuration.sampler_settings import SamplerSettings
from pipeline.search.open_study import quiet_optuna
from pipeline.search.pruners import make_pruner
from pipeline.search.samplers import make_sampler
from pipeline.search.space import Space
from pipeline.search.storage import holds

SPACE = {
    "model.filters": {"int": [4, 64], "log": True},
    "model.init": {"choice": ["xavier", "he"]},
    "optimizer": {"group": ["adam", "momentum"]},
    "adam.lr": {
        "path": "optimizer.lr",
        "float": [1e-4, 1e-2],
        "log": True,
        "when": {"optimizer": "adam"},
    },
}
TRIALS, EPOCHS = 12, 4


def simulated(sampler: BaseSampler, pruner: BasePruner | None = None) -> optuna.Study:
    """Run a study whose objective is a formula; return it."""
    quiet_optuna()
    space = Space.parse(SPACE)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    for _ in range(TRIALS):
        trial = study.ask()
        space.suggest(trial)
        value, ended = 0.0, optuna.trial.TrialState.COMPLETE
        for epoch in range(1, EPOCHS + 1):
            value = (1 - 1 / (1 + epoch)) * (0.5 + trial.params["model.filters"] / 128)
            trial.report(value, epoch)
            if pruner is not None and trial.should_prune():
                ended = optuna.trial.TrialState.PRUNED
                break
        study.tell(trial, value if ended.name == "COMPLETE" else None, ended)
    return study


def _params(study: optuna.Study) -> list[dict[str, object]]:
    return [trial.params for trial in study.get_trials(deepcopy=False)]


def every_trial_lies_in_the_space(settings: SamplerSettings) -> None:
    """And not all are the same."""
    study = simulated(make_sampler(settings, 0, Space.parse(SPACE)))
    distributions = Space.parse(SPACE).distributions()
    for params in _params(study):
        for name, value in params.items():
            known = distributions[name]
            hold(holds(known, value), f"{name} must be in {known}, got {value!r}")
    different = {tuple(sorted(params.items(), key=str)) for params in _params(study)}
    hold(len(different) > 1, f"{TRIALS} trials must not all be the same")


def the_seed_alone_decides(settings: SamplerSettings) -> None:
    """A study that was run again, or resumed, is suggested the same."""
    first, again = (
        _params(simulated(make_sampler(settings, 3, Space.parse(SPACE)))) for _ in range(2)
    )
    hold(first == again, "two studies of one seed must be suggested the same trials")


def the_best_trial_is_not_pruned(settings: PrunerSettings) -> None:
    """Curves that never cross: whatever is pruned, the best reaches its last epoch."""
    random = make_sampler(SamplerSettings(name="random"), 0, Space.parse(SPACE))
    study = simulated(random, make_pruner(settings, EPOCHS))
    complete = [t for t in study.get_trials(deepcopy=False) if t.state.name == "COMPLETE"]
    hold(complete, "a trial must be left, got all pruned")
    best = max(int(params["model.filters"]) for params in _params(study))  # type: ignore[call-overload]
    kept = max(trial.params["model.filters"] for trial in complete)
    hold(kept == best, f"the best trial must be kept (filters={best}), got {kept} at most")


SAMPLER_LAWS = (every_trial_lies_in_the_space, the_seed_alone_decides)
PRUNER_LAWS = (the_best_trial_is_not_pruned,)
