#!/usr/bin/env python3
"""Runs every Catch2 program of a build and adds up their test cases.

usage: run.py BUILD_DIR [FILTER]      (FILTER: part of a test case's name)
"""
import concurrent.futures
import pathlib
import re
import subprocess
import sys
import time
import os

TOP = pathlib.Path(__file__).resolve().parents[2]
SECONDS_MAX = 300


def environment(build):
    env = dict(os.environ)
    env["TSAN_OPTIONS"] = f"suppressions={TOP}/tests/tsan.supp ignore_noninstrumented_modules=1 halt_on_error=1 die_after_fork=0"
    env["ASAN_OPTIONS"] = "detect_stack_use_after_return=1:allocator_may_return_null=1"
    env["LSAN_OPTIONS"] = f"suppressions={TOP}/tests/lsan.supp"
    env["UBSAN_OPTIONS"] = "print_stacktrace=1"
    return env


def run(program, name_filter):
    command = [str(program), "~[.]", "--durations", "no"]
    if name_filter:
        command = [str(program), f"*{name_filter}*", "--durations", "no"]
    began = time.monotonic()
    try:
        done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, errors="replace",
                              timeout=SECONDS_MAX, env=environment(program), stdin=subprocess.DEVNULL)
        output, code = done.stdout + done.stderr, done.returncode
    except subprocess.TimeoutExpired as late:
        output, code = f"{late.stdout!r}\nno end within {SECONDS_MAX} s", 1
    passed, failed = counts(output, code)
    return program.name, passed, failed, time.monotonic() - began, output


def counts(output, code):
    if match := re.search(r"All tests passed \(\d+ assertions? in (\d+) test cases?\)", output):
        return int(match[1]), 0 if code == 0 else 1
    line = re.search(r"^test cases:.*$", output, re.M)
    if line:
        number = lambda word: int(m[1]) if (m := re.search(rf"(\d+) {word}", line[0])) else 0
        return number("passed"), max(number("failed"), 1 if code else 0)
    if "No test cases matched" in output or "No tests ran" in output:
        return 0, 0
    return 0, 1  # it crashed before it could count


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    name_filter = sys.argv[2] if len(sys.argv) > 2 else ""
    programs = sorted(path for path in (build / "tests").iterdir() if os.access(path, os.X_OK) and path.is_file())
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for name, good, bad, seconds, output in pool.map(lambda p: run(p, name_filter), programs):
            passed, failed = passed + good, failed + bad
            print(f"  {name}: {good} passed, {bad} failed, {seconds:.1f} s", flush=True)
            if bad:
                print(output[-8000:])
    print(f"{passed} passed, {failed} failed")


if __name__ == "__main__":
    main()
