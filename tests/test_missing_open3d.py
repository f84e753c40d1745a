"""What a person without Open3D reads, or with one that can't be loaded."""

import pathlib
import subprocess
import sys

import pytest

from mtml_tf.rooms.layout import RoomSettings, furnish
from mtml_tf.rooms.scanner import scan_room

ROOT = pathlib.Path(__file__).resolve().parent.parent


def test_scanning_without_open3d_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "open3d", None)
    room = furnish("room", 0, RoomSettings())
    with pytest.raises(ImportError, match=r"needs the package open3d .*'pip install open3d' and"):
        scan_room(room, 0)


@pytest.mark.parametrize("kind", ["ImportError", "OSError"])
def test_make_rooms_without_open3d_fails_in_one_sentence(kind, tmp_path):
    (tmp_path / "open3d.py").write_text(f"raise {kind}('libusb-1.0.so.0: no such file')\n")
    done = subprocess.run(
        [
            *(sys.executable, "tools/make_rooms.py", f"--output_dir={tmp_path}/rooms"),
            *("--num_scenes=1", "--num_val=0", "--num_workers=1"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "OMP_NUM_THREADS": "1"},
    )
    assert (done.returncode, done.stdout) == (1, "")
    sentence = (
        "error: simulated scanning needs the package open3d and its system libraries, "
        "found 'libusb-1.0.so.0: no such file'; install them with 'pip install open3d' and "
        "'apt-get install libusb-1.0-0 libgl1 libegl1 libx11-6'\n"
    )
    # What it says before is which furniture it found.
    assert done.stderr.endswith(sentence)
    assert "Traceback" not in done.stderr
