"""From a configuration to what a worker trains: plain values, no Hydra."""

from dataclasses import fields, replace
from typing import Any

from cnn_core.spec import DataSpec, ModelSpec, RegularizerSpec, Spec, TrainSpec
from pipeline.configuration.tree import Config


def spec_of(config: Config, data: DataSpec, seed: tuple[int, ...]) -> Spec:
    """Return the spec of one net; `data` comes from `pipeline.data.prepare`, its split follows ``config.data``."""
    split: dict[str, Any] = {
        name: getattr(config.data, name) for name in ("valid_fraction", "split_seed", "train_size", "valid_size", "reserve")
    }
    # What a net does not use must not make it another.
    plain = {"frame_beside": False, "frame_jitter": 0.0} if config.model.frame == "none" else {}
    return Spec(
        data=replace(data, **split),
        model=ModelSpec(**_fields(ModelSpec, config.model) | {"hidden": tuple(config.model.hidden)} | plain),
        optimizer=dict(config.optimizer),
        schedule=dict(config.schedule),
        regularizer=RegularizerSpec(**_fields(RegularizerSpec, config.regularizer)),
        augment=dict(config.augment),
        train=TrainSpec(**_fields(TrainSpec, config.train)),
        seed=seed,
    )


def _fields(target: type, settings: Any) -> dict[str, Any]:
    return {item.name: getattr(settings, item.name) for item in fields(target)}
