"""New tabletop scenes from the objects of labelled scans.

An object is all vertices of one instance. Objects of several scans are set on the table of one of
them, most of them in contact with each other, and what the camera could not see is taken away.

All scans are taken to be single views from one azimuth (that of the camera, seen from the
objects): an object then shows the sides that face the camera. Mirroring in the vertical plane
through the camera keeps that so, and so, nearly, do moderate yaw angles.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence

import numpy as np

from mtml_tf import files, parallel, program
from mtml_tf.classes import ClassSet
from mtml_tf.scans import contact, preparing, scan
from mtml_tf.scans.visibility import visible
from mtml_tf.scene import Scene

_CELL = 0.005  # m, footprints are compared in squares of this size
_TILE = 0.04  # m, the table is laid in squares of this size
_MARGIN = 0.12  # m, table around the objects
_SHEET = 0.01  # m, within this much of its highest points, an object's top counts as one plane
_MIN_TOP_AREA = 0.004  # m^2, of a top that carries another object
_ATTEMPTS = 20
_COMPOSED = files.FolderKind(
    "composed scenes", "composed_0000.ply", lambda path: path.match("composed_*.ply")
)


@dataclasses.dataclass(frozen=True)
class ComposeConfig:
    """How scenes are composed.

    Attributes:
        touch_probability: an object is set in contact with one that stands already.
        stack_probability: an object is set on top of another whose top is flat and wide; where
            there is none it is set in contact instead. The rest stands free.
        contact_gap: smallest and largest distance of the footprints of two objects in contact, m.
        free_gap: the same for an object that stands free.
        max_yaw_degrees: an object is turned by up to this much either way. Up to 180; at large
            angles it shows its back, which the scan does not have.
        scale: smallest and largest factor of an object's size.
        mirror: half of the objects are mirrored.
        hide: takes away what the camera could not see.
        camera_azimuth_degrees: where the camera stands, seen from the objects, counted from the x
            axis towards y; 90 is on the side of large y.
        camera_elevation_degrees: of the camera above the table, seen from the objects.
        camera_distance: from the middle of the objects, m.
        min_vertices: an object of which fewer are left is dropped.

    Raises:
        ValueError: a value out of range.
    """

    touch_probability: float = 0.7
    stack_probability: float = 0.2
    contact_gap: tuple[float, float] = (0.0, 0.005)
    free_gap: tuple[float, float] = (0.015, 0.08)
    max_yaw_degrees: float = 45.0
    scale: tuple[float, float] = (0.9, 1.1)
    mirror: bool = True
    hide: bool = True
    camera_azimuth_degrees: float = 90.0
    camera_elevation_degrees: float = 45.0
    camera_distance: float = 1.0
    min_vertices: int = 200

    def __post_init__(self) -> None:
        if min(self.touch_probability, self.stack_probability) < 0 or (
            self.touch_probability + self.stack_probability > 1
        ):
            raise ValueError(
                "expected touch_probability and stack_probability of at least 0 and together at "
                f"most 1, found {self.touch_probability} and {self.stack_probability}"
            )
        for name in ("contact_gap", "free_gap", "scale"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise ValueError(f"expected {name} as two ascending lengths, found {low}, {high}")
        if not 0 <= self.max_yaw_degrees <= 180:
            raise ValueError(f"expected max_yaw_degrees in 0..180, found {self.max_yaw_degrees}")


@dataclasses.dataclass(frozen=True, eq=False)
class _Piece:
    """An object: points [n, 3] above z = 0, the middle of its footprint's box at x = y = 0."""

    points: np.ndarray
    colors: np.ndarray
    class_id: int

    def at(self, x: float, y: float, z: float) -> "_Piece":
        return dataclasses.replace(self, points=self.points + np.array([x, y, z]))


