"""Whatever happens to workers, machines and the command itself: the bits of one machine. Real processes.

Without Ray or Slurm the same coordinator runs on processes of this machine (tests/on_local.py).
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import analysis
from grokjax.cluster import on_ray, process
from grokjax.cluster.process import Task, run_process
from grokjax.experiment.places import ConfigError
from tests.harness import ROOT, assert_same, command, environment, results, train, write_grid

IN_FAULTS = pytest.mark.skipif(
    "GROKJAX_KILLS" not in os.environ, reason="make faults tries it, not make soak"
)
KILLS = int(os.environ.get("GROKJAX_KILLS", "10"))
"""Of workers, at random moments; `make faults` asks for 200."""

SHARES = ("execution.cluster.share=6",)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    return write_grid(
        tmp_path_factory.mktemp("config") / "small.yaml",
        steps=1500, level=0.99, seeds=6, devices=1, every=0.5, snapshots=100,
    )  # fmt: skip


@pytest.fixture(scope="module")
def expected(config, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    done = train(config, out)
    assert done.returncode == 0, done.stderr
    return out


def same(expected: Path, out: Path) -> None:
    """Bit for bit, in the same order, and nothing left of the workers."""
    assert_same(results(expected), results(out))
    one, many = analysis.load(expected), analysis.load(out)
    assert one["id"].values.tolist() == many["id"].values.tolist()
    np.testing.assert_array_equal(one["value"].values, many["value"].values)
    assert not (out / "shares").exists()


def on_local(config: Path, out: Path, *words: str, workers: int = 2) -> subprocess.Popen[str]:
    line = command(config, out, *SHARES, *words)
    return subprocess.Popen(
        [line[0], "-m", "tests.on_local", str(workers), *line[2:]],
        cwd=ROOT, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def said(out: Path) -> list[dict]:
    """What the workers say of themselves."""
    found = []
    for file in out.glob("shares/*/*/progress.json"):
        try:
            found.append(json.loads(file.read_text()))
        except (OSError, ValueError):
            continue
    return found


def living(out: Path) -> list[dict]:
    """The same of those that are not dead."""
    return [s for s in said(out) if Path(f"/proc/{s['pid']}").exists()]


def steps_of_living(out: Path) -> int:
    """The most run-steps that one of them has made."""
    return max((s.get("tally", {}).get("run_steps", 0) for s in living(out)), default=0)


def until(process: subprocess.Popen[str], met: Callable[[], bool], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.05)


def training(out: Path, steps: int = 1) -> Callable[[], bool]:
    """Whether a worker has made so many run-steps since its start."""
    return lambda: any(s.get("tally", {}).get("run_steps", 0) >= steps for s in said(out))


def ended(process: subprocess.Popen[str], code: int = 0, seconds: float = 500) -> str:
    text, _ = process.communicate(timeout=seconds)
    assert process.returncode == code, text
    return text


# -- the same bits --------------------------------------------------------------------------------------------------


@pytest.mark.soak
def test_shares_are_bit_for_bit_one_machine(config, expected, tmp_path) -> None:
    out = tmp_path / "out"
    ended(on_local(config, out))
    same(expected, out)
    lines = [json.loads(x) for x in (out / "provenance.jsonl").read_text().splitlines()]
    # More than the three shares, where a slow worker's runs were moved.
    assert len(lines) >= 3 and all(x["host"] and x["tile"] == 2 for x in lines)
    assert "nothing to train" in ended(on_local(config, out))


@pytest.mark.soak
def test_a_cluster_s_rest_is_trained_by_one_machine_from_its_checkpoints(
    config, expected, tmp_path
) -> None:
    out = tmp_path / "out"
    process = on_local(config, out)
    until(process, training(out, 2000))
    process.send_signal(signal.SIGTERM)
    assert "Continue with" in ended(process, 75)
    steps = sum(s["tally"]["run_steps"] for s in said(out))
    dataset = analysis.load(out)
    assert dataset.sizes["run"] == 18 and (dataset["evaluations_done"] > 0).sum() >= 6
    done = train(config, out)
    assert done.returncode == 0, done.stderr
    same(expected, out)
    total = float(dataset_steps(analysis.load(out)))
    trained = float(re.findall(r": (\S+) run-steps in", done.stderr)[-1])
    assert trained <= total - 0.9 * steps, "what workers had trained was not trained again"


def dataset_steps(dataset) -> int:
    last = dataset["evaluations_done"].values.astype(int) - 1
    return int(dataset["step"].values[np.arange(len(last)), last].sum())


@pytest.mark.soak
def test_one_machine_s_rest_is_trained_by_a_cluster(config, expected, tmp_path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(config, out), text=True, env=environment(), stdout=-1, stderr=subprocess.STDOUT
    )
    until(process, lambda: any(out.glob("groups/*/checkpoints/[1-9]*")))
    time.sleep(2.0)
    process.send_signal(signal.SIGTERM)
    ended(process, 75)
    ended(on_local(config, out))
    same(expected, out)


@pytest.mark.soak
def test_a_larger_budget_continues_on_a_cluster(config, expected, tmp_path) -> None:
    out = tmp_path / "out"
    done = train(config, out, "train.steps=600")
    assert done.returncode == 0, done.stderr
    ended(on_local(config, out))
    assert_same(without_snapshots(results(expected)), without_snapshots(results(out)))


def without_snapshots(found: dict) -> dict:
    return {
        run: {name: x for name, x in each.items() if "@" not in name} for run, each in found.items()
    }


@pytest.mark.soak
def test_parts_that_a_scheduler_numbers(config, expected, tmp_path) -> None:
    """Two of three parts by their numbers, at the same time; one machine trains the rest and collects."""
    out = tmp_path / "out"
    words = [command(config, out, "--share", f"{i}/3") for i in (0, 2)]
    parts = [
        subprocess.Popen(w, text=True, env=environment(), stdout=-1, stderr=subprocess.STDOUT)
        for w in words
    ]
    for part in parts:
        ended(part)
    dataset = analysis.load(out)
    assert dataset.sizes["run"] == 12 and (dataset["status"] != "waiting").all()
    done = train(config, out)
    assert done.returncode == 0, done.stderr
    same(expected, out)


# -- faults ---------------------------------------------------------------------------------------------------------


@IN_FAULTS
@pytest.mark.soak
def test_workers_killed_at_random_moments(config, expected, tmp_path) -> None:
    moments, kills, rounds = random.Random(7), 0, 0
    while kills < KILLS:
        out = tmp_path / str(rounds)
        process = on_local(config, out, "execution.cluster.retries=1000")
        rounds += 1
        while process.poll() is None and kills < KILLS:
            if moments.random() < 0.5:  # soon, so that starts are hit too
                time.sleep(moments.uniform(0.2, 4.0))
            else:
                steps = moments.randrange(1, 4000)
                wait_while(lambda: process.poll() is None and steps_of_living(out) < steps)  # noqa: B023
            alive = living(out)
            if alive and process.poll() is None:
                os.kill(moments.choice(alive)["pid"], signal.SIGKILL)
                kills += 1
        ended(process)
        same(expected, out)


def wait_while(going_on: Callable[[], bool], seconds: float = 60) -> None:
    """At most so long."""
    deadline = time.monotonic() + seconds
    while going_on() and time.monotonic() < deadline:
        time.sleep(0.05)


@IN_FAULTS
@pytest.mark.soak
def test_a_frozen_worker_loses_its_share(config, expected, tmp_path) -> None:
    out = tmp_path / "out"
    process = on_local(config, out)
    until(process, training(out))
    frozen = said(out)[0]["pid"]
    os.kill(frozen, signal.SIGSTOP)
    try:
        text = ended(process)
    finally:
        if Path(f"/proc/{frozen}").exists():
            os.kill(frozen, signal.SIGKILL)
    assert "nothing was heard of its worker" in text
    same(expected, out)


@IN_FAULTS
@pytest.mark.soak
def test_the_command_is_killed_and_started_again(config, expected, tmp_path) -> None:
    out = tmp_path / "out"
    process = on_local(config, out)
    until(process, training(out))
    workers = [s["pid"] for s in said(out)]
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "workers save and end when nobody knows of them"
        time.sleep(0.1)
    ended(on_local(config, out))
    same(expected, out)


@pytest.mark.soak
def test_two_commands_at_once(config, tmp_path) -> None:
    out = tmp_path / "out"
    first = on_local(config, out)
    until(first, training(out))
    assert f"is in use by process {first.pid}" in ended(on_local(config, out), 2)
    first.send_signal(signal.SIGTERM)
    ended(first, 75)


# -- Ray ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def nodes(tmp_path) -> Iterator[tuple[str, Callable[[int], None]]]:
    """The address of a Ray cluster of two machines, and a function that loses one of them."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install -r requirements-ray.txt")
    log = tmp_path / "ray.log"
    with log.open("w") as messages, subprocess.Popen(
        [sys.executable, "-m", "tests.ray_nodes"], cwd=ROOT, env=environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages,
    ) as process:  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        told = process.stdin

        def kill(node: int) -> None:
            told.write(f"kill {node}\n")
            told.flush()

        address = process.stdout.readline().strip()
        assert address, log.read_text()
        yield address, kill
        told.close()
        process.wait(60)


