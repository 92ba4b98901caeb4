"""With `refit` the training split holds the examples of validation too, whatever the source."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tfapp.config import DataConfig
from tfapp.data.embedded import quiet_tfds
from tfapp.data.pipeline import evaluation_batches, training_batches
from tfapp.data.preprocess import fit_preprocess
from tfapp.data.sources import load_splits
from tfapp.data.splits import StreamSplit

RNG = np.random.default_rng(5)
ROWS = RNG.normal(size=(3000, 100)).astype(np.float32)  # 1.2 MB
IDS = np.arange(200)


@pytest.fixture
def both(prepared_dir):
    """Loads a source twice: as it is, and with `refit`."""

    def load(source, **settings):
        config = DataConfig(source=str(source), **settings)
        return [load_splits(config, data_dir=prepared_dir, refit=refit) for refit in (False, True)]

    return load


def test_arrays_are_joined_and_test_stays_apart(both, tmp_path):
    x = np.column_stack([IDS, RNG.normal(size=200)]).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x, y=IDS % 4)
    plain, refit = both(tmp_path / "x.npz")
    held_out = plain.test.features[:, 0].astype(int)
    np.testing.assert_array_equal(refit.test.features, plain.test.features)
    ids = refit.train.features[:, 0].astype(int)
    np.testing.assert_array_equal(np.sort(ids), np.setdiff1d(IDS, held_out))
    np.testing.assert_array_equal(refit.train.features, x[ids])
    np.testing.assert_array_equal(refit.train.labels, ids % 4)
    first, rest = np.split(ids, [plain.train.size])
    np.testing.assert_array_equal(first, plain.train.features[:, 0], "its own come first")
    np.testing.assert_array_equal(rest, plain.validation.features[:, 0])
    assert refit.info.fingerprint != plain.info.fingerprint
    scaling = fit_preprocess(refit, "standard").config()
    assert scaling["subtract"] == pytest.approx(np.delete(x, held_out, axis=0).mean(axis=0))


def test_a_validation_split_of_the_source_counts_for_its_fingerprint(both, tmp_path):
    found = []
    for changed in (0, 1):
        x = np.stack([IDS, IDS], axis=1).astype(np.float32)
        x[60, 1] += changed
        parts = {"train": slice(0, 50), "val": slice(50, 80), "test": slice(80, 100)}
        arrays = {f"x_{name}": x[part] for name, part in parts.items()}
        arrays |= {f"y_{name}": IDS[part] % 2 for name, part in parts.items()}
        np.savez(tmp_path / "x.npz", **arrays)
        plain, refit = both(tmp_path / "x.npz")
        assert (refit.train.size, refit.validation.size, refit.test.size) == (80, 30, 20)
        found.append((plain.info.fingerprint, refit.info.fingerprint))
    assert found[0][0] == found[1][0], "validation is not trained on"
    assert found[0][1] != found[1][1], "here it is"


def test_texts_that_only_validation_has_are_known(both, tmp_path):
    rows = [f"{i},text {i},{i % 2}" for i in range(60)]
    (tmp_path / "x.csv").write_text("\n".join(["number,text,label", *rows]))
    _, refit = both(tmp_path / "x.csv")
    held_out = refit.test.features[:, 0].astype(int)
    trained = np.setdiff1d(np.arange(60), held_out)
    vocabulary = refit.info.columns[1].vocabulary
    assert set(vocabulary) == {f"text {i}" for i in trained}
    texts = [vocabulary[int(code) - 1] for code in refit.train.features[:, 1]]
    assert texts == [f"text {int(i)}" for i in refit.train.features[:, 0]]
    assert not refit.test.features[:, 1].any(), "texts of test stay unknown"


def test_images_that_are_read_batch_by_batch(both, tmp_path):
    pixels = {}
    for i in range(24):  # 1.4 MB
        pixels[i] = RNG.integers(0, 256, [120, 160, 3], dtype=np.uint8)
        file = tmp_path / "pets" / ("cat", "dog")[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(tf.io.encode_png(pixels[i]).numpy())
    plain, refit = both(tmp_path / "pets", memory_limit_mb=1)
    assert refit.train.load is not None
    found, held_out = (
        [image.tobytes() for images, _ in evaluation_batches(split, 7) for image in images.numpy()]
        for split in (refit.train, plain.test)
    )
    assert len(found) == 24 - plain.test.size
    assert set(found) == {image.tobytes() for image in pixels.values()} - set(held_out)


class MadeForRefit(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A table in one split."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.Tensor(shape=(100,), dtype=np.float32)
        label = tfds.features.ClassLabel(num_classes=3)
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict({"features": features, "label": label}),
            supervised_keys=("features", "label"),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i, row in enumerate(ROWS):
            yield i, {"features": row, "label": i % 3}


def test_streams_are_read_one_after_the_other(both, tmp_path):
    builder = MadeForRefit(data_dir=str(tmp_path))
    with quiet_tfds():
        builder.download_and_prepare()
    plain, refit = both(builder.data_dir, memory_limit_mb=1)
    assert isinstance(refit.train, StreamSplit)
    # The last 15 % are the test split, the rest is in stored order.
    assert refit.train.size == 2550
    batches = list(evaluation_batches(refit.train, 500))
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), ROWS[:2550])
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), np.arange(2550) % 3)
    assert refit.info.fingerprint != plain.info.fingerprint
    epoch = training_batches(refit.train, batch_size=500, seed=1).take(6)
    seen = np.concatenate([x for x, _ in epoch])
    np.testing.assert_array_equal(np.sort(seen[:, 0]), np.sort(ROWS[:2550, 0]))
