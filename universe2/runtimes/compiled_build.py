"""From a game's plain functions to machine code, kept on disk between processes.

``build`` rebuilds a function, and every Python function it reaches through its globals, as
Numba dispatchers. Numba's own cache looks at one function's bytecode only and would miss a
changed callee or constant, so the key here is a digest over everything reached. Nothing in
this file knows what a game is. With UNIVERSE2_DEBUG=1 the same functions run as plain Python.
"""

from __future__ import annotations

import contextlib
import dis
import fcntl
import functools
import gc
import hashlib
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple, TypeGuard, cast

import llvmlite
import numba
import numpy as np
from numba.core import caching, extending
from numba.core.ccallback import CFunc
from numba.misc import appdirs

from universe2.core.errors import UsageError
from universe2.runtimes.compiled_parts import WholePipeline, part

# Numba's types for these are wrong or missing.
_FunctionCache: Any = caching.FunctionCache
_Implementation: Any = caching.CompileResultCacheImpl
_Locator: Any = caching._CacheLocator
_AppDirs: Any = appdirs.AppDirs
_CFunc: Any = CFunc
_Intrinsic: Any = extending._Intrinsic

log = logging.getLogger(__name__)

Function = Callable[..., Any]


# Helpers are only ever called from compiled code, so they get no wrappers for Python. What is divided by
# zero is a number, as in NumPy: the checks of Python's error model cost Maze 4 %.
_HELPER: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "error_model": "numpy"}
_OUTER: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
_NAMING = 3  # how ``bound`` names functions: code under other names is of no use


def debugging() -> bool:
    """Whether games run as plain Python (slow; breakpoints and print work)."""
    return os.environ.get("UNIVERSE2_DEBUG", "") not in ("", "0")


def build(function: Function, bindings: Mapping[str, Any], key: str, parallel: bool) -> Function:
    """``function`` with the globals in ``bindings`` replaced, compiled at its first call.

    ``key`` is a ``digest`` of all that the machine code depends on.
    """
    if debugging():
        return rebind(function, bindings)
    way = {"parallel": True} if parallel else {"pipeline_class": WholePipeline}
    compiled: Any = numba.njit(**way, **_OUTER)(bound(function, bindings, _dispatcher))
    compiled._cache = _cache_for(compiled.py_func, key)
    return compiled


class Entry(NamedTuple):
    """Machine code with C's calling convention. It lives as long as ``library``."""

    address: int
    library: Any


def entry(function: Function, bindings: Mapping[str, Any], key: str, signature: Any) -> Entry:
    """``function`` as machine code that is called by its address, compiled now.

    What is called by its address is not compiled again into each of its callers.
    """
    compiled = _CFunc(
        bound(function, bindings, _dispatcher), (signature.args, signature.return_type), {}, _OUTER,
        pipeline_class=WholePipeline,
    )  # fmt: skip
    compiled._cache = _cache_for(compiled.__wrapped__, key)
    compiled.compile()
    return Entry(int(compiled.address), compiled._library)


def helper(function: Function, bindings: Mapping[str, Any]) -> Function:
    """Like ``build``, for a function that only built functions call."""
    if debugging():
        return rebind(function, bindings)
    compiled: Function = part(bound(function, bindings, _dispatcher), _HELPER)
    return compiled


def rebind(function: Function, bindings: Mapping[str, Any]) -> Function:
    """``function`` as plain Python, with some globals replaced."""
    assert isinstance(function, FunctionType)
    return FunctionType(function.__code__, {**function.__globals__, **bindings}, function.__name__)


@functools.cache
def _dispatcher(function: Function) -> Function:
    return helper(function, {})


def bound(
    function: Function, bindings: Mapping[str, Any], compile_callee: Callable[[Function], Function]
) -> FunctionType:
    """A copy of ``function`` with some globals replaced, and the functions among them compiled."""
    assert isinstance(function, FunctionType)
    if function.__closure__:
        raise UsageError(f"{function.__qualname__} uses variables of an enclosing function: pass them in")
    names: dict[str, Any] = {"__name__": function.__module__}
    for name, value in _globals_of(function, bindings):
        names[name] = compile_callee(value) if _is_ours(value) else value
    copy = FunctionType(function.__code__, names, function.__name__, function.__defaults__)
    # Machine code from several processes meets in one, where a symbol has one meaning: equal names
    # must mean equal code. Numba's own numbering starts anew in each process.
    copy.__qualname__ = f"{function.__qualname__}_{_fingerprint(function, bindings)}"
    return copy


def _fingerprint(function: FunctionType, bindings: Mapping[str, Any]) -> str:
    """16 hex digits over the function, what is bound to its names, and all that it reaches."""
    sha = hashlib.sha256()
    _digest_function(function, bindings, sha, set())
    return sha.hexdigest()[:16]


