"""Any bytes give a valid result or one ValueError, a line that names the file: every reader."""

import importlib.util
import json
import random
import subprocess
import sys
import tracemalloc
import warnings
import zipfile

import h5py
import hypothesis
import numpy as np
import pytest
from absl import flags
from hypothesis import strategies as st

from experiments import fuzz, fuzz_targets

TARGETS = fuzz_targets.TARGETS
DEEP = b"[" * 5000
NO_TIME_LIMIT = 0.0


def new_trial(name, folder):
    folder.mkdir()
    return fuzz.Trial(TARGETS[name], folder, [0.0] * 7, NO_TIME_LIMIT)


@pytest.fixture(autouse=True)
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_read_or_refused(name, tmp_path):
    trial = new_trial(name, tmp_path / "files")
    for seed in trial.seeds:
        trial(seed)
    assert trial.counts[fuzz.ACCEPTED] == len(trial.seeds)

    rng = random.Random(0)
    for _ in range(200):
        trial(fuzz.mutate(rng.choice(trial.seeds), trial.seeds, rng))
    assert not trial.faults
    assert trial.counts[fuzz.INPUTS] == trial.counts[fuzz.ACCEPTED] + trial.counts[fuzz.REFUSED]


@pytest.mark.parametrize("name", TARGETS)
def test_other_bytes_are_read_or_refused(name, tmp_path):
    trial = new_trial(name, tmp_path / "files")

    @hypothesis.settings(max_examples=15, database=None)
    @hypothesis.given(content=st.binary(max_size=200))
    def try_bytes(content):
        trial(content)
        assert not trial.faults

    try_bytes()


# --- Files that found something ------------------------------------------------------------------


def ply(properties, row):
    lines = "".join(f"property {text}\n" for text in properties)
    return f"ply\nformat ascii 1.0\nelement vertex 1\n{lines}end_header\n{row}\n".encode()


def npy(header):
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(96)


XYZ = ("float x", "float y", "float z", "short label")
SHAPE = "{'descr': '<f8', 'fortran_order': False, 'shape': (%s), }\n"
GROUP = '{"segGroups": [{"objectId": 0, "label": "wall", "segments": [%s]}]}'
LONG_AND_SHORT = f'"{"a" * 100_000}"' + ', "b"' * 20_000
JOURNAL = '{"moved": [%s], "removed": []}'
CASES = [
    # An OverflowError, a RuntimeWarning, control characters for the terminal.
    ("ply", ply(["list uchar int a", *XYZ], "inf 0 0 0 1"), "a length of the list 'a' in row 0"),
    ("ply", ply(["list uchar int a", *XYZ], "1e30 0 0 1"), "ends 8.* bytes behind the file"),
    ("ply", ply(XYZ, "1e39 0 0 1"), "expected finite coordinates"),
    ("ply", ply(["double x", *XYZ[1:]], "1e308 0 0 1e99"), "integers from -32768 to 32767"),
    ("ply", b"ply\n\x1b[2J\nend_header\n", r"found '\\x1b\[2J'"),
    # A RecursionError; as much memory for each short text as for the long one.
    ("segments", b'{"segIndices": ' + DEEP, "too deep to be read"),
    ("aggregation", (GROUP % "%s") % LONG_AND_SHORT, "expected integers .* found <U1"),
    ("aggregation", (GROUP % "[%s]") % LONG_AND_SHORT, "expected integers .* found object"),
    ("aggregation", (GROUP % "[1], {}, %s") % LONG_AND_SHORT, "expected integers .* found"),
    ("aggregation", b'{"segGroups": [' + b"[" * 900 + b"]" * 900 + b"]}", "expected an integer"),
    ("aggregation", b'{"segGroups": [%s]' % DEEP, "too deep to be read"),
    ("alignment", b"axisAlignment = " + b"1e308 " * 16, "expected a turn about z"),
    ("alignment", b"axisAlignment = 1 0 0 1e308 0 1 0 0 0 0 1 0 0 0 0 1e308\n", "a turn about z"),
    # More digits than Python takes, or 32 bits.
    ("label_table", b"raw_category\tnyu40id\nwall\t" + b"9" * 5000, "NYU40 id in line 2"),
    ("label_table", b"raw_category\tnyu40id\nwall\t4294967296", "NYU40 id in line 2"),
    ("classes", b"id,name,kind\n%s,a,thing\n" % (b"9" * 5000), "expected 'id,name,kind' in line 2"),
    ("semantic_text", b"9" * 5000 + b"\n0" * 11, "found '9999"),
    ("vertex_counts", b"a " + b"9" * 5000, "expected 'scene count' in line 1"),
    ("scene_list", b"..\n", "found '..'"),
    ("predictions", b"predicted_masks/%s 5 0.5\n" % (b"a" * 300), "expected a readable file"),
    # Other kinds of errors, and files outside the folder.
    ("manifest", DEEP, "too deep to be read"),
    ("manifest", b'{"schema_version": 1, "splits": {"../a": {"shards": []}}}', "fit each other"),
    ("index", b'{"train": [{"grid_shape": [2, 2, 2]}]}', "do not fit each other"),
    ("journal", (JOURNAL % '"../../a"').encode(), "expected the journal"),
    ("journal", (JOURNAL % '"/etc/passwd"').encode(), "expected the journal"),
    ("journal", b"\xff", "expected the journal"),
    ("record", b"\xff", "record at 12: expected a record of a voxelized scene"),
    ("record", b"", "record at 12: expected a record of a voxelized scene"),
    # A TokenError, an IndentationError, a TypeError, a MemoryError, a warning, all of the memory.
    ("npy", npy((SHAPE % "12,")[:-4].encode() + b"("), "found the header"),
    ("npy", npy(b"  \n   {"), "found the header"),
    ("npy", npy(b"{'descr': '<f8', 'fortran_order': {[]: 1}, 'shape': (12,), }"), "the header"),
    ("npy", npy(b"(" * 500), "found the header"),
    ("npy", npy(b"{'descr': '\\d', 'fortran_order': False, 'shape': (12,), }"), "the header"),
    ("npy", npy((SHAPE % "999999999999,").encode()), "bytes after a header that promises"),
    ("npy", npy((SHAPE % "-12,").encode()), "found the header"),
    ("npy", npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (12,), }"), "the header"),
    ("prepared", b"PK\x05\x06" + bytes(18), "expected a prepared scene"),
    ("prepared", b"", "expected an archive of arrays"),
    ("points", b"PK\x05\x06" + bytes(18), "expected the points of a scene"),
    ("points", b"", "expected an archive of arrays"),
    # As long as looking for a flag that is similar takes.
    ("flagfile", b"--%s=1\n" % (b"a" * 9000), "expected flags of the program"),
    ("flagfile", b"--noflips=0.5\n", "does not take an argument"),
    ("flagfile", b"--flagfile=%s\n" % (b"a" * 5000), "expected a file of flags"),
    ("flagfile", b"--seed=%s\n" % (b"9" * 5000), "seed"),
    ("model", b'{"network": %s' % DEEP, "too deep to be read"),
    ("model", b'{"network": []}', "expected another value of model|network"),
    # As long as a line of blanks may take, and warnings.
    ("furniture_obj", b"mtllib %s.\nf 1 2 3\n" % (b" " * 300_000), "of the file's vertices"),
    ("furniture_obj", b"v 1e308 -1e308 1e308\n" * 3 + b"f 1 2 3\n", "furniture|finite|surface"),
    ("furniture_table", b"id#%s=a" % (b"1" * 5000), None),
    ("furniture_mtl", b"newmtl red\nKd 1e308 inf nan\n", None),
]