@pytest.mark.soak
def test_a_machine_of_a_ray_cluster_is_lost(config, expected, nodes, tmp_path) -> None:
    address, kill = nodes
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(config, out, *SHARES, "--on", f"ray:{address}"),
        text=True, env=environment(), stdout=-1, stderr=subprocess.STDOUT,
    )  # fmt: skip
    until(process, lambda: training(out)() and len(said(out)) == 2)
    kill(0)
    assert "its worker was lost" in ended(process)
    same(expected, out)


# -- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--on", "mpi"], "--on mpi: is not known; use ray, ray:ADDRESS, slurm or slurm:PARTITION"),
        (["--on", "ray:"], "--on ray:: is not known"),
        (["--on", "ray", "execution.cluster.share=0"], "cluster.share: must be at least 1, got 0"),
        (["--on", "ray", "--plan"], "--plan: cannot be used with --on; remove one of them"),
        (["--share", "4/4"], "--share 4/4: must be I/N with whole numbers 0 <= I < N"),
        (["--share", "abc"], "must be on a file system that all machines share"),
    ],
)
def test_mistakes_are_one_sentence(words, told, config, tmp_path, capsys) -> None:
    from grokjax.cli.commands import main

    assert main([str(config), "--out", str(tmp_path / "out"), *words]) == 2
    line = capsys.readouterr().err
    assert told in line and line.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_machine_that_does_not_see_the_results(tmp_path) -> None:
    task = Task("a", ["never"], ".", str(tmp_path / "none" / "log"), "")
    assert run_process(task).code == 2
    assert "file system that all machines share" in run_process(task).told


