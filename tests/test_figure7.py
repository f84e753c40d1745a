import dataclasses
import pathlib
import struct
import subprocess
import sys

import numpy as np
import raw_scannet
from scenes import CLASSES, FLOOR, box_scene

from experiments import figure7
from mtml_tf.classes import SCANNET20
from mtml_tf.config import NetworkConfig, SegmentConfig
from mtml_tf.data.prepared_folder import write_prepared_folder
from mtml_tf.drawing.pictures import draw_points, instance_colors, side_by_side
from mtml_tf.engines import Engine
from mtml_tf.inference import models
from mtml_tf.network.voxel_network import VoxelNetwork
from mtml_tf.scannet.preparing import Settings, find_scenes
from mtml_tf.scene import Instance

ROOT = pathlib.Path(__file__).resolve().parent.parent


def test_a_found_object_has_the_color_of_the_true_one():
    scene = box_scene(0)
    count = len(scene.coordinates)
    scanned = type(scene)(**{**vars(scene), "vertex_to_voxel": np.arange(count, dtype=np.int32)})
    truth = np.where(scene.instance_ids > 0, scene.semantic_ids * 1000 + scene.instance_ids, 0)
    found = [
        Instance(3, 1.0, np.flatnonzero(scene.instance_ids == number).astype(np.int32))
        for number in np.unique(scene.instance_ids)
        if number
    ]
    wall = np.where(truth == 0, FLOOR * 1000 + 9, 0)
    true, same = figure7.instance_views(scanned, truth + wall, CLASSES, [found[::-1]])
    np.testing.assert_array_equal(true, same)
    np.testing.assert_array_equal(true, instance_colors(scene.instance_ids))


def untrained_run(path):
    """A run folder of a small network as it is before training."""
    config = models.ModelConfig(
        network=NetworkConfig(width=1 / 16, dilations=(1, 1)),
        segment=SegmentConfig(thing_ids=SCANNET20.thing_ids, min_voxels=1),
        classes=SCANNET20,
        voxel_size=0.1,
        has_direction=True,
    )
    network = VoxelNetwork(config.network)
    models.write_model_config(path, config)
    models.write_weights(path, models.LAST, network)
    return path


def test_the_program_draws_a_row_of_six_views_for_each_scene(tmp_path):
    names = ["room0000_00", "room0001_00"]
    corners = np.stack(np.meshgrid([0.05, 0.95], [0.05, 0.95], [0.05]), axis=3).reshape(-1, 3)
    scenes = [
        dataclasses.replace(
            raw_scannet.raw_scene(name),
            vertices=np.concatenate(
                [corners + np.array([0, 0, 0.5 * floor]) for floor in range(3)]
            ),
        )
        for name in names
    ]
    download = raw_scannet.write_download(tmp_path / "raw", val=scenes)
    settings = Settings(str(download), voxel_size=0.1)
    scenes = find_scenes(download, ["val"])
    write_prepared_folder(tmp_path / "data", scenes, settings, Engine(num_workers=1))
    run_dir, picture = untrained_run(tmp_path / "run"), tmp_path / "figure7.png"
    command = [
        *(sys.executable, "-m", "experiments.figure7", f"--data_dir={tmp_path / 'data'}"),
        *(f"--scannet_dir={download}", f"--run_dir={run_dir}", f"--output_png={picture}"),
        "--width=60",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    width, height = struct.unpack(">II", picture.read_bytes()[16:24])
    one_row = [draw_points(corners, np.zeros((4, 3), np.uint8), 60)] * 6
    assert width == side_by_side(one_row).shape[1]
    assert height > 2 * 30
