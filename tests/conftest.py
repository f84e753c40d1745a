"""What all tests share: quiet, repeatable, on the CPU and few threads."""

import os

import hypothesis
import pytest

# Set before TensorFlow is imported, and inherited by the programs that tests start. The tests
# compare CPU results to the bit; CUDA_VISIBLE_DEVICES=0 in the environment tries a GPU instead.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
    os.environ.setdefault(threads, "1")

hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of five training scenes in three shards, and two for validation in one."""
    from scenes import scenes_of, write_folder

    from mtml_tf.data import writing

    monkeypatch.setattr(writing, "_SCENES_PER_SHARD", 2)
    return write_folder(tmp_path / "data", train=scenes_of(*range(5)), val=scenes_of(7, 8))