@pytest.mark.parametrize(("kind", "local"), [("ext4", True), ("nfs4", False), ("lustre", False)])
def test_compiled_programs_stay_on_the_disk_of_their_machine(kind, local, monkeypatch) -> None:
    mounts = [SimpleNamespace(mountpoint="/", fstype="ext4")]
    mounts.append(SimpleNamespace(mountpoint="/home", fstype=kind))
    monkeypatch.setattr(process.psutil, "disk_partitions", lambda all: mounts)
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/me/.cache")
    moved = process.local_cache()
    assert moved == {} if local else not moved["XDG_CACHE_HOME"].startswith("/home")


def test_an_address_that_does_not_answer(monkeypatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(ConfigError, match="does not answer"):
        on_ray._reach(f"127.0.0.1:{port}", "--on ray", "")
    for wrong in ("nonsense", "host:port", ":1", "host:99999999"):
        with pytest.raises(ConfigError, match="is not an address"):
            on_ray._reach(wrong, "--on ray", "")
    # One that takes connections and says nothing.
    slow = type("Ray", (), {"_private": None, "init": lambda **_: time.sleep(5)})
    monkeypatch.setattr(on_ray, "ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ConfigError, match="does not answer within"):
            on_ray._connect(slow, where)


@pytest.mark.parametrize(("word", "library"), [("ray", "ray"), ("slurm", "submitit")])
def test_what_to_install(word, library, config, tmp_path, capsys, monkeypatch) -> None:
    from grokjax.cli.commands import main

    monkeypatch.setitem(sys.modules, library, None)
    assert main([str(config), "--out", str(tmp_path / "out"), "--on", word]) == 2
    told = f"{library} is not installed; install it with pip install -r requirements-{word}.txt\n"
    assert capsys.readouterr().err == f"--on {word}: {told}"
