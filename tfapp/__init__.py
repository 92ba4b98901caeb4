"""Train, evaluate, export and serve Keras models, trained with explicit gradient tapes.

Everything that the command line does is a function here:

    import tfapp

    run = tfapp.train_model(tfapp.Config(model={"name": "cnn"}, train={"epochs": 5}))
    tfapp.evaluate_run(run.path).metrics
    tfapp.export_run(run.path).path

Names are imported on first use, so `import tfapp` costs nothing and loads no TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfapp.lazy import lazy_names

if TYPE_CHECKING:
    from tfapp.cleaning import clean_runs as clean_runs
    from tfapp.config import Config as Config
    from tfapp.config import load_config as load_config
    from tfapp.data.inspection import describe_source as describe_source
    from tfapp.data.inspection import list_sources as list_sources
    from tfapp.data.inspection import prepare_source as prepare_source
    from tfapp.errors import TfappError as TfappError
    from tfapp.evaluation import evaluate_run as evaluate_run
    from tfapp.export.saved_model import export_run as export_run
    from tfapp.export.verification import verify_export as verify_export
    from tfapp.export.version import ExportOptions as ExportOptions
    from tfapp.models.catalogue import list_models as list_models
    from tfapp.models.report import describe_model as describe_model
    from tfapp.overview import compare_runs as compare_runs
    from tfapp.overview import list_runs as list_runs
    from tfapp.overview import show_run as show_run
    from tfapp.prediction import load_model as load_model
    from tfapp.prediction import predict as predict
    from tfapp.prediction import predict_rows as predict_rows
    from tfapp.report.figures import draw_confusion as draw_confusion
    from tfapp.report.figures import draw_curves as draw_curves
    from tfapp.report.reports import write_report as write_report
    from tfapp.runs import find_run as find_run
    from tfapp.training.resume import resume_training as resume_training
    from tfapp.training.train import plan_training as plan_training
    from tfapp.training.train import train_model as train_model
    from tfapp.trials import read_search as read_search
    from tfapp.tuning.best import train_best as train_best
    from tfapp.tuning.search import resume_search as resume_search
    from tfapp.tuning.search import tune_model as tune_model

__version__ = "0.1.0"

_MODULES = {
    "cleaning": ("clean_runs",),
    "config": ("Config", "load_config"),
    "data.inspection": ("describe_source", "list_sources", "prepare_source"),
    "errors": ("TfappError",),
    "evaluation": ("evaluate_run",),
    "export.saved_model": ("export_run",),
    "export.verification": ("verify_export",),
    "export.version": ("ExportOptions",),
    "models.catalogue": ("list_models",),
    "models.report": ("describe_model",),
    "overview": ("compare_runs", "list_runs", "show_run"),
    "prediction": ("load_model", "predict", "predict_rows"),
    "report.figures": ("draw_confusion", "draw_curves"),
    "report.reports": ("write_report",),
    "runs": ("find_run",),
    "training.resume": ("resume_training",),
    "training.train": ("plan_training", "train_model"),
    "trials": ("read_search",),
    "tuning.best": ("train_best",),
    "tuning.search": ("resume_search", "tune_model"),
}

__getattr__, _public = lazy_names(__name__, _MODULES)
__all__ = ["__version__", *_public]


def __dir__() -> list[str]:
    return __all__
