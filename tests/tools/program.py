"""What tests of the edgetune program share: running it on a small model, the one
way in which it fails, and what a terminal shows."""

import argparse
import ctypes
import json
import os
import pathlib
import resource
import select
import subprocess
import sys
import tempfile
import unicodedata
import unittest

# main() fills it: who has imported it by then holds the same object.
OPTIONS = argparse.Namespace()
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1  # <linux/prctl.h>, <linux/capability.h>
CHAT = '{"messages":[{"role":"user","content":"Say a"},{"role":"assistant","content":"a"}]}\n'


class Screen:
    """What a program has written to its terminal."""

    def __init__(self, driver):
        self.driver, self.new = driver, ""

    def wait_for(self, words):
        """Until `words` are on the screen after those of the last call; "" stands
        for anything new."""
        while not self.new or words not in self.new:
            if not select.select([self.driver], [], [], 60)[0]:
                raise AssertionError(f"{words!r} did not come, but {self.new!r}")
            self.new += os.read(self.driver, 4096).decode(errors="replace")
        self.new = self.new.partition(words)[2] if words else self.new


def shown_on_a_terminal(text):
    """What base/terminal_text.h makes of it, by Unicode's own categories: Cc are
    the control characters, and these classes of Cf turn the order of writing."""
    turning = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")

    def shown(char):
        if char in "\n\t" or (unicodedata.category(char) != "Cc" and
                              unicodedata.bidirectional(char) not in turning):
            return char
        return f"\\x{ord(char):02x}" if char < "\x80" else f"\\u{ord(char):04x}"
    return "".join(map(shown, text))


class ProgramCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.model = self.folder / "tiny.gguf"
        subprocess.run([OPTIONS.model_maker, self.model], check=True)

    def edgetune(self, *arguments, path=None, limit=None, unprivileged=False):
        environment = {**os.environ, "XDG_CACHE_HOME": str(self.folder / "cache"),
                       "XDG_DATA_HOME": str(self.folder / "share")}
        if path is not None:
            environment["PATH"] = str(path)

        def prepare():
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            if unprivileged:
                # Root, too, is then bound by the modes of files.
                ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)
        return subprocess.run([OPTIONS.edgetune, *map(str, arguments)], env=environment,
                              capture_output=True, text=True, timeout=120, check=False,
                              preexec_fn=prepare)

    def json_of(self, *arguments):
        result = self.edgetune(*arguments, "--format", "json", "--quiet")
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)["data"]

    def assert_fails(self, result, code, *words):
        """One `error:` line with these words, then at most one hint."""
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertEqual(result.stdout, "")
        lines = result.stderr.splitlines()
        self.assertTrue(lines[0].startswith("error: "), result.stderr)
        self.assertLessEqual(len(lines), 2, result.stderr)
        if len(lines) == 2:
            self.assertTrue(lines[1].startswith("hint: "), result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def run_file(self, text=""):
        return self.write("run.toml", f'schema = 1\n[model]\nbase = "{self.model}"\n{text}')

    def words(self, count, topics=("a", "b", "c")):
        """Lines with a topic each; the counts of the topics differ."""
        return [json.dumps({"topic": topics[min(i % 6, len(topics) - 1)],
                            "messages": [{"role": "user", "content": f"Say {i}"},
                                         {"role": "assistant", "content": f"{i}"}]})
                for i in range(count)]


def main():
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--edgetune", required=True)
    parser.add_argument("--model-maker", required=True)
    parser.add_argument("--receipt-maker", required=True)
    _, rest = parser.parse_known_args(namespace=OPTIONS)
    unittest.main(argv=[sys.argv[0], *rest])
