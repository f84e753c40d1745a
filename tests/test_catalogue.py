"""Catalogues of furniture, small ones that are written here."""

import csv
import zipfile

import numpy as np
import pytest

from mtml_tf.rooms import catalogue, furniture, layout

CUBE = """mtllib cube.mtl
{vertices}
usemtl red
f 1/1/1 2/2/1 4/4/1 3/3/1
f 5 6 8 7
f -8 -7 -3 -4
usemtl none
f 3 4 8 7
f 1 3 7 5
f 2 4 8 6
l 1 2
f 1 2
"""
MTL = "newmtl red\nKd 1.0 0.5 0\nnewmtl bad\nKd spectral file.rfl\n"
# x is 1 wide, y (up) 2, z (the front) 3: the corner numbers count z, then y, then x.
CORNERS = [(x, y, z) for x in (0, 1) for y in (0, 2) for z in (0, 3)]
IDS = ("Scopia#chair3", "Scopia#maceta", "Scopia#bathroom3")


def obj(corners=CORNERS):
    return CUBE.format(vertices="\n".join("v {} {} {}".format(*corner) for corner in corners))


def properties(entries):
    lines = ["# a comment", "id=furniture"]
    for number, entry in enumerate(entries, 1):
        told = {"model": "/cube/cube.obj", "width": 50, "depth": 60, "height": 90, **entry}
        lines += [f"{key}#{number}={value}" for key, value in told.items()]
    return "\n".join(lines)


def write_catalogue(folder, entries=None, files=None, name="Small.sh3f"):
    entries = [{"id": name} for name in IDS] if entries is None else entries
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("PluginFurnitureCatalog.properties", properties(entries))
        for path, text in {"cube/cube.obj": obj(), "cube/cube.mtl": MTL, **(files or {})}.items():
            archive.writestr(path, text)
    return folder


def only(folder):
    (model,) = catalogue.read_catalogue(folder).models
    return model


def test_the_table_names_labels_and_places_that_there_are():
    with open(catalogue._TABLE, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["model"] for row in rows}) == len(rows) > 600
    assert {row["place"] for row in rows} == set(catalogue.PLACES)
    for row in rows:
        assert (row["place"] == "out") == (row["label"] == "")
        assert row["place"] == "out" or row["label"] in furniture.LABELS


def test_a_model_is_upright_of_its_size_and_of_its_colours(tmp_path):
    model = only(write_catalogue(tmp_path, [{"id": "Scopia#chair3"}]))
    assert (model.label, model.place) == ("chair", "floor")
    mesh = catalogue.read_mesh(model)
    np.testing.assert_allclose(mesh.low, (-0.25, -0.3, 0.0))
    np.testing.assert_allclose(mesh.high, (0.25, 0.3, 0.9))
    assert len(mesh.faces) == 12
    assert {tuple(color) for color in mesh.colors} == {(255, 127, 0), catalogue._GREY}


def test_the_front_of_a_model_is_towards_low_y(tmp_path):
    # A chair whose back leans on z = 0: its front is at high z, as the catalogues have it.
    corners = [(x, y if z == 0 else y / 4, z) for x, y, z in CORNERS]
    folder = write_catalogue(tmp_path, [{"id": IDS[0]}], {"cube/cube.obj": obj(corners)})
    vertices = catalogue.read_mesh(only(folder)).vertices
    assert vertices[np.argmax(vertices[:, 2]), 1] == pytest.approx(0.3)


def test_what_hangs_has_its_back_at_the_wall(tmp_path):
    entry = {"id": "Scopia#bathroom3", "elevation": 42.0}
    mesh = catalogue.read_mesh(only(write_catalogue(tmp_path, [entry])))
    np.testing.assert_allclose((mesh.high[1], mesh.low[2]), (0.0, 0.42), atol=1e-12)


def test_a_lying_model_is_turned_upright_before_it_is_scaled(tmp_path):
    entry = {"id": IDS[0], "modelRotation": "1 0 0 0 0 1 0 -1 0"}
    corners = [(x, y if z == 0 else y / 4, z) for x, y, z in CORNERS]
    folder = write_catalogue(tmp_path, [entry], {"cube/cube.obj": obj(corners)})
    vertices = catalogue.read_mesh(only(folder)).vertices
    # z has become up, and what was up has become the back: high z is where y was low.
    np.testing.assert_allclose(np.ptp(vertices, axis=0), (0.5, 0.6, 0.9))
    assert np.ptp(vertices[vertices[:, 2] > 0.8, 1]) < 0.2


