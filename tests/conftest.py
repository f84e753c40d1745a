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


# Files of tests that take long: the first that are begun, so that no process ends alone with one.
LONG = (
    *("test_multiworker", "test_documentation", "test_documented_rooms", "test_speed"),
    *("test_run", "test_predict", "test_replicas", "test_view_in_browser", "test_many_scenes"),
    *("test_labelling", "test_semantic_replicas", "test_predict_semantic"),
)


def pytest_collection_modifyitems(items):
    order = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of five training scenes in three shards, and two for validation in one."""
    from scenes import scenes_of, write_folder

    from mtml_tf.data import writing

    monkeypatch.setattr(writing, "_SCENES_PER_SHARD", 2)
    return write_folder(tmp_path / "data", train=scenes_of(*range(5)), val=scenes_of(7, 8))


@pytest.fixture
def bfloat16():
    """The precision, for a test of it; where the machine does not have it, its refusal is tested.

    Which machine has it, TensorFlow shows only when it runs.
    """
    from mtml_tf.config import NetworkConfig
    from mtml_tf.network import architecture

    if not architecture.has_bfloat16():
        with pytest.raises(ValueError, match="leave --precision at float32: for bfloat16, exp"):
            architecture.build_network(NetworkConfig(3, width=1 / 16), precision="bfloat16")
        pytest.skip("no bfloat16 on this machine")
    return "bfloat16"
