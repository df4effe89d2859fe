#!/usr/bin/env python3
"""Removes one check at a time from the code of secure aggregation and demands
that a test notices.

    run_mutations.py --build build/release [--jobs 2] [--only ID ...]

mutations.toml names, for every check, the file, the text that makes it (which
must occur exactly once), what stands there without it, and the test that must
then fail. The tree is only read: the mutated source is compiled in a scratch
folder of the build with the command that the build uses, and the test program
is linked again with that object before the library that holds the original.
Where the build compiles several files as one (EDGETUNE_UNITY), so does this.
Exit code 1: a mutant survived, or the list does not fit the tree.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIST = pathlib.Path(__file__).with_name("mutations.toml")
# A test that a mutant makes hang has noticed it; the line says so, because a
# test that is only slow looks the same.
LONGEST_TEST_S = 120


@dataclasses.dataclass
class Mutation:
    id: str
    file: str
    find: str
    put: str
    target: str
    filter: str


class Problem(Exception):
    """The list or the build is at fault, not a mutant."""


def read_list(path):
    mutations = []
    for group in tomllib.loads(path.read_text())["file"]:
        for entry in group["mutation"]:
            mutations.append(Mutation(
                id=entry["id"], file=group["path"], find=entry["find"],
                put=entry["put"], target=entry.get("target", group["target"]),
                filter=entry["filter"]))
    ids = [m.id for m in mutations]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        raise Problem(f"ids occur twice: {', '.join(twice)}")
    for m in mutations:
        count = (ROOT / m.file).read_text().count(m.find)
        if count != 1:
            raise Problem(f"{m.id}: its text occurs {count} times in {m.file}")
        if m.find == m.put:
            raise Problem(f"{m.id}: changes nothing")
    return mutations


def sources_in(compiled):
    """The files of ours that a compiled file stands for: a unit that CMake wrote
    (EDGETUNE_UNITY) only includes them; every other file is one itself."""
    if compiled.parent.name != "Unity" or not compiled.exists():
        return [compiled]
    return [pathlib.Path(name) for name in re.findall(
        r'^#include "(.+)"$', compiled.read_text(), re.MULTILINE)]


class Build:
    """A configured tree, and the commands by which it is built."""

    def __init__(self, directory):
        self.directory = directory.resolve()
        commands = subprocess.run(
            ["ninja", "-C", self.directory, "-t", "compdb"], check=True,
            capture_output=True, text=True).stdout
        self._compile = {}  # by source: the file that is compiled, the command
        for entry in json.loads(commands[commands.index("["):]):
            if entry["file"].endswith((".cc", ".cxx")):
                compiled = pathlib.Path(entry["directory"], entry["file"])
                for source in sources_in(compiled.resolve()):
                    self._compile[str(source)] = (
                        str(compiled), entry["command"])
        self._link = {}

    def make(self, targets):
        subprocess.run(["ninja", "-C", self.directory, "--quiet", *targets],
                       check=True)

    def program(self, target):
        return self.directory / "tests" / target

    def compile_command(self, source, mutant, output):
        """Compiles `mutant` in the place of `source`, in its unit if it is in
        one; the unit is written beside the output then."""
        compiled, command = self._compile[str(ROOT / source)]
        if compiled != str(ROOT / source):
            unit = output.with_suffix(".cxx")
            unit.write_text(pathlib.Path(compiled).read_text().replace(
                f'"{ROOT / source}"', f'"{mutant}"'))
            mutant = unit
        command = shlex.split(command)
        at = command.index("-o")
        command[at + 1] = str(output)
        for option in ("-MF", "-MT"):
            if option in command:
                i = command.index(option)
                command[i:i + 2] = []
        return [str(mutant) if part == compiled else part
                for part in command if part not in ("-MD", "-MMD")]

    def link_command(self, target, extra, output):
        if target not in self._link:
            lines = subprocess.run(
                ["ninja", "-C", self.directory, "-t", "commands", "-s",
                 f"tests/{target}"],
                check=True, capture_output=True, text=True).stdout.splitlines()
            line = [l for l in lines if " -o " in l][-1]
            line = line.removeprefix(": && ").split(" && ")[0]
            self._link[target] = shlex.split(line)
        command = list(self._link[target])
        at = command.index("-o")
        command[at + 1] = str(output)
        # Before the archives: what it defines is not looked for there.
        command.insert(at + 2, str(extra))
        return command


def run_test(program, pattern, environment, timeout=None):
    """Exit code, or None when it did not end."""
    try:
        return subprocess.run(
            [program, f"--gtest_filter={pattern}"], env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            timeout=timeout, check=False).returncode
    except subprocess.TimeoutExpired:
        return None


def environment_in(directory):
    """What a killed test leaves behind goes with the scratch directory."""
    environment = dict(os.environ, TMPDIR=str(directory),
                       TEST_TMPDIR=str(directory))
    environment.pop("EDGETUNE_LONG", None)
    return environment


def check_filter(build, target, pattern, environment):
    """The filter names tests of the target that pass as the tree is."""
    listed = subprocess.run(
        [build.program(target), "--gtest_list_tests",
         f"--gtest_filter={pattern}"],
        check=True, capture_output=True, text=True).stdout
    if "  " not in listed:
        raise Problem(f"{target}: no test is called {pattern}")
    if run_test(build.program(target), pattern, environment) != 0:
        raise Problem(f"{target}: {pattern} fails without any mutation")


def check_unmutated(build, mutations, scratch, jobs):
    environment = environment_in(scratch)
    wanted = sorted({(m.target, m.filter) for m in mutations})
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for done in [pool.submit(check_filter, build, *each, environment)
                     for each in wanted]:
            done.result()


def run_mutant(build, m, scratch):
    """killed, hung (killed too), SURVIVED or does not build; the seconds."""
    start = time.monotonic()
    # Always at the same place, so that ccache knows a mutant again.
    directory = scratch / m.id
    directory.mkdir()
    try:
        mutant = directory / pathlib.Path(m.file).name
        text = (ROOT / m.file).read_text()
        mutant.write_text(text.replace(m.find, m.put))
        output, program = directory / "mutant.o", directory / m.target
        steps = [build.compile_command(m.file, mutant, output),
                 build.link_command(m.target, output, program)]
        verdict = None
        for command in steps:
            made = subprocess.run(command, cwd=build.directory, check=False,
                                  capture_output=True, text=True)
            if made.returncode != 0:
                print(made.stderr[-2000:], file=sys.stderr)
                verdict = "does not build"
                break
        if verdict is None:
            code = run_test(program, m.filter, environment_in(directory),
                            LONGEST_TEST_S)
            verdict = {None: "killed, hung", 0: "SURVIVED"}.get(code, "killed")
    finally:
        shutil.rmtree(directory)
    return verdict, time.monotonic() - start


def run_all(build, mutations, scratch, jobs):
    """Prints a line for each as it ends; the mutations that were not killed."""
    start, left = time.monotonic(), []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(run_mutant, build, m, scratch): m
                   for m in mutations}
        ended = concurrent.futures.as_completed(futures)
        for done, future in enumerate(ended, 1):
            m, (verdict, seconds) = futures[future], future.result()
            if not verdict.startswith("killed"):
                left.append(m)
            rest = (time.monotonic() - start) / done * (len(mutations) - done)
            print(f"{verdict:14} {m.id:44} {m.file} ({seconds:.0f} s; "
                  f"{done} of {len(mutations)}, {rest / 60:.0f} min to go)",
                  flush=True)
    return left


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--only", nargs="+", default=[],
                        help="ids, or beginnings of ids")
    arguments = parser.parse_args()
    start = time.monotonic()
    mutations = read_list(LIST)
    if arguments.only:
        mutations = [m for m in mutations
                     if m.id.startswith(tuple(arguments.only))]
    if not mutations:
        raise Problem("no mutation of that id")
    build = Build(arguments.build)
    build.make(sorted({m.target for m in mutations}))
    scratch = build.directory / "mutations"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        check_unmutated(build, mutations, scratch, arguments.jobs)
        left = run_all(build, mutations, scratch, arguments.jobs)
    finally:
        shutil.rmtree(scratch)
    took = time.monotonic() - start
    print(f"{len(mutations)} mutations, {len(mutations) - len(left)} killed, "
          f"in {took:.0f} s")
    for m in left:
        print(f"not killed: {m.id}")
    return 1 if left else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(1)
