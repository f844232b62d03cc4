"""The net as a scikit-learn classifier, for those who have their data in arrays: `CNNClassifier`.

The one file of this package that imports scikit-learn; nothing here imports it.
"""

import math
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import check_is_fitted, validate_data

from cnn_core.axes import Array, Indices
from cnn_core.checkpoint import TrainState
from cnn_core.epoch import Metrics
from cnn_core.estimator_spec import in_own_words, plain, spec_of, split_of_fit
from cnn_core.input_scaling import Values, scaling_of, shape_of_images, shape_of_rows
from cnn_core.losses import softmax
from cnn_core.net_html import line_of_epoch, net_html
from cnn_core.spec import Spec, SplitSpec
from cnn_core.training import fit, selected_weights
from cnn_core.training_data import data_of, in_memory
from cnn_core.training_net import TrainingNet, net_of

SEEDS = 2**31 - 1


class CNNClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A convolutional net in NumPy as a scikit-learn classifier.

    X: images (N, H, W) or (N, H, W, C), or rows (N, features). Rows of ``image_shape``, (H, W) or
    (H, W, C), are images; without it rows of s * s values, s at least 8, are grey images of s x s,
    and others no images: they get a dense net (``model="mlp"``, 100 units unless ``hidden`` says
    otherwise). Bytes (uint8) are taken as 0 to 255; images without a negative value are divided by
    the value of white (1, 16, 255, ..., the next above the largest seen in training), others
    brought to mean 0 and deviation 1; so is each column of rows that are no images. The scale is
    learned by `fit`, or by the first `partial_fit`, and kept. y: labels of any kind that
    scikit-learn takes.

    Parameters bear the product's names, and values have the limits of `cnn_core.spec`: model, a
    name of `cnn_core.architectures.ARCHITECTURES`; filters, kernel, pool, depth, hidden,
    activation, init, dropout, batch_norm of `ModelSpec` (kernel and pool "auto": 7 and 3 for
    images of 28x28, 3 and 2 for 8x8, see `fitting_window`); optimizer and schedule, a name of
    `OPTIMIZERS` or `SCHEDULES` or a mapping such as ``{"name": "step", "every": 3}``; lr, the
    learning rate, None for the optimizer's own; l1, l2 of `RegularizerSpec`; epochs, batch_size
    ("auto": a twentieth of the images, at most 64), label_smoothing, class_weights, clip_norm,
    select of `TrainSpec` (by itself the moving average of the weights, which is as good after
    three quarters of the images); valid_fraction, the share of the images given to `fit` that
    validate (0: none), by which ``select="best"`` keeps the epoch of lowest loss; augment, a
    mapping of strengths of `AugmentSpec`; random_state; verbose, a line an epoch.

    Attributes: classes_, n_features_in_, feature_names_in_ (of a DataFrame), image_shape_ ((H, W,
    C), () of rows that are none), history_ (the metrics of each epoch), spec_ (what was trained),
    state_ (`TrainState`, from which `partial_fit` goes on). Equal parameters, data and random_state
    give equal bits on equal machines.

    What is wrong raises ValueError or TypeError, as scikit-learn does, with the rule and what was
    received; so does a training whose loss is no longer finite.
    """

    classes_: npt.NDArray[Any]
    image_shape_: tuple[int, ...]
    history_: list[Metrics]
    spec_: Spec
    state_: TrainState

    def __init__(  # noqa: PLR0913  (scikit-learn's constructors name every hyperparameter)
        self,
        *,
        model: str = "simple_convnet",
        filters: int = 12,
        kernel: int | str = "auto",
        pool: int | str = "auto",
        depth: int = 2,
        hidden: tuple[int, ...] = (),
        activation: str = "relu",
        init: str = "he",
        dropout: float = 0.0,
        batch_norm: str = "none",
        optimizer: Any = "adam",
        lr: float | None = 0.01,
        schedule: Any = "constant",
        l1: float = 0.0,
        l2: float = 0.0,
        epochs: int = 10,
        batch_size: int | str = "auto",
        label_smoothing: float = 0.0,
        class_weights: str = "none",
        clip_norm: float | None = None,
        valid_fraction: float = 0.0,
        select: str = "average",
        augment: Any = None,
        image_shape: tuple[int, ...] | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.filters = filters
        self.kernel = kernel
        self.pool = pool
        self.depth = depth
        self.hidden = hidden
        self.activation = activation
        self.init = init
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.optimizer = optimizer
        self.lr = lr
        self.schedule = schedule
        self.l1 = l1
        self.l2 = l2
        self.epochs = epochs
        self.batch_size = batch_size
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights
        self.clip_norm = clip_norm
        self.valid_fraction = valid_fraction
        self.select = select
        self.augment = augment
        self.image_shape = image_shape
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> Self:
        """Train a new net for `epochs` epochs and return self; an older net is gone, whatever comes
        of this one.
        """
        if self.__sklearn_is_fitted__():
            del self.state_
        with in_own_words():
            rows, labels = self._checked(X, y, first=True)
            self.classes_, labels = np.unique(labels, return_inverse=True)
            parameters = self._begun(rows)
            parts = split_of_fit(parameters, self._seed)
            self._trained(rows, labels, parts, parameters, None)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """Train one epoch more on these images, from where `fit` or `partial_fit` ended, and return
        self. `classes` lists all labels that will ever come; the first call needs it.

        The learning rate is constant, and all images train.
        """
        with in_own_words():
            first = not self.__sklearn_is_fitted__()
            rows, labels = self._checked(X, y, first=first)
            self._know(classes, first)
            wrong = labels[~np.isin(labels, self.classes_)]
            if len(wrong):
                known = self.classes_.tolist()
                raise ValueError(f"y: must be among the classes {known}, got {wrong.tolist()[0]!r}")
            parameters = self._begun(rows) if first else self._parameters()
            done = 0 if first else self.state_.epoch
            parameters |= {"epochs": done + 1, "schedule": "constant"}
            if parameters["select"] == "best":
                parameters["select"] = "last"
            indices = np.searchsorted(self.classes_, labels)
            state = None if first else self.state_
            self._trained(rows, indices, SplitSpec(valid_fraction=0.0), parameters, state)
        return self

    def predict_proba(self, X: Any) -> Array:
        """Return (N, classes) float32, the probability of each of `classes_`; its last bits depend
        on which images are predicted together.
        """
        check_is_fitted(self)
        with in_own_words():
            rows, _ = self._checked(X, None, first=False)
        images: Any = self._scaling.images(rows)
        probabilities = np.empty((len(images), len(self.classes_)), np.float32)
        with np.errstate(all="ignore"):
            for batch, logits in self._net().logits(images, np.arange(len(images))):
                probabilities[batch] = softmax(logits).T
        return probabilities

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the most probable label of each image, (N,)."""
        best = self.predict_proba(X).argmax(axis=1)
        labels: npt.NDArray[Any] = self.classes_[best]
        return labels

    def summary(self) -> str:
        """Return the fitted net's table of layers as text."""
        check_is_fitted(self)
        return self._net().plain.summary()

    def _parameters(self) -> dict[str, Any]:
        found: dict[str, Any] = plain(self.get_params(deep=False))
        return found

    def _checked(self, X: Any, y: Any, first: bool) -> tuple[Values, Any]:
        """Return X as rows and y as (N,), both in scikit-learn's checks."""
        shape: tuple[int, ...] = ()
        if (np.asarray(X).ndim if not hasattr(X, "ndim") else X.ndim) > 2:
            X = np.asarray(X)
            shape = shape_of_images(X.shape)
            X = X.reshape(len(X), math.prod(shape))
        if y is None and not first:
            rows = validate_data(self, X, reset=False)
            labels = None
        else:
            rows, labels = validate_data(self, X, y, reset=first)
            check_classification_targets(labels)
        if first:
            self.image_shape_ = (
                shape_of_rows(rows.shape[1], plain(self.image_shape))
                if self.image_shape is not None or not shape
                else shape
            )
        if shape and shape != self.image_shape_:
            raise ValueError(f"X: images must have the shape {self.image_shape_}, got {shape}")
        return rows, labels

    def _know(self, classes: Any, first: bool) -> None:
        """Take `classes`, which the first call needs and later ones may repeat."""
        if classes is None:
            if first:
                raise ValueError("classes: must list all labels in the first call of partial_fit")
            return
        found = unique_labels(classes)
        if not first and not np.array_equal(found, self.classes_):
            known = self.classes_.tolist()
            raise ValueError(f"classes: must be those of before, {known}, got {found.tolist()}")
        self.classes_ = found

    def _begun(self, rows: Values) -> dict[str, Any]:
        """Return the parameters of a new net, whose seed and scale are set."""
        if len(self.classes_) < 2:
            only = self.classes_.tolist()
            raise ValueError(f"y: must hold at least 2 classes, got {len(only)} class, {only}")
        parameters = self._parameters()
        self._seed = int(check_random_state(self.random_state).randint(SEEDS))
        self._scaling = scaling_of(rows, self.image_shape_, bool(parameters["augment"]))
        return parameters

    def _trained(
        self,
        rows: Values,
        labels: Indices,
        parts: SplitSpec,
        parameters: dict[str, Any],
        state: TrainState | None,
    ) -> None:
        """Train until the epochs of `parameters` are done, and keep what came of it."""
        if parameters["augment"] and not self._scaling.whole:
            raise ValueError(
                "augment: must be set when the first images come, which sets their scale, got "
                f"{parameters['augment']} later"
            )
        images = self._scaling.images(rows)
        with in_memory(images, labels, len(self.classes_), parts) as data:
            picture = bool(self.image_shape_)
            spec = spec_of(parameters, data, len(labels), self._seed, picture)
            if spec.train.select == "best" and not len(data_of(data).valid):
                raise ValueError(
                    "select: best needs validation images, got none with valid_fraction="
                    f"{parts.valid_fraction:g} of {len(labels)} images"
                )
            state = fit(spec, on_epoch=self._told(spec), state=state)
        if not math.isfinite(state.history[-1]["train_loss"]) and state.best is None:
            raise ValueError(
                f"lr: the loss must stay finite, it did not in epoch {state.epoch} with "
                f"lr={spec.optimizer.get('lr', 'its own')}; lower it, or set clip_norm"
            )
        self.spec_, self.state_, self.history_ = spec, state, state.history
        self._weights = selected_weights(spec, state)

    def _told(self, spec: Spec) -> Callable[[TrainState, Metrics], None]:
        """Return what prints a line after each epoch, where `verbose` is set."""

        def tell(state: TrainState, metrics: Metrics) -> None:
            if self.verbose:
                print(line_of_epoch(state.epoch, spec.train.epochs, metrics), flush=True)

        return tell

    def _net(self) -> TrainingNet:
        """Return this thread's net with the fitted weights."""
        net = net_of(self.spec_.model, self.spec_.data.image_shape, len(self.classes_))
        net.plain.load(*self._weights)
        return net

    def _html_repr(self) -> str:
        """Return scikit-learn's HTML and, once fitted, the net's layers and epochs."""
        known: str = super()._html_repr()
        return known + (
            net_html(self._net().plain, self.history_) if self.__sklearn_is_fitted__() else ""
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "state_")
