#!/usr/bin/env python3
"""The structure test: what STYLE.md asks for and a machine can check.

Include edges point down only, third-party libraries stay behind their fences, files and functions
keep their sizes, no banned names or calls, no source that belongs to no target. Prints each finding
as FILE:LINE: what, and a closing line; exit 1 when there is any.
"""
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent

# Folder -> folders it may include, besides itself. Exactly these: no row speaks for the folders below it.
ALLOWED = {
    "common": set(),
    "common/crypto": {"common", "proto"},
    "common/config": {"common", "common/crypto", "proto"},
    "dataplane/snapshot": {"common", "common/crypto", "common/config", "proto"},
    "dataplane/exchange": {"common", "proto", "dataplane/snapshot"},
    "dataplane/upstream": {"common", "common/config", "dataplane/snapshot", "dataplane/exchange"},
    "dataplane/dialect": {"common", "dataplane/exchange"},
    "dataplane/authn": {"common", "common/crypto", "dataplane/snapshot", "dataplane/exchange"},
    "dataplane/admission": {"common", "proto", "dataplane/snapshot", "dataplane/exchange"},
    "dataplane/budgets": {"common", "common/crypto", "proto", "dataplane/snapshot", "dataplane/exchange"},
    "dataplane/limits": {"common", "common/crypto", "proto", "dataplane/snapshot", "dataplane/exchange"},
    "dataplane/routing": {"common", "dataplane/snapshot", "dataplane/exchange"},
    "dataplane/metering": {"common", "common/crypto", "proto", "dataplane/snapshot", "dataplane/exchange"},
    "dataplane/telemetry": {"common", "proto", "dataplane/snapshot", "dataplane/exchange"},
    "dataplane/pipeline": {"common", "proto", "dataplane/snapshot", "dataplane/exchange", "dataplane/upstream",
                           "dataplane/dialect", "dataplane/authn", "dataplane/admission", "dataplane/routing", "dataplane/budgets",
                           "dataplane/limits",
                           "dataplane/metering", "dataplane/telemetry"},
    "dataplane/server": {"common", "dataplane/snapshot", "dataplane/exchange", "dataplane/pipeline"},
    "controlplane/store": {"common", "common/crypto", "common/config", "proto"},
    "controlplane/publish": {"common", "common/crypto", "common/config", "proto", "controlplane/store"},
    "controlplane/ledger": {"common", "common/crypto", "proto", "controlplane/store"},
    "controlplane/budgets": {"common", "common/crypto", "proto", "controlplane/store", "controlplane/ledger"},
    "controlplane/alerts": {"common", "common/crypto", "common/config", "proto", "controlplane/store",
                            "controlplane/ledger"},
    "controlplane/api": {"common", "common/crypto", "common/config", "proto", "controlplane/store",
                         "controlplane/ledger", "controlplane/budgets", "controlplane/alerts"},
    "controlplane/cli": {"common", "common/config", "common/crypto", "proto"},
}
# The programs themselves: each puts its own plane together.
LEVELS = {**ALLOWED, **{plane: {"proto"} | {folder for folder in ALLOWED if folder.split("/")[0] in ("common", plane)}
                        for plane in ("dataplane", "controlplane")}}
# Third-party include prefix -> folders or files that may use it (tests are free).
FENCES = {
    "rocksdb/": ["controlplane/store/"],
    "grpc": ["controlplane/api/", "controlplane/cli/", "controlplane/main.cc"],
    "nats": ["common/nats_bus"],
    "simdjson": ["dataplane/dialect/"],
    "yaml-cpp/": ["common/config/"],
    "CLI/": ["common/settings.cc", "controlplane/cli/"],
    "httplib": ["dataplane/server/", "controlplane/"],
    "openssl/": ["common/crypto/", "common/ids.cc", "common/secret.cc", "dataplane/upstream/",
                 "dataplane/server/"],
    "boost/asio/ip": ["dataplane/upstream/", "dataplane/server/", "dataplane/exchange/loop.h"],
}
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
BANNED_NAMES = re.compile(r"(^|[/_.-])(util|utils|helper|helpers|misc|manager)([/_.-]|$)", re.I)
BANNED_CALLS = [
    (re.compile(r"\.detach\(\)"), "threads are joined, not detached", ()),
    (re.compile(r"\bsleep_for\(|\bsleep_until\(|\busleep\("), "no sleeping: wait for the event",
     ("common/nats_bus",)),
    (re.compile(r"system_clock::now\(\)"), "wall time comes from common/clock.h", ("common/clock.cc",)),
    (re.compile(r"\bgetenv\("), "the environment is read in common/settings.cc only",
     ("common/settings.cc", "tests/")),
    (re.compile(r"\bdouble\b.*\b(nanos|cost|usd)\b", re.I), "money is an integer",
     ("tests/", "dataplane/telemetry/")),
]
SOURCES = (".cc", ".h")
SIZED = (*SOURCES, ".proto")


