"""Who can take part in a benchmark: plain tables, so that a typo is answered at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tfapp.bench.workloads import WORKLOADS, Architecture, Workload
from tfapp.errors import UnknownName, UsageError
from tfapp.names import choose, is_import_path, missing_extra

DENSE: tuple[Architecture, ...] = ("mlp", "two_layer")
WITH_PRODUCTS: tuple[Architecture, ...] = (*DENSE, "cnn")
ALL: tuple[Architecture, ...] = (*WITH_PRODUCTS, "quadratic")
# XLA computes convolutions in a loop on a CPU some 20 times slower than TensorFlow's own kernels.
_NO_LOOP_OF_CONVOLUTIONS: tuple[Architecture, ...] = (*DENSE, "quadratic")
# Where a step takes tens of milliseconds, many of them are no slice, and to share a call gains
# nothing.
_FAST_STEPS = _NO_LOOP_OF_CONVOLUTIONS

# Everything is compared with it where it takes part.
REFERENCE = "tfapp"
BEST_FIT = "fit-best"


@dataclass(frozen=True)
class Entry:
    """A contender by name.

    Attributes:
        name: What it is asked for by.
        path: Import path of its class.
        about: What it does, in a few words.
        fits: The architectures that it can train.
        default: Those of them that it trains when nobody asks for it.
        module: What must be installed besides tfapp.
        extra: The extra of tfapp that installs it.
    """

    name: str
    path: str
    about: str
    fits: tuple[Architecture, ...] = ALL
    default: tuple[Architecture, ...] = ALL
    module: str | None = None
    extra: str | None = None

    @property
    def missing(self) -> str | None:
        """How to install what is missing; `None` if nothing is."""
        return missing_extra(self.module, self.extra)


def _entry(name: str, path: str, about: str, **options: object) -> Entry:
    return Entry(name, f"tfapp.bench.contenders.{path}", about, **options)  # type: ignore[arg-type]


ROSTER: Mapping[str, Entry] = {
    entry.name: entry
    for entry in (
        _entry("tfapp", "tfapp_loop:Auto", "the loop that `tfapp train` chooses"),
        _entry(
            "tfapp-resident",
            "tfapp_loop:Resident",
            "data on the device, XLA compiles the loop",
            default=_NO_LOOP_OF_CONVOLUTIONS,
        ),
        _entry("tfapp-streaming", "tfapp_loop:Streaming", "tf.data, TensorFlow's kernels"),
        _entry(
            "tfapp-streaming_xla",
            "tfapp_loop:StreamingXla",
            "tf.data, XLA compiles the step",
            default=_NO_LOOP_OF_CONVOLUTIONS,
        ),
        _entry("tfapp-eager", "tfapp_loop:Eager", "step by step in Python", default=()),
        _entry(
            "tfapp-train",
            "tfapp_train:TfappTrain",
            "a whole `tfapp train`: checkpoints, log, events",
            fits=DENSE,
            default=DENSE,
        ),
        _entry("fit", "keras_fit:KerasFit", "Keras as documented: fit on NumPy arrays"),
        _entry("fit-1", "keras_fit:Fit1", "fit on tf.data, no XLA, 1 step an execution"),
        _entry("fit-32", "keras_fit:Fit32", "the same with 32 steps an execution"),
        _entry(
            "fit-128",
            "keras_fit:Fit128",
            "the same with 128 steps an execution",
            default=_FAST_STEPS,
        ),
        _entry("fit-jit-1", "keras_fit:FitJit1", "fit on tf.data, XLA, 1 step an execution"),
        _entry(
            "fit-jit-32",
            "keras_fit:FitJit32",
            "the same with 32 steps an execution",
            default=_FAST_STEPS,
        ),
        _entry(
            "fit-jit-128",
            "keras_fit:FitJit128",
            "the same with 128 steps an execution",
            default=_FAST_STEPS,
        ),
        _entry("tf1-feed", "tf1_session:FeedDict", "TF1 session, NumPy batches by feed_dict"),
        _entry("tf1-data", "tf1_session:Dataset", "TF1 session, tf.data iterator, callable"),
        _entry(
            "torch",
            "torch_loop:TorchLoop",
            "PyTorch, eager, fused optimizer",
            module="torch",
            extra="torch",
        ),
        _entry(
            "torch-compile",
            "torch_loop:TorchCompile",
            "PyTorch, torch.compile",
            module="torch",
            extra="torch",
        ),
        _entry(
            "jax-scan",
            "jax_loop:JaxScan",
            "JAX, an epoch a call (lax.scan)",
            default=_NO_LOOP_OF_CONVOLUTIONS,
            module="jax",
            extra="jax",
        ),
        _entry(
            "jax-step",
            "jax_loop:JaxStep",
            "JAX, a step a call",
            default=("cnn",),
            module="jax",
            extra="jax",
        ),
        _entry("numpy", "numpy_loop:NumpyLoop", "by hand", fits=DENSE, default=DENSE),
        _entry(
            "gemm",
            "gemm_limit:GemmLimit",
            "the limit: only matrix products and convolutions",
            fits=WITH_PRODUCTS,
            default=WITH_PRODUCTS,
        ),
    )
}
FIT_VARIANTS: tuple[str, ...] = (
    "fit-1",
    "fit-32",
    "fit-128",
    "fit-jit-1",
    "fit-jit-32",
    "fit-jit-128",
)


def find_workloads(names: Iterable[str]) -> list[Workload]:
    """Returns workloads by name, each once; all of them when no name is given.

    Raises:
        UnknownName: With the nearest known name.
    """
    return choose("workload", names, WORKLOADS)


def find_contenders(names: Iterable[str]) -> list[Entry]:
    """Returns contenders by name, each once.

    Args:
        names: Names of the roster, `fit-best` for all its variants, or import paths
            `module:Class` of one's own.

    Raises:
        UnknownName: With the nearest known name.
    """
    found: dict[str, Entry] = {}
    for name in names:
        if name == BEST_FIT:
            found |= {variant: ROSTER[variant] for variant in FIT_VARIANTS}
        elif name in ROSTER:
            found[name] = ROSTER[name]
        elif is_import_path(name):
            found[name] = Entry(name, name, "your own")
        else:
            raise UnknownName(
                "contender",
                name,
                (*ROSTER, BEST_FIT),
                "For your own, give an import path such as 'mypackage.bench:Mine'.",
            )
    return list(found.values())


def assign(
    workloads: Sequence[Workload], contenders: Sequence[Entry]
) -> dict[str, tuple[Entry, ...]]:
    """Returns who trains which workload, by the workload's name.

    Args:
        workloads: What is trained.
        contenders: Who was asked for; empty: whoever trains it by default.

    Raises:
        UsageError: None of them can train one of the workloads.
    """
    lists = {}
    for workload in workloads:
        architecture = workload.architecture
        fitting = tuple(
            [entry for entry in contenders if architecture in entry.fits]
            if contenders
            else [entry for entry in ROSTER.values() if architecture in entry.default]
        )
        if not fitting:
            known = [name for name, entry in ROSTER.items() if architecture in entry.fits]
            raise UsageError(
                f"{', '.join(entry.name for entry in contenders)} cannot train {workload.name}."
                f" These can: {', '.join(known)}."
            )
        lists[workload.name] = fitting
    return lists
