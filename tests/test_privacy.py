"""What a bundle holds of its user: no credentials, names, addresses or home paths, anywhere."""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import privacy
from benchmarks.bundle.writer import BundleWriter
from benchmarks.machine import settings
from benchmarks.privacy import HIDDEN, SET, public, shown
from tests.support.runs import SMALL, run
from tests.synthetic_bundles import environment_record, identity

WORDS = string.ascii_letters + string.digits
USER, HOST = "wilhelmina", "tower-of-babel"


@pytest.fixture(autouse=True)
def own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privacy, "own_names", lambda: {HOST: "host", USER: "user"})


def key(generator: random.Random, length: int = 40) -> str:
    return base64.b64encode(generator.randbytes(length)).decode()


def word(generator: random.Random, length: int = 30, letters: str = WORDS) -> str:
    return "".join(generator.choices(letters, k=length))


CREDENTIALS: dict[str, Callable[[random.Random], tuple[str, str]]] = {
    "GitHub": lambda g: ((one := word(g)), f"ghp_{one}"),
    "GitHub, fine": lambda g: ((one := word(g)), f"github_pat_{one}"),
    "GitLab": lambda g: ((one := word(g, 20)), f"glpat-{one}"),
    "Hugging Face": lambda g: ((one := word(g)), f"hf_{one}"),
    "OpenAI": lambda g: ((one := word(g)), f"sk-proj-{one}"),
    "Slack": lambda g: ((one := word(g, 24)), f"xoxb-1234-{one}"),
    "AWS": lambda g: ((one := word(g, 16, string.ascii_uppercase)), f"AKIA{one}"),
    "JWT": lambda g: ((one := word(g)), f"eyJhbGciOiJIUzI1NiJ9.eyJ{one}.{one}"),
    "PEM": lambda g: (
        (one := key(g)),
        f"-----BEGIN RSA PRIVATE KEY-----\n{one}\n-----END RSA PRIVATE KEY-----",
    ),
    "base64": lambda g: ((one := key(g)), one),
    "hexadecimal": lambda g: ((one := word(g, 40, "0123456789abcdef")), one),
    "URL": lambda g: ((one := word(g, 8)), f"https://me:{one}@example.org/simple"),
    "query": lambda g: ((one := word(g, 8)), f"https://example.org/a?sig={one}"),
    "password": lambda g: ((one := word(g, 8)), f"password={one}"),
    "short name": lambda g: ((one := word(g, 8)), f'{{"pw": "{one}"}}'),
    "short option": lambda g: ((one := word(g, 8)), f"--db-pass={one}"),
    "JSON": lambda g: ((one := word(g, 8)), f'{{"api_key": "{one}"}}'),
    "header": lambda g: ((one := word(g, 12)), f"Authorization: Bearer {one}"),
    "option": lambda g: ((one := word(g, 8)), f"--auth-token {one} --steps 3"),
}
PLACES = ["{}", "it failed: {}", "A=1 B={} C=2", "pip install --index-url {} x", "\n  {}\nend"]


@pytest.mark.parametrize("kind", CREDENTIALS)
def test_no_credential_is_shown(kind: str) -> None:
    generator = random.Random(kind)
    for _ in range(50):
        secret, text = CREDENTIALS[kind](generator)
        for place in PLACES:
            written = public(place.format(text))
            assert secret not in written
            assert public(written) == written
        assert secret not in shown("XLA_FLAGS", f"--xla_x={text}")
        assert secret not in shown("LD_PRELOAD", text)


