"""Look for texts that must not lie about in plain: in files, in output, in any usual coding."""

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path


def codings(text: str) -> Iterator[bytes]:
    """Yield the bytes that would betray the text: as it is, UTF-16, hex, base64 at each alignment, JSON."""
    plain = text.encode()
    yield plain
    yield text.encode("utf-16-le")
    yield plain.hex().encode()
    yield plain.hex().upper().encode()
    yield text.encode("unicode_escape")
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + plain)
        yield coded[4 if shift else 0 : len(coded) - 4]


def files_that_hold(folder: Path, texts: Iterable[str]) -> list[tuple[str, str]]:
    """Return (file, text) for every file below the folder that holds one of the texts in some coding."""
    texts = list(texts)
    found = []
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            content = file.read_bytes()
            found += [
                (str(file.relative_to(folder)), text)
                for text in texts
                if any(code in content for code in codings(text))
            ]
    return found
