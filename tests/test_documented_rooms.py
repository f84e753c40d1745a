"""The commands of the documentation's second book: rooms, results, speed, method, models.

In a file of its own so that another process takes it; see test_documentation.py.
"""

import pytest
from documented_commands import Book, read_books
from documented_data import lay_out
from program_server import serving

_, COMMANDS = read_books()


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    folder, log_dir = (tmp_path_factory.mktemp(name) for name in ("root", "log"))
    with serving(log_dir, "documented_commands") as server:
        if server.run(["-c", "import open3d"], folder).status:
            pytest.skip("Open3D can't be imported")
        lay_out(folder, COMMANDS, server)
        yield Book(COMMANDS, folder, server)


@pytest.mark.parametrize("number", range(len(COMMANDS)), ids=map(str, COMMANDS))
def test_every_command_of_the_second_book_works(book, number):
    book.check(number)
