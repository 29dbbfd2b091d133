"""The `rlaif` command as a person runs it: a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

RECIPE = Path(__file__).parent / "small.yaml"
PHASES = RECIPE.with_name("phases.yaml")


def start(*arguments: str, cwd: Path | None = None) -> "subprocess.Popen[str]":
    """Start `rlaif` in a process group of its own."""
    command = [sys.executable, "-m", "rlaif", *arguments]
    environment = {**os.environ, "COLUMNS": "160"}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, cwd=cwd, env=environment, start_new_session=True
    )


def run(*arguments: str, cwd: Path | None = None, timeout: float = 600) -> "subprocess.CompletedProcess[str]":
    """Run `rlaif` to its end."""
    process = start(*arguments, cwd=cwd)
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def wait_until(condition: Callable[[], bool], process: "subprocess.Popen[str]", seconds: float = 180) -> bool:
    """Wait for a condition; False if the process ends first."""
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            return condition()
        if time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"not reached within {seconds} s")
        time.sleep(0.002)
    return True
