"""Furniture models of real shape and size: the catalogues of Sweet Home 3D, where installed.

A catalogue is a zip, `<name>.sh3f`: `PluginFurnitureCatalog.properties` tells the size of each
model and where in the zip its OBJ file lies. What a model is called in the annotation, and where
it stands, is told by `models.csv` beside this module, which was made by hand.
"""

import csv
import dataclasses
import functools
import hashlib
import itertools
import math
import pathlib
import posixpath
import re
import zipfile
from collections.abc import Collection

import numpy as np
from absl import logging

from mtml_tf import archives, files
from mtml_tf.rooms.mesh import Mesh

Array = np.ndarray
Rng = np.random.Generator

# Where Debian's package sweethome3d-furniture puts them.
INSTALLED_DIR = "/usr/share/sweethome3d/furniture"
# Where models stand; what is "out" is in the table, so that it is known to have been looked at.
PLACES = ("floor", "wall", "top", "ceiling", "out")

_TABLE = pathlib.Path(__file__).with_name("models.csv")
_PROPERTIES = "PluginFurnitureCatalog.properties"
_PROPERTY = re.compile(r"(\w+)#(\d{1,9})\s*=\s*(.*)")
_EXPECTED = "a zip of furniture"
_MOST_BYTES = 100_000_000  # of a file in a zip, unpacked; the largest model has 20 million
_LARGEST = 10.0  # metres, no piece of furniture is larger
_CELL = 0.015  # metres, vertices of a mesh nearer than this become one
_MOST_TRIANGLES = 4000
_GREY = (160, 160, 160)


@dataclasses.dataclass(frozen=True)
class Model:
    """A model of a catalogue.

    Attributes:
        path: the catalogue.
        id: as in its properties, such as "Scopia#chair3".
        obj: the model's file in the zip.
        label: what it is called in the annotation.
        place: where it stands, one of `PLACES`.
        size: width, depth and height, metres.
        elevation: of what hangs, metres.
        rotation: nine numbers, the rows of a matrix that turns the model upright.
    """

    path: str
    id: str
    obj: str
    label: str
    place: str
    size: tuple[float, ...]
    elevation: float
    rotation: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """The models that rooms are furnished with; none by default.

    Attributes:
        models: in the order of `models.csv`.
        fingerprint: the same for the same files, wherever they lie; empty for no models.
    """

    models: tuple[Model, ...] = ()
    fingerprint: str = ""

    def draw(
        self, rng: Rng, labels: Collection[str], places: Collection[str] = PLACES
    ) -> tuple[str, Mesh] | None:
        """Returns label and mesh of a model at random, or None where none fits.

        A model that can't be read is passed over, and the log says so.

        Args:
            rng: where the choice comes from.
            labels: what it may be called.
            places: where it may stand.
        """
        fitting = [m for m in self.models if m.label in labels and m.place in places]
        for row in rng.permutation(len(fitting)):
            mesh = _mesh_or_none(fitting[row])
            if mesh is not None:
                return fitting[row].label, mesh
        return None


def find_catalogue(furniture_dir: str) -> Catalogue:
    """Returns the catalogue of a folder, or the installed one, or none, and logs which.

    Args:
        furniture_dir: folder of .sh3f files; empty for Debian's, where it is installed.

    Raises:
        ValueError: a folder without catalogues, or a catalogue that can't be read.
    """
    if not furniture_dir and not any(pathlib.Path(INSTALLED_DIR).glob("*.sh3f")):
        logging.info(
            "rooms are furnished with plain boxes; for 400 models of real furniture run 'apt-get "
            "install sweethome3d-furniture'"
        )
        return Catalogue()
    catalogue = read_catalogue(furniture_dir or INSTALLED_DIR)
    logging.info("rooms are furnished with %d models", len(catalogue.models))
    return catalogue