def _globals_of(function: FunctionType, bindings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(name, value) of each global that the code reads and that isn't a builtin."""
    for name in _global_names(function.__code__):
        value = bindings.get(name, function.__globals__.get(name))
        if isinstance(value, ModuleType) and value.__name__ not in ("numpy", "math", "numba"):
            raise UsageError(
                f"{function.__qualname__} uses the module {value.__name__}; "
                "import its functions by name, so that they can be compiled"
            )
        if value is not None:
            yield name, value


@functools.cache
def _global_names(code: CodeType) -> tuple[str, ...]:
    """Sorted, each once."""
    names = {
        str(instruction.argval)
        for instruction in dis.get_instructions(code)
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names.update(_global_names(constant))
    return tuple(sorted(names))


def digest(functions: Mapping[str, Function], *constants: Any) -> str:
    """Hex digest over the functions, all that they reach, the constants and the compiler."""
    tools = (sys.version, numba.__version__, llvmlite.__version__, _HELPER, _OUTER, _NAMING)
    sha = hashlib.sha256(repr(tools).encode())
    for constant in constants:
        sha.update(_describe(constant))
    seen: set[FunctionType] = set()
    for name, function in functions.items():
        sha.update(name.encode())
        assert isinstance(function, FunctionType)
        _digest_function(function, {}, sha, seen)
    return sha.hexdigest()


def homes(functions: Iterable[Function]) -> tuple[str, ...]:
    """The modules of the functions and of all that they reach: machine code on disk names them.

    They are no part of a ``digest``, which names rules, wherever their file lies.
    """
    return tuple(sorted({one.__module__ for each in functions for one in reached(cast(FunctionType, each))}))


def reached(function: FunctionType) -> dict[FunctionType, None]:
    """The function and all that it reaches, in the order of first sight."""
    found, queue = {function: None}, [function]
    for one in queue:
        callees = [value for _, value in _globals_of(one, {}) if _is_ours(value) and value not in found]
        found.update(dict.fromkeys(callees))
        queue += callees
    return found


def _digest_function(
    function: FunctionType, bindings: Mapping[str, Any], sha: Any, seen: set[FunctionType]
) -> None:
    if function in seen:
        return
    seen.add(function)
    _digest_code(function.__code__, sha)
    sha.update(repr(function.__defaults__).encode())
    for name, value in _globals_of(function, bindings):
        sha.update(name.encode())
        if _is_ours(value):
            _digest_function(value, {}, sha, seen)
        else:
            sha.update(_describe(value))


def _is_ours(value: Any) -> TypeGuard[FunctionType]:
    """A plain function to compile, and not one of Numba's own."""
    return isinstance(value, FunctionType) and not (value.__module__ or "").startswith("numba.")


def _digest_code(code: CodeType, sha: Any) -> None:
    sha.update(repr((code.co_code, code.co_names, code.co_varnames)).encode())
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _digest_code(constant, sha)
        else:
            sha.update(_describe(constant))


def _describe(value: Any) -> bytes:
    if isinstance(value, np.ndarray):
        return f"{value.dtype.descr}{value.shape}".encode() + value.tobytes()
    if isinstance(value, np.dtype):
        return repr(value.descr).encode()
    if isinstance(value, frozenset):
        return repr(sorted(value, key=repr)).encode()
    if isinstance(value, (bool, int, float, str, bytes, tuple, type(None))):
        return repr(value).encode()
    if isinstance(value, _Intrinsic):
        sha = hashlib.sha256()
        _digest_code(value._defn.__code__, sha)
        return sha.digest()
    named = getattr(value, "py_func", value)  # a dispatcher's function has a name of its own
    return f"{getattr(named, '__module__', '')}.{getattr(named, '__qualname__', type(named))}".encode()


def cache_folder() -> Path:
    """Where machine code is kept: NUMBA_CACHE_DIR, or the platform's cache folder."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    root = Path(chosen) if chosen else Path(_AppDirs(appname="universe2", appauthor=False).user_cache_dir)
    return root / "compiled"


@contextlib.contextmanager
def one_at_a_time(key: str) -> Iterator[None]:
    """Processes that compile the same code take turns: all but the first find it on disk."""
    with contextlib.ExitStack() as stack:
        try:
            cache_folder().mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context((cache_folder() / f"{key[:24]}.lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            log.warning("no lock in %s: %s", cache_folder(), error)
        stack.enter_context(_no_garbage_collection())
        yield


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A compiler makes millions of objects and few cycles: looking for them takes a tenth of its time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


class _Cache(_FunctionCache):  # type: ignore[misc]
    """Numba's function cache, under our key. A disk that can't be used costs time, nothing else."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # noqa: BLE001 (a damaged pickle, or one that names what is gone, raises anything)
            log.warning("compiled code in %s could not be read: %r", self.cache_path, error)
            self._forget()
            return None

    def _forget(self) -> None:
        """What is kept next must not go to a damaged index."""
        try:
            self.flush()
        except OSError as error:
            log.warning("the index in %s could not be emptied: %s", self.cache_path, error)

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            log.warning("compiled code could not be kept in %s: %s", self.cache_path, error)


def _cache_for(function: Function, key: str) -> Any:
    class Locator(_Locator):  # type: ignore[misc]
        def get_cache_path(self) -> str:
            return str(cache_folder())

        def get_source_stamp(self) -> str:
            return key

        def get_disambiguator(self) -> str:
            return key[:24]

        @classmethod
        def from_function(cls, py_func: Any, py_file: str) -> Locator:
            return cls()

    class Implementation(_Implementation):  # type: ignore[misc]
        _locator_classes = [Locator]  # noqa: RUF012

    class Cache(_Cache):
        _impl_class = Implementation

    return Cache(function)
