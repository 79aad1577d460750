"""uv, which makes Python environments from locks; in a folder of its own below the data folder."""

from provisioning.converge.resources import Command, File, Packages, Resource
from provisioning.roles.host.locks import lock_text, version_in

COMMAND = "command:uv"
"""Id of the resource after which uv is there."""

INSTALL = (
    'rm -rf "$0" && set -- "$1" /usr/share/python-wheels/pip-*.whl && python3 "$2/pip" install --quiet --no-deps '
    "--only-binary :all: --require-hashes --disable-pip-version-check --root-user-action ignore "
    '--target "$0" --requirement "$1"'
)


def uv_path(data: str) -> str:
    """Return the path of the program on a host whose data folder is `data`."""
    return f"{data}/venvs/uv/bin/uv"


def uv(data: str) -> list[Resource]:
    """Return uv, from its wheel with a pinned hash. The folder `venvs` comes earlier in the list."""
    lock, folder = f"{data}/venvs/uv.lock", f"{data}/venvs/uv"
    content = lock_text("uv")
    version = version_in(content, "uv")
    package = Packages(name="uv", present=("python3-pip-whl",))
    return [
        package,  # pip as one file
        File(path=lock, content=content, after=(f"directory:{data}/venvs",)),
        Command(
            name="uv",
            argv=("sh", "-c", INSTALL, folder, lock),
            check=("sh", "-c", 'case "$("$0/bin/uv" --version)" in "uv $1 "*) ;; *) exit 1 ;; esac', folder, version),
            after=(package.id, f"file:{lock}"),
        ),
    ]
