"""Foreign files run no code, write nothing outside their folder, and leak no secret."""

import ast
import csv
import io
import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import bad_checkpoints
import pytest
from bad_commands import PICTURE, tar
from commands import TINY, call, fcnexp
from made_up_runs import write_job, write_run
from PIL import Image
from test_predict import SMALL, write_checkpoint

from fcnexp.config.checks import PRECISIONS
from fcnexp.config.secrets import environment, refuse_secrets
from fcnexp.data.archives import VOC2012, unpack
from fcnexp.errors import ConfigError, DataError
from fcnexp.nn.weights import checkpoint_checks
from fcnexp.sweep import __main__ as sweep_command
from fcnexp.task.masking import SIDES

PACKAGE = Path(__file__).resolve().parents[2] / "src"
# Calls that run their input, by the last part of their name.
NEVER = {"Unpickler", "unsafe_load"}
BY_NAME = {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}  # nets have eval()
PICKLES = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}
FETCHES = {"data/archives.py", "nn/weights/download.py"}  # both compare digests; see their tests
SECRET = "0123456789abcdef0123456789abcdef01234567"


def calls() -> list[tuple[str, ast.Call]]:
    """List every call in the package with its file."""
    return [
        (str(path.relative_to(PACKAGE / "fcnexp")), node)
        for path in sorted((PACKAGE / "fcnexp").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    ]


def test_no_call_runs_its_input(tell):
    found = calls()
    for file, node in found:
        named = ast.unparse(node.func)
        where, last = f"{file}:{node.lineno}: {named}", named.rpartition(".")[2]
        options = {word.arg: ast.unparse(word.value) for word in node.keywords}
        assert last not in NEVER and named not in BY_NAME, where
        assert options.get("shell", "False") == "False", where
        assert named != "torch.load" or options.get("weights_only") == "True", where
        assert named != "yaml.load", where
        assert options.get("allow_pickle", "False") == "False", where
        assert named not in ("np.load", "numpy.load") or "allow_pickle" in options, where
        assert last not in ("urlopen", "urlretrieve", "load_state_dict_from_url") or (
            file in FETCHES
        ), where
        assert not named.startswith("torch.hub"), where
    tell(f"safety: {len(found)} calls of the package, none runs its input")


def test_nothing_is_unpickled():
    for path in sorted((PACKAGE / "fcnexp").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not PICKLES & {name.partition(".")[0] for name in names}, path
            if isinstance(node, ast.ImportFrom) and node.module in PICKLES:
                assert [alias.name for alias in node.names] == ["UnpicklingError"], path


def test_checkpoint_checks_use_the_names_of_runs():
    assert set(checkpoint_checks.SIDES) == {*SIDES, None}
    assert {"auto", *checkpoint_checks.PRECISIONS} == set(PRECISIONS)


CODE = [name for name in bad_checkpoints.REFUSED if "code" in name or "calls" in name]
READERS = {  # commands that read a checkpoint, except `evaluate`, see test_broken_inputs
    "predict": ["checkpoint=bad.ckpt", "input=a.png"],
    "export": ["checkpoint=bad.ckpt", "format=state_dict"],
    "explain": ["figure=fusion", "image=a.png", "checkpoint=bad.ckpt"],
    "train": [*TINY, "init=checkpoint", "init.path=bad.ckpt", "dry_run=false"],
}


@pytest.mark.slow
def test_no_command_runs_code_of_a_checkpoint(tmp_path, tell):
    content = write_checkpoint(tmp_path / "net.ckpt", *SMALL).read_bytes()
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    good, ran, refused = bad_checkpoints.good(content, tmp_path / "trap"), 0, 0
    for name in CODE:
        (tmp_path / "bad.ckpt").write_bytes(bad_checkpoints.REFUSED[name](good))
        for command, typed in READERS.items():
            place = f"hydra.run.dir={command}{refused}"
            done = fcnexp(command, *typed, place, folder=tmp_path, cache=tmp_path / "cache")
            ran += good.trap.exists()
            refused += 1
            # `train` uses only the weights of such a checkpoint, not its config.
            assert done.returncode == 1 or (command == "train" and "calls" in name), (name, command)
    tell(f"safety: checkpoints with code, {len(CODE)} x {len(READERS)} commands: {ran} ran")
    assert not ran


def test_launch_file_starts_no_other_program(tmp_path):
    (tmp_path / "launches").mkdir()
    note = {"argv": ["sh", "-c", f"touch {tmp_path}/trap"], "cwd": str(tmp_path)}
    (tmp_path / "launches/x.json").write_text(json.dumps(note))
    done = call(sweep_command.main, "resume", str(tmp_path), folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1 and "launches/x.json: its argv must start with" in done.stderr
    assert not (tmp_path / "trap").exists()


def test_unpacking_follows_no_existing_link(tmp_path):
    """Neither to a folder, nor under the temporary name of a file."""
    import os

    file, root = tar(tmp_path / "a.tar", [PICTURE]), tmp_path / "root"
    place, outside = root / Path(PICTURE[0]).parent, tmp_path / "outside"
    outside.mkdir()
    place.parent.mkdir(parents=True)
    place.symlink_to(outside)
    with pytest.raises(DataError, match="would be written to .*outside, through a link"):
        unpack(file, root, VOC2012, lambda _: None)
    place.unlink()
    place.mkdir()
    (outside / "kept").write_text("mine")
    (place / f".a.jpg.{os.getpid()}").symlink_to(outside / "kept")
    assert unpack(file, root, VOC2012, lambda _: None) == 1
    assert (outside / "kept").read_text() == "mine" and (place / "a.jpg").read_bytes() == b"picture"


def test_archive_larger_than_the_disk_is_refused(tmp_path, monkeypatch):
    file, free = tar(tmp_path / "a.tar", [PICTURE]), SimpleNamespace(free=len(PICTURE[2]) - 1)
    monkeypatch.setattr("fcnexp.data.archives.shutil.disk_usage", lambda _: free)
    with pytest.raises(DataError, match=r"a\.tar: needs .* GB free; choose another root"):
        unpack(file, tmp_path / "root", VOC2012, lambda _: None)
    assert not (tmp_path / "root").exists()


VARIABLES = {  # by their name, or by the format of their value
    "DB_PWD": "hunter2",
    "PGPASS": "hunter2",
    "MY_AUTH": "hunter2",
    "SESSION_COOKIE": "hunter2",
    "CI_PAT": "hunter2",
    "SENTRY_DSN": "hunter2",
    "DB_CONNECTION_STRING": "hunter2",
    "BLOB_SAS": "hunter2",
    "NOTE_A": "hf_abcdefghijklmnopqrst",
    "NOTE_B": "ghp_abcdefghijklmnopqrst",
    "NOTE_C": "AKIAABCDEFGHIJKLMNOP",
    "NOTE_D": "eyJhbGciOiJI.eyJzdWIiOiIx.abc",
    "NOTE_E": "postgres://me:hunter2@host/db",
    "NOTE_F": "-----BEGIN RSA PRIVATE KEY-----",
    "NOTE_G": "sk-abcdefghijklmnopqrst",
    "NOTE_H": "0123456789abcdef0123456789abcdef01234567",
    "NOTE_I": "xK8vQ2mN5pR7tW9yB3dF",
    "NOTE_J": "xoxb-123456789012-abc",
}
PLAIN = {
    "PWD": "/home/me",
    "OLDPWD": "/home/me",
    "HOME": "/home/me",
    "SCRATCH": "/scratch/0123456789abcdef0123456789abcdef01234567",
    "SLURM_JOB_ID": "12345678901234567890123",
    "HOST": "gpu-node-0123-rack-42-row-7.example.org",
    "AUTHOR": "somebody",
    "NOTE_K": "internationalisationists",
    "NOTE_L": "123e4567-e89b-12d3-a456-426614174000",
    "NOTE_M": "https://example.org:8080/data",
}


@pytest.mark.parametrize("name", VARIABLES)
def test_secret_variables_are_told_by_name_or_value(name, monkeypatch):
    monkeypatch.setenv(name, VARIABLES[name])
    with pytest.raises(ConfigError, match=rf"\{{oc\.env:{name}\}}: ") as caught:
        environment(name)
    assert VARIABLES[name] not in str(caught.value)


@pytest.mark.parametrize("name", PLAIN)
def test_other_variables_are_read(name, monkeypatch):
    monkeypatch.setenv(name, PLAIN[name])
    assert environment(name) == PLAIN[name]


def test_number_of_secrets(tell):
    tell(
        f"secrets: {len(VARIABLES)} variables and {len(LEAKS)} overrides, 0 read, written or shown"
    )


@pytest.mark.parametrize(
    "line", ["entity: hf_abcdefghijklmnopqrst", "api_key: abcdefghijkl", "project: 'x://a:b@c'"]
)
def test_secrets_of_a_config_file_are_not_stored(line, tmp_path):
    (tmp_path / "my/scale").mkdir(parents=True)
    text = f"# @package _global_\nlogger: {{wandb: {{{line}}}}}\n"
    (tmp_path / "my/scale/leaky.yaml").write_text(text)
    typed = ["--config-dir", "my", "scale=leaky", *TINY]
    done = fcnexp("train", *typed, folder=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 1 and "logger.wandb." in done.stderr, done.stderr
    secret = line.partition(": ")[2].strip("'")
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "leaky.yaml"]
    assert secret not in done.stderr + "".join(file.read_text(errors="replace") for file in files)


LEAKS = {
    "interpolated": "logger.wandb.entity=${oc.env:WANDB_API_KEY}",
    "interpolated inside": "logger.wandb.project=x-${oc.env:WANDB_API_KEY}",
    "by the shell": f"logger.wandb.entity={SECRET}",
    "as a key": f"+logger.wandb.api_key={SECRET}",
    "as another's": "+hf_token=hf_abcdefghijkl",
    "within a value": "+logger.wandb={api_key: hf_abcdefghijkl}",
    "from a password": "logger.wandb.entity=${oc.env:DB_PWD}",
    "by its value": "logger.wandb.entity=${oc.env:NOTE}",
    "by its format": "logger.wandb.entity=hf_abcdefghijklmnopqrst",
}
HARMLESS = [
    *("data.key=label", "data.val_key=3", "data.tokens=3", "+data.tokenizer=bpe", "+data.key=null"),
    *("+data.tokenizer=a-rather-long-name", "data.tokens=1000000000000", "data.key=label,inst,seg"),
    *("+data.use_token=true", "+data.x={key: label, tokens: 3}"),
]
SECRETS = [
    *("+data.api_keys=[a,hf_abcdefghijkl]", "+a={b: {token: 'hf_abcdefghijkl'}, c: 1}"),
    *("x.db_password='a b,c d,e f,g h'", "hydra.job.env_set.WANDB_API_KEY=hf_abcdefghijkl"),
    *("+a={WANDB_API_KEY:hf_abcdefghijkl}", "+a={tokens: [hf_abcdefghijkl]}"),
]


def test_harmless_values_are_accepted():
    refuse_secrets(HARMLESS)


@pytest.mark.parametrize("typed", SECRETS)
def test_secrets_are_recognised_by_their_key(typed):
    with pytest.raises(ConfigError, match="secrets do not belong in a config") as caught:
        refuse_secrets([typed])
    assert "hf_abc" not in str(caught.value) and "c d" not in str(caught.value)


@pytest.mark.parametrize("multirun", [[], ["-m", "seed=0,1"]], ids=["run", "sweep"])
@pytest.mark.parametrize("leak", LEAKS)
def test_no_secret_is_written_or_printed(leak, multirun, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setenv("DB_PWD", "hf_abcdefghijkl")
    monkeypatch.setenv("NOTE", SECRET)
    done = fcnexp("train", *multirun, *TINY, LEAKS[leak], folder=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 1 and done.stderr.startswith("error: "), done.stderr
    for secret in (SECRET, "hf_abcdefghijkl"):
        assert secret not in done.stdout + done.stderr
        assert not any(
            secret.encode() in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()
        )


def test_config_file_cannot_read_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    (tmp_path / "my/scale").mkdir(parents=True)
    text = "# @package _global_\nlogger: {wandb: {entity: '${oc.env:WANDB_API_KEY}'}}\n"
    (tmp_path / "my/scale/leaky.yaml").write_text(text)
    typed = ["--config-dir", "my", "scale=leaky", *TINY]
    done = fcnexp("train", *typed, folder=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 1 and "WANDB_API_KEY}: secrets do not belong in" in done.stderr
    assert SECRET not in done.stderr


HOSTILE = [
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "![x](https://example.com/x.png)",
    "a|b\\|c",
    "`code`",
    "one\ntwo",
    "=cmd|' /C calc'!A0",
    "@SUM(1)",
    "+1+1",
    "-2+3",
]


@pytest.fixture
def hostile(tmp_path) -> Path:
    """Create runs with hostile names in settings, commands, folders and errors."""
    for number, text in enumerate(HOSTILE):
        run = write_run(
            tmp_path / "runs" / str(number), head__dropout=text, choices={"model": text}
        )
        record = json.loads((run / "result.json").read_text())
        record["class_iou"] = {text: 0.5}
        record["command"] = shlex.join(["python", "-m", "x", text, "```"])
        (run / "result.json").write_text(json.dumps(record))
    write_job(tmp_path / "runs" / "[a](javascript:b)", "failed", message=HOSTILE[2], type="E")
    done = fcnexp("report", "runs", folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path / "runs"


def test_markdown_shows_names_literally(hostile):
    """They create no tag, link, image or column; commands stay within their fence."""
    text = (hostile / "report.md").read_text()
    fence = re.search(r"^`{4,}$", text, re.MULTILINE)[0]
    prose, commands, rest = text.split(f"{fence}\n")
    assert not rest and "```" in commands and "javascript" in commands
    assert not re.search(r"<\w|\]\(|`", prose), prose
    head, line, *rows = [row for row in prose.splitlines() if row.startswith("|")]
    assert (
        {row.count("|") for row in rows[: len(HOSTILE)]} == {head.count("|")} == {line.count("|")}
    )


def test_spreadsheets_contain_no_formula(hostile):
    rows = list(csv.reader(io.StringIO((hostile / "report.csv").read_text())))
    assert len(rows) == 1 + len(HOSTILE)
    for cell in (cell for row in rows for cell in row):
        assert cell[:1] not in "=+-@\t\r" or not cell or float(cell) is not None
    assert f"'{HOSTILE[6]}" in [cell for row in rows for cell in row]


def test_html_shows_names_literally(hostile):
    text = (hostile / "report.html").read_text()
    assert "<script>alert" not in text and "&lt;script&gt;alert(1)" in text
    assert "default-src 'none'" in text  # the browser refuses all scripts
    assert not re.search(r"(?:href|src)=.?javascript:", text)
