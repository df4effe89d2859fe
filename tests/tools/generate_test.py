#!/usr/bin/env python3
"""`edgetune generate` from outside: answers, chats, how long they take, and that
text of others commands no terminal."""

import fcntl
import json
import os
import pty
import re
import subprocess
import termios
import tty

from program import OPTIONS, ProgramCase, Screen, main, shown_on_a_terminal


class GenerateTest(ProgramCase):
    # --- answers and chats

    def generate(self, *arguments, stdin=None):
        return subprocess.run([OPTIONS.edgetune, "generate", "--model", str(self.model),
                               *map(str, arguments)], input=stdin, capture_output=True,
                              text=True, timeout=120, check=False)

    def test_APipedPromptIsThePrompt(self):
        given = self.generate("--prompt", "two\nlines", "--format", "json", "--max-tokens", 5)
        piped = self.generate("--format", "json", "--max-tokens", 5, stdin="two\nlines\n")
        self.assertEqual(given.returncode, 0, given.stderr)
        self.assertEqual(given.stdout, piped.stdout)
        self.assertRegex(piped.stderr,
                         r"^\d+ tokens(, [0-9.]+ tokens/s)?, the first after [0-9.]+ s\n$")

    def test_OneTokenHasNoRate(self):
        result = self.generate("--prompt", "x", "--max-tokens", 1)
        self.assertRegex(result.stderr, r"^1 token, the first after [0-9.]+ s\n$")

    def test_AnEmptyPipeIsNoPrompt(self):
        # A chat's message may be empty, a raw text may not.
        self.assert_fails(self.generate("--raw", stdin=""), 4, "prompt is empty")

    def test_TheSameSeedGivesTheSameText(self):
        texts = [self.generate("--prompt", "x", "--temperature", 1, "--seed", seed, "--format",
                               "json", "--repeat-penalty", 1.2).stdout for seed in (5, 5, 6)]
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], texts[2])

    def test_AnAnswerEndsBeforeAStopString(self):
        whole = json.loads(self.generate("--prompt", "x", "--format", "json", "--max-tokens",
                                         40).stdout)["data"]["text"]
        middle = whole[len(whole) // 2]
        cut = json.loads(self.generate("--prompt", "x", "--format", "json", "--max-tokens", 40,
                                       "--stop", "never there", "--stop", middle)
                         .stdout)["data"]["text"]
        self.assertEqual(cut, whole[:whole.index(middle)])
        self.assert_fails(self.generate("--prompt", "x", "--stop", ""), 4, "--stop")

    def answers(self, stderr):
        """How many there were, by the figures after each."""
        return len(re.findall(r"^(?:\d+ tokens?|no tokens)\b", stderr, re.MULTILINE))

    def test_AChatAnswersCommandsAndIsSaved(self):
        saved = self.folder / "chat.jsonl"
        result = self.generate("--chat", "--max-tokens", 8, stdin="\n".join(
            ["/system Be kind", "hello", "again", f"/save {saved}", f"/save {saved}",
             "/dance", "/reset", f"/save {self.folder}/none", "/quit", "never read"]) + "\n")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.answers(result.stderr), 2)
        for words in ("exists already", "no such command", "nothing was said yet"):
            self.assertEqual(result.stderr.count(words), 1, words)
        messages = json.loads(saved.read_text())["messages"]
        self.assertEqual([m["role"] for m in messages],
                         ["system", "user", "assistant", "user", "assistant"])
        self.assertEqual(result.stdout, f'{messages[2]["content"]}\n{messages[4]["content"]}\n')

    def test_AChatForgetsTheOldestTurnsAndSaysSo(self):
        result = self.generate("--chat", "--max-tokens", 20, stdin="0123456789" * 6 + "\n" +
                               "0123456789" * 6 + "\n" + "0123456789" * 40 + "\nshort\n")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("turns are forgotten", result.stderr)
        self.assertEqual(result.stderr.count("the message is too long"), 1)
        self.assertEqual(self.answers(result.stderr), 3)

    def test_AChatRefusesWhatIsNotForIt(self):
        for arguments in (("--prompt", "x"), ("--raw",), ("--compare",)):
            self.assert_fails(self.generate("--chat", *arguments, stdin=""), 4, "a chat takes")

    def test_CtrlCEndsAnAnswerAndNotTheChat(self):
        driver, terminal = pty.openpty()
        with subprocess.Popen([OPTIONS.edgetune, "generate", "--model", str(self.model),
                               "--max-tokens", "200", "--temperature", "1"], stdin=terminal,
                              stdout=terminal, stderr=terminal, start_new_session=True,
                              preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) as chat:
            os.close(terminal)
            screen = Screen(driver)
            screen.wait_for("> ")
            os.write(driver, b"half a line\x03")
            screen.wait_for("> ")
            # The terminal forgets lines that are unread when Ctrl-C comes: not
            # before the answer has begun. It may be over: the chat goes on.
            os.write(driver, b"hello\n")
            screen.wait_for("hello\r\n")
            screen.wait_for("")
            os.write(driver, b"\x03")
            screen.wait_for(" token")  # of the figures after the answer
            os.write(driver, b"again\n")
            screen.wait_for(" token")
            os.write(driver, b"\x04")
            self.assertEqual(chat.wait(timeout=60), 0)
        os.close(driver)

    # --- measuring

    def latency(self, *arguments):
        return self.edgetune("bench", "latency", "--model", self.model, "--tokens", "3",
                             "--repeat", "2", *arguments)

    def test_LatencyTellsEverySampleOfEachPromptLength(self):
        result = self.latency("--prompts", "4,9", "--format", "json")
        self.assertEqual(result.returncode, 0, result.stderr)
        data = json.loads(result.stdout)["data"]
        self.assertEqual([one["prompt_tokens"] for one in data["prompts"]], [4, 9])
        for one in data["prompts"]:
            self.assertEqual(len(one["runs"]), 2)
            self.assertEqual([len(run["token_s"]) for run in one["runs"]], [2, 2])
            samples = sorted(s for run in one["runs"] for s in run["token_s"])
            self.assertEqual(one["token_p50_s"], samples[1])
            self.assertEqual(one["token_p99_s"], samples[3])
            self.assertGreater(one["peak_resident_bytes"], 1 << 20)
        table = self.latency("--prompts", "4,9")
        self.assertRegex(table.stdout, r"prompt +first token +prompt tokens/s .*\n +4 .*\n +9 ")
        self.assertIn("prompts of 9 tokens", table.stderr)

    def test_LatencyRefusesWhatCannotBeMeasured(self):
        self.assert_fails(self.latency("--prompts", "4,100000"), 4, "context", "shorter")
        self.assert_fails(self.latency("--prompts", "0"), 4, "--prompts")
        self.assert_fails(self.edgetune("bench", "latency", "--model", self.model, "--tokens",
                                        "1"), 4, "--tokens")
        self.assert_fails(self.edgetune("bench", "latency", "--model", "nowhere.gguf"), 4,
                          "nowhere.gguf")

    # --- text of others on a terminal

    HOSTILE = "\x1b]0;owned\x07\r\x9b2J\u202eemag"

    def assert_shown(self, text):
        """HOSTILE stands there for the eyes."""
        self.assertIn(r"\x1b]0;owned\x07\x0d\u009b2J\u202eemag", text)
        self.assertEqual(text, shown_on_a_terminal(text))

    def generate_on_a_terminal(self, *arguments):
        """The bytes that reach a terminal's screen as stdout."""
        driver, terminal = pty.openpty()
        tty.setraw(terminal)  # the terminal itself changes nothing
        with subprocess.Popen([OPTIONS.edgetune, "generate", "--model", str(self.model),
                               *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=terminal,
                              stderr=subprocess.DEVNULL) as program:
            os.close(terminal)
            screen = b""
            try:
                while block := os.read(driver, 4096):
                    screen += block
            except OSError:  # EIO: the program has closed it
                pass
            self.assertEqual(program.wait(timeout=60), 0)
        os.close(driver)
        return screen

    def test_AnAnswerIsSafeOnATerminalAndExactInAPipe(self):
        arguments = ("--prompt", "x", "--temperature", 1, "--max-tokens", 60, "--seed", 3)
        exact = json.loads(self.generate(*arguments, "--format", "json").stdout)["data"]["text"]
        self.assertNotEqual(exact, shown_on_a_terminal(exact), "the seed gives nothing to escape")
        piped = subprocess.run([OPTIONS.edgetune, "generate", "--model", self.model,
                                *map(str, arguments)], capture_output=True, check=True).stdout
        self.assertEqual(piped.decode(), exact + "\n")
        screen = self.generate_on_a_terminal(*arguments)
        self.assertEqual(screen.decode(), shown_on_a_terminal(exact) + "\n")

    def test_AChatIsSafeOnATerminalAndExactInAPipe(self):
        arguments = ["--chat", "--temperature", 1, "--max-tokens", 60, "--seed", 3]
        saved = self.folder / "chat.jsonl"
        piped = subprocess.run([OPTIONS.edgetune, "generate", "--model", self.model,
                                *map(str, arguments)], capture_output=True, check=True,
                               input=f"x\n/save {saved}\n".encode()).stdout
        exact = json.loads(saved.read_text())["messages"][1]["content"]
        self.assertNotEqual(exact, shown_on_a_terminal(exact), "the seed gives nothing to escape")
        self.assertEqual(piped.decode(), exact + "\n")

    def test_ExamplesAreShownSafely(self):
        data = self.write("data.jsonl", json.dumps({"text": "a" + self.HOSTILE}) + "\n")
        arguments = ("data", "inspect", data, "--show", 1)
        self.assert_shown(self.edgetune(*arguments).stdout)
        self.assertIn(self.HOSTILE, self.json_of(*arguments)["first"][0])

    def test_NamesInAModelAreShownSafelyAndStayOnTheirLine(self):
        name = (self.HOSTILE + "\nSHA-256  0").encode()
        content = self.model.read_bytes()
        old = len(b"tiny").to_bytes(8, "little") + b"tiny"
        self.assertEqual(content.count(old), 1)
        # 32 bytes more leave the tensors aligned.
        name += b"." * (len(b"tiny") + 32 - len(name))
        self.model.write_bytes(content.replace(old, len(name).to_bytes(8, "little") + name))
        shown = self.edgetune("model", "inspect", self.model).stdout
        self.assert_shown(shown)
        self.assertEqual(sum(line.startswith("SHA-256") for line in shown.splitlines()), 1)
        self.assertEqual(self.json_of("model", "inspect", self.model)["name"], name.decode())

    def test_ErrorsAreShownSafely(self):
        self.assert_shown(self.edgetune("model", "inspect", "no" + self.HOSTILE).stderr)


if __name__ == "__main__":
    main()