def tracked():
    listing = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=TOP, check=True,
                             capture_output=True, text=True).stdout
    return [path for path in listing.splitlines() if (TOP / path).is_file()]


def without_comments_and_strings(text):
    """Blanks comments and literals, keeping every line where it was."""
    pattern = re.compile(
        r'R"(?P<tag>[^(\s]*)\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'|//[^\n]*|/\*.*?\*/', re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def folder_of(path):
    parts = path.split("/")
    return "/".join(parts[:-1])


def check_includes(path, text):
    folder = folder_of(path)
    if not path.startswith(("common/", "dataplane/", "controlplane/")):
        return
    if folder not in LEVELS:
        yield 1, f"{folder} has no include level in tests/tidy_test.py"
        return
    may = LEVELS[folder] | {folder}
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#include\s+["<]([^">]+)[">]', line)
        if not match:
            continue
        target = match.group(1)
        if target.startswith("spillway/v1/"):
            # Every layer above common speaks the protos; common itself stays free of them.
            if folder == "common":
                yield number, "common does not include proto"
            continue
        if target.startswith(("common/", "dataplane/", "controlplane/", "tests/")):
            to = folder_of(target)
            if to not in may:
                yield number, f"{folder} may not include {to}"


def check_fences(path, text):
    if path.startswith("tests/") or path.startswith("cmake/"):
        return
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r"\s*#include\s+[<\"]([^>\"]+)[>\"]", line)
        if not match or match.group(1).startswith(("common/", "dataplane/", "controlplane/")):
            continue
        for prefix, homes in FENCES.items():
            if match.group(1).startswith(prefix) and not any(path.startswith(home) for home in homes):
                yield number, f"<{match.group(1)}> belongs to {', '.join(homes)} only"


FUNCTION_HEAD = re.compile(r"\)\s*(const|noexcept|override|final|mutable|&|&&|->\s*[\w:<>,\s*&]+|:\s.*|\s)*$", re.S)
CONTROL = re.compile(r"(^|\W)(if|for|while|switch|catch|do|else|return|namespace|class|struct|enum|union|extern)\b")


def check_functions(path, text):
    if path.startswith("tests/"):
        return
    line, head_start, stack, head = 1, 1, [], ""
    for char in text:
        if char == "\n":
            line += 1
        if char == "{":
            stripped = head.strip()
            is_function = bool(FUNCTION_HEAD.search(stripped)) and not CONTROL.match(stripped) and all(
                kind != "function" for kind, _ in stack)
            stack.append(("function" if is_function else "scope", line))
            head = ""
        elif char == "}":
            if stack:
                kind, began = stack.pop()
                if kind == "function" and line - began + 1 > FUNCTION_LINES_MAX:
                    yield began, f"function of {line - began + 1} lines (at most {FUNCTION_LINES_MAX})"
            head = ""
        elif char == ";":
            head = ""
        else:
            head += char


def check_calls(path, text):
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, reason, homes in BANNED_CALLS:
            if pattern.search(line) and not any(path.startswith(home) for home in homes):
                yield number, reason


def check_orphans(paths):
    cmake = {path: (TOP / path).read_text() for path in paths
             if path.endswith(("CMakeLists.txt", ".cmake"))}
    included = set()
    for path in paths:
        if path.endswith(SOURCES):
            included.update(re.findall(r'#include\s+"([^"]+)"', (TOP / path).read_text()))
    for path in paths:
        if path.endswith(".cc") and not any(
                re.search(r"(^|[\s/(])" + re.escape(pathlib.Path(path).name) + r"(\s|\)|$)", text, re.M)
                and path.startswith(folder_of(where)) for where, text in cmake.items()):
            yield path, 1, "source in no target"
        if path.endswith(".h") and path not in included:
            yield path, 1, "header that nothing includes"


COMPLAINTS = "docs/complaints.md"


