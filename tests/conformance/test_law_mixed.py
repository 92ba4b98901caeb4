"""Law 11: exported, a model's rows are proven to stand alone, so that they are served together."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
from descriptors import Descriptor
from test_law_served import predictor_of

from tfapp.export.signatures import ServingModule
from tfapp.serving.independence import independent_signatures
from tfapp.serving.servable import load_servable


def test_rows_of_several_requests_may_be_computed_together(case: Descriptor, tmp_path: Path):
    module = ServingModule(predictor_of(case))
    signatures = module.signatures()
    tf.saved_model.save(module, str(tmp_path / "1"), signatures)
    servable = load_servable(case.name, 1, tmp_path / "1")

    # Files of images are decoded in a loop.
    assert independent_signatures(servable, {}) == signatures.keys() - {"encoded_image"}
    servable.close()
