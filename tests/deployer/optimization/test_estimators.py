"""Fitted estimators through the export: the ONNX file predicts as they do, or is not written."""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployer.errors import InputError
from deployer.optimization import ladder
from deployer.optimization.estimators import is_estimator
from deployer.optimization.export import export
from deployer.optimization.session import Session

pytestmark = pytest.mark.optimize
sklearn: Any = pytest.importorskip("sklearn")

X = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
SIGN = (X[:, 0] + X[:, 1] > 0).astype(int)
THIRDS = np.digitize(X[:, 0], [-0.5, 0.5])
AMOUNT = 2 * X[:, 0] + X[:, 1]

CASES: dict[str, tuple[str, str, dict[str, Any], Any]] = {
    "forest": ("sklearn.ensemble", "RandomForestClassifier", {"n_estimators": 8}, THIRDS),
    "names": ("sklearn.linear_model", "LogisticRegression", {}, np.array(["a", "b", "c"])[THIRDS]),
    "regressor": ("sklearn.ensemble", "GradientBoostingRegressor", {"n_estimators": 8}, AMOUNT),
    "margin": ("sklearn.svm", "LinearSVC", {}, SIGN),
    "lightgbm": ("lightgbm", "LGBMClassifier", {"n_estimators": 8, "verbose": -1}, SIGN),
    "lightgbm regressor": ("lightgbm", "LGBMRegressor", {"n_estimators": 8, "verbose": -1}, AMOUNT),
    "xgboost": ("xgboost", "XGBClassifier", {"n_estimators": 8}, THIRDS),
    "xgboost regressor": ("xgboost", "XGBRegressor", {"n_estimators": 8}, AMOUNT),
}


def fitted(case: str) -> Any:
    module, name, options, wanted = CASES[case]
    pytest.importorskip(module)
    return getattr(importlib.import_module(module), name)(**options).fit(X, wanted)


@pytest.mark.trees
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", sorted(CASES))
def test_estimator_predicts_as_onnx_what_it_predicts(case: str, tmp_path: Path) -> None:
    estimator = fitted(case)
    export(estimator, {"rows": X[:20]}, tmp_path / "m.onnx")
    session = Session(tmp_path / "m.onnx")
    names = [spec.name for spec in session.outputs]
    found = dict(zip(names, session.run_all({"rows": X}, names), strict=True))
    if "regressor" in case:
        assert names == ["output"]
        np.testing.assert_allclose(found["output"].ravel(), estimator.predict(X), atol=1e-3)
        return
    assert names == (["label"] if case == "margin" else ["probabilities", "label"])
    assert list(found["label"]) == list(estimator.predict(X))
    if case != "margin":
        np.testing.assert_allclose(found["probabilities"], estimator.predict_proba(X), atol=1e-4)


@pytest.mark.trees
@pytest.mark.filterwarnings("ignore")
def test_exported_estimator_climbs_and_stays_itself(tmp_path: Path) -> None:
    export(fitted("forest"), {"rows": X[:20]}, tmp_path / "m.onnx")
    report = ladder.climb(
        tmp_path / "m.onnx",
        calibration={"rows": X[:50]},
        evaluation={"rows": X[50:], "label": THIRDS[50:]},
        max_drop=0.05,
        rungs=["int8-static-minmax", "int8-dynamic"],
        out=tmp_path / "out",
    )
    assert report.best.precision == "fp32"


@pytest.mark.trees
def test_estimator_that_is_not_fitted_is_refused(tmp_path: Path) -> None:
    forest = importlib.import_module("sklearn.ensemble").RandomForestClassifier()
    with pytest.raises(InputError, match="cannot export the RandomForestClassifier"):
        export(forest, {"rows": X[:4]}, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("example", "said"),
    [
        ({"a": X[:4], "b": X[:4]}, "takes one table, the example holds a, b"),
        ({"a": X[:4, 0]}, r"'a' is float32 \(4,\); an estimator takes \(rows, columns\)"),
        ({"a": X[:4].astype("f2")}, "'a' is float16"),
    ],
)
def test_table_that_no_estimator_takes_is_named(
    example: dict[str, np.ndarray], said: str, tmp_path: Path
) -> None:
    forest = importlib.import_module("sklearn.ensemble").RandomForestClassifier()
    assert is_estimator(forest)
    with pytest.raises(InputError, match=said):
        export(forest, example, tmp_path / "m.onnx")


def test_pickled_estimator_is_not_read_and_the_hint_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "m.joblib").write_bytes(pickle.dumps({"any": "thing"}))
    with pytest.raises(InputError, match="no model that can be read") as caught:
        export(tmp_path / "m.joblib", {"rows": X[:4]}, tmp_path / "m.onnx")
    assert "hand over the fitted estimator in Python" in (caught.value.hint or "")
