"""Export a study's ensemble (or its best trial): a bundle folder, one ONNX file, a registered
MLflow model.
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from cnn_core.axes import Images
from cnn_core.data.prepared import open_prepared
from cnn_core.errors import InputError
from pipeline.bundle.predictor import Bundle
from pipeline.bundle.running import open_bundle
from pipeline.bundle.writing import replaceable_folder, write_bundle
from pipeline.configuration import Command, Config, command_line, override, setting
from pipeline.data import prepare
from pipeline.ensemble.assemble import assemble, trained_with
from pipeline.files import atomic_write_bytes, writable_folder
from pipeline.redact import redact
from pipeline.slots.process import clear_pins

if TYPE_CHECKING:
    from pipeline.bundle.mlflow_model import Registered

_CHECKED = 64  # training images on which ONNX and NumPy are compared


@dataclass
class ExportKeys:
    output: str | None = setting(None, "folder of the bundle; null: bundle/ in the study's folder")
    onnx: bool = setting(
        True, "write model.onnx and compare it with NumPy (needs the extra export)"
    )
    register: bool = setting(True, "register the model in MLflow")
    carry_plugins: bool = setting(
        False, "a bundle may hold the code of plug-ins whose layers it needs to predict"
    )


COMMAND = Command(
    name="export",
    about="Writes a bundle that predicts with NumPy alone, one ONNX file of the whole ensemble, "
    "and a registered MLflow model.",
    examples=(
        "python -m pipeline.export study.name=contest",
        "python -m pipeline.export study.name=digits register=false",
    ),
    keys=ExportKeys,
    sections=("study", "tracking", "slots", "blas"),
)


def main(config: Config) -> int:
    """Export the study that `config` names; return the exit code."""
    with threadpool_limits(1):  # two threads on these small products only wait for each other
        return _export(config)


def _export(config: Config) -> int:
    keys: ExportKeys = config.arguments
    clear_pins(config)
    folder = config.paths.bundle
    if keys.output:
        folder = replaceable_folder(keys.output)
        writable_folder(folder.parent, "output")
    onnx_writer = load_onnx() if keys.onnx else None
    assembled = assemble(config.paths, config.study.storage)
    if assembled.own and not keys.carry_plugins:
        (name, plugin), *_ = assembled.own.items()
        raise InputError(
            f"carry_plugins: must be true for a bundle whose nets compute an operation of a "
            f"plug-in, whose code it then holds, got false with {name!r} of {plugin.path}"
        )
    write_bundle(folder, assembled)
    bundle = open_bundle(folder)
    nets = sum(len(member) for member in bundle.nets)
    print(
        f"bundle of {len(bundle.nets)} members and {nets} nets, model "
        f"{bundle.manifest.digest[:16]}: {folder}"
    )
    if onnx_writer is not None:
        path, difference = write_onnx(onnx_writer, folder, bundle, check_images(config, bundle))
        print(
            f"ONNX: {path}, {path.stat().st_size / 1e6:.1f} MB, differs from NumPy by at most "
            f"{difference:.1e}"
        )
    if keys.register and config.tracking.name == "mlflow":
        found = _registered(config, bundle, folder)
        print(f"MLflow: {found.name} version {found.version}; serve it on 127.0.0.1:")
        print(
            f"  MLFLOW_TRACKING_URI={shlex.quote(redact(found.tracking_uri))} "
            f"mlflow models serve -m {shlex.quote(found.uri)} "
            "--env-manager local -h 127.0.0.1 -p 5001"
        )
    words = ["python", "-m", "pipeline.predict", override("bundle", folder)]
    needed = [override("plugins", [str(plugin.path)]) for plugin in {*assembled.own.values()}]
    print(f"predict: {shlex.join([*words, 'input=IMAGES', 'output=submission.csv', *needed])}")
    return 0


def _registered(config: Config, bundle: Bundle, folder: Path) -> "Registered":
    """Register the bundle in MLflow. Raises InputError where its store does not answer."""
    from mlflow.exceptions import MlflowException

    from pipeline.bundle.mlflow_model import register

    try:
        return register(config, bundle, folder)
    except (MlflowException, OSError) as error:
        reason = redact(" ".join(str(error).split()))[:300]
        raise InputError(
            f"tracking.uri: MLflow must answer to register a model, got {reason}; the bundle is "
            f"written to {folder}, and register=false leaves MLflow out"
        ) from None


def load_onnx() -> ModuleType:
    """Import the ONNX writer. Raises InputError with the command that installs what it needs."""
    try:
        import onnxruntime  # noqa: F401

        from pipeline.bundle import onnx_ensemble
    except ImportError as error:
        install = "pip install 'numpy-cnn-sweep[export]'"
        raise InputError(
            f"onnx=true needs the extra export ({install}), got {error}; or set onnx=false"
        ) from None
    return onnx_ensemble


def write_onnx(
    writer: ModuleType, folder: Path, bundle: Bundle, images: Images
) -> tuple[Path, float]:
    """Write model.onnx after comparing it with the bundle on `images`; return its path and the
    largest difference.
    """
    content = writer.onnx_model(bundle).SerializeToString()
    difference = writer.check_against_numpy(content, bundle, images)
    path = folder / "model.onnx"
    atomic_write_bytes(path, content)
    return path, difference


def check_images(config: Config, bundle: Bundle) -> Images:
    """Return some training images and as many noise images, on which exports are compared."""
    trained = trained_with(bundle.manifest, config.root)
    data = prepare(trained.data, config.root)
    real = open_prepared(data.folder, data.digest).images[:_CHECKED]
    noise = np.random.default_rng(0).integers(0, 256, real.shape, dtype=np.uint8)
    return np.concatenate([real, noise])


if __name__ == "__main__":
    sys.exit(command_line(COMMAND, sys.argv[1:], main))
