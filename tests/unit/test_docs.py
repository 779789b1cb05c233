"""The documents agree with the code."""

import re
from pathlib import Path

import pytest
import typer

from tasks.cli import _application
from worker.lab.reference import reference

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", *(ROOT / "docs").glob("*.md"))
]


def test_the_reference_is_what_the_code_says():
    assert (ROOT / "docs/reference.md").read_text() == reference(), "run `make reference`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_between_pages_leads_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            slugs = [re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert anchor in slugs, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page):
    named = re.findall(r"`((?:config|db|docs|tasks|tests|worker)/[\w./-]+)`", page.read_text())
    for name in named:
        assert (ROOT / name).exists(), f"{page.name} names {name}"


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name
)
def test_every_command_that_a_page_names_exists(page):
    text = page.read_text()
    named = re.findall(r"`tryon ([^`\n]+)`", text) + re.findall(r"^tryon ([^\n#]+)", text, re.MULTILINE)
    for line in named:
        command = typer.main.get_command(_application())
        for word in line.split():
            if word.startswith("-") or not hasattr(command, "commands"):
                break
            for name in word.split("|"):
                assert name in command.commands, f"tryon {line}"
            command = command.commands[word.split("|")[0]]
        options = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
        assert options.issuperset(re.findall(r"--[a-z][a-z-]*", line)), f"tryon {line}"
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 250
