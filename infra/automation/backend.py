"""Where Pulumi keeps a stack's state: the backend that the user chose, else files in this checkout's state folder.

Reads settings and makes the passphrase of our own backend on first use. Starts no Pulumi engine.
"""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.errors import UsageError
from core.files import write_atomically
from core.paths import state_dir
from core.reading.strict_json import parse_json

PROJECT = "llm-deploy"
"""Name of the project, as in Pulumi.yaml."""

PASSPHRASE_BYTES = 32


@dataclass(frozen=True)
class Backend:
    """A backend, and the environment variables that the Pulumi CLI needs for it."""

    ours: bool
    """Whether the state is in this checkout's state folder. `down` then removes it with the stack."""

    settings: dict[str, str | None]
    """Environment variables for the CLI. None: the variable must not be set."""

    shown: str
    """The name of the backend in messages."""

    folder: Path | None = None
    """The folder of our own backend. None: another backend has the state."""

    def knows(self, project: str, stack: str) -> bool | None:
        """Return whether our own backend has this stack. None: another backend has the state, and is not asked."""
        if self.folder is None:
            return None
        return any((self.folder / ".pulumi" / "stacks" / project).glob(f"{stack}.json*"))

    def state_file(self, project: str, stack: str) -> Path | None:
        """Return the file with a stack's state in our own backend. None: there is no such file, or another backend."""
        if self.folder is None:
            return None
        path = self.folder / ".pulumi" / "stacks" / project / f"{stack}.json"
        return next((each for each in (path, path.with_suffix(".json.gz")) if each.exists()), None)

    def drop_torn_notes(self, project: str, stack: str) -> None:
        """Remove a stack's `.attrs` files that a killed Pulumi engine left half-written in our own backend.

        The Pulumi engine replaces a state file in one step, but not the `.attrs` file beside it. It works without that
        file, but fails if the file is half-written ("failed to load checkpoint: EOF").
        """
        if self.folder is None:
            return
        for note in (self.folder / ".pulumi").glob(f"**/{project}/**/*.attrs"):
            if (note.name.startswith(f"{stack}.json") or note.parent.name == stack) and not _is_json(note):
                note.unlink(missing_ok=True)


def find_backend(environ: Mapping[str, str] = os.environ) -> Backend:
    """Return the backend that the environment or a login names, else our own. Creates our own if it is missing."""
    chosen = chosen_backend(environ)
    if chosen is not None:
        return chosen
    folder = own_folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    settings = {
        "PULUMI_BACKEND_URL": f"file://{folder}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(_passphrase_file()),
        "PULUMI_CONFIG_PASSPHRASE": None,  # it would override the file, and belongs to the user's other projects
    }
    return Backend(ours=True, settings=settings, shown=f"files in {folder}", folder=folder)


def chosen_backend(environ: Mapping[str, str] = os.environ) -> Backend | None:
    """Return the backend that the environment or a login names. None: the user chose none, so our own is used."""
    url = environ.get("PULUMI_BACKEND_URL")
    if url:
        return Backend(ours=False, settings={}, shown=url)
    if environ.get("PULUMI_ACCESS_TOKEN"):
        return Backend(ours=False, settings={}, shown="Pulumi Cloud (PULUMI_ACCESS_TOKEN)")
    login = _login(environ)
    return Backend(ours=False, settings={}, shown=f"{login} (pulumi login)") if login else None


def own_folder() -> Path:
    """Return the folder of our own backend. It may not exist yet."""
    return state_dir().resolve() / "pulumi"


def _is_json(path: Path) -> bool:
    try:
        parse_json(path.read_bytes())
    except (OSError, ValueError):
        return False
    return True


def _login(environ: Mapping[str, str]) -> str:
    """Return the backend that `pulumi login` recorded. Empty: the user is not logged in."""
    home = environ.get("PULUMI_CREDENTIALS_PATH") or environ.get("PULUMI_HOME") or Path.home() / ".pulumi"
    try:
        return str(parse_json((Path(home) / "credentials.json").read_bytes()).get("current") or "")
    except (OSError, ValueError, AttributeError):
        return ""


def _refuse_odd_passphrase(path: Path) -> None:
    """Raise UsageError if the passphrase cannot be read: the Pulumi engine would fail later, with an unclear error."""
    hint = "restore it from a copy; without it the state of this checkout's stacks cannot be read"
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror})", where=str(path), hint=hint) from None
    except UnicodeDecodeError:
        text = ""
    if not text.strip().isprintable() or not text.strip():
        raise UsageError("holds no passphrase", where=str(path), hint=hint)


def _passphrase_file() -> Path:
    """Return the file with the passphrase of our own backend. Creates it with mode 0600 if it is missing.

    If two commands create it at the same time, both use the same passphrase.
    """
    path = state_dir().resolve() / "pulumi-passphrase"
    if path.exists():
        _refuse_odd_passphrase(path)
    else:
        staged = path.with_name(f".{path.name}.{os.getpid()}")
        write_atomically(staged, secrets.token_urlsafe(PASSPHRASE_BYTES), mode=0o600)
        try:
            path.hardlink_to(staged)
        except FileExistsError:
            pass
        finally:
            staged.unlink()
    return path