def read_catalogue(furniture_dir: str | pathlib.Path, table: pathlib.Path = _TABLE) -> Catalogue:
    """Returns the models of all catalogues in a folder that the table knows.

    Args:
        furniture_dir: folder of .sh3f files.
        table: CSV with the columns model, label and place.

    Raises:
        ValueError: no catalogue in the folder, or one that can't be read.
    """
    paths = sorted(pathlib.Path(furniture_dir).glob("*.sh3f"))
    if not paths:
        raise ValueError(f"{furniture_dir}: expected catalogues (*.sh3f), found none")
    with open(table, encoding="utf-8", newline="") as file:
        uses = {row["model"]: (row["label"], row["place"]) for row in csv.DictReader(file)}
    order = {name: row for row, name in enumerate(uses)}
    digest = hashlib.sha256(table.read_bytes())
    models: dict[str, Model] = {}
    for path in paths:
        with archives.open_zip(path, _EXPECTED) as archive:
            for info in archive.infolist():
                digest.update(f"{info.filename} {info.CRC} {info.file_size}\n".encode())
            entries = _read_properties(path, archive)
        for number, entry in sorted(entries.items()):
            name = entry.get("id", "")
            label, place = uses.get(name, ("", "out"))
            if place != "out":
                models[name] = _model(path, number, entry, label, place)
    chosen = sorted(models.values(), key=lambda model: order[model.id])
    return Catalogue(tuple(chosen), digest.hexdigest()[:16])


def _read_entry(path: pathlib.Path, archive: zipfile.ZipFile, name: str) -> str:
    """Returns a file of the zip as Latin-1 text, of which OBJ and properties files are."""
    return archives.read_entry(path, archive, name, _MOST_BYTES).decode("latin-1")


def _read_properties(path: pathlib.Path, archive: zipfile.ZipFile) -> dict[int, dict[str, str]]:
    entries: dict[int, dict[str, str]] = {}
    for line in _read_entry(path, archive, _PROPERTIES).splitlines():
        if found := _PROPERTY.fullmatch(line.strip()):
            entries.setdefault(int(found[2]), {})[found[1]] = found[3]
    return entries


def _model(path: pathlib.Path, number: int, entry: dict[str, str], label: str, place: str) -> Model:
    """Returns a model by its properties, which are in centimetres."""
    try:
        size = tuple(float(entry[key]) / 100 for key in ("width", "depth", "height"))
        elevation = float(entry.get("elevation", 0)) / 100
        rotation = tuple(map(float, entry.get("modelRotation", "1 0 0 0 1 0 0 0 1").split()))
        if not (all(0 < edge < _LARGEST for edge in size) and abs(elevation) < _LARGEST):
            raise ValueError(f"a size of {size} m at {elevation} m")
        if len(rotation) != 9 or not all(map(math.isfinite, rotation)):
            raise ValueError(f"a modelRotation {rotation}")
        obj = entry["model"].lstrip("/")
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{path}: {_PROPERTIES}, number {number}: expected model, width, depth and height of "
            f"furniture, found {files.shown(str(error))}"
        ) from error
    return Model(str(path), entry["id"], obj, label, place, size, elevation, rotation)


@functools.cache
def _mesh_or_none(model: Model) -> Mesh | None:
    """Returns the mesh of a model, kept for the next room of this process."""
    try:
        return read_mesh(model)
    except ValueError as error:
        logging.warning("left out a model of furniture: %s", error)
        return None


def read_mesh(model: Model) -> Mesh:
    """Returns a model as this package's pieces are: metres, z up, its front towards -y.

    Vertices are thinned. What stands is centred and on z = 0; what hangs is at its elevation and
    has its back at y = 0.

    Raises:
        ValueError: a model that can't be read.
    """
    path = pathlib.Path(model.path)
    with archives.open_zip(path, _EXPECTED) as archive:
        text = _read_entry(path, archive, model.obj)
        colors = {}
        for name in re.findall(r"^mtllib[ \t]+(.+)$", text, re.MULTILINE):
            folder = posixpath.dirname(model.obj)
            library = posixpath.normpath(posixpath.join(folder, name.strip()))
            if library in archive.namelist():
                colors.update(_read_colors(_read_entry(path, archive, library)))
    vertices, faces, face_colors = _parse_obj(f"{path}: {files.shown(model.obj)}", text, colors)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite then is refused
        vertices = vertices @ np.reshape(model.rotation, (3, 3)).T
        vertices = vertices[:, [0, 2, 1]] * (1, -1, 1)  # y up and the front towards z, in the OBJ
        used = vertices[np.unique(faces)]
        low, extent = used.min(axis=0), np.maximum(np.ptp(used, axis=0), 1e-9)
        vertices = (vertices - low) / extent * model.size
    if not np.isfinite(vertices[np.unique(faces)]).all():
        raise ValueError(
            f"{path}: {files.shown(model.obj)}: expected finite coordinates, found others"
        )
    width, depth, _ = model.size
    back = depth if model.place == "wall" else depth / 2
    placed = vertices - (width / 2, back, -model.elevation)
    thinned = _thinned(Mesh(placed, faces, face_colors))
    if not len(thinned.faces):
        raise ValueError(
            f"{path}: {files.shown(model.obj)}: expected a surface, found less than {_CELL} m of it"
        )
    return thinned


