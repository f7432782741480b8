"""Models of tables: trees, linear models, scalers, encoders (the domain ai.onnx.ml)."""

from __future__ import annotations

from deployer.bundle.axes import sizes
from deployer.bundle.axes.values import (
    Given,
    MixedError,
    Node,
    Results,
    Rules,
    Value,
    batch_first,
    first,
    fixed,
    kept,
    off,
    present,
)

RULES = Rules()


def _table(given: Given) -> Value:
    value = first(given)
    if value.rank != 2:
        raise MixedError(f"it takes a table; here are {value.rank} axes")
    batch_first(value)
    return value


@RULES.of("TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier")
def _classifier(node: Node, given: Given) -> Results:
    value = _table(given)
    return [kept(value, (value.dims[0],)), kept(value, (value.dims[0], node.fresh(1)))]


@RULES.of("TreeEnsembleRegressor", "TreeEnsemble", "LinearRegressor", "SVMRegressor")
def _regressor(node: Node, given: Given) -> Results:
    value = _table(given)
    return [
        kept(value, (value.dims[0], node.get("n_targets") or node.get("targets") or node.fresh(1)))
    ]


@RULES.of("Normalizer", "TfIdfVectorizer")
def _by_row(node: Node, given: Given) -> Results:
    value = _table(given)
    width = value.dims[1] if node.op == "Normalizer" else node.fresh(1)
    return [kept(value, (value.dims[0], width))]


@RULES.of("Scaler", "Imputer")
def _by_column(node: Node, given: Given) -> Results:
    value = first(given)
    off(value, [value.rank - 1], "takes one number each along")
    return [kept(value, value.dims)]


@RULES.of("LabelEncoder", "Binarizer", "CategoryMapper")
def _each(node: Node, given: Given) -> Results:
    return [kept(first(given), first(given).dims)]


@RULES.of("OneHotEncoder")
def _one_hot(node: Node, given: Given) -> Results:
    value = first(given)
    groups = node.get("cats_int64s") or node.get("cats_strings") or ()
    return [kept(value, (*value.dims, len(groups) or node.fresh("width")))]


@RULES.of("ArrayFeatureExtractor")
def _columns(node: Node, given: Given) -> Results:
    value, columns = present(given)
    off(value, [value.rank - 1], "picks along")
    fixed(given, 1, "which columns it picks")
    return [kept(value, (*value.dims[:-1], sizes.product(columns.dims)))]


@RULES.of("FeatureVectorizer")
def _joined(node: Node, given: Given) -> Results:
    values = present(given)
    for value in values:
        if value.rank != 2 or value.rows != values[0].rows:
            raise MixedError("it joins columns that have no rows with some that have")
        batch_first(value)
    return [kept(values[0], (values[0].dims[0], node.fresh(1)))]
