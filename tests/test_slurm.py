"""A Slurm of one machine from Debian's packages (slurm-wlm, munge), started by the test; it needs root."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import command, environment, train, write_grid
from tests.test_cluster import IN_FAULTS, SHARES, ended, same, training, until

pytestmark = [pytest.mark.soak, IN_FAULTS]

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun")

CONF = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
SlurmctldPort={port}
SlurmdPort={next_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory) -> Iterator[dict[str, str]]:
    """The environment in which Slurm's commands find the controller."""
    pytest.importorskip("submitit", reason="pip install -r requirements-slurm.txt")
    if os.geteuid() or not all(map(shutil.which, NEEDED)):
        pytest.skip("SKIPPED: Slurm needs root and Debian's packages slurm-wlm and munge")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    host, port = socket.gethostname().split(".")[0], 20_000 + os.getpid() % 20_000
    conf = folder / "slurm.conf"
    facts = {"host": host, "folder": folder, "port": port, "next_port": port + 1}
    conf.write_text(CONF.format(**facts, cpus=os.cpu_count()))
    files = {"key-file": key, "socket": "munge.sock", "pid-file": "munged.pid",
             "seed-file": "munge.seed", "log-file": "munged.log"}  # fmt: skip
    munge = [f"--{name}={folder / file}" for name, file in files.items()]
    run = {"check": True, "capture_output": True, "timeout": 60}
    subprocess.run(["munged", "--force", *munge], **run)
    subprocess.run(["slurmctld", "-f", str(conf)], **run)
    subprocess.run(["slurmd", "-f", str(conf), "-N", host], **run)
    yield {**environment(), "SLURM_CONF": str(conf)}
    for name in ("slurmd", "slurmctld", "munged"):
        pid = int((folder / f"{name}.pid").read_text())
        os.kill(pid, signal.SIGTERM)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    return write_grid(
        tmp_path_factory.mktemp("config") / "small.yaml",
        steps=1500, level=0.99, seeds=6, devices=1, every=0.5, snapshots=100,
    )  # fmt: skip


def on_slurm(config: Path, out: Path, slurm: dict[str, str], where: str = "slurm"):
    words = (*SHARES, "execution.cluster.cpus=1", "--on", where)
    return subprocess.Popen(
        command(config, out, *words), text=True, env=slurm, stdout=-1, stderr=subprocess.STDOUT
    )


def test_a_requeued_job_and_a_killed_command_change_nothing(config, slurm, tmp_path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert train(config, whole).returncode == 0
    process = on_slurm(config, out, slurm)
    until(process, training(out))
    jobs = subprocess.run(
        ["squeue", "-h", "-t", "R", "--array", "-o", "%F_%K"],
        env=slurm, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    subprocess.run(["scontrol", "requeue", jobs[0]], env=slurm, check=True)
    time.sleep(8)
    process.kill()
    process.communicate()
    ended(on_slurm(config, out, slurm))
    same(whole, out)
    queue = subprocess.run(["squeue", "-h"], env=slurm, capture_output=True, text=True).stdout
    assert queue.strip() == "", "no job is left"


def test_a_partition_that_does_not_exist(config, slurm, tmp_path) -> None:
    text = ended(on_slurm(config, tmp_path / "out", slurm, "slurm:nope"), 2)
    assert text == "--on slurm:nope: this partition does not exist; use one of debug\n"
    assert not (tmp_path / "out").exists()
