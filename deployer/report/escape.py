"""Text from outside made inert: no name may act on the page, the table or the sheet it lands in.

Invisible characters are shown as their escapes everywhere; what each medium gives a meaning to is then
taken away. HTML itself is left to Jinja2's autoescape, SVG to the XML writer.
"""

from __future__ import annotations

import re
import unicodedata

# Control, format (bidirectional overrides, zero width), surrogates, line and paragraph separators.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# What opens a construct anywhere, an address or emoji in the middle, a list or underline at the start.
_MARKDOWN = re.compile(
    r"[\\`*_\[\]<>|~&$]|:(?=//|\w+:)|(?<=www)\.|^[-+=#]|^\d(?=\d*[.)](?:\s|$))|@|#(?=\d)"
)
_FORMULA = ("=", "+", "-", "@")
_PLAIN = str.maketrans(
    {"±": "+-", "×": "x", "–": "-", "…": "~", "·": "-", "≤": "<=", "≥": ">=", "÷": "/", "≈": "~"}
)


def visible(text: str) -> str:
    r"""Return ``text`` on one line, with every invisible character as its escape: ``\n``, ``\u202e``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(c) if unicodedata.category(c) in _INVISIBLE else c for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def markdown(text: str) -> str:
    """Return ``text`` as Markdown that shows it literally, in a paragraph or in a table cell.

    Character references cannot open a construct. What GitHub would link after rendering is cut off from
    what follows it by an empty comment.
    """
    return _MARKDOWN.sub(_literal, visible(text))


def _literal(found: re.Match[str]) -> str:
    if found[0] in "@#":
        return f"&#{ord(found[0])};<!-- -->"
    return f"&#{ord(found[0])};"


def markdown_name(text: str) -> str:
    """Return a name as Markdown code, in which nothing is linked, mentioned or emphasised."""
    return f"<code>{_MARKDOWN.sub(lambda found: f'&#{ord(found[0])};', visible(text))}</code>"


def csv_cell(text: str) -> str:
    """Return ``text`` as a cell that no spreadsheet takes for a formula."""
    shown = visible(text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown


def plain_ascii(text: str) -> str:
    """Return ``text`` for a terminal without UTF-8: the nearest sign, else the escape."""
    return text.translate(_PLAIN).encode("ascii", "backslashreplace").decode("ascii")


def identifier(text: str) -> str:
    """Return ``text`` reduced to what an HTML id or comment may hold: letters, digits, ``.``, ``_``, ``-``."""
    return re.sub(r"-{2,}", "-", re.sub(r"[^A-Za-z0-9._-]", "-", text)).strip("-") or "unnamed"
