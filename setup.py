"""Build of the compiled request path: one extension for each .pyx in fastmesh/_core.

Environment, all optional:
    FASTMESH_MODULES   names of the _core modules to build, separated by spaces ("none": only the Python files)
    FASTMESH_SANITIZE  1: AddressSanitizer and UndefinedBehaviorSanitizer, with .pyx line numbers
    FASTMESH_PROFILE   1: keep frame pointers and symbols for perf

A build is incremental within one kind; kinds do not mix in one tree, so the Makefile builds a sanitized copy of it.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

CORE = Path("fastmesh/_core")
SANITIZE = os.environ.get("FASTMESH_SANITIZE") == "1"
PROFILE = os.environ.get("FASTMESH_PROFILE") == "1"

# -fno-builtin-malloc: or GCC makes calloc of malloc and memset, and glibc's calloc passes its thread cache by.
RELEASE = ["-O3", "-fvisibility=hidden", "-fno-semantic-interposition", "-fno-plt", "-fno-builtin-malloc"]

if SANITIZE:
    LINK = ["-fsanitize=address,undefined"]
    COMPILE = ["-O1", "-g", "-fno-omit-frame-pointer", *LINK, "-fno-sanitize-recover=undefined"]
elif PROFILE:
    COMPILE = [*RELEASE, "-g", "-fno-omit-frame-pointer"]
    LINK = []
else:
    COMPILE = [*RELEASE, "-g0"]
    LINK = ["-Wl,-O1", "-Wl,--as-needed", "-s"]

# Python's own flags ask for -Wsign-compare, which generated code cannot satisfy.
WARNINGS = ["-Wall", "-Wno-unused-function", "-Wno-unreachable-code", "-Wno-sign-compare"]

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "binding": False,
    "embedsignature": False,
    "auto_pickle": False,
    "autotestdict": False,
    "freethreading_compatible": False,
}


def extensions() -> list[Extension]:
    wanted = set(os.environ.get("FASTMESH_MODULES", "").split())
    found = []
    for source in sorted(CORE.glob("*.pyx")):
        if wanted and source.stem not in wanted:
            continue
        found.append(
            Extension(
                f"fastmesh._core.{source.stem}",
                [str(source)],
                extra_compile_args=[*COMPILE, "-std=gnu11", *WARNINGS],
                extra_link_args=LINK,
                define_macros=[("_GNU_SOURCE", "1"), ("CYTHON_CLINE_IN_TRACEBACK", "0")],
            )
        )
    return found


# A few named modules build fastest in this process.
JOBS = 0 if os.environ.get("FASTMESH_MODULES") else min(4, os.cpu_count() or 1)

setup(
    ext_modules=cythonize(
        extensions(),
        compiler_directives=DIRECTIVES,
        build_dir="build/cython",
        emit_linenums=SANITIZE,
        nthreads=JOBS,
        quiet=True,
    ),
    options={"build_ext": {"parallel": JOBS or None}},
)
