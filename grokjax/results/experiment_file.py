"""experiment.yaml and a copy of it as JSON, which takes its place when it is damaged. Both end with a checksum."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import re
import zlib
from pathlib import Path
from typing import Any

from grokjax.atomic import move_directory_away, replacing
from grokjax.experiment.parsing import parse_yaml
from grokjax.quoting import cut_path
from grokjax.results.sealed import Damaged
from grokjax.version import SCHEMA

NAME, COPY = "experiment.yaml", ".experiment.json"

log = logging.getLogger("grokjax")

_OLDER = r"(?m)^schema: 1$"
_LINE = "# crc32 of the lines above: "
_LAST = re.compile(_LINE + r"([0-9a-f]{8})\n\Z")


def write_both(directory: Path, text: str, data: dict[str, Any]) -> None:
    """Write the file and its copy, each whole or not at all. `text` is the YAML of `data`. Raises OSError."""
    copy = json.dumps({"of": _crc(text), "data": data}) + "\n"
    # The copy first: a kill in between leaves the file with its old, undamaged content.
    for name, content in ((COPY, copy), (NAME, text)):
        path = directory / name
        move_directory_away(path)
        with replacing(path) as aside:
            aside.write_text(f"{content}{_LINE}{_crc(content)}\n", encoding="utf-8")


def read_data(directory: Path) -> Any:
    """What the file says. Where it is damaged, what its copy says, with a warning.

    Raises Damaged, whose message begins with the file, or Unreadable for text that is no YAML.
    """
    try:
        text = _read(directory / NAME)
    except Damaged as error:
        told = f"{cut_path(directory / NAME)}: {error}"
        try:
            data = json.loads(_read(directory / COPY))["data"]
        except Damaged:
            raise Damaged(told) from None
        log.warning(f"{told}; its copy {COPY} is read instead, and the next start restores it")
        return data
    with contextlib.suppress(Damaged):
        copy = json.loads(_read(directory / COPY))
        if copy["of"] == _crc(text):
            return copy["data"]  # the same, and read much faster
    return parse_yaml(text)


def claim(directory: Path) -> str:
    """The comment at the top of the file: that of the configuration. Empty where there is none."""
    try:
        lines = _read(directory / NAME).splitlines()
    except Damaged:
        return ""
    head = itertools.takewhile(lambda line: line.startswith("#"), lines)
    return "\n".join(line[1:].strip() for line in head)


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