@pytest.mark.parametrize(
    "name", ["JAX_TOKEN", "PYTHON_SECRET", "TF_API_KEY", "TORCH_AUTH", "XLA_COOKIE", "JAX_PASS"]
)
def test_a_variable_that_is_named_like_a_credential_is_not_shown(name: str) -> None:
    assert shown(name, "1") == SET


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--output /srv/data/Ann/run --steps 3", "--output …/run --steps 3"),
        ("--python jax=/home/ann/venv/bin/python", "--python jax=…/python"),
        ("--data-dir '/Users/Ann Lee/my data'", "--data-dir '…/my data'"),
        ("--data-dir ../ann/mnist", "--data-dir …/mnist"),
        ("--output ./../ann/run", "--output …/run"),
        ("/home/ann/lib:/opt/ann/lib64", "…/lib:…/lib64"),
        ("--xla_dump_to=/home/ann/dump --xla_a=1", "--xla_dump_to=…/dump --xla_a=1"),
        ("g++ -I/home/ann/include -O3 ~ann/x.cpp", "g++ -I…/include -O3 …/x.cpp"),
        (
            'File "/home/ann/venv/lib/python3.11/site-packages/jax/_src/api.py", line 3',
            'File "…/jax/_src/api.py", line 3',
        ),
        (f'File "{settings.ROOT}/backends/jax/model.py"', 'File "backends/jax/model.py"'),
        ("file:///home/ann/x.py cannot be read", "…/x.py cannot be read"),
        ("permission denied: /home/ann", "permission denied: ~"),
        (f"{USER}@{HOST}: {USER}-venv on {HOST}.", "(user)@(host): (user)-venv on (host)."),
        ("mail ann.lee@example.org from 10.1.2.3:80", f"mail {HIDDEN} from {HIDDEN}:80"),
        ("at fe80::1ff:fe23:4567:890a and 52:54:00:12:34:56", f"at {HIDDEN} and {HIDDEN}"),
        ("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", HIDDEN),
    ],
)
def test_a_path_is_its_last_part_and_names_and_addresses_are_not_shown(
    text: str, expected: str
) -> None:
    assert public(text) == expected
    assert public(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "jax compiled streamed (control 2)",
        "openblas 0.3.31.188.0 (SkylakeX), 2 threads; libgomp, 2 threads",
        "torch.compile: model and loss; 2.13.0+cpu; 1e-08 (textbook)",
        "python run_all.py --hidden 512 512 --output results/a-b --data-dir data/mnist",
        "_ZN3c106detail14torchCheckFailEPKcS2_jRKSs and TFE_Py_ExecuteCancelable",
        "cutlass_80_tensorop_s1688gemm_128x128_32x3_nn_align4",
        "2026-11-24T23:15:38+00:00 and 0000:01:00.0 and 3/4 and/or KeyError: 'x'",
        "--xla_dump_hlo_pass_re=.* --xla_disable_hlo_passes=cse; certificate passed",
        "see https://docs.pytorch.org/tutorials and /proc/self/status",
        "--xla_cpu_max_isa=SSE4_2 AVX512_VNNI,AVX512_BF16",
    ],
)
def test_what_tells_nothing_of_the_user_stays(text: str) -> None:
    assert public(text) == text


def test_a_user_named_like_a_framework_changes_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for name in ("jax", "adam", "root", "cpu", "compiled", "x", "42"):
        monkeypatch.setattr("getpass.getuser", lambda name=name: name)
        monkeypatch.setattr("socket.gethostname", lambda name=name: name)
        assert name not in privacy.own_names.__wrapped__()
    monkeypatch.setattr("getpass.getuser", lambda: USER)
    assert privacy.own_names.__wrapped__()[USER] == "user"


@pytest.mark.parametrize("text", ["token", "-a", "a.", "://", "eyJ-", "/a", "'/a", "a:", "{", "1."])
def test_a_long_text_is_read_in_a_moment(text: str) -> None:
    from time import process_time

    began = process_time()
    public(text * (60_000 // len(text)))
    assert process_time() - began < 2


def test_every_text_that_enters_a_bundle_is_public(tmp_path: Path) -> None:
    secret, text = CREDENTIALS["GitHub"](random.Random(0))
    spoiled = f"{USER} {text} /home/ann/venv/x.so"
    case = identity("jax compiled") | {"case": f"jax {USER}"}
    writer = BundleWriter(tmp_path)
    writer.append("outcomes", **case, status="failed", launch=0, reason=spoiled)
    writer.append("ledger", launch=0, seed=0, **case, entry="variables", value=spoiled)
    writer.append("certificates", launch=0, seed=0, **case, parameter=spoiled, not_read=spoiled)
    writer.keep_output("jax", spoiled)
    writer.write_environment(
        environment_record(
            [case], variables={"LD_PRELOAD": spoiled}, run={"command": spoiled},
            machine={"cpu": spoiled, "gpus": [spoiled]}, workload={"data": spoiled},
        )
    )  # fmt: skip
    writer.close()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    whole = "\n".join(path.read_text() for path in files)
    for hidden in (secret, "ann", "venv"):
        assert hidden not in whole
    written = json.loads((tmp_path / "environment.json").read_text())
    # Names of cases and checksums are never altered.
    assert written["run"]["cases"][0]["case"] == f"jax {USER}"
    assert written["git_commit"] == "0" * 40
    assert whole.count(USER) == 4


def test_a_run_leaves_nothing_of_its_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JAX_SESSION_TOKEN", "hunter2")
    monkeypatch.setenv("MY_PASSWORD", "hunter3")
    monkeypatch.setenv("XLA_FLAGS", f"--xla_dump_to=/nowhere/{USER}/dump")
    monkeypatch.setattr("sys.argv", ["run_all.py", "--output", f"/srv/{USER}/bundle"])
    folder = tmp_path / USER / "bundle"
    folder.parent.mkdir()
    ended = run(capsys, *SMALL, "--steps", "60", "--launches", "1", "--output", folder)
    assert ended.code == 0
    for path in folder.rglob("*"):
        text = path.read_text() if path.is_file() else ""
        for hidden in ("hunter2", "hunter3", USER, "MY_PASSWORD", str(tmp_path)):
            assert hidden not in text, path
    variables = json.loads((folder / "environment.json").read_text())["variables"]
    assert variables["JAX_SESSION_TOKEN"] == SET
    assert variables["XLA_FLAGS"] == "--xla_dump_to=…/dump"
