"""Links and pictures of the documentation lead to files and headings that are there."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def links_of(text):
    """Returns the targets of a page's links and pictures; what stands in code is none."""
    text = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    return re.findall(r"\]\(([^)\s]+)\)", text)


def anchors_of(text):
    """Returns the names under which a page's headings can be linked to."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in links_of(page.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors_of(target.read_text(encoding="utf-8")), f"{page.name}: {link}"


def test_the_index_lists_every_page():
    text = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert {p.name for p in PAGES[1:]} - {"README.md"} <= set(links_of(text))


def test_links_and_headings_are_found():
    text = "# A page, of `code`\n\n[one](a.md#b) ![two](c.png)\n```text\n[no](d.md)\n```\n"
    assert links_of(text) == ["a.md#b", "c.png"]
    assert anchors_of(text) == {"a-page-of-code"}
