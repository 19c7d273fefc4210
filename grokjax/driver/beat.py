"""What a worker says of itself, every second, in a file beside its results: that it is alive, and how far it is."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grokjax.atomic import replacing
from grokjax.driver.tally import Tally
from grokjax.signals import PARENT

SECONDS = 1.0
NAME = "progress.json"


class Beat:
    """While the block runs, a thread writes the file. Also while a program compiles, and not while the process is
    frozen."""

    def __init__(self, directory: Path, show: Callable[[Tally], None]):
        self._path, self._show, self._tally = directory / NAME, show, None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True, name="beat")
        self._parent = int(os.environ.get(PARENT, 0))

    def tell(self, tally: Tally) -> None:
        """The numbers that the file gives from now on."""
        self._tally = tally
        self._show(tally)

    def __enter__(self) -> Beat:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join()

    def _write(self) -> None:
        beats = 0
        while True:
            over = self._over.wait(SECONDS if beats else 0.0)
            beats += 1
            facts = {"beat": beats, "host": platform.node(), "pid": os.getpid(), **self._numbers()}
            try:
                with replacing(self._path) as aside:
                    aside.write_text(json.dumps(facts))
            except OSError:
                pass  # a full disk is told by what has to be saved
            if over:
                return
            if self._parent and os.getppid() != self._parent:
                os.kill(os.getpid(), signal.SIGTERM)
                self._parent = 0

    def _numbers(self) -> dict[str, Any]:
        if self._tally is None:
            return {}
        public = {
            f.name: getattr(self._tally, f.name)
            for f in dataclasses.fields(self._tally)
            if f.name[0] != "_"
        }
        return {"tally": public}
