"""Local launchers: jobs as processes, GPUs, names of jobs."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from made_up_jobs import calls, records, seeds, sweep
from omegaconf import OmegaConf

from fcnexp.config import job_names
from fcnexp.errors import ConfigError
from fcnexp.sweep import launcher, processes

PROGRAM = Path(__file__).parents[1] / "made_up_jobs.py"
PROCESSES = ["hydra/launcher=subprocess", "hydra.launcher.n_jobs=2"]


@pytest.fixture(autouse=True)
def made_up_processes(monkeypatch):
    """Start fake jobs instead of trainings."""
    real = launcher.command

    def command(*arguments):
        python, m, train, *rest = real(*arguments)
        assert (python, m, train) == (sys.executable, "-m", "fcnexp.train")
        return [sys.executable, str(PROGRAM), *rest]

    monkeypatch.setattr(launcher, "command", command)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def test_dead_process_fails_only_its_job(tmp_path):
    faults = {0: "killed", 1: "gone", 2: "bug", 3: "exit"}
    first = sweep("seed=0,1,2,3,4", *PROCESSES, folder=tmp_path, faults=faults)
    assert first.returncode == 1 and "5 jobs: 1 done (1 now, 0 before), 4 failed" in first.stdout
    errors = {seed: record["error"] for seed, record in records(tmp_path).items()}
    assert errors[0]["type"] == "SIGKILL" and "memory may have run out" in errors[0]["message"]
    assert errors[1]["type"] == "ProcessExit" and "exit code 7" in errors[1]["message"]
    assert errors[2]["type"] == "ZeroDivisionError" and "1 / 0" in errors[2]["traceback"]
    assert errors[3]["type"] == "SystemExit" and errors[4] is None
    assert first.stderr.count("(fcn8s_tiny_seed") == first.stderr.count("failed: seed=") == 4
    assert "SIGKILL: its process was ended by SIGKILL" in first.stderr
    (log,) = (tmp_path / "out").glob("*_seed2_*/output.log")
    assert "ZeroDivisionError" in log.read_text() and str(log) in first.stderr
    assert {record["attempts"] for record in records(tmp_path).values()} == {1}


def test_job_stays_done_if_its_process_dies_on_exit(tmp_path):
    """Its record holds the command of the sweep, not that of its process."""
    done = sweep("seed=0", *PROCESSES, folder=tmp_path, faults={0: "late"})
    assert done.returncode == 0 and "1 job: 1 done (1 now, 0 before)" in done.stdout
    assert records(tmp_path)[0]["state"] == "done" and "#0 done, mean IU 0.0 %" in done.stdout
    (result,) = (tmp_path / "out").glob("*/result.json")
    command = ["python", "-m", "fcnexp.train", "-m", "hydra.sweep.dir=out", "seed=0", *PROCESSES]
    assert json.loads(result.read_text())["command"] == shlex.join(command)  # as it was typed


def test_file_with_the_name_of_a_job_folder_fails_only_that_job(tmp_path):
    sweep("seed=0", folder=tmp_path)
    (folder,) = (tmp_path / "out").glob("*_seed0_*")
    shutil.rmtree(folder)
    folder.write_text("")
    done = sweep("seed=0,1", *PROCESSES, folder=tmp_path)
    assert done.returncode == 1 and seeds(tmp_path) == [1]
    assert f"failed: seed=0  ({folder.name}): FileExistsError" in done.stderr
    assert "2 jobs: 1 done (1 now, 0 before), 1 not started" in done.stdout
    assert "not compared" not in done.stderr and (tmp_path / "out/report.html").is_file()


def test_each_concurrent_job_has_a_gpu(tmp_path):
    done = sweep("seed=0,1,2", *PROCESSES, "hydra.launcher.gpus=[3,5]", folder=tmp_path)
    assert done.returncode == 0 and "on GPU 3" in done.stdout
    assert {line.split()[2] for line in calls(tmp_path)} == {"3", "5"}


def test_values_arrive_as_they_were_typed(tmp_path):
    odd = "a 'b' \"c\" [d] {e}, f=g"
    quoted = odd.replace('"', '\\"')
    typed = f'+backbone.note="{quoted}"'
    folder = tmp_path / "it's 5\" of [rain], 50%"
    folder.mkdir()
    done = sweep("seed=0", "backbone.widths=[4,4,6,6,8,8]", typed, *PROCESSES, folder=folder)
    assert done.returncode == 0, done.stderr
    (config,) = (folder / "out").glob("*/config.yaml")
    from omegaconf import OmegaConf

    written = OmegaConf.load(config).backbone
    assert written.note == odd and written.widths == [4, 4, 6, 6, 8, 8]


def test_sigterm_stops_the_processes_and_starts_no_more(tmp_path):
    """The jobs never end by themselves; the launcher must stop them."""
    (tmp_path / "calls").write_text("")
    (tmp_path / "faults").mkdir()
    for seed in range(3):
        (tmp_path / "faults" / str(seed)).write_text("wait")
    patched = (
        "import sys; from fcnexp.sweep import launcher, command; real = launcher.command;"
        f"launcher.command = lambda *a: [sys.executable, {str(PROGRAM)!r}, *real(*a)[3:]];"
        f"sys.path.insert(0, {str(PROGRAM.parent)!r}); from made_up_jobs import task;"
        "command.run(task)"
    )
    own = ["-m", "seed=0,1,2", "hydra.sweep.dir=out", *PROCESSES]
    process = subprocess.Popen(
        [sys.executable, "-c", patched, *own],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    watch = threading.Timer(100, process.kill)
    watch.start()
    while len(seeds(tmp_path)) < 2:
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    watch.cancel()
    assert process.returncode == 143 and "stopping 2 jobs" in err
    assert err.count("stopped: seed=") == 2 and "failed:" not in err
    assert "3 jobs: 2 stopped, 1 not started" in out
    pids = {record["pid"] for record in records(tmp_path).values()}
    assert len(pids) == 2 and all(r["error"] for r in records(tmp_path).values())
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_messages_name_the_differing_overrides(tmp_path):
    command = ["model=fcn8s", "modality=rgb,rgb_nyud", "seed=0,1"]
    done = sweep(*command, *PROCESSES, folder=tmp_path, faults={1: "mistake"})
    jobs = [json.loads(file.read_text()) for file in (tmp_path / "out").glob("*/job.json")]
    (digest,) = [job["digest"] for job in jobs if job["number"] == 2]
    folder = f"fcn8s_tiny_seed0_{digest}"
    assert f"#2 starts: modality=rgb_nyud seed=0  ({folder})" in done.stdout
    assert re.search(rf"#2 done, .*, \d+ s: modality=rgb_nyud seed=0  \({folder}\)", done.stdout)
    assert re.search(r"failed: modality=rgb seed=1  \(\w+\): DataError: a.jpg", done.stderr)
    again = sweep(*command[:2], "seed=0", *PROCESSES, folder=tmp_path)
    assert f"#1 done before, mean IU 0.0 %: modality=rgb_nyud  ({folder})" in again.stdout


@pytest.mark.parametrize(
    ("jobs", "typed", "varying"),
    [
        ([["a=1", "s=0"], ["a=1", "s=1"]], [], ["s=0", "s=1"]),
        ([["a=1", "lr=0.3"]], ["a=1"], ["lr=0.3"]),  # a trial of a search
        ([["a=1"]], ["a=1"], [""]),
        ([["a=1"], ["a=1"]], [], ["", ""]),
        ([], [], []),
    ],
)
def test_varying_overrides(jobs, typed, varying):
    assert job_names.varying(jobs, typed) == varying


@pytest.mark.parametrize(
    ("choice", "jobs", "found"),
    [
        ([0, 1], 2, ["0", "1"]),
        (["GPU-1a", 3], 1, ["GPU-1a"]),
        ([0, 0], 2, ["0", "0"]),
        (None, 2, [None, None]),
        ("auto", 3, ["2", "7", "2"]),
    ],
)
def test_gpus_are_assigned(choice, jobs, found, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 7")
    assert processes.assign_gpus(choice, jobs) == found


def test_auto_works_without_a_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert processes.assign_gpus("auto", 2) == [None, None]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ([0], r"gpus=\[0\]: 1 for hydra.launcher.n_jobs=2 .* twice if two jobs share"),
        ("all", "gpus=all: allowed are auto, null, or a list of ids"),
        ([], "allowed are auto, null"),
    ],
)
def test_wrong_gpus_are_refused(choice, message):
    with pytest.raises(ConfigError, match=message):
        processes.assign_gpus(choice, 2)


def test_number_of_jobs_is_checked(tmp_path):
    done = sweep("seed=0,1", PROCESSES[0], "hydra.launcher.n_jobs=0", folder=tmp_path)
    assert done.returncode == 1 and "hydra.launcher.n_jobs=0: must be 1 or more" in done.stderr
    assert not (tmp_path / "out").exists()


def test_files_read_once_give_the_same_configs(tmp_path):
    """Hydra modifies the content of files; other jobs must not see that."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.utils import create_config_search_path
    from hydra.types import RunMode

    from fcnexp.config.compose import conf_dir, offer_resolvers

    offer_resolvers()
    path = create_config_search_path(str(conf_dir()))
    once, each_time = ConfigLoaderImpl(path), ConfigLoaderImpl(path)
    once.repository = launcher.FilesReadOnce(once.repository)
    jobs = [["seed=1"], ["seed=2", "model=fcn32s"], ["experiment=voc_fcn8s"], ["seed=3"]]
    # Compose all before comparing: a later one must not change an earlier one.
    made = [once.load_configuration("train", job, RunMode.RUN) for job in jobs]
    for job, config in zip(jobs, made, strict=True):
        fresh = each_time.load_configuration("train", job, RunMode.RUN)
        plain = [OmegaConf.to_container(each) for each in (config, fresh)]  # `now` differs
        assert plain[0] == plain[1]
        assert config.hydra.overrides.task == job
