"""Simulated scanned rooms in the raw layout of ScanNet, with simulated semantic predictions.

<output_dir>/rooms.json                the settings, so that making can be taken up again
<output_dir>/scannetv2-labels.combined.tsv, scannetv2_train.txt, scannetv2_val.txt
<output_dir>/scans/<scene>/...         see `scannet.layout`
<output_dir>/semantic/<scene>.txt      predicted NYU40 id of every vertex
"""

import dataclasses
import functools
import json
import pathlib

import numpy as np

from mtml_tf import files, parallel, program
from mtml_tf.classes import SCANNET20
from mtml_tf.rooms.camera import ScanSettings
from mtml_tf.rooms.catalogue import Catalogue
from mtml_tf.rooms.furniture import LABELS
from mtml_tf.rooms.labeller import check_strength, encode_labels, predict_labels
from mtml_tf.rooms.layout import RoomSettings, furnish
from mtml_tf.rooms.light import LightSettings
from mtml_tf.rooms.oversegment import over_segment
from mtml_tf.rooms.paint import PaintSettings
from mtml_tf.rooms.scanner import Scan, scan_room
from mtml_tf.scannet import layout, writer
from mtml_tf.scannet.layout import RawGroup

Array = np.ndarray

SEMANTIC = "semantic"
_DESCRIPTION = "rooms.json"
# NYU40's names of the classes that the 20 of ScanNet lack.
_OTHER_NAMES = {
    **{15: "shelves", 17: "dresser", 18: "pillow", 20: "floor mat", 21: "clothes", 22: "ceiling"},
    **{23: "books", 25: "television", 27: "towel", 29: "box", 30: "whiteboard"},
    **{32: "night stand", 35: "lamp", 37: "bag", 38: "otherstructure", 40: "otherprop"},
}


@dataclasses.dataclass(frozen=True)
class MakingSettings:
    """Everything that a set of rooms is made of.

    Attributes:
        seed: of the set; a scene depends on it and on the scene's number only.
        room: how rooms are furnished.
        scan: how they are scanned.
        light: how much the light differs from room to room.
        paint: how often pieces are painted otherwise than they were built.
        label_noise: strength of the simulated semantic network's errors.
        catalogue: models of furniture that rooms are furnished with.

    Raises:
        ValueError: a strength below 0.
    """

    seed: int = 0
    room: RoomSettings = dataclasses.field(default_factory=RoomSettings)
    scan: ScanSettings = dataclasses.field(default_factory=ScanSettings)
    light: LightSettings = dataclasses.field(default_factory=LightSettings)
    paint: PaintSettings = dataclasses.field(default_factory=PaintSettings)
    label_noise: float = 1.0
    catalogue: Catalogue = dataclasses.field(default_factory=Catalogue)

    def __post_init__(self) -> None:
        check_strength(self.label_noise)


def scene_name(number: int) -> str:
    """Returns the name of a room: room0007_00, as ScanNet names its scenes."""
    return f"room{number:04d}_00"


def make_room(number: int, settings: MakingSettings) -> tuple[writer.RawScene, Array]:
    """Furnishes, scans, over-segments and labels one room.

    Args:
        number: of the room in the set.
        settings: what the set is made of.

    Returns:
        The scene as ScanNet stores it, turned by a random angle about the vertical axis, and int32
        [N], the NYU40 id that the simulated semantic network gives each vertex.
    """
    seeds = np.random.SeedSequence((settings.seed, number)).generate_state(4)
    name = scene_name(number)
    room = furnish(name, int(seeds[0]), settings.room, settings.catalogue)
    scan = scan_room(room, int(seeds[1]), settings.scan, settings.light, settings.paint)
    segments = over_segment(scan.vertices, scan.faces)
    pieces = _piece_of_segment(scan, segments)
    labels = [piece.label for piece in room.pieces]
    class_ids = np.array([LABELS[label] for label in labels], np.int32)
    class_ids[~np.isin(class_ids, SCANNET20.ids)] = 0
    rng = np.random.default_rng(seeds[2])
    predicted = predict_labels(
        scan.vertices, class_ids[pieces], pieces + 1, settings.label_noise, rng
    )

    angle = np.random.default_rng(seeds[3]).uniform(0, 2 * np.pi)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    groups = tuple(
        RawGroup(row, labels[piece], tuple(np.unique(segments[pieces == piece])))
        for row, piece in enumerate(np.unique(pieces))
    )
    raw = writer.RawScene(
        name=name,
        vertices=(scan.vertices @ turn[:3, :3].T).astype(np.float32),
        colors=scan.colors,
        faces=scan.faces,
        segments=segments,
        groups=groups,
        axis_alignment=turn.T,
    )
    return raw, predicted