def compose_scene(
    scans: Sequence[Scene],
    num_objects: int,
    rng: np.random.Generator,
    classes: ClassSet,
    config: ComposeConfig | None = None,
    name: str = "composed",
) -> Scene:
    """Composes a scene from the objects of labelled scans.

    The table is that of one of the scans, chosen at random; where it has holes or ends too soon,
    squares of it are repeated. Each object is used once before any is used again.

    Args:
        scans: labelled, z up, with the table at one height; at least one has stuff (the table),
            and at least one has an instance of a thing class.
        num_objects: how many objects to place; fewer remain where some are wholly hidden.
        rng: the only source of chance.
        classes: the classes of the scans.
        config: how; `ComposeConfig()` by default.
        name: of the new scene.

    Returns:
        A scene with colors, semantic_ids, and instance_ids 1, 2, ... The table lies at z = 0.

    Raises:
        ValueError: no objects asked for, a scan without labels, or no table or object in them.
    """
    config = config or ComposeConfig()
    if num_objects < 1:
        raise ValueError(f"scene {name}: expected at least 1 object to place, found {num_objects}")
    pool: list[_Piece] = []
    tables: list[Scene] = []
    for source in scans:
        if source.semantic_ids is None or source.instance_ids is None:
            raise ValueError(f"scene {source.name}: expected labels and instances, found none")
        pool += _pieces(source, classes)
        if _table_mask(source, classes).any():
            tables.append(source)
    if not pool or not tables:
        raise ValueError(
            f"scene {name}: expected scans with a table (stuff) and objects (things), found "
            f"{len(tables)} tables and {len(pool)} objects in {[source.name for source in scans]}"
        )
    table = tables[rng.integers(len(tables))]
    rounds = -(-num_objects // len(pool))
    order = np.concatenate([rng.permutation(len(pool)) for _ in range(rounds)])
    placed: list[_Piece] = []
    for index in order[:num_objects]:
        _place(placed, _varied(pool[index], rng, config), rng, config)

    low = np.min([piece.points[:, :2].min(axis=0) for piece in placed], axis=0) - _MARGIN
    high = np.max([piece.points[:, :2].max(axis=0) for piece in placed], axis=0) + _MARGIN
    ground = _lay_table(table, classes, low, high, rng)
    footprint = np.concatenate([_cells(piece.points) for piece in placed if _stands(piece)])
    ground = _without(ground, ~_contains(footprint, _cells(ground.points, unique=False)))
    parts = [ground, *placed]
    if config.hide:
        keep = visible(
            np.concatenate([part.points for part in parts]),
            np.append((low + high) / 2, 0.0),
            config.camera_azimuth_degrees,
            config.camera_elevation_degrees,
            config.camera_distance,
        )
        ends = np.cumsum([len(part.points) for part in parts])[:-1]
        kept = np.split(keep, ends)
        parts = [_without(part, mask) for part, mask in zip(parts, kept, strict=True)]
    ground, *placed = parts
    parts = [ground, *(piece for piece in placed if len(piece.points) >= config.min_vertices)]
    sizes = [len(part.points) for part in parts]
    return Scene(
        name=name,
        # What a scan holds is single precision; so the scene equals what is written of it.
        vertices=np.concatenate([part.points for part in parts]).astype(np.float32).astype(float),
        colors=np.concatenate([part.colors for part in parts]),
        semantic_ids=np.repeat([part.class_id for part in parts], sizes).astype(np.int32),
        instance_ids=np.repeat(np.arange(len(parts)), sizes).astype(np.int32),
    )


def compose_folder(
    input_dir: str | pathlib.Path,
    output_dir: str | pathlib.Path,
    classes: ClassSet,
    num_scenes: int,
    seed: int,
    scenes: Sequence[str] = (),
    objects: tuple[int, int] = (3, 12),
    scans_per_scene: int = 3,
    config: ComposeConfig | None = None,
    num_workers: int = 0,
    overwrite: bool = False,
) -> None:
    """Writes `composed_0000.ply`, ... from the labelled scans of a folder, all or none.

    A scene depends on the seed, its number and the scans, not on the number of workers.

    Args:
        input_dir: folder of labelled PLY files.
        output_dir: folder to write.
        classes: the classes of the scans.
        num_scenes: how many.
        seed: of all chance.
        scenes: stems of the files to take objects from; all where empty.
        objects: smallest and largest number of objects in a scene.
        scans_per_scene: from how many scans the objects of one scene come.
        config: how to compose.
        num_workers: processes; 0 for one a core, 1 for this one.
        overwrite: replaces the folder if it exists.

    Raises:
        ValueError: a missing or bad input, a number out of range, or an output folder that is
            the input or holds anything else.
    """
    if num_scenes < 1 or not 1 <= objects[0] <= objects[1] or scans_per_scene < 1:
        raise ValueError(
            "expected at least 1 scene, 1 scan a scene and an ascending range of objects from 1, "
            f"found {num_scenes}, {scans_per_scene} and {objects[0]} to {objects[1]}"
        )
    paths = preparing.find_scans(input_dir, scenes)
    files.check_apart(output_dir, [input_dir])
    with files.writing_folder(output_dir, overwrite, _COMPOSED) as folder:
        write = functools.partial(
            _write_composed,
            folder=folder,
            paths=paths,
            classes=classes,
            seed=seed,
            objects=objects,
            scans_per_scene=scans_per_scene,
            config=config,
        )
        written = parallel.map_processes(write, range(num_scenes), "scenes", num_workers)
        for _ in program.progress(written, "scenes", num_scenes):
            pass


def _write_composed(
    number: int,
    folder: pathlib.Path,
    paths: Sequence[pathlib.Path],
    classes: ClassSet,
    seed: int,
    objects: tuple[int, int],
    scans_per_scene: int,
    config: ComposeConfig | None,
) -> None:
    rng = np.random.default_rng((seed, number))
    chosen = rng.choice(len(paths), min(scans_per_scene, len(paths)), replace=False)
    name = f"composed_{number:04d}"
    num_objects = int(rng.integers(objects[0], objects[1] + 1))
    scans = [scan.read_scan(paths[index]) for index in chosen]
    scene = compose_scene(scans, num_objects, rng, classes, config, name)
    scan.write_scan(folder / f"{name}.ply", scene)


def _table_mask(source: Scene, classes: ClassSet) -> np.ndarray:
    semantic_ids = np.asarray(source.semantic_ids)
    return (semantic_ids > 0) & ~classes.is_thing(semantic_ids)


def _colors(source: Scene) -> np.ndarray:
    if source.colors is None:
        return np.full((len(source.vertices), 3), 128, np.uint8)
    return source.colors


def _pieces(source: Scene, classes: ClassSet) -> list[_Piece]:
    """Returns the objects of a scan, each set down on z = 0."""
    semantic_ids = np.asarray(source.semantic_ids)
    instance_ids = np.asarray(source.instance_ids) * classes.is_thing(semantic_ids)
    pieces = []
    for instance in np.unique(instance_ids[instance_ids > 0]):
        mine = instance_ids == instance
        points = source.vertices[mine]
        labels, counts = np.unique(semantic_ids[mine], return_counts=True)
        middle = (points[:, :2].min(axis=0) + points[:, :2].max(axis=0)) / 2
        # The lowest hundredth is noise.
        bottom = np.percentile(points[:, 2], 1)
        centred = points - np.append(middle, bottom)
        pieces.append(_Piece(centred, _colors(source)[mine], int(labels[counts.argmax()])))
    return pieces


def _varied(piece: _Piece, rng: np.random.Generator, config: ComposeConfig) -> _Piece:
    """Returns the object mirrored, turned and scaled at random."""
    across = np.radians(config.camera_azimuth_degrees + 90)
    points = piece.points * rng.uniform(*config.scale)
    if config.mirror and rng.random() < 0.5:
        axis = np.array([np.cos(across), np.sin(across), 0.0])
        points = points - 2 * np.outer(points @ axis, axis)
    yaw = np.radians(rng.uniform(-config.max_yaw_degrees, config.max_yaw_degrees))
    turn = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
    flat = points[:, :2] @ turn
    flat = flat - (flat.min(axis=0) + flat.max(axis=0)) / 2
    return dataclasses.replace(piece, points=np.column_stack([flat, points[:, 2]]))


def _place(
    placed: list[_Piece], piece: _Piece, rng: np.random.Generator, config: ComposeConfig
) -> None:
    """Adds `piece` to `placed`: on top of an object there, in contact with one, or free."""
    if not placed:
        placed.append(piece)
        return
    choice = rng.random()
    if choice < config.stack_probability and _stack(placed, piece, rng):
        return
    touch = choice < config.stack_probability + config.touch_probability
    gap = rng.uniform(*(config.contact_gap if touch else config.free_gap))
    standing = np.concatenate([other.points for other in placed])
    for _ in range(_ATTEMPTS):
        target = placed[rng.integers(len(placed))].points[:, :2]
        low, high = target.min(axis=0), target.max(axis=0)
        # Aims off the middle, so that objects meet at corners and along parts of their sides.
        aim = (low + high) / 2 + rng.uniform(-0.35, 0.35, 2) * (high - low)
        angle = rng.uniform(0, 2 * np.pi)
        direction = np.array([np.cos(angle), np.sin(angle)])
        shift = contact.slide_points(standing, piece.points, aim, direction, gap)
        if shift is not None:
            placed.append(piece.at(shift[0], shift[1], 0.0))
            return
    # Beyond everything along x nothing is in the way.
    right = max(other.points[:, 0].max() for other in placed)
    placed.append(piece.at(right + gap - piece.points[:, 0].min(), 0.0, 0.0))


def _stack(placed: list[_Piece], piece: _Piece, rng: np.random.Generator) -> bool:
    """Sets `piece` on a flat, wide top; returns False where there is none that it can rest on."""
    for index in rng.permutation(len(placed)):
        lower = placed[index]
        top = np.percentile(lower.points[:, 2], 98)
        sheet = lower.points[lower.points[:, 2] > top - _SHEET]
        cells = _cells(sheet)
        footprint = len(_cells(lower.points))
        if len(cells) * _CELL**2 < _MIN_TOP_AREA or len(cells) < 0.5 * footprint:
            continue
        height = float(np.median(sheet[:, 2]))
        for _ in range(_ATTEMPTS):
            x, y = (cells[rng.integers(len(cells))] + 0.5) * _CELL
            upper = piece.at(x, y, height)
            mine = _cells(upper.points)
            centre = np.floor(upper.points[:, :2].mean(axis=0) / _CELL).astype(np.int64)
            rests = _contains(cells, mine)
            others = [other for i, other in enumerate(placed) if i != index]
            blocked = any(
                _contains(mine, _cells(other.points[other.points[:, 2] > height - _SHEET])).any()
                for other in others
            )
            if blocked or rests.mean() < 0.4 or not _contains(cells, centre[None])[0]:
                continue
            # What lies under the new object is out of sight, the edge of the top is not.
            under = _contains(mine, _cells(lower.points, unique=False))
            under &= lower.points[:, 2] > top - _SHEET
            placed[index] = _without(lower, ~under)
            placed.append(upper)
            return True
    return False


def _lay_table(
    source: Scene, classes: ClassSet, low: np.ndarray, high: np.ndarray, rng: np.random.Generator
) -> _Piece:
    """Returns a table without holes between `low` [2] and `high` [2], of one scan's squares."""
    mask = _table_mask(source, classes)
    points, colors = source.vertices[mask], _colors(source)[mask]
    labels, counts = np.unique(np.asarray(source.semantic_ids)[mask], return_counts=True)
    points = points - np.array([0.0, 0.0, np.median(points[:, 2])])
    squares, owners, sizes = np.unique(
        np.floor(points[:, :2] / _TILE).astype(np.int64),
        axis=0,
        return_inverse=True,
        return_counts=True,
    )
    members = np.split(np.argsort(owners.reshape(-1), kind="stable"), np.cumsum(sizes)[:-1])
    # A square with much fewer points than usual has a hole or lies at the border.
    full = np.flatnonzero(sizes >= 0.85 * np.percentile(sizes, 90))
    there = {tuple(squares[index]): index for index in full}
    columns, rows = (
        np.arange(int(np.floor(low[axis] / _TILE)), int(np.floor(high[axis] / _TILE)) + 1)
        for axis in (0, 1)
    )
    laid_points, laid_colors = [], []
    for square in np.stack(np.meshgrid(columns, rows, indexing="ij"), axis=-1).reshape(-1, 2):
        index = there.get(tuple(square))
        repeated = index is None
        if index is None:
            index = int(rng.choice(full))
        local = points[members[index]] - np.append(squares[index] * _TILE, 0.0)
        if repeated and rng.random() < 0.5:
            local[:, 0] = _TILE - local[:, 0]
        laid_points.append(local + np.append(square * _TILE, 0.0))
        laid_colors.append(colors[members[index]])
    ground = _Piece(
        np.concatenate(laid_points), np.concatenate(laid_colors), int(labels[counts.argmax()])
    )
    inside = np.all((ground.points[:, :2] >= low) & (ground.points[:, :2] <= high), axis=1)
    return _without(ground, inside)


def _stands(piece: _Piece) -> bool:
    return bool(piece.points[:, 2].min() < 2 * _SHEET)


def _without(piece: _Piece, keep: np.ndarray) -> _Piece:
    return dataclasses.replace(piece, points=piece.points[keep], colors=piece.colors[keep])


def _cells(points: np.ndarray, unique: bool = True) -> np.ndarray:
    """Returns int64 [n, 2] the squares of a footprint, or of each point."""
    cells = np.floor(points[:, :2] / _CELL).astype(np.int64)
    return np.unique(cells, axis=0) if unique else cells


def _contains(cells: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Returns bool [len(wanted)], True where a row of `wanted` is a row of `cells`."""
    stride = 1 << 31
    return np.isin(wanted @ [stride, 1], cells @ [stride, 1])
