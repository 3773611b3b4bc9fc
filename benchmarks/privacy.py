"""What a bundle may hold of its user's environment: no credentials, names, addresses or home paths.

`public` is applied to every text that enters a bundle, `shown` to the value of an environment
variable. Both may be applied again to their own result without changing it.
"""

import functools
import getpass
import os
import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from backends.registry import BACKENDS
from benchmarks.schema import ENTRIES

ROOT = Path(__file__).resolve().parents[1]

HIDDEN = "(not shown)"
"""Stands for what is cut out of a text."""
SET = "set, not shown"
"""Stands for the value of an environment variable that is not shown."""

_NAME = (
    r"(?:token|secret|passw(?:or)?d|passphrase|pwd|api_?key|(?:private|access|account|ssh)_?key"
    r"|credential|cookie|bearer|signature|auth(?!or(?!i))|(?<![a-z0-9])keys?(?![a-z0-9])"
    r"|(?<![a-z0-9])(?:pass|pw)(?![\w-]))"
)
"""A part of a name whose value may be a credential."""
_SECRET_NAME = re.compile(_NAME, re.IGNORECASE)

# Every repetition in these patterns is bounded, or cannot begin within another one: text of any
# length is read in linear time.
_QUOTED = r"\"[^\"\n]{0,999}\"|'[^'\n]{0,999}'"
_NAMED = re.compile(
    # `name=value`, `"name": "value"`, `Name: Bearer value` and `--name value`.
    rf"(?P<name>(?<![\w-])(?=[\w-]{{0,60}}?{_NAME})(?:[\w-]++[\"']?\s{{0,9}}[=:]|--?[\w-]++(?=\s))"
    rf"\s{{0,9}})(?!{re.escape(HIDDEN)}|{SET})"
    rf"(?:{_QUOTED}|(?:(?:bearer|basic|token)\s+)?[^\s\"',;&]+)",
    re.IGNORECASE,
)
_KNOWN = re.compile(
    r"-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|\Z)"
    r"|\beyJ[\w-]{4,999}\.[\w-]+(?:\.[\w-]*)?"
    r"|\b(?:gh[opusr]_|github_pat_|glpat-|hf_|xox[a-z]-|sk-|pk-|sk_live_|rk_live_|pypi-|npm_|dckr_pat_"
    r"|AIza|ya29\.|SG\.|dop_v1_|wandb_v1_)[\w./+=-]{8,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{12,}"
    # A UUID, such as that of a GPU.
    r"|\b(?:GPU-|MIG-)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",
    re.DOTALL,
)
"""Credentials that show by their form, and identifiers of hardware."""
_LONG = re.compile(r"(?<![\w+/-])[\w+/-]{20,}={0,2}")
_CLASSES = re.compile(r"[a-z]+|[A-Z]+|\d+")
RUNS = 0.35
"""Runs of capitals, of small letters and of digits, for each of a random text's characters: words
have fewer, base64 has two for three."""

_URL = r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,20})://(?P<rest>[^\s\"'<>]*)"
_START = r"(?:~[\w.-]*|(?:\./){0,3}\.\.)?/"
_SPACED = rf"(?P<quote>[\"'])(?P<quoted>{_START}[^\"'\n:]{{0,999}})(?P=quote)"
_CUT = r"\s:;,\"'<>|(){}\[\]=`"
_PATH = rf"(?:(?<![\w.~…)/-])|(?<=\s-[A-Z])|(?<=^-[A-Z]))(?P<path>{_START}[^{_CUT}/][^{_CUT}]*)"
_PLACE = re.compile(f"{_URL}|{_SPACED}|{_PATH}", re.MULTILINE)
_OF_A_PACKAGE = re.compile(r".*/(?:site|dist)-packages/(.+)|.*/lib/(python3[^/]*/.+)")
_OF_THE_SYSTEM = ("/proc/", "/sys/", "/dev/")

_ADDRESS = re.compile(
    r"\b[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,9}[A-Za-z]{2,63}\b"
    r"|(?<![\w.=+-])(?!0)(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w.])"
    r"|\b[0-9a-f]{1,2}(?::[0-9a-f]{2}){5}\b|\b(?:[0-9a-f]{1,4}:){4,7}[0-9a-f]{1,4}\b"
    r"|\b(?:fe80|f[cd][0-9a-f]{2}|2[0-9a-f]{3}):[0-9a-f:]{0,30}:[0-9a-f:]{0,30}",
    re.IGNORECASE,
)
"""E-mail addresses, and those of the network."""

_ANYBODY = (
    "root user admin administrator ubuntu debian ec2-user azureuser runner docker jovyan vscode "
    "codespace nobody guest test tester ci build builder jenkins gitlab github localhost host "
    "localdomain machine computer server laptop desktop worker python conda mnist data cpu gpu "
    "amd intel linux darwin arm none default numpy torch tensor home workspace project results"
)
"""Names of users and hosts that tell nobody's, or that are ordinary words of a run."""


