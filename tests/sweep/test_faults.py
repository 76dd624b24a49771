"""A sweep of 60 trainings with 12 planted faults. Takes minutes."""

import pytest
from commands import TINY
from planted import ALL
from sweep_commands import FAULTY, records, results, start, sweep

SIXTY = ["seed=" + ",".join(map(str, range(30))), "model=fcn32s,fcn8s"]
PROCESSES = ["hydra/launcher=subprocess", "hydra.launcher.n_jobs=2"]


@pytest.mark.slow
def test_each_fault_fails_one_job_and_the_same_command_completes_it(tmp_path):
    assert len(ALL) == 12
    whole = sweep(*SIXTY, "hydra.sweep.dir=whole", folder=tmp_path)  # one after the other
    assert whole[0] == 0, whole[2]
    hit = {f"fcn{8 if i % 2 else 32}s_tiny_seed{2 * i}": fault for i, fault in enumerate(ALL)}
    for name, fault in hit.items():
        (tmp_path / "planted" / name).write_text(fault)
    command = [*SIXTY, *PROCESSES, "hydra.sweep.dir=part"]
    code, out, err = sweep(*command, folder=tmp_path)
    assert code == 1 and "60 jobs: 48 done (48 now, 0 before), 12 failed" in out, err
    after = records(tmp_path / "part")
    assert {name for name, record in after.items() if record["state"] == "failed"} == set(hit)
    assert err.count("failed: ") == 12
    kinds = {hit[name]: after[name]["error"]["type"] for name in hit}
    killed = dict.fromkeys(("killed", "half_checkpoint", "half_result"), "SIGKILL")
    assert kinds == killed | {
        **{"exception": "RuntimeError", "gpu_memory": "RuntimeError", "memory": "MemoryError"},
        **{"system_exit": "SystemExit", "gone": "ProcessExit", "disk_full": "OSError"},
        **{"image": "DataError", "logger_down": "IsADirectoryError"},
        "not_a_number": "TrainingError",
    }
    for file in (tmp_path / "planted").iterdir():
        file.unlink()
    for directory in (tmp_path / "part").glob("*/metrics.csv/"):
        directory.rmdir()
    code, out, err = sweep(*command, folder=tmp_path)
    assert code == 0 and "60 jobs: 60 done (12 now, 48 before)" in out, err
    attempts = {name: record["attempts"] for name, record in records(tmp_path / "part").items()}
    assert attempts == {name: 1 + (name in hit) for name in after}
    assert results(tmp_path / "part") == results(tmp_path / "whole")


@pytest.mark.slow
def test_concurrent_launches_share_the_jobs(tmp_path):
    command = ["-m", *TINY, *FAULTY, "seed=" + ",".join(map(str, range(8))), *PROCESSES]
    both = [start(*command, folder=tmp_path) for _ in range(2)]
    for process in both:
        out, err = process.communicate()
        assert process.returncode == 0 and " failed" not in out, err
    (folder,) = (tmp_path / "outputs/sweep").iterdir()
    after = records(folder)
    assert len(after) == 8
    assert all(record["attempts"] == 1 and record["state"] == "done" for record in after.values())