@pytest.mark.parametrize(("name", "content", "sentence"), CASES)
def test_a_file_that_found_something_is_refused(name, content, sentence, tmp_path):
    trial = new_trial(name, tmp_path / "files")
    content = content.encode() if isinstance(content, str) else content
    trial(trial.seeds[0])  # imports, caches
    tracemalloc.start()
    try:
        trial(content)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert not trial.faults
    assert most < (8 << 20) + 60 * len(content)
    if sentence is not None:
        with pytest.raises((ValueError, flags.Error), match=sentence):
            TARGETS[name].read(tmp_path / "files")


def test_the_name_in_a_record_is_told_printable(tmp_path):
    trial = new_trial("record", tmp_path / "files")
    record = trial.seeds[0].replace(b"scene0000_00", b"scene0000_0\x10")
    trial(record.replace(b"semantic_ids", b"semantic_idz"))
    trial(record[:-1])
    size = b"\x1a\x05\x0a\x03"  # of grid_shape: three numbers of a byte
    assert record.count(size) == 1
    place = record.index(size) + len(size)
    trial(record[:place] + b"\x01\x01\x01" + record[place + 3 :])  # a smaller grid
    assert trial.counts[fuzz.REFUSED] == 3
    assert not trial.faults


@pytest.mark.parametrize(
    ("field", "value"), [("shard", "../a"), ("name", "a/../../b"), ("offset", -1), ("length", "1")]
)
def test_an_index_leads_to_no_other_file(field, value, tmp_path):
    trial = new_trial("index", tmp_path / "files")
    index = json.loads(trial.seeds[0])
    index["train"][0][field] = value
    trial(json.dumps(index).encode())
    assert trial.counts[fuzz.REFUSED] == 1


@pytest.mark.parametrize("length", [2**40, 2**61])
def test_an_index_is_not_believed_how_long_a_record_is(length, tmp_path):
    trial = new_trial("index", tmp_path / "files")
    trial(trial.seeds[0].replace(b'"length": ', b'"length": %d' % length))
    assert trial.counts[fuzz.REFUSED] == 1
    assert not trial.faults


def as_link(file, other):
    file["voxel_grid"] = h5py.ExternalLink(str(other), "voxel_grid")


def as_layout(file, other):
    virtual = h5py.VirtualLayout((2, 2, 2), np.int64)
    virtual[:] = h5py.VirtualSource(str(other), "voxel_grid", (2, 2, 2))
    file.create_virtual_dataset("voxel_grid", virtual)


