"""Jobs in any order of starts, ends, kills and damage, compared with a simple model."""

import json
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from made_up_runs import write_run

from fcnexp.reporting.records import JOB, RESULT
from fcnexp.run import locks
from fcnexp.run.locks import FolderError
from fcnexp.sweep import job, ledger

JOBS = 3
WHICH = st.integers(0, 2 * JOBS - 1)
ENDS = ["done", "done", "failed", "stopped", "killed", "no result"]
FAULT = {"type": "OSError", "message": "no space", "traceback": None}


class Known(NamedTuple):
    """Model of a job. record: None, whole or damaged; result: None, whole or damaged."""

    record: str | None = None
    state: str = ""
    attempts: int = 0
    result: str | None = None

    def state_if(self, held: bool) -> str:
        """State that the documentation promises."""
        if self.record is None:
            return "not started"
        if self.record == "damaged" or self.state == "running":
            return "running" if held else "stale"
        if self.state == "done":
            return "done" if self.result == "whole" else "stale"
        return self.state


class Sweep(RuleBasedStateMachine):
    """Three jobs, each with at most one process at a time, as its lock allows."""

    steps: Counter[str] = Counter()
    lives: list[str] = []  # completed ones

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.known = [Known() for _ in range(JOBS)]
        self.claims: dict[int, object] = {}
        self.records: dict[int, ledger.Record] = {}

    def teardown(self) -> None:
        for claim in self.claims.values():
            claim.__exit__(None, None, None)
        shutil.rmtree(self.root)
        self.lives.append(self.root.name)

    def folder(self, which: int) -> Path:
        return self.root / f"job{which}"

    def note(self, which: int, **changes) -> None:
        self.known[which] = self.known[which]._replace(**changes)

    @rule(
        action=st.sampled_from(["begin", "begin", "end", "end", "damage", "remove", "die"]),
        which=WHICH,
        how=st.sampled_from(ENDS),
        share=st.none() | st.floats(0, 0.99),
    )
    def step(self, action: str, which: int, how: str, share: float | None) -> None:
        """Do one action; a single rule, since hypothesis neglects some of several rules."""
        if action == "end" and self.claims:
            self.end(sorted(self.claims)[which % len(self.claims)], how)
        elif action == "damage" and self.files():
            self.damage(*self.files()[which % len(self.files())], share)
        elif action in ("remove", "die"):
            getattr(self, action)(which % JOBS)
        else:
            self.begin(which % JOBS)

    def begin(self, which: int) -> None:
        """Lock the job, if it is free, and start it if it is not done."""
        self.steps["begin"] += 1
        claim = locks.claim(self.folder(which))
        mine = claim.__enter__()
        assert mine == (which not in self.claims)
        if not mine or ledger.result_of(self.folder(which), f"d{which}") is not None:
            claim.__exit__(None, None, None)
            assert not mine or self.known[which].state_if(held=True) == "done"
            return
        before = self.known[which].attempts if self.known[which].record == "whole" else 0
        record = ledger.begin(self.folder(which), f"d{which}", which, [f"seed={which}"])
        assert record.attempts == before + 1 and record.pid == os.getpid()
        self.claims[which], self.records[which] = claim, record
        self.note(which, record="whole", state="running", attempts=before + 1)

    def end(self, which: int, how: str) -> None:
        """End a process: done, failed, stopped, or killed without a record."""
        self.steps[how] += 1
        record, folder = self.records.pop(which), self.folder(which)
        if how == "done":
            shutil.copytree(self.finished(), folder, dirs_exist_ok=True)
            self.note(which, result="whole")
        if how in ("failed", "stopped"):
            ledger.end(folder, record, FAULT, stopped=how == "stopped")
            self.note(which, record="whole", state=how, attempts=record.attempts)
        elif how != "killed":
            ledger.end(folder, record)
            self.note(which, record="whole", state="done", attempts=record.attempts)
        self.claims.pop(which).__exit__(None, None, None)  # as the kernel does for a dead process

    def finished(self) -> Path:
        """Folder with a complete result, made once."""
        if not (self.root / "made").exists():
            write_run(self.root / "made", miou=0.25)
        return self.root / "made"

    def files(self) -> list[tuple[int, str]]:
        """Intact records and results, by job."""
        return [
            (which, name)
            for which, known in enumerate(self.known)
            for name, state in ((JOB, known.record), (RESULT, known.result))
            if state == "whole"
        ]

    def damage(self, which: int, name: str, share: float | None) -> None:
        """Truncate or remove a file."""
        path = self.folder(which) / name
        self.steps[f"{'lose' if share is None else 'cut'} {name}"] += 1
        text = path.read_text().rstrip()
        path.unlink()
        if share is not None:
            path.write_text(text[: int(share * len(text))])
        state = None if share is None else "damaged"
        self.note(which, **{"record" if name == JOB else "result": state})

    def remove(self, which: int) -> None:
        """Remove a job if it has failed."""
        self.steps["remove"] += 1
        bad = self.known[which].state_if(held=which in self.claims) in ("failed", "stale")
        there = self.folder(which).exists()
        assert ledger.remove(self.folder(which)) == bad
        assert self.folder(which).exists() == (there and not bad)
        if bad:
            self.known[which] = Known()

    def die(self, which: int) -> None:
        """Record the death of a job's process, as its launcher does."""
        self.steps["die"] += 1
        known, held = self.known[which], which in self.claims
        lost = job.Job(which, [f"seed={which}"], self.folder(which), f"d{which}")
        ending, _ = job.record_death(lost, FAULT)
        if held or known.state_if(held) == "done":
            assert ending.outcome == ("elsewhere" if held else "now")
            return
        whole = known.record == "whole"
        stopped = whole and known.state == "stopped"
        assert ending.outcome == ("stopped" if stopped else "failed")
        attempts = known.attempts if whole else 1
        self.note(which, record="whole", state=ending.outcome, attempts=attempts)

    def refuse_another_digest(self, which: int) -> None:
        """Check that a job with other settings does not get this one's result."""
        if self.known[which].record != "whole":
            assert ledger.result_of(self.folder(which), "other") is None
            return
        with pytest.raises(FolderError, match=f"job{which}: holds another job"):
            ledger.result_of(self.folder(which), "other")

    @invariant()
    def every_promise_holds(self) -> None:
        there = []
        for which, known in enumerate(self.known):
            folder, held = self.folder(which), which in self.claims
            assert locks.is_held(folder) == held
            assert ledger.state_of(folder) == known.state_if(held)
            record = ledger.read(folder)
            assert (record is not None) == (known.record == "whole")
            if record is not None:
                stored = json.loads((folder / JOB).read_text())
                assert (record.state, record.attempts) == (known.state, known.attempts)
                assert (record.digest, record.number) == (f"d{which}", which)
                assert stored["ended"] is None if known.state == "running" else stored["ended"]
            done = ledger.result_of(folder, f"d{which}") is not None
            assert done == (known.state_if(held) == "done")
            self.refuse_another_digest(which)
            if known.record is not None:
                there.append(folder)
        assert list(ledger.job_folders(self.root)) == there  # none is missing


@pytest.mark.parametrize("examples", [50, pytest.param(500, marks=pytest.mark.slow)])
def test_ledger_keeps_its_promises_in_any_order(examples, tell, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0)  # no lock is released during the wait
    Sweep.steps.clear()
    Sweep.lives.clear()
    run_state_machine_as_test(
        Sweep, settings=settings(settings.default, max_examples=examples, stateful_step_count=30)
    )
    assert len(Sweep.steps) == 12, Sweep.steps  # all kinds occurred
    counts = ", ".join(f"{name} {count}" for name, count in sorted(Sweep.steps.items()))
    tell(f"ledger: {len(Sweep.lives)} lives of {JOBS} jobs keep every promise; {counts}")
