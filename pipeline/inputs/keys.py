"""What evaluate and predict are told of a model and of its images."""

from dataclasses import dataclass

from pipeline.config import setting
from pipeline.inputs import LABEL, NORMALIZE


@dataclass
class InputKeys:
    bundle: str | None = setting(None, "folder that pipeline.export wrote; null: what study.name left behind")
    input: str | None = setting(None, "images: IDX (.gz), CSV, text, .npy, .npz, a picture, a folder of pictures")
    normalize: str = setting(
        "auto", "mnist centres and scales images as MNIST was; auto does so for pictures of another size", choices=NORMALIZE
    )
    label: str = setting("auto", "label column of a table", choices=LABEL)
