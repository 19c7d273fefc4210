"""experiment.yaml: text with a checksum in its last line, and a copy of it that takes its place when it is damaged."""

from __future__ import annotations

import logging
import re
import zlib
from pathlib import Path

from grokjax.atomic import replacing
from grokjax.quoting import cut_path
from grokjax.results.sealed import Damaged
from grokjax.version import SCHEMA

NAME, COPY = "experiment.yaml", ".experiment.yaml"

log = logging.getLogger("grokjax")

_OLDER = r"(?m)^schema: 1$"
_LAST = re.compile(r"# crc32 of the lines above: ([0-9a-f]{8})\n\Z")


def write_text(directory: Path, text: str) -> None:
    """Write both files, each whole or not at all. Raises OSError."""
    # The copy first: a kill in between leaves the file with its old, undamaged content.
    for name in (COPY, NAME):
        with replacing(directory / name) as aside:
            aside.write_text(f"{text}# crc32 of the lines above: {_crc(text)}\n", encoding="utf-8")


def read_text(directory: Path) -> str:
    """The text of the file, or of its copy with a warning. Raises Damaged; its message begins with the file."""
    try:
        return _read(directory / NAME)
    except Damaged as error:
        told = f"{cut_path(directory / NAME)}: {error}"
    try:
        text = _read(directory / COPY)
    except Damaged:
        raise Damaged(told) from None
    log.warning(f"{told}; its copy {COPY} is read instead, and the next start restores it")
    return text


def check(directory: Path) -> list[str]:
    """What is wrong with the two files."""
    wrong = []
    for name in (NAME, COPY):
        try:
            text = _read(directory / name)
        except Damaged as error:
            wrong.append(f"{cut_path(directory / name)}: {error}; the next start restores it")
        else:
            if name == NAME and re.search(_OLDER, text):
                break  # schema 1 had no copy
    return wrong


def _read(path: Path) -> str:
    if path.is_dir():
        raise Damaged("is a directory, but must be a file")
    try:
        whole = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise Damaged("is missing") from None
    except OSError as error:
        raise Damaged(f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise Damaged("is damaged (it is not UTF-8 text)") from None
    last = _LAST.search(whole)
    if last is None:
        # Schema 1 had no checksum, and what a newer one has is not known here.
        schema = re.search(r"(?m)^schema: (\d{1,9})$", whole)
        if schema and int(schema.group(1)) != SCHEMA:
            return whole
        raise Damaged("is damaged (its last line, with the checksum, is missing)")
    text = whole[: last.start()]
    if _crc(text) != last.group(1):
        raise Damaged("was damaged or changed after it was written (its checksum does not agree)")
    return text


def _crc(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"
