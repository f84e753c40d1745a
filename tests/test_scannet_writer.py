import dataclasses

import numpy as np
import pytest
from raw_scannet import NYU40, TABLE, raw_scene, write_download

from mtml_tf.scannet.writer import write_raw_scene
from mtml_tf.scans import ply


def test_the_files_have_the_names_and_columns_of_the_real_ones(tmp_path):
    write_download(tmp_path, train=[raw_scene("a")], test=[raw_scene("b")])
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {
        "scannetv2-labels.combined.tsv",
        "scannetv2_train.txt",
        "scannetv2_test.txt",
        "scans/a/a.txt",
        "scans/a/a.aggregation.json",
        "scans/a/a_vh_clean_2.ply",
        "scans/a/a_vh_clean_2.labels.ply",
        "scans/a/a_vh_clean_2.0.010000.segs.json",
        "scans_test/b/b_vh_clean_2.ply",
    }
    header = (tmp_path / "scannetv2-labels.combined.tsv").read_text().splitlines()[0].split("\t")
    assert header[:5] == ["id", "raw_category", "category", "count", "nyu40id"]
    mesh = ply.read_ply(tmp_path / "scans/a/a_vh_clean_2.labels.ply")["vertex"]
    assert mesh.dtype.names == ("x", "y", "z", "red", "green", "blue", "alpha", "label")
    assert mesh["label"].dtype == np.uint16
    np.testing.assert_array_equal(mesh["label"], NYU40)


def test_a_scene_that_exists_is_not_written_again(tmp_path):
    write_raw_scene(tmp_path, raw_scene(), TABLE)
    with pytest.raises(ValueError, match="exists already"):
        write_raw_scene(tmp_path, raw_scene(), TABLE)


def test_a_raw_scene_with_rows_that_do_not_match_is_refused():
    with pytest.raises(ValueError, match=r"expected segments \(12,\), found \(3,\)"):
        dataclasses.replace(raw_scene(), segments=np.zeros(3, int))
