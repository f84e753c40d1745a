"""The commands of the documentation's second book: rooms, results, speed, method, models.

In a file of its own so that another process takes it; see test_documentation.py.
"""

import pytest
from documented_commands import read_books
from documented_data import opened

_, COMMANDS = read_books()


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    with opened(COMMANDS, tmp_path_factory) as book:
        yield book


@pytest.mark.parametrize("number", range(len(COMMANDS)), ids=map(str, COMMANDS))
def test_every_command_of_the_second_book_works(book, number):
    book.check(number)
