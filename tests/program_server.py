"""Runs our programs one after another without starting Python and TensorFlow for each.

A server imports what takes long to import and computes nothing; for each program it makes a copy of
itself (a fork) that runs it as `python` would: its own `__main__`, flags, working directory and
exit status. What the program starts by `subprocess.run([sys.executable, ...])` comes back to the
server. In the tests:

    with program_server.serving(log_dir, "documented_commands") as server:
        done = server.run(["-m", "mtml_tf.predict", "--scan=scan.ply"], folder)
"""

import contextlib
import dataclasses
import importlib
import json
import os
import pathlib
import runpy
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import traceback

TESTS = pathlib.Path(__file__).resolve().parent
# Without a flag of a program among them: those are defined by the copies.
PRELOADED = (
    "scipy.sparse.csgraph",
    "sklearn.neighbors",
    "mtml_tf.inference.exporting",
    "mtml_tf.inference.prediction",
    "mtml_tf.training.run",
    "mtml_tf.inference.viewing",
    "mtml_tf.rooms.examples",
    "mtml_tf.scoring.folders",
)
TIME_LIMIT_S = 3600  # only what hangs takes so long
_DIED = 70
_READY = b"ready\n"


@dataclasses.dataclass(frozen=True)
class Done:
    """How a program ended."""

    status: int
    stdout: str
    stderr: str


@dataclasses.dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        address: of its socket.
        log_dir: folder for what the programs print.
    """

    address: str
    log_dir: pathlib.Path

    def run(self, arguments, folder):
        """Runs `python <arguments>` in a folder and returns how it ended."""
        paths = [self.log_dir / name for name in ("stdout", "stderr")]
        for path in paths:
            path.write_bytes(b"")
        status = _ask(self.address, arguments, folder, paths, TIME_LIMIT_S)
        return Done(status, *(path.read_text(errors="replace") for path in paths))


@contextlib.contextmanager
def serving(log_dir, changes):
    """Starts a server and ends it with all that it has started.

    Args:
        log_dir: folder for its socket and what is printed.
        changes: name of a module of the tests, whose `prepare(arguments)` is called in the copy
            before a program runs and returns the arguments to take.
    """
    log = log_dir / "server"
    # The address has at most some 100 characters, so it is not among the test's own folders.
    with tempfile.TemporaryDirectory() as place, open(log, "wb") as errors:
        address = os.path.join(place, "socket")
        process = subprocess.Popen(
            [sys.executable, __file__, address, changes],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        try:
            assert process.stdout.readline() == _READY, log.read_text(errors="replace")
            yield Server(address, log_dir)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def _ask(address, arguments, folder, paths, time_limit=None):
    request = {
        "arguments": arguments,
        "folder": os.fspath(folder),
        "paths": [os.fspath(path) for path in paths],
    }
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(time_limit)
        client.connect(address)
        client.sendall(json.dumps(request).encode() + b"\n")
        with client.makefile("rb") as answer:
            line = answer.readline()  # empty where the process was killed
    return int(line) if line else _DIED


class _Copy(socketserver.StreamRequestHandler):
    """Runs in a copy of the server and runs one program."""

    def handle(self):
        request = json.loads(self.rfile.readline())
        os.chdir(request["folder"])
        for number, path in enumerate(request["paths"], start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
        _send_programs_to(self.server.server_address, request)
        status = _run(self.server.changes.prepare(request["arguments"]))
        sys.stdout.flush()
        sys.stderr.flush()
        self.wfile.write(b"%d\n" % status)


def _send_programs_to(address, request):
    run = subprocess.run

    def run_or_ask(command, **options):
        if command[0] != sys.executable or options != {"check": False}:
            return run(command, **options)
        status = _ask(address, command[1:], os.getcwd(), request["paths"])
        return subprocess.CompletedProcess(command, status)

    subprocess.run = run_or_ask


def _run(arguments):
    """Does what `python <arguments>` does, and returns its exit status."""
    option, *rest = arguments
    try:
        if option in ("-m", "-c"):
            name, *flags = rest
            sys.argv = [option, *flags]
            sys.path.insert(0, os.getcwd())
            if option == "-m":
                runpy.run_module(name, run_name="__main__", alter_sys=True)
            else:
                exec(compile(name, "<documentation>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = list(arguments)
            sys.path.insert(0, os.path.dirname(os.path.abspath(option)))
            runpy.run_path(option, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


class _Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    def __init__(self, address, changes):
        self.changes = changes
        super().__init__(address, _Copy)


def main():
    address, changes = sys.argv[1:]
    for name in PRELOADED:
        importlib.import_module(name)
    with contextlib.suppress(ImportError, OSError):  # its own way to say that a library is missing
        importlib.import_module("open3d")
    changes = importlib.import_module(changes)
    sys.path.remove(str(TESTS))
    with _Server(address, changes) as server:
        os.write(1, _READY)
        server.serve_forever()


if __name__ == "__main__":
    main()
