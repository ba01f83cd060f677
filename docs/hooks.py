"""What `mkdocs build` does besides: equations become MathML, which browsers show by themselves."""

import html
import re
from typing import Any

from latex2mathml.converter import convert

CODE = re.compile(r"(<pre.*?</pre>|<code.*?</code>)", re.S)
OF_MARKDOWN = re.compile(r"\\\((?P<inline>.+?)\\\)|\\\[(?P<block>.+?)\\\]", re.S)
LINK = re.compile(r'href="(?P<page>\.\./[^"#:]*)\.(?:md|ipynb)')
OF_NOTEBOOK = re.compile(r"\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^$<>]+?)\$", re.S)


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """Replaces each equation of a page, outside of code; in notebooks links to other pages, too."""
    is_notebook = page.file.src_uri.endswith(".ipynb")
    if is_notebook:
        content = LINK.sub(_built, content)
    equation = OF_NOTEBOOK if is_notebook else OF_MARKDOWN
    parts = CODE.split(content)
    parts[::2] = [equation.sub(_mathml, part) for part in parts[::2]]
    return "".join(parts)


def _built(found: re.Match[str]) -> str:
    return f'href="{re.sub("README$", "index", found["page"])}.html'


def _mathml(found: re.Match[str]) -> str:
    inline, block = found["inline"], found["block"]
    if block is None:
        return convert(html.unescape(inline))
    return convert(html.unescape(block), display="block")
