"""Tests of mtml_tf.engines: every engine gives the same, in the same order."""

import importlib.util
import operator
import os
import pathlib
import sys

import pytest
import raw_scannet

from mtml_tf import engines
from mtml_tf.engines import Engine

needs_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None, reason="Apache Beam is installed by itself"
)
# Each engine, and the pool with one process and with several.
EVERY = [
    Engine(num_workers=1),
    Engine(num_workers=2),
    pytest.param(Engine("beam"), marks=needs_beam),
]


@pytest.mark.parametrize("engine", EVERY)
def test_results_come_in_the_order_of_the_items(engine, tmp_path):
    items = list(range(20, 0, -1))
    found = list(engine.map(operator.neg, items, "numbers", tmp_path))
    assert found == [-item for item in items]
    assert list(engine.map(operator.neg, [], "numbers", tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"engine": "spark"}, "expected --engine=pool or beam, found spark"),
        ({"num_workers": -1}, "expected --num_workers of at least 0, found -1"),
        ({"beam_options": "--runner=FlinkRunner"}, "--beam_options together with --engine=beam"),
    ],
)
def test_engines_that_are_none_are_refused(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        Engine(**values)


def test_without_beam_it_is_told_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(ImportError, match=r"--engine=beam needs Apache Beam; install it with pip"):
        next(Engine("beam").map(operator.neg, [1], "numbers", tmp_path))


@needs_beam
def test_the_local_runner_is_named_and_another_one_may_be(tmp_path, monkeypatch):
    import apache_beam

    started = []
    monkeypatch.setattr(
        apache_beam, "Pipeline", lambda options: started.append(options) or _Pipeline()
    )
    for given in ("", "--runner=FlinkRunner --parallelism=4"):
        list(Engine("beam", beam_options=given).map(operator.neg, [], "numbers", tmp_path))
    runners = [options.get_all_options()["runner"] for options in started]
    assert runners == ["FnApiRunner", "FlinkRunner"]


class _Pipeline:
    """A pipeline that does nothing."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def __or__(self, _):
        return self


@needs_beam
def test_workers_that_do_not_see_the_folder_are_told(tmp_path, monkeypatch):
    import apache_beam

    monkeypatch.setattr(apache_beam, "Pipeline", lambda options: _Pipeline())
    with pytest.raises(ValueError, match=r"all of Beam's workers see, found no result of 7 there"):
        list(Engine("beam").map(operator.neg, [7], "numbers", tmp_path))


@needs_beam
def test_a_pipeline_that_fails_is_told_in_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="expected Apache Beam to work on numbers, found: "):
        list(Engine("beam").map(operator.neg, ["no number"], "numbers", tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("engine", EVERY[1:])
def test_scans_are_prepared_to_the_same_bytes(engine, tmp_path):
    names = [f"scene{number:04d}_00" for number in range(4)]
    scenes = [raw_scannet.raw_scene(name) for name in names]
    source = raw_scannet.write_download(tmp_path / "raw", train=scenes)
    mend = raw_scannet.spoil(source, names[2])
    for output, by in (("one", EVERY[0]), ("other", engine)):
        with pytest.raises(ValueError, match="expected 4 scenes to be prepared, found 1 that"):
            raw_scannet.prepare(source, tmp_path / output, engine=by)
    reports = [raw_scannet.report_of(tmp_path / output) for output in ("one", "other")]
    assert reports[0] == reports[1]
    assert [scene["status"] for scene in reports[0]["train"].values()].count("failed") == 1
    mend()
    for output, by in (("one", EVERY[0]), ("other", engine)):
        raw_scannet.prepare(source, tmp_path / output, engine=by, overwrite=True)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "other")


def bytes_of(folder):
    paths = [path for path in pathlib.Path(folder).rglob("*") if path.is_file()]
    return {os.path.relpath(path, folder): path.read_bytes() for path in sorted(paths)}


def test_a_second_call_for_an_item_does_no_harm(tmp_path):
    step = engines._Step(operator.neg, str(tmp_path))
    for _ in range(2):
        step((3, 5))
    assert (tmp_path / "3.json").read_text() == "-5"
