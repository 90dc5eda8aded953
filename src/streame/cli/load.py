"""From `module:job` or `path/to/file.py:job` to the job."""

import importlib
import importlib.util
import sys
from inspect import isfunction
from pathlib import Path
from types import ModuleType

import streame as st
from streame.cli.failure import UsageError
from streame.errors import PlanError


def load_job(target: str) -> st.Job:
    """The job that a target names.

    Args:
        target: a module or a path to a `.py` file, a colon, and the name of a job or of a function without
            arguments that returns one. Modules are looked for in the current folder too.

    Raises:
        UsageError: when there is no such thing, or its code raises.
        PlanError: when building the pipeline does.
    """
    where, colon, name = target.rpartition(":")
    if not colon or not where or not name:
        raise UsageError(f"{target!r} is no job; write module:job or path/to/file.py:job")
    try:
        module = _load_module(where)
    except (PlanError, UsageError):
        raise
    except Exception as error:
        raise UsageError(f"{where} could not be loaded: {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if found is None:
        raise UsageError(f"{where} has no {name!r}; {_jobs_in(module)}")
    if isinstance(found, st.Job):
        return found
    return _call(found, target)


def _call(function: object, target: str) -> st.Job:
    if not callable(function):
        raise UsageError(f"{target} is a {type(function).__name__}, not a job; {_hint(function)}")
    try:
        job = function()
    except PlanError:
        raise
    except Exception as error:
        raise UsageError(f"{target}() raised {type(error).__name__}: {error}") from error
    if not isinstance(job, st.Job):
        raise UsageError(f"{target}() returned a {type(job).__name__}, not a job; {_hint(job)}")
    return job


def _load_module(where: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    if not where.endswith(".py"):
        try:
            return importlib.import_module(where)
        except ModuleNotFoundError as error:
            if error.name is not None and (where == error.name or where.startswith(f"{error.name}.")):
                raise UsageError(
                    f"there is no module {where!r}; it is looked for in the current folder and among the "
                    "installed packages"
                ) from error
            raise
    path = Path(where).resolve()
    if not path.is_file():
        raise UsageError(f"there is no file {where}")
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _jobs_in(module: ModuleType) -> str:
    jobs = [
        name
        for name, value in vars(module).items()
        if isinstance(value, st.Job) or (isfunction(value) and value.__module__ == module.__name__)
    ]
    if not jobs:
        return "no name in it is a job: a job is what a sink gives, such as frame.sink_ndjson(...)"
    return f"its jobs and functions are: {', '.join(jobs)}"


def _hint(value: object) -> str:
    if isinstance(value, st.StreamDataFrame):
        return "say where its rows go, for instance with .sink_ndjson(...)"
    return "a job is what a sink gives, such as frame.sink_ndjson(...)"
