"""Makes Triton's interpreter fast enough for tests: what it finds out again and again it finds out once.

As it comes it prepares ``triton.language`` at every call of a device function, which is more than half of the time of
these kernels, and compares shapes element by element, through objects of its own, for every operation.
"""

from __future__ import annotations

import functools
from typing import Any


def install() -> None:
    """Where the interpreter has other insides than those known here, nothing is changed: it is slow and right."""
    try:
        from triton.runtime import interpreter
    except ImportError:
        return
    known = "_patch_lang", "_LangPatchScope", "GridExecutor", "_get_np_dtype", "interpreter_semantic"
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
    _remember_types(interpreter)


def _remember_types(interpreter: Any) -> None:
    """Types of equal blocks share what is known of them, and equal shapes are not made equal."""
    semantic, core = interpreter.interpreter_semantic, interpreter.tl.core
    broadcast, init, init_type = semantic.broadcast_impl_value, core.tensor.__init__, core.block_type.__init__
    types: dict[Any, dict[str, Any]] = {}
    numpy_dtype = functools.cache(interpreter._get_np_dtype)

    def init_like_an_equal_one(self: Any, element_ty: Any, shape: Any) -> None:
        if element_ty.is_ptr():
            return init_type(self, element_ty, shape)
        key = element_ty, *getattr(shape, "values", shape)
        if key not in types:
            init_type(self, element_ty, shape)
            types[key] = self.__dict__
        self.__dict__ = types[key]
        return None

    def broadcast_where_needed(left: Any, right: Any) -> Any:
        a, b = left.type, right.type
        if a is b or (a.is_block() and b.is_block() and a.shape.values == b.shape.values):
            return left, right
        return broadcast(left, right)

    def init_like_one_of_its_type(self: Any, handle: Any, type: Any) -> None:
        made = type.__dict__.get("of_tensors")
        if made is None:
            init(self, handle, type)
            type.of_tensors = self.shape, self.numel, self.dtype
        else:
            self.handle, self.type = handle, type
            self.shape, self.numel, self.dtype = made

    semantic.broadcast_impl_value = broadcast_where_needed
    core.tensor.__init__ = init_like_one_of_its_type
    core.block_type.__init__ = init_like_an_equal_one
    interpreter._get_np_dtype = lambda type: numpy_dtype(interpreter.tl.uint64 if type.scalar.is_ptr() else type.scalar)