def _piece_of_segment(scan: Scan, segments: Array) -> Array:
    """Returns int32 [N], for each vertex the piece that most of its segment belongs to.

    ScanNet's annotators choose whole segments too: where one runs over two objects, so does an
    object's annotation.
    """
    _, rows = np.unique(segments, return_inverse=True)
    rows = rows.reshape(-1)
    num_pieces = int(scan.piece_ids.max()) + 1
    votes = np.zeros((rows.max() + 1, num_pieces), np.int64)
    np.add.at(votes, (rows, scan.piece_ids), 1)
    return votes.argmax(axis=1)[rows].astype(np.int32)


def make_rooms(
    output_dir: str | pathlib.Path,
    num_scenes: int,
    num_val: int,
    settings: MakingSettings,
    num_workers: int = 0,
) -> None:
    """Makes a set of rooms, or goes on with it: scenes that are there are not made again.

    The lists of the splits come last: a set that has them is whole.

    Args:
        output_dir: folder of the set.
        num_scenes: how many rooms.
        num_val: how many of them, the last, make the split `val`; the others are `train`.
        settings: what the set is made of.
        num_workers: processes; 0 for one a core, 1 for this one. The rooms don't
            depend on it.

    Raises:
        ImportError: Open3D or its system library is missing.
        ValueError: a folder with rooms of other settings, or with anything else; no rooms, or more
            validation rooms than rooms; a room that can't be scanned, or a process that died.
    """
    output_dir = pathlib.Path(output_dir)
    if num_scenes < 1:
        raise ValueError(f"expected at least 1 room, found {num_scenes}")
    if not 0 <= num_val <= num_scenes:
        raise ValueError(f"expected 0 to {num_scenes} validation rooms, found {num_val}")
    told = dataclasses.asdict(dataclasses.replace(settings, catalogue=Catalogue()))
    told["catalogue"] = settings.catalogue.fingerprint
    description = json.dumps({"num_scenes": num_scenes, "num_val": num_val, **told}, indent=1)
    _claim(output_dir, description + "\n")
    if not (output_dir / layout.LABEL_TABLE).exists():
        names = {**dict(zip(SCANNET20.ids, SCANNET20.names, strict=True)), **_OTHER_NAMES}
        writer.write_label_table(output_dir / layout.LABEL_TABLE, LABELS, names)
    make = functools.partial(_make_and_write, output_dir=output_dir, settings=settings)
    missing = [n for n in range(num_scenes) if not (output_dir / _semantic_path(n)).exists()]
    made = parallel.map_processes(make, missing, "rooms", num_workers)
    for _ in program.progress(made, "rooms", len(missing)):
        pass
    names_in_order = [scene_name(number) for number in range(num_scenes)]
    first_val = num_scenes - num_val
    for split, members in (
        ("train", names_in_order[:first_val]),
        ("val", names_in_order[first_val:]),
    ):
        if not (output_dir / layout.SPLIT_LIST.format(split=split)).exists():
            writer.write_split_list(output_dir, split, members)


def _claim(output_dir: pathlib.Path, description: str) -> None:
    """Writes the description into a new folder; refuses a folder of something else."""
    path = output_dir / _DESCRIPTION
    if output_dir.exists() and not output_dir.is_dir():
        raise ValueError(f"{output_dir}: expected a folder of rooms, found a file of that name")
    if path.exists():
        if path.read_text(encoding="utf-8") != description:
            raise ValueError(
                f"{path}: expected the settings that are asked for, found others; choose another "
                "folder"
            )
    elif output_dir.is_dir() and any(output_dir.iterdir()):
        raise ValueError(
            f"{output_dir}: expected an empty folder or one of rooms, found other files; choose "
            "another folder"
        )
    else:
        files.write_text(path, description)


def _semantic_path(number: int) -> str:
    return f"{SEMANTIC}/{scene_name(number)}.txt"


def _make_and_write(number: int, output_dir: pathlib.Path, settings: MakingSettings) -> None:
    raw, predicted = make_room(number, settings)
    scans_dir = output_dir / layout.SCANS
    if not (scans_dir / raw.name).exists():
        writer.write_raw_scene(scans_dir, raw, LABELS)
    files.write_text(output_dir / _semantic_path(number), encode_labels(predicted))
