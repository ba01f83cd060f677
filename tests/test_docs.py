"""The documents: their examples run as they stand, and their links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "results/**/*.md", "experiments/**/*.md")
    for path in ROOT.glob(pattern)
)
# The example that loads a run has its own test: it needs one.
EXAMPLES = [
    pytest.param(path, code, id=f"{path.name}-{code.splitlines()[0]}")
    for path in DOCUMENTS
    for code in re.findall(r"^```python\n(.*?)^```", path.read_text(), re.S | re.M)
    if "import load" not in code
]


def test_there_are_examples():
    of_readme = [one for one in EXAMPLES if one.values[0].name == "README.md"]
    assert len(of_readme) == 3
    assert len(EXAMPLES) > len(of_readme)


@pytest.mark.parametrize(("path", "code"), EXAMPLES)
def test_the_example_runs(path, code, capsys):
    if "dm_control" in code:
        pytest.importorskip("dm_control")
    exec(compile(code, str(path), "exec"), {})
    assert capsys.readouterr().out


EXCERPT = re.compile(r'^```python title="(.*?)"\n(.*?)^```', re.S | re.M)
EXCERPTS = [
    pytest.param(file, code, id=f"{path.name}-{file}")
    for path in DOCUMENTS
    for file, code in EXCERPT.findall(path.read_text())
]


@pytest.mark.parametrize(("file", "code"), EXCERPTS)
def test_the_excerpt_is_what_the_file_has(file, code):
    assert code in (ROOT / file).read_text()


def anchors(path):
    """The names that a link into the document may have after its #."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken(path):
    """The links of a document to files, or titles in them, that are not there."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        link = urlsplit(target)
        if link.scheme:
            continue
        file = (path.parent / link.path).resolve() if link.path else path
        if not file.exists() or (link.fragment and link.fragment not in anchors(file)):
            yield target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path):
    assert not list(broken(path))


def test_a_link_that_leads_nowhere_is_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A title\n[a](page.md#a-title) [b](#title) [c](no.md) [d](https://x.y/z)")
    assert list(broken(page)) == ["#title", "no.md"]


def test_the_site_builds_without_a_warning():
    pytest.importorskip("mkdocs")
    made = f"{sys.prefix}/.installed"  # or make would install
    result = subprocess.run(
        ["make", "--old-file", made, "docs", f"VENV={sys.prefix}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    for page in (ROOT / "build" / "site" / "notebooks").glob("*.html"):
        for link in re.findall(r'href="(\.\./[^"#:]*)[#"]', page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