def names_of_tests(paths):
    """Every name of a Catch2 test case and every Python test method."""
    names = set()
    for path in paths:
        if path.startswith("tests/") and path.endswith(".cc"):
            for literals in re.findall(r'\bTEST_CASE\(\s*((?:"(?:\\.|[^"\\])*"\s*)+)', (TOP / path).read_text()):
                names.add("".join(re.findall(r'"((?:\\.|[^"\\])*)"', literals)))
        elif path.startswith("tests/") and path.endswith(".py"):
            names.update(re.findall(r"def (test_\w+)\(", (TOP / path).read_text()))
    return names


def check_complaints(paths):
    """Each row of the tables names at least one test, and each test that is named exists."""
    if COMPLAINTS not in paths:
        return
    known = names_of_tests(paths)
    for number, line in enumerate((TOP / COMPLAINTS).read_text().splitlines(), 1):
        cells = line.strip("|").split("|")
        if not line.startswith("|") or len(cells) != 3 or set(cells[2].strip()) <= {"-"} or cells[2].strip() == "tests":
            continue
        named = re.findall(r"`([^`]+)`", cells[2])
        if not named:
            yield COMPLAINTS, number, "a complaint without a test"
        for name in named:
            if name not in known:
                yield COMPLAINTS, number, f"no test is named '{name}'"


OPERATIONS = "docs/operations.md"


def check_metrics(paths):
    """Each metric that a program exports has a row in its table for operators."""
    if OPERATIONS not in paths:
        return
    tables = (TOP / OPERATIONS).read_text().partition("## Metrics of the control plane")
    for plane, table in (("dataplane/", tables[0]), ("controlplane/", tables[2])):
        told = set(re.findall(r"^\| `(spillway_\w+)` \|", table, re.M))
        for path in paths:
            if not path.startswith(plane) or not path.endswith(SOURCES):
                continue
            for number, line in enumerate((TOP / path).read_text().splitlines(), 1):
                for name in re.findall(r'"(spillway_\w+)"', line):
                    if re.sub(r"_(bucket|sum|count)$", "", name) not in told:
                        yield path, number, f"the metric {name} has no row in {OPERATIONS}"


# The daemons' command lines, and the heading of each one's table in OPERATIONS.
FLAGS = {"dataplane/options.cc": "### Flags of a data plane\n",
         "controlplane/options.cc": "### Flags of the control plane\n"}


def check_flags(paths):
    """Each flag of a daemon, under each of its names, has a row for operators, and no row tells of another one."""
    if OPERATIONS not in paths:
        return
    for path, heading in FLAGS.items():
        before, _, behind = (TOP / OPERATIONS).read_text().partition(heading)
        told = {}
        for number, line in enumerate(re.split(r"^#", behind, maxsplit=1, flags=re.M)[0].splitlines(),
                                      before.count("\n") + 2):
            if line.startswith("|"):
                told.update((name, number) for name in re.findall(r"`--([\w-]+)`", line.split("|")[1]))
        text = (TOP / path).read_text()
        known = set()
        for call in re.finditer(r'\bsettings\.Add\w*\(\s*"([\w,-]+)"', text):
            for name in (one.lstrip("-") for one in call[1].split(",")):
                known.add(name)
                if name not in told:
                    yield path, text.count("\n", 0, call.start()) + 1, f"the flag --{name} has no row in {OPERATIONS}"
        for name in told.keys() - known:
            yield OPERATIONS, told[name], f"{path} has no flag --{name}"


def main():
    paths = tracked()
    findings = []
    for path in paths:
        if BANNED_NAMES.search(path):
            findings.append((path, 1, "a name that hides what is inside"))
        if not path.endswith(SIZED):
            continue
        raw = (TOP / path).read_text()
        lines = raw.count("\n")
        if lines > FILE_LINES_MAX:
            findings.append((path, 1, f"{lines} lines (at most {FILE_LINES_MAX})"))
        if not path.endswith(SOURCES):
            continue
        clean = without_comments_and_strings(raw)
        for check, text in ((check_includes, raw), (check_fences, raw), (check_functions, clean),
                            (check_calls, clean)):
            findings.extend((path, number, what) for number, what in check(path, text))
    findings.extend(check_orphans(paths))
    findings.extend(check_complaints(paths))
    findings.extend(check_metrics(paths))
    findings.extend(check_flags(paths))
    for path, number, what in sorted(findings):
        print(f"{path}:{number}: {what}")
    checked = sum(path.endswith(SOURCES) for path in paths)
    print(f"structure: {checked} sources checked, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
