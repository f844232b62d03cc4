"""A bundle joins its members as the formulas say, in single precision."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from pipeline.bundle.predictor import Bundle, Net
from pipeline.records.manifest import Combine
from tests.pipeline.made_manifest import made_manifest

RNG = np.random.default_rng(5)
MEMBERS = softmax(RNG.standard_normal((2, 6, 3)), axis=2)  # two members, six images, three classes
ROWS, ENDS = RNG.standard_normal((3, 6)), RNG.standard_normal(3)
WEIGHTS, TEMPERATURE = (0.3, 0.7), 0.8
ARITHMETIC = np.log(0.3 * MEMBERS[0] + 0.7 * MEMBERS[1])
GEOMETRIC = 0.3 * np.log(MEMBERS[0]) + 0.7 * np.log(MEMBERS[1])
NETS = tuple((Net([{"op": "flatten"}], {}),) for _ in range(2))
STACKED = np.concatenate([np.log(MEMBERS[0]), np.log(MEMBERS[1])], axis=1) @ ROWS.T + ENDS


@pytest.mark.parametrize(
    ("combine", "scores"),
    [
        (Combine(method="weighted", weights=WEIGHTS, temperature=0.8), ARITHMETIC / TEMPERATURE),
        (Combine(method="geometric", weights=WEIGHTS, temperature=0.8), GEOMETRIC / TEMPERATURE),
        (
            Combine(
                method="stacking",
                coefficients=tuple(map(tuple, ROWS.tolist())),
                intercepts=tuple(ENDS.tolist()),
            ),
            STACKED,
        ),
    ],
    ids=["weighted", "geometric", "stacking"],
)
def test_members_are_joined_as_the_formula_says(combine: Combine, scores: np.ndarray) -> None:
    bundle = Bundle(made_manifest((1, 8, 8), 3, (1.0, 1.0), combine), NETS)
    joined = bundle.combine(MEMBERS.astype(np.float32))
    np.testing.assert_allclose(joined, np.exp(log_softmax(scores, axis=1)), atol=1e-6)
    assert joined.dtype == np.float32
