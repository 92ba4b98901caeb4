"""Which operations keep rows apart that they are given apart.

Each rule is for an operation that is given rows of requests. It returns what is proven of the
outputs: one fact for all, a list with one for each, or None. What has no rule is not proven.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from tfapp.serving.row_facts import Fact, Kind, Operation, rows_of

Facts = Fact | None | Sequence[Fact | None]
Rule = Callable[[Operation], Facts]

_UNARY = """
    Abs Acos Acosh Angle AsString Asin Asinh Atan Atanh Bucketize Cast Ceil CheckNumerics ComplexAbs
    Conj Cos Cosh
    DecodeBase64 Digamma Elu EncodeBase64 EnsureShape Erf Erfc Erfinv Exp Expm1
    FakeQuantWithMinMaxArgs Floor Identity Imag Inv Invert IsFinite IsInf IsNan LeakyRelu Lgamma Log
    Log1p LogicalNot Neg OnesLike PlaceholderWithDefault PreventGradient Real Reciprocal
    RegexFullMatch RegexReplace Relu Relu6 Rint Round Rsqrt Selu Sigmoid Sign Sin Sinh Snapshot
    Softplus Softsign Sqrt Square StaticRegexFullMatch StaticRegexReplace StopGradient StringLength
    StringLower StringStrip StringToHashBucket StringToHashBucketFast StringToHashBucketStrong
    StringToNumber StringUpper Tan Tanh ZerosLike
"""

_BROADCASTING = """
    Add AddV2 ApproximateEqual Atan2 BitwiseAnd BitwiseOr BitwiseXor ClipByValue Complex Div
    DivNoNan Equal FloorDiv FloorMod Greater GreaterEqual LeftShift Less LessEqual LogicalAnd
    LogicalOr Maximum Minimum Mod Mul MulNoNan NotEqual Pow RealDiv RightShift SelectV2
    SquaredDifference StringJoin Sub Substr TruncateDiv TruncateMod Xdivy Xlog1py Xlogy
"""

# Along the axes that their second input lists.
_ALONG_AXES = """
    All Any ArgMax ArgMin Cumprod Cumsum CumulativeLogsumexp EuclideanNorm Max Mean Min Prod
    ReverseV2 Sum
"""

_IN_LAST_AXIS = """
    BiasAdd BiasAddV1 FFT FakeQuantWithMinMaxVarsPerChannel IFFT IRFFT LogSoftmax RFFT Softmax TopK
    TopKV2
"""

_IN_LAST_AXES = """
    LRN MatrixBandPart
"""

# Their first dimension is always one of separate images or texts.
_WITH_CONSTANTS = """
    Conv2D Conv3D DecodeRaw DepthToSpace DepthwiseConv2dNative FakeQuantWithMinMaxVars ResizeArea
    ResizeBicubic ResizeBilinear ResizeNearestNeighbor SpaceToDepth