def as_bytes(file, other):
    file.create_dataset("voxel_grid", (2, 2, 2), np.int64, external=str(other))


@pytest.mark.parametrize("refer", [as_link, as_layout, as_bytes])
def test_hdf5_leads_to_no_other_file(refer, tmp_path):
    new_trial("hdf5_labels", tmp_path / "files")
    path, other = tmp_path / "files" / "a_seg.hdf5", tmp_path / "other.hdf5"
    with h5py.File(other, "w") as file:
        file["voxel_grid"] = np.ones((2, 2, 2), np.int64)
    with h5py.File(path, "w") as file:
        refer(file, other)
    with pytest.raises(ValueError, match=r"a_seg\.hdf5: .* in this file, found that they lie in"):
        TARGETS["hdf5_labels"].read(tmp_path / "files")


@pytest.mark.parametrize("options", [{}, {"chunks": (1, 1, 512), "compression": "gzip"}])
def test_hdf5_is_not_believed_how_large_it_is(options, tmp_path):
    new_trial("hdf5_labels", tmp_path / "files")
    path = tmp_path / "files" / "a_seg.hdf5"
    with h5py.File(path, "w") as file:
        file.create_dataset("voxel_grid", (1 << 14, 1 << 14, 1 << 14), np.int64, **options)
    with pytest.raises(ValueError, match=r"a_seg\.hdf5: expected 35184372088832 bytes of"):
        TARGETS["hdf5_labels"].read(tmp_path / "files")


def test_a_zip_is_not_believed_how_large_its_files_are(tmp_path):
    new_trial("furniture_zip", tmp_path / "files")
    path = tmp_path / "files" / "a.sh3f"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("PluginFurnitureCatalog.properties", bytes(30 << 20))
    content = path.read_bytes()
    size = (30 << 20).to_bytes(4, "little")
    assert content.count(size) == 2
    path.write_bytes(content.replace(size, (100).to_bytes(4, "little")))  # it says 100 bytes
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"a\.sh3f: PluginF.*: expected (a whole|100)"):
            TARGETS["furniture_zip"].read(tmp_path / "files")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


# --- The program ---------------------------------------------------------------------------------


def test_damages_are_the_same_for_the_same_seed():
    seeds = [b"1 2 3\n", b"another\n"]
    made = [
        [fuzz.mutate(seeds[0], seeds, random.Random(seed)) for seed in range(50)] for _ in range(2)
    ]
    assert made[0] == made[1]
    assert len(set(made[0])) > 40


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (ValueError("/x/a.txt: expected a, found b"), ""),
        (ValueError("expected a, found b"), "names no file"),
        (ValueError("/x/a.txt: found\nb"), "is not one printable line"),
        (ValueError("/x/a.txt: found \x1b[2J"), "is not one printable line"),
        (ValueError("/x/a.txt: " + 3000 * "a"), "is too long"),
    ],
)
def test_errors_are_judged(error, fault, tmp_path):
    assert fuzz.fault_of(error, "/x") == fault


def fail(kind):
    if kind == "warn":
        warnings.warn("overflow", RuntimeWarning, stacklevel=1)
    if kind == "key":
        raise KeyError("a")
    if kind == "value":
        raise ValueError("no file")


@pytest.mark.parametrize(
    ("kind", "column"),
    [("warn", fuzz.WARNINGS), ("key", fuzz.UNTYPED), ("value", fuzz.UNTYPED), ("", fuzz.ACCEPTED)],
)
def test_what_readers_do_is_counted(kind, column, tmp_path):
    target = fuzz_targets.Target("a", lambda folder: [b""], lambda folder: fail(kind))
    trial = fuzz.Trial(target, tmp_path, [0.0] * 7, NO_TIME_LIMIT)
    trial(b"")
    assert trial.counts[column] == trial.counts[fuzz.INPUTS] == 1
    assert bool(trial.faults) == bool(kind)


def run(*arguments):
    command = [sys.executable, "-m", "experiments.fuzz", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_program_prints_a_row_for_each_target(tmp_path):
    done = run("--targets=classes,mask", "--num_inputs=50", f"--output_dir={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["target", "---", "classes", "mask", "all"]
    assert rows[2][1] == "52"
    assert rows[-1][4:6] == ["0", "0"]
    assert not (tmp_path / "out").exists()


def test_targets_are_chosen_by_name():
    assert fuzz.chosen([], TARGETS) == list(TARGETS)
    assert fuzz.chosen(["ply"], TARGETS) == ["ply"]
    with pytest.raises(ValueError, match=r"--targets: expected some of \['ply', .*found 'pyl'"):
        fuzz.chosen(["ply", "pyl"], TARGETS)


def test_an_engine_that_is_not_there_is_told():
    if importlib.util.find_spec("atheris") is not None:
        pytest.skip("it is there")
    done = run("--engine=atheris")
    assert done.returncode == 1
    assert "error: --engine=atheris: expected the package atheris, found none" in done.stderr