def test_a_fine_mesh_is_thinned(tmp_path):
    x, y = np.meshgrid(np.linspace(0, 1, 150), np.linspace(0, 1, 150))
    places = np.column_stack([x.ravel(), y.ravel(), np.sin(9 * x).ravel()])
    row = np.arange(150 * 150).reshape(150, 150)[:-1, :-1].ravel() + 1
    text = "\n".join("v {} {} {}".format(*place) for place in places)
    text += "\n" + "\n".join(f"f {a} {a + 1} {a + 151} {a + 150}" for a in row)
    folder = write_catalogue(tmp_path, [{"id": IDS[0]}], {"cube/cube.obj": text})
    mesh = catalogue.read_mesh(only(folder))
    assert 1000 < len(mesh.faces) <= 4000
    np.testing.assert_allclose(np.ptp(mesh.vertices, axis=0), (0.5, 0.6, 0.9), atol=0.05)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v 0 0\n", r"cube\.obj: line 1: expected a vertex or a face, found not enough values"),
        ("v 0 0 0\nf 1 x 3\n", r"cube\.obj: line 2: expected a vertex or a face, found invalid"),
        ("v 0 0 0\nf 1 0 -4\n", r"line 2: expected a vertex or a face, found a corner"),
        ("v 0 0 0\nf 1 2 3\n", r"cube\.obj: expected triangles of the file's vertices"),
        ("v 0 0 0\n", r"cube\.obj: expected triangles of the file's vertices, found none"),
        (f"v 0 0 0\nv nan 1 0\nv 1 1 {1e308}\nf 1 2 3", r"cube\.obj: expected finite coordinates"),
        ("v 0 0 0\nv 0 0 0\nv 0 0 0\nf 1 2 3", r"cube\.obj: expected a surface, found less"),
    ],
)
def test_a_model_that_cannot_be_read_is_named_and_left_out(text, message, tmp_path):
    folder = write_catalogue(tmp_path, [{"id": IDS[0]}], {"cube/cube.obj": text})
    with pytest.raises(ValueError, match=r"Small\.sh3f: .*" + message):
        catalogue.read_mesh(only(folder))
    assert catalogue.read_catalogue(folder).draw(np.random.default_rng(0), ("chair",)) is None


def test_a_missing_or_damaged_file_of_a_zip_is_named(tmp_path):
    folder = write_catalogue(tmp_path, [{"id": IDS[0], "model": "../../etc/passwd"}])
    with pytest.raises(ValueError, match=r"Small\.sh3f: expected a file \.\./\.\./etc/passwd in"):
        catalogue.read_mesh(only(folder))
    path = folder / "Small.sh3f"
    path.write_bytes(path.read_bytes().replace(b"usemtl red", b"usemtl rad"))
    write_catalogue(tmp_path, [{"id": IDS[0]}])
    path.write_bytes(path.read_bytes().replace(b"usemtl red", b"usemtl rad"))
    with pytest.raises(ValueError, match=r"cube\.obj: expected a whole file, found 'Bad CRC-32"):
        catalogue.read_mesh(only(folder))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"width": "wide"}, "number 1: expected model, width, .* found could not convert"),
        ({"depth": -3}, r"number 1: .* found a size of \(0.5, -0.03, 0.9\) m"),
        ({"height": "inf"}, "number 1: .* found a size of"),
        ({"modelRotation": "1 0 0"}, r"number 1: .* found a modelRotation \(1.0, 0.0, 0.0\)"),
    ],
)
def test_a_size_that_no_furniture_has_is_refused(entry, message, tmp_path):
    folder = write_catalogue(tmp_path, [{"id": IDS[0], **entry}])
    with pytest.raises(ValueError, match=r"Small\.sh3f: PluginFurnitureCatalog.*" + message):
        catalogue.read_catalogue(folder)


def test_a_folder_without_catalogues_or_with_other_files_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected catalogues \(\*\.sh3f\), found none"):
        catalogue.find_catalogue(str(tmp_path))
    (tmp_path / "a.sh3f").write_text("no zip")
    with pytest.raises(ValueError, match=r"a\.sh3f: expected a zip of furniture, found 'File is"):
        catalogue.find_catalogue(str(tmp_path))


def test_without_an_installed_catalogue_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "INSTALLED_DIR", str(tmp_path))
    assert catalogue.find_catalogue("") == catalogue.Catalogue()
    write_catalogue(tmp_path)
    assert {model.id for model in catalogue.find_catalogue("").models} == set(IDS)


def test_the_fingerprint_is_that_of_the_content(tmp_path):
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    write_catalogue(folders[0])
    write_catalogue(folders[1])
    write_catalogue(folders[2], files={"cube/cube.mtl": MTL + "\n"})
    prints = [catalogue.read_catalogue(folder).fingerprint for folder in folders]
    assert prints[0] == prints[1] != prints[2]


def test_rooms_are_furnished_with_its_models_and_alike_again(tmp_path):
    known = catalogue.read_catalogue(write_catalogue(tmp_path))
    mesh = furniture.build("chair", np.random.default_rng(0), known)
    extent = mesh.high - mesh.low
    # Chairs are made a fifth wider and deeper than they are, then scaled by 0.8 to 1.25.
    size = np.multiply((1.22, 1.2, 1.0), (0.5, 0.6, 0.9))
    assert np.all((extent > 0.79 * size) & (extent < 1.26 * size))
    assert len(mesh.faces) == 12
    first, again = (layout.furnish("room", 3, catalogue=known) for _ in range(2))
    assert len(first.pieces) == len(again.pieces)
    for a, b in zip(first.pieces, again.pieces, strict=True):
        assert a.label == b.label
        np.testing.assert_array_equal(a.mesh.vertices, b.mesh.vertices)
