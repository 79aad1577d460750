"""The agent as one zip file that Python can import and run."""

import io
import zipfile
from functools import cache
from pathlib import Path

AGENT_DIR = Path(__file__).parent / "agent"
_MAIN = "import sys\nfrom agent.main import main\nsys.exit(main(sys.argv[1:]))\n"
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)


@cache
def agent_zip() -> bytes:
    """Return the zip file; the same bytes for the same sources."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("__main__.py", _FIXED_TIME), _MAIN)
        for path in sorted(AGENT_DIR.rglob("*.py")):
            name = f"agent/{path.relative_to(AGENT_DIR).as_posix()}"
            archive.writestr(zipfile.ZipInfo(name, _FIXED_TIME), path.read_bytes())
    return buffer.getvalue()
