"""Jobs of a sweep in one process: skipped, run, resumed and recorded."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from commands import fcnexp
from made_up_jobs import calls, records, seeds, sweep

from fcnexp.run import locks
from fcnexp.sweep import job, launches, ledger

FAULTY = {1: "bug", 2: "mistake", 3: "exit", 4: "memory", 5: "disk"}


def test_faults_fail_only_their_jobs_and_the_same_command_repeats_these(tmp_path):
    first = sweep("seed=0,1,2,3,4,5,6", folder=tmp_path, faults=FAULTY)
    assert first.returncode == 1 and seeds(tmp_path) == [0, 1, 2, 3, 4, 5, 6]
    assert "7 jobs: 2 done (2 now, 0 before), 5 failed" in first.stdout
    error = {seed: record["error"] for seed, record in records(tmp_path).items()}
    kinds = {seed: error[seed]["type"] for seed in error if error[seed]}
    assert kinds == {1: "ZeroDivisionError", 2: "DataError", 3: "SystemExit", 4: "MemoryError"} | {
        5: "OSError"
    }
    assert "1 / 0" in error[1]["traceback"] and error[2]["traceback"] is None
    lines = [line for line in first.stderr.splitlines() if line.startswith("failed: ")]
    assert len(lines) == 5 and re.fullmatch(
        r"failed: fcn8s_tiny_seed2_\w{10}: DataError: a.jpg: damaged; fetch it again; .*", lines[1]
    )
    again = sweep("seed=0,1,2,3,4,5,6", folder=tmp_path)
    assert again.returncode == 0 and seeds(tmp_path) == [1, 2, 3, 4, 5]
    assert all(line.split()[1] == "auto" for line in calls(tmp_path))  # they had started
    assert "7 jobs: 7 done (5 now, 2 before)" in again.stdout
    assert {s: r["attempts"] for s, r in records(tmp_path).items()} == {
        s: 1 + (s in FAULTY) for s in range(7)
    }


def test_summary_lists_unfinished_jobs_reasons_and_the_command(tmp_path):
    done = sweep("seed=0,1", folder=tmp_path, faults={1: "mistake"})
    table = [line for line in done.stdout.splitlines() if "│" in line]
    assert any("failed" in line and "1" in line for line in table)
    assert "DataError: a.jpg" in " ".join("".join(table).split())
    assert (
        "to resume: run the same command again, or python -m fcnexp.sweep resume out" in done.stdout
    )
    assert "1 run (%), mean IU" in done.stdout


def test_equivalent_jobs_run_once(tmp_path):
    done = sweep("seed=0,'0'", "workers=0,1", folder=tmp_path)
    assert seeds(tmp_path) == [0] and "1 job: 1 done (1 now, 0 before)" in done.stdout
    assert "#1 same job as #0, the differing settings do not affect results" in done.stdout


def test_ctrl_c_ends_the_sweep_and_is_recorded(tmp_path):
    for fault, code in (("stop", 130), ("sigterm", 143)):
        done = sweep("seed=0,1,2", folder=tmp_path, faults={1: fault})
        assert done.returncode == code and seeds(tmp_path)[-1] == 1
        assert "stopped: fcn8s_tiny_seed1_" in done.stderr and "failed:" not in done.stderr
        assert records(tmp_path)[1]["state"] == "stopped" and 2 not in records(tmp_path)
        assert re.search(r"2 jobs: 1 done \(\d now, \d before\), 1 stopped", done.stdout)
    status = fcnexp("sweep.__main__", "status", "out", folder=tmp_path, cache=tmp_path)
    assert status.returncode == 1 and "2 jobs: 1 done, 1 stopped" in status.stdout
    clean = fcnexp("sweep.__main__", "clean", "out", folder=tmp_path, cache=tmp_path)
    assert "0 of 2 jobs removed" in clean.stdout and "1 stopped jobs kept" in clean.stdout
    assert sweep("seed=0,1,2", folder=tmp_path).returncode == 0 and seeds(tmp_path) == [1, 2]


def test_fail_fast_starts_no_further_job(tmp_path):
    done = sweep("seed=0,1,2", "fail_fast=true", folder=tmp_path, faults={1: "bug"})
    assert done.returncode == 1 and seeds(tmp_path) == [0, 1]
    assert "3 jobs: 1 done (1 now, 0 before), 1 failed, 1 not started" in done.stdout
    again = sweep("seed=0,1,2", folder=tmp_path)  # fail_fast is not part of the digest
    assert again.returncode == 0 and seeds(tmp_path) == [1, 2]


def test_dry_run_leaves_nothing(tmp_path):
    done = sweep("seed=0,1", "dry_run=true", folder=tmp_path)
    assert done.returncode == 0 and seeds(tmp_path) == [0, 1]  # the task checks by itself
    assert not [p for p in (tmp_path / "out").rglob("*") if p.name in ("job.json", "launches")]


def test_mistake_in_the_command_leaves_nothing(tmp_path):
    done = sweep("seed=0,1", "regime.stpes=3", folder=tmp_path)
    assert done.returncode == 1 and "did you mean regime.steps?" in done.stderr
    assert not (tmp_path / "out").exists()


def test_folder_of_another_job_is_refused(tmp_path):
    own = "hydra.sweep.subdir='${hydra:job.num}'"
    assert sweep("seed=0,1", own, folder=tmp_path).returncode == 0
    done = sweep("seed=1,0", own, folder=tmp_path)
    assert done.returncode == 1 and not seeds(tmp_path)
    assert "out/0: holds another job (seed=0)" in done.stderr


def test_job_running_elsewhere_is_skipped(tmp_path):
    sweep("seed=0,1", folder=tmp_path, faults={1: "bug"})
    (folder,) = (tmp_path / "out").glob("*_seed1_*")
    with locks.claim(folder):
        ledger.begin(folder, folder.name[-10:], 1, ["seed=1"])
        done = sweep("seed=0,1", folder=tmp_path)
    assert not seeds(tmp_path) and "skipped, already running on" in done.stdout
    assert done.returncode == 0 and "2 jobs: 1 done (0 now, 1 before), 1 running" in done.stdout


def test_job_whose_process_was_killed_runs_again(tmp_path):
    sweep("seed=0", folder=tmp_path, faults={0: "bug"})
    (folder,) = (tmp_path / "out").glob("*_seed0_*")
    with locks.claim(folder):
        ledger.begin(folder, folder.name[-10:], 0, ["seed=0"])
    assert ledger.state_of(folder) == "stale"
    assert sweep("seed=0", folder=tmp_path).returncode == 0 and seeds(tmp_path) == [0]


@pytest.mark.parametrize("damage", ["result.json", "config.yaml", "checkpoints/last.ckpt"])
def test_damaged_file_is_set_aside(tmp_path, damage, capsys):
    (tmp_path / "checkpoints").mkdir()
    torch.save({"state_dict": {}}, tmp_path / "checkpoints/last.ckpt")
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    (tmp_path / damage).write_text("{'half")
    assert job.prepare(tmp_path)
    assert not (tmp_path / damage).exists()
    if damage.endswith("ckpt"):
        assert "damaged" in (out := capsys.readouterr().out) and "starts over" in out


def test_folder_without_a_run_starts_over(tmp_path):
    (tmp_path / "job.json").write_text("{}")
    assert not job.prepare(tmp_path)


def test_finished_sweep_needs_neither_torch_nor_lightning(tmp_path):
    sweep("seed=0,1", folder=tmp_path)
    program = (
        "import sys; from fcnexp.train import main; main();"
        "assert not {'torch', 'lightning', 'torchmetrics', 'wandb'} & set(sys.modules)"
    )
    for launcher in ("in_process", "subprocess"):
        own = ["-m", "seed=0,1", "hydra.sweep.dir=out", f"hydra/launcher={launcher}"]
        done = subprocess.run(
            [sys.executable, "-c", program, *own], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0 and "2 done (0 now, 2 before)" in done.stdout, done.stderr


def test_concurrent_launches_run_each_job_once(tmp_path):
    (tmp_path / "calls").write_text("")
    program = Path(__file__).parents[1] / "made_up_jobs.py"
    command = [sys.executable, str(program), "-m", "hydra.sweep.dir=out", "seed=range(6)"]
    both = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in "ab"
    ]
    for process in both:
        out = process.communicate()[0]
        assert process.returncode == 0 and "6 jobs: " in out
    assert seeds(tmp_path) == list(range(6))
    assert {record["attempts"] for record in records(tmp_path).values()} == {1}


def test_status_resume_and_clean(tmp_path):
    sweep("seed=0,1,2", folder=tmp_path, faults={1: "bug", 2: "mistake"})
    status = fcnexp("sweep.__main__", "status", "out", folder=tmp_path, cache=tmp_path)
    assert status.returncode == 1 and "3 jobs: 1 done, 2 failed" in status.stdout
    (launch,) = (tmp_path / "out/launches").glob("*.json")
    stored = json.loads(launch.read_text())
    assert stored["argv"][3:] == ["-m", "hydra.sweep.dir=out", "seed=0,1,2"]
    assert stored["cwd"] == str(tmp_path)
    clean = fcnexp("sweep.__main__", "clean", "out", folder=tmp_path, cache=tmp_path)
    assert "2 of 3 jobs removed" in clean.stdout and len(records(tmp_path)) == 1
    status = fcnexp("sweep.__main__", "status", "out", folder=tmp_path, cache=tmp_path)
    assert status.returncode == 0 and "1 job: 1 done" in status.stdout


def test_resume_works_in_a_moved_folder(tmp_path):
    sweep("seed=0,1", folder=tmp_path)
    (tmp_path / "out").rename(tmp_path / "moved to")
    done = fcnexp("sweep.__main__", "resume", "moved to", folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0 and "-m hydra.sweep.dir=out seed=0,1" in done.stdout
    assert len(list((tmp_path / "moved to/launches").glob("*.json"))) == 2
    command = [*("python", "-m", "fcnexp.train", "-m", "hydra.sweep.dir=out"), "seed=0,1"]
    assert launches.commands(tmp_path / "moved to") == [(command, str(tmp_path))]
    assert not (tmp_path / "out").exists()  # nor was anything trained: `task` has no net


MISTAKES = {
    (): "nothing given; type python -m fcnexp.sweep status|resume|clean DIR",
    ("statsu", "."): "statsu: no such command (did you mean status?)",
    ("status", "gone"): "gone: no such folder; sweeps are in outputs/sweep",
    ("clean", "."): ".: contains no jobs of a sweep",
    ("resume", "."): ".: no command in launches; give the folder of one sweep",
}


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_mistake_gives_one_message(arguments, tmp_path):
    done = fcnexp("sweep.__main__", *arguments, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith(f"error: {MISTAKES[arguments]}")
