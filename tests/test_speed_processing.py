import numpy as np
import pytest
from clock import replace_time

from experiments.speed import processing
from experiments.speed.measuring import Target
from experiments.speed.scenes import RoomSize, make_embedding
from mtml_tf import timing


def test_the_whole_path_writes_masks_and_tells_its_stages(tmp_path, monkeypatch):
    replace_time(monkeypatch, processing, timing, tick=1.0)
    size = RoomSize((24, 24, 12), occupancy=0.12, num_objects=3)
    file = tmp_path / "room.ply"
    processing.write_made_scan(size, 0.1, 2000, file)
    target = Target(2, "at most")
    rows = processing.path_rows(
        processing.WholePath(str(file), 0.1), "tiny", repeats=1, target=target
    )
    assert (rows[0].what, rows[0].target) == ("scan file to masks on disk", target)
    stages = [row.what.removeprefix("of which ") for row in rows[1:]]
    assert stages[:3] == ["read the scan", "voxelize", "network"]
    assert stages[-2:] == ["write the masks", timing.OTHER]
    # Nothing is left out but looks at the clock: before the first stage and after the last.
    assert sum(row.ours for row in rows[1:]) == rows[0].ours - 2
    assert min(row.ours for row in rows[1:]) >= 1
    assert "first took" in rows[0].beside


def test_clusters_from_every_point_tell_how_far_scikit_learn_is_from_itself(tmp_path):
    path = tmp_path / "features.npy"
    np.save(path, make_embedding(np.arange(300) % 4))
    given = processing.Features(path=str(path))
    binned, ours = (processing.build_mean_shift(side, given)() for side in ("plain", "ours"))
    rows = processing.spread_rows(given, binned, ours)
    assert len(rows) == len(processing.BANDWIDTHS)
    assert all(0.9 < row.ours <= 1 and 0.9 < row.plain <= 1 for row in rows)
    assert "against its own binned seeds" in rows[0].beside
    wrong = [np.zeros(300, int)] * len(rows)
    assert processing.spread_rows(given, binned, wrong)[0].ours == 0


def test_a_missing_plain_scoring_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(processing, "REFERENCE", tmp_path / "none.py")
    with pytest.raises(ValueError, match=r"none\.py: expected the plain scoring of the tests"):
        processing.plain_scoring()
