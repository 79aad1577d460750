"""The gateway's Lua modules in the Lua of HAProxy's packages (5.3) and in Lua 5.4, called from Python."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from lupa import lua53, lua54

import provisioning.roles.gateway

LUA_DIR = Path(provisioning.roles.gateway.__file__).parent / "lua"
RUNTIMES = {"5.3": lua53.LuaRuntime, "5.4": lua54.LuaRuntime}

Checked = tuple[dict[str, Any] | None, str | None]
"""Fields, or the reason."""


@cache
def lua_module(name: str, version: str) -> Any:
    """Return a module of the gateway; strings are bytes."""
    lua = RUNTIMES[version](encoding=None, unpack_returned_tuples=True)
    lua.globals()[b"package"][b"path"] = f"{LUA_DIR}/?.lua".encode()
    return lua.execute((LUA_DIR / f"{name}.lua").read_bytes())


def json_check(version: str) -> Callable[[bytes], Checked]:
    """Return strict_json.check with Python's values in its result."""
    check = lua_module("strict_json", version)[b"check"]

    def checked(text: bytes) -> Checked:
        result = check(text)
        if isinstance(result, tuple):
            _, reason = result
            return None, reason.decode()
        return python(result), None

    return checked


def python(value: Any) -> Any:
    """Return a Lua value as Python's: tables become dictionaries, strings become text."""
    if isinstance(value, bytes):
        return value.decode()
    return {python(key): python(each) for key, each in value.items()} if hasattr(value, "items") else value
