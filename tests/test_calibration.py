import numpy as np
import pytest
import raw_scannet

from experiments import calibration


def test_labels_and_baselines_are_measured(tmp_path):
    # Two chairs of 120 vertices that touch; one vertex in six is taken for a table (7).
    segments = np.repeat([10, 11, 12, 13, 14, 77], 120)
    scene = raw_scannet.raw_scene("room0000_00", segments=segments)
    download = raw_scannet.write_download(tmp_path / "raw", val=[scene])
    predicted = np.repeat([1, 2, 5, 5, 39, 39], 120)
    predicted[240:480:6] = 7
    (tmp_path / "semantic").mkdir()
    np.savetxt(tmp_path / "semantic" / "room0000_00.txt", predicted, fmt="%d")

    measured = calibration.measure(download, tmp_path / "semantic", "val", ["room0000_00"])

    assert len(measured) == len(calibration.REAL)
    # Vertices stand in pairs 1 m apart: 360 occupied cells on 3592 x 2 x 2.
    assert measured[0] == f"{100 * 360 / (3592 * 4):.1f} %"
    assert measured[1] == "2.0"
    # No two pairs of vertices touch, so that no component has 100 vertices.
    assert measured[2].startswith("0.000 / 0.000")
    # Wall and floor 1, chair 200 of 240 right and none wrong; the pillow counts for nothing.
    assert measured[5] == f"{(1 + 1 + 200 / 240) / 3:.3f}"


def test_a_room_without_predicted_labels_is_told(tmp_path):
    download = raw_scannet.write_download(
        tmp_path / "raw", val=[raw_scannet.raw_scene("room0000_00")]
    )
    with pytest.raises(ValueError, match=r"room0000_00: expected either room0000_00\.txt or"):
        calibration.measure(download, tmp_path / "semantic", "val", ["room0000_00"])