def public(text: str) -> str:
    """A text without credentials, user and host names, addresses, and the folders of its paths.

    A path is its last part ("…/libjemalloc.so"), within a package the part from there on.
    """
    # A credential may stand in a place, and a place may hold a name.
    text = _home(text)
    text = _PLACE.sub(_place, _without_credentials(text))
    text = _ADDRESS.sub(HIDDEN, text)
    for name, kind in own_names().items():
        text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", f"({kind})", text)
    return text


def shown(name: str, value: str) -> str:
    """The value of an environment variable as a bundle may hold it."""
    if _SECRET_NAME.search(name) or _without_credentials(value) != value:
        return SET
    return public(value)


def _without_credentials(text: str) -> str:
    text = re.sub(r"(://)(?!…)[^\s/\"'<>]{0,999}@", r"\1…@", text)
    text = re.sub(r"(://[^\s?\"'<>]{0,300})\?(?!…)[^\s\"'<>]*", r"\1?…", text)
    text = _KNOWN.sub(HIDDEN, text)
    text = _NAMED.sub(rf"\g<name>{HIDDEN}", text)
    return _LONG.sub(lambda found: HIDDEN if _is_random(found[0]) else found[0], text)


def _is_random(token: str) -> bool:
    """Whether a long word is more like a key than like an identifier or a path."""
    if re.fullmatch(r"[0-9a-f]{32,}", token):
        return not token.isdigit()
    letters = re.sub(r"[^A-Za-z0-9]", "", token)
    kinds = [re.search(kind, letters) for kind in ("[a-z]", "[A-Z]", "[0-9]")]
    # `_Z` begins the names of C++ functions in a trace.
    if not all(kinds) or token.startswith("_Z"):
        return False
    return len(_CLASSES.findall(letters)) > RUNS * len(letters)


def _home(text: str) -> str:
    """The text with the project's folder and the user's home left out of its paths."""
    text = re.sub(rf"{re.escape(str(ROOT))}/(?=[\w.])", "", text)
    home = os.path.expanduser("~")  # noqa: PTH111 – Path.home raises where there is none
    return re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text) if len(home) > 1 else text


def _place(found: re.Match[str]) -> str:
    if found["scheme"]:
        is_file = found["scheme"].lower() == "file"
        return _last_part(f"/{found['rest'].lstrip('/')}") if is_file else found[0]
    if found["quote"]:
        return f"{found['quote']}{_last_part(found['quoted'])}{found['quote']}"
    return _last_part(found["path"])


def _last_part(path: str) -> str:
    """The last part of an absolute path, or what a package's own folder holds."""
    if path.startswith(_OF_THE_SYSTEM):
        return path
    if within := _OF_A_PACKAGE.fullmatch(path):
        return f"…/{within[1] or within[2]}"
    folder, _, last = path.rstrip("/").rpartition("/")
    if folder.lower() in ("/home", "/users"):
        return "~"
    return f"…/{last}" if folder else path


@functools.cache
def own_names() -> dict[str, str]:
    """The names of this user and host that are not anybody's, each with "user" or "host"."""
    users, hosts = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER")}, {""}
    # A process in a container may have no entry among the users, or no host name.
    with suppress(Exception):
        users.add(getpass.getuser())
    with suppress(Exception):
        import pwd

        entry = pwd.getpwuid(os.getuid())
        users |= {entry.pw_name, entry.pw_gecos.split(",")[0]}
    with suppress(Exception):
        full = socket.gethostname()
        hosts |= {full, full.partition(".")[0], os.environ.get("HOSTNAME", "")}
    ordinary = _ordinary_words()
    return {
        name: kind
        for kind, names in (("host", hosts), ("user", users))
        for name in sorted(names, key=len, reverse=True)
        if len(name) > 2 and re.search("[A-Za-z]", name) and name.lower() not in ordinary
    }


def _ordinary_words() -> set[str]:
    """Words that cases, ledgers and reports consist of; a user called `jax` stays unnoticed."""
    texts: Iterable[str] = [
        _ANYBODY,
        *(entry.title for entry in ENTRIES.values()),
        *(
            " ".join((b.name, b.title, *b.distributions, *b.modes, *b.group_modes))
            for b in BACKENDS.values()
        ),
        *(
            f"{mode.about} {mode.tier}"
            for b in BACKENDS.values()
            for mode in (b.modes | b.group_modes).values()
        ),
    ]
    words = re.findall(r"[\w-]+", " ".join(texts).lower())
    return set(words) | {"adam", "eager", "model", "compiled"}
