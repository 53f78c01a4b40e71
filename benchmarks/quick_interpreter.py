"""Makes Triton's interpreter fast enough for tests: it prepares ``triton.language`` once per launch.

As it comes it does so again at every call of a device function, which is more than half of the time of these kernels.
"""

from __future__ import annotations

from typing import Any


def install() -> None:
    """Where the interpreter has other insides than those known here, nothing is changed: it is slow and right."""
    try:
        from triton.runtime import interpreter
    except ImportError:
        return
    known = "_patch_lang", "_LangPatchScope", "GridExecutor"
    if not all(hasattr(interpreter, name) for name in known) or hasattr(interpreter, "prepared_once"):
        return
    prepare, launch = interpreter._patch_lang, interpreter.GridExecutor.__call__
    done: set[frozenset[int]] = set()

    def prepared_once(function: Any) -> Any:
        modules = frozenset(
            id(v) for v in function.__globals__.values() if v is interpreter.tl or v is interpreter.tl.core
        )
        if modules in done:
            return interpreter._LangPatchScope()
        scope = prepare(function)
        done.add(modules)
        return scope

    def launched(self: Any, *args: Any, **options: Any) -> Any:
        done.clear()
        try:
            return launch(self, *args, **options)
        finally:
            done.clear()

    interpreter.prepared_once = interpreter._patch_lang = prepared_once
    interpreter.GridExecutor.__call__ = launched