"""


def only(op: Operation, index: int = 0) -> Fact | None:
    """Returns the fact of an input if it is rows and all others are constants."""
    others = op.facts[:index] + op.facts[index + 1 :]
    if op.facts[index].kind is Kind.ROWS and all(fact.kind is Kind.CONSTANT for fact in others):
        return op.facts[index]
    return None


def alike(facts: Sequence[Fact]) -> Fact | None:
    """Returns the fact of inputs that are all rows, as many for each row of the feeds."""
    first = facts[0]
    return first if first.kind is Kind.ROWS and all(fact == first for fact in facts) else None


def of_rank(least: int, index: int = 0) -> Rule:
    """Returns the rule of what works within the last dimensions of its only input of rows."""

    def rule(op: Operation) -> Facts:
        rank = op.rank(index)
        return only(op, index) if rank is not None and rank >= least else None

    return rule


def broadcasting(op: Operation) -> Facts:
    """Element by element; shapes are brought in line from their last dimension on."""
    rows = [index for index, fact in enumerate(op.facts) if fact.kind is Kind.ROWS]
    fact = alike([op.facts[index] for index in rows])
    rank = op.rank(rows[0])
    if len(rows) > 1 and (rank is None or any(op.rank(index) != rank for index in rows)):
        return None
    for index in range(len(op.facts)):
        if index not in rows and not _is_for_every_row(op, index, rank):
            return None
    return fact


def _is_for_every_row(op: Operation, index: int, rank: int | None) -> bool:
    """Tells whether an input is the same for each row of others that have so many dimensions."""
    if op.facts[index].kind is not Kind.CONSTANT:
        return False
    dimensions = op.dimensions(index)
    if dimensions is None or not dimensions:
        return dimensions == []
    if rank is None:
        return False
    return len(dimensions) < rank or (len(dimensions) == rank and dimensions[0] == 1)


def _all_alike(op: Operation) -> Facts:
    return alike(op.facts)


def _each(op: Operation) -> Facts:
    return op.facts


def _select(op: Operation) -> Facts:
    # Not by broadcasting: its condition is a scalar, of the same shape, or one for each row.
    condition, *branches = op.facts
    fact = alike(branches)
    scalar = condition.kind is Kind.CONSTANT and op.rank(0) == 0
    return fact if fact is not None and (condition == fact or scalar) else None


def _matrix_product(op: Operation) -> Facts:
    return only(op) if op.rank(0) == 2 and not op.attr("transpose_a") else None


def _batch_matrix_product(op: Operation) -> Facts:
    ranks = [op.rank(0), op.rank(1)]
    if None in ranks:
        return None
    if ranks == [2, 2]:
        return only(op) if not op.attr("adj_x") else None
    return broadcasting(op)  # one of them has three, or else the other no rows in common with it


def _einsum(op: Operation) -> Facts:
    equation = op.attr("equation").decode()
    sources, _, result = equation.partition("->")
    labels = sources.split(",")
    row = result[:1]  # of an ellipsis there are three, which the count refuses
    if result.count(row) != 1:
        return None  # it is written along a diagonal: each row is as wide as there are rows
    for label, fact in zip(labels, op.facts, strict=True):
        if fact.kind is Kind.ROWS and (label[:1] != row or label.count(row) != 1):
            return None
        if fact.kind is not Kind.ROWS and (fact.kind is not Kind.CONSTANT or row in label):
            return None
    return alike([fact for fact in op.facts if fact.kind is Kind.ROWS])


def _transposed_convolution(op: Operation) -> Facts:
    _, filters, values = op.facts
    shape = op.elements(0)
    if filters.kind is not Kind.CONSTANT or values.kind is not Kind.ROWS:
        return None
    if shape is None or len(shape) != op.rank(2):
        return None  # it may tell height and width only
    return values if rows_of(shape) == values.block else None


def _pooling(op: Operation) -> Facts:
    return only(op) if op.attr("ksize")[0] == op.attr("strides")[0] == 1 else None


def _batch_norm(op: Operation) -> Facts:
    if op.attr("is_training"):
        return None  # it takes the mean of all rows
    return [only(op), *[None] * (len(op.node.outputs) - 1)]


def _along_axes(op: Operation) -> Facts:
    axes = op.axes(1, op.rank(0))
    return only(op) if axes is not None and 0 not in axes else None


def _parse_examples(op: Operation) -> Facts:
    # A dense feature keeps its rows in the first dimension; one of any length becomes as long as
    # the longest of all rows. Sparse and ragged ones keep no rows.
    serialized = only(op)
    before = 3 * len(op.attr("sparse_types"))
    dense = [
        serialized if tf.TensorShape(shape).is_fully_defined() else None
        for shape in op.attr("dense_shapes")
    ]
    after = len(op.node.outputs) - before - len(dense)
    return [*[None] * before, *dense, *[None] * after]


RULES: dict[str, Rule] = {
    **dict.fromkeys(_UNARY.split(), only),
    **dict.fromkeys(_BROADCASTING.split(), broadcasting),
    **dict.fromkeys(_ALONG_AXES.split(), _along_axes),
    **dict.fromkeys(_IN_LAST_AXIS.split(), of_rank(2)),
    **dict.fromkeys(_IN_LAST_AXES.split(), of_rank(3)),
    **dict.fromkeys(_WITH_CONSTANTS.split(), only),
    "AddN": _all_alike,
    "IdentityN": _each,
    "Select": _select,
    "MatMul": _matrix_product,
    **dict.fromkeys(("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"), _batch_matrix_product),
    "Einsum": _einsum,
    **dict.fromkeys(("Conv2DBackpropInput", "Conv3DBackpropInputV2"), _transposed_convolution),
    **dict.fromkeys(("AvgPool", "AvgPool3D", "MaxPool", "MaxPool3D"), _pooling),
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), _batch_norm),
    **dict.fromkeys(("ParseExample", "ParseExampleV2"), _parse_examples),
}
