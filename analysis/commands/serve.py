"""python -m analysis serve results/: all results directories with their progress, for a browser on this machine."""

from __future__ import annotations

import argparse
import functools
import http.server
import logging
from collections.abc import Sequence
from pathlib import Path

from analysis.commands.words import Parser, count
from analysis.load import ResultsError
from analysis.report.index import directories, index_page
from grokjax.quoting import cut_path

log = logging.getLogger("grokjax")

HOST = "127.0.0.1"
"""Only this machine: results are nobody else's business."""
SERVED = (".html", ".js", ".png", ".pdf", ".svg", ".csv", ".txt", ".tex")


def parser() -> argparse.ArgumentParser:
    """The words of this command."""
    own = Parser(prog="python -m analysis serve", description=__doc__)
    own.add_argument(
        "path", metavar="DIR", help="the folder with the results directories, or one of them"
    )
    own.add_argument("--port", type=count, default=8000, help="(default: 8000)")
    return own


def main(words: Sequence[str]) -> list[Path]:
    """Serve until a signal comes. Raises ResultsError."""
    given = parser().parse_args(words)
    if given.port > 65535:
        raise ResultsError(f"--port {given.port}: must be at most 65535")
    with make_server(Path(given.path), given.port) as server:
        log.info(
            f"http://{HOST}:{server.server_address[1]}/ shows {cut_path(given.path)}; end with Ctrl-C"
        )
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            log.info("ended")
    return []


def make_server(root: Path, port: int) -> http.server.ThreadingHTTPServer:
    """A server that is not started yet; port 0 takes any. Raises ResultsError."""
    if not root.is_dir():
        raise ResultsError(
            f"{cut_path(root)}: is not a folder; give the one that has the results directories"
        )
    if not directories(root):
        raise ResultsError(
            f"{cut_path(root)}: has no results directory in it; train an experiment first"
        )
    try:
        return http.server.ThreadingHTTPServer((HOST, port), functools.partial(_Handler, root=root))
    except OSError as error:
        raise ResultsError(
            f"--port {port}: cannot be used ({error.strerror or error}); give another one"
        ) from error


class _Handler(http.server.SimpleHTTPRequestHandler):
    """The list, and below it pages, figures and tables; nothing else, and nothing outside the folder."""

    def __init__(self, *args, root: Path, **options):
        self.root = root.resolve()
        super().__init__(*args, directory=str(self.root), **options)

    def do_GET(self) -> None:
        if self._is_foreign():
            self.send_error(403, "only for this machine's own addresses")
        elif self.path.split("?")[0] == "/":
            self._send_index()
        elif self._is_served():
            super().do_GET()
        else:
            self.send_error(404, "there is no such page")

    def do_HEAD(self) -> None:
        self.send_error(405, "only GET")

    def _is_foreign(self) -> bool:
        """Another name for this machine: a page elsewhere that had its name point here."""
        host = self.headers.get("Host", "").rsplit(":", 1)[0]
        return host not in (HOST, "localhost")

    def _is_served(self) -> bool:
        path = Path(self.translate_path(self.path)).resolve()
        return path.is_file() and path.is_relative_to(self.root) and path.suffix in SERVED

    def _send_index(self) -> None:
        content = index_page(self.root).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not told."""
