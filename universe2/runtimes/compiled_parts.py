"""Parts of machine code: functions that only compiled functions call.

By itself Numba optimises a function with all that it calls and turns that into machine code, then
does both again in every caller. A part stays LLVM's intermediate code instead: it is optimised and
turned into machine code once, within the function that is called from outside. That is most of the
time that a game of sixty functions takes. This file knows Numba's libraries of code, no game.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import llvmlite.binding as llvm
import numba
from numba.core import codegen, compiler, dispatcher, types

# Numba's types for these are wrong or missing.
_Library: Any = codegen.JITCodeLibrary
_Compiler: Any = compiler.Compiler
_dispatcher: Any = dispatcher
_FunctionCompiler: Any = _dispatcher._FunctionCompiler
_make_function: Any = importlib.import_module("numba._dynfunc").make_function
_unliteral: Any = types.unliteral


def part(function: FunctionType, options: dict[str, Any]) -> Any:
    """A dispatcher of ``function`` for callers that are compiled themselves."""
    compiled: Any = numba.njit(pipeline_class=_PartPipeline, **options)(function)
    made = compiled._compiler
    compiled._compiler = _PartCompiler(
        made.py_func, made.targetdescr, made.targetoptions, made.locals, made.pipeline_class
    )
    compile_once_per_kind(compiled)
    return compiled


def compile_once_per_kind(compiled: Any) -> None:
    """Keep Numba from compiling a function anew for every constant and width of integer."""
    by_type = compiled.get_call_template

    def by_plain_type(args: Any, kws: Any) -> Any:
        return by_type(tuple(map(_plain, args)), {name: _plain(kind) for name, kind in kws.items()})

    compiled.get_call_template = by_plain_type


def _plain(kind: Any) -> Any:
    kind = _unliteral(kind)
    return types.int64 if isinstance(kind, types.Integer) else kind


def allocates(library: Any) -> bool:
    """Whether machine code asks Numba's runtime for memory."""
    return bool(_ALLOCATION.search(str(library._get_module_for_linking())))


_ALLOCATION = re.compile(r"(call|invoke) [^@\n]*@NRT_(Allocate|Reallocate|MemInfo_(alloc|varsize|new))")


class _PartLibrary(_Library):  # type: ignore[misc]
    """One function's intermediate code; for linking, that of all that it reaches as well."""

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout

    def add_linking_library(self, library: Any) -> None:
        super().add_linking_library(library)
        self._reload_init.update(library._reload_init)

    def finalize(self) -> None:
        self._raise_if_finalized()
        self._finalize_dynamic_globals()
        self._finalized = True

    def _get_module_for_linking(self) -> Any:
        self._ensure_finalized()
        whole = self._own_module()
        # Callers first: a function that nothing refers to yet would be dropped.
        for library in self._callees({self}):
            if isinstance(library, _PartLibrary):
                whole.link_in(library._own_module())
            else:
                whole.link_in(library._get_module_for_linking(), preserve=True)
        return whole

    def _own_module(self) -> Any:
        """A copy in which a function may be defined again and is dropped once all callers have it."""
        module = self._final_module.clone()
        for function in module.functions:
            if not function.is_declaration and function.linkage == llvm.Linkage.external:
                function.linkage = llvm.Linkage.linkonce_odr
        return module

    def _callees(self, seen: set[Any]) -> Iterator[Any]:
        for library in self._linking_libraries:
            if library not in seen:
                seen.add(library)
                yield library
                if isinstance(library, _PartLibrary):
                    yield from library._callees(seen)


class _PartPipeline(_Compiler):  # type: ignore[misc]
    def __init__(self, typing: Any, target: Any, library: Any, *rest: Any) -> None:
        super().__init__(typing, target, library or _PartLibrary(target.codegen(), "part"), *rest)


class _WholeLibrary(_Library):  # type: ignore[misc]
    """What is called from outside, with all that it reaches: optimised here, and only here."""

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        module = self._final_module
        for function in module.functions:
            if function.linkage == llvm.Linkage.linkonce_odr:
                function.linkage = llvm.Linkage.internal
        tuning = llvm.create_pipeline_tuning_options(3)
        tuning.loop_vectorization, tuning.slp_vectorization = True, False
        tuning.loop_interleaving = False  # loops here are over a few pixels
        builder = llvm.create_pass_builder(self._codegen._tm, tuning)
        first = llvm.create_new_module_pass_manager()
        first.add_sroa_pass()
        first.add_simplify_cfg_pass()
        first.add_refprune_pass()
        first.run(module, builder)
        full = builder.getModulePassManager()
        full.add_refprune_pass()
        full.run(module, builder)


class WholePipeline(_Compiler):  # type: ignore[misc]
    """Numba's compiler, for functions that are called from outside."""

    def __init__(self, typing: Any, target: Any, library: Any, *rest: Any) -> None:
        if library is None:
            library = _WholeLibrary(target.codegen(), "whole")
            library.enable_object_caching()
        super().__init__(typing, target, library, *rest)


class _PartCompiler(_FunctionCompiler):  # type: ignore[misc]
    def _customize_flags(self, flags: Any) -> Any:
        flags.no_compile = True
        return flags

    def _compile_core(self, args: Any, return_type: Any) -> Any:
        result = super()._compile_core(args, return_type)
        description, library = result.fndesc, result.library
        # A name for callers to find the code by; it can't be called.
        name = _make_function(
            description.lookup_module(), description.qualname, "a part", 0, result.environment, (library,)
        )
        self.targetdescr.target_context.insert_user_function(name, description, [library])
        return result._replace(entry_point=name)