def _read_colors(text: str) -> dict[str, tuple[int, ...]]:
    """Returns the diffuse colour of each material of an MTL file that tells one."""
    colors, name = {}, ""
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["newmtl"]:
            name = " ".join(words[1:])
        elif words[:1] == ["Kd"]:
            try:
                values = np.array([float(word) for word in words[1:4]])
                colors[name] = tuple(int(v) for v in 255 * np.clip(np.nan_to_num(values), 0, 1))
            except ValueError:
                continue  # a colour less
    return {name: color for name, color in colors.items() if len(color) == 3}


def _parse_obj(
    place: str, text: str, colors: dict[str, tuple[int, ...]]
) -> tuple[Array, Array, Array]:
    """Returns float64 [V, 3] vertices, int32 [F, 3] triangles and uint8 [F, 3] their colours."""
    places: list[list[float]] = []
    faces: list[tuple[int, int, int]] = []
    shades: list[tuple[int, ...]] = []
    color: tuple[int, ...] = _GREY
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        try:
            if words[:1] == ["v"]:
                x, y, z = words[1:4]
                places.append([float(x), float(y), float(z)])
            elif words[:1] == ["f"]:
                rows = [int(word.partition("/")[0]) for word in words[1:]]
                rows = [row - 1 if row > 0 else len(places) + row for row in rows]
                if min(rows, default=0) < 0:
                    raise ValueError(f"a corner {line.strip()!r} before the first vertex")
                # A face of two corners is a line, and no surface.
                for second, third in itertools.pairwise(rows[1:]):
                    faces.append((rows[0], second, third))
                    shades.append(color)
            elif words[:1] == ["usemtl"]:
                color = colors.get(" ".join(words[1:]), _GREY)
        except ValueError as error:
            raise ValueError(
                f"{place}: line {number}: expected a vertex or a face, found "
                f"{files.shown(str(error))}"
            ) from error
    if not faces or max(map(max, faces)) >= len(places):
        raise ValueError(
            f"{place}: expected triangles of the file's vertices, found none or others"
        )
    return np.array(places), np.array(faces, np.int32), np.array(shades, np.uint8)


def _thinned(mesh: Mesh) -> Mesh:
    """Returns the mesh with one vertex in each cell; larger cells where it has many triangles."""
    used, faces = np.unique(mesh.faces, return_inverse=True)
    places, faces = mesh.vertices[used], faces.reshape(-1, 3)
    cell = _CELL
    while True:
        keys = np.floor((places - places.min(axis=0)) / cell).astype(np.int64)
        # As single numbers, which sort faster than rows; no model has 10,000 cells along an edge.
        _, row, count = np.unique(keys @ (10**8, 10**4, 1), return_inverse=True, return_counts=True)
        corners = np.sort(row.reshape(-1)[faces], axis=1)
        solid = np.flatnonzero((corners[:, 0] < corners[:, 1]) & (corners[:, 1] < corners[:, 2]))
        _, first = np.unique(corners[solid] @ (len(count) ** 2, len(count), 1), return_index=True)
        kept = np.sort(solid[first])
        if len(kept) <= _MOST_TRIANGLES:
            break
        cell *= 1.3
    means = [np.bincount(row.reshape(-1), places[:, axis]) / count for axis in range(3)]
    return Mesh(
        np.stack(means, axis=1), row.reshape(-1)[faces[kept]].astype(np.int32), mesh.colors[kept]
    )
