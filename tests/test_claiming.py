"""Tests of mtml_tf.inference.claiming: one writer, the same settings, a report a split."""

import json

import pytest

from mtml_tf import files
from mtml_tf.inference.claiming import claimed, encode_scene, take_report, write_report
from mtml_tf.scoring.folders import is_complete

SETTINGS = {"model": "a", "views": 1}
KINDS = [
    files.FolderKind("notes", "settings.json", lambda _: True, settings="settings.json"),
    files.FolderKind("pages", "predictions.json", lambda _: True, settings="predictions.json"),
]


def claim(folder, settings=SETTINGS, overwrite=False, kind=KINDS[0]):
    return claimed(folder, settings, overwrite, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_settings_go_on_with_a_folder_and_others_do_not(tmp_path, kind):
    folder = tmp_path / "out"
    with claim(folder, kind=kind):
        (folder / "scene.txt").touch()
    assert json.loads((folder / kind.settings).read_text()) == SETTINGS
    with claim(folder, kind=kind):
        assert (folder / "scene.txt").exists()
    with pytest.raises(ValueError, match=r"of the same 'views' to go on with, found 1 in .* of 3"):
        claim(folder, {**SETTINGS, "views": 3}, kind=kind).__enter__()
    with claim(folder, {**SETTINGS, "views": 3}, overwrite=True, kind=kind):
        assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == [
            kind.settings
        ]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_has_one_writer(tmp_path, overwrite):
    with claim(tmp_path / "out"):
        (tmp_path / "out" / "scene.txt").touch()
        with pytest.raises(ValueError, match=r"out: expected a folder that nobody writes, found"):
            claim(tmp_path / "out", overwrite=overwrite).__enter__()
        assert (tmp_path / "out" / "scene.txt").exists()
    with claim(tmp_path / "out"):
        pass


def test_a_report_tells_of_each_scene_of_each_split(tmp_path):
    doubted = encode_scene("predicted", "it looks strange")
    write_report(tmp_path, "val", SETTINGS, ["a", "b", "c"], {"b": "it is cut"}, {"c": doubted})
    write_report(tmp_path, "train", SETTINGS, ["d"], {})
    assert json.loads((tmp_path / "report.json").read_text()) == {
        "val": {
            "settings": SETTINGS,
            "scenes": {
                "a": {"status": "predicted", "reasons": []},
                "b": {"status": "failed", "reasons": ["it is cut"]},
                "c": {"status": "predicted", "reasons": ["it looks strange"]},
            },
        },
        "train": {
            "settings": SETTINGS,
            "scenes": {"d": {"status": "predicted", "reasons": []}},
        },
    }


def test_what_a_report_tells_of_a_split_is_taken_out_until_it_is_true_again(tmp_path):
    write_report(tmp_path, "val", SETTINGS, ["a"], {"a": "it is cut"})
    write_report(tmp_path, "train", SETTINGS, ["b"], {})
    assert take_report(tmp_path, "val") == {"a": encode_scene("failed", "it is cut")}
    assert list(json.loads((tmp_path / "report.json").read_text())) == ["train"]
    assert take_report(tmp_path, "val") == {}
    assert list(take_report(tmp_path, "train")) == ["b"]
    assert not (tmp_path / "report.json").exists()
    (tmp_path / "predictions.json").touch()
    assert not is_complete(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"val": 3}', '{"val": {"scenes": []}}'])
def test_a_damaged_report_is_written_anew(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    assert take_report(tmp_path, "val") == {}
    (tmp_path / "report.json").write_text(text)
    write_report(tmp_path, "val", SETTINGS, ["a"], {})
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["val"]["scenes"] == {"a": {"status": "predicted", "reasons": []}}
