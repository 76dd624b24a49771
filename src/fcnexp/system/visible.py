"""Text from other people's files, as terminals and pages may show it."""

import re

# Control characters, which a terminal obeys, and marks that reverse the order of what follows: a
# name with U+202E reads `gpj.exe` from right to left. Line breaks and tabs stay.
_ACTIVE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|\r(?!\n)"
)
_IN_JSON = re.compile(  # the same, as JSON in a page has them; not \n and \t, which it shortens
    r"\\u(?=061c|200[ef]|202[89a-e]|206[6-9]|00[01][0-9a-f]|007f|00[89][0-9a-f])"
)


def visible(text: str) -> str:
    """Return the text with its active characters written out, as Python writes them."""
    return _ACTIVE.sub(lambda found: repr(found[0])[1:-1], text)


def visible_page(html: str) -> str:
    """Return a page in which neither text nor the values of its JSON hold active characters."""
    return _IN_JSON.sub(r"\\\\u", visible(html))
