"""A fleet of real edgetune processes in a temporary folder, for tests."""

import argparse
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
import unittest

OPTIONS = None


class Fleet:
    """Server, clients and operator calls over one set of kits."""

    def __init__(self, folder, binaries, model, devices):
        self.folder = pathlib.Path(folder)
        self.binaries = pathlib.Path(binaries)
        self.model = model
        self.processes = []
        self.port = None
        self.run_tool("provision", "--device-ids", ",".join(devices),
                      "--server", "localhost:7443", "--out", self.folder / "kits")

    # --- programs

    def start(self, program, *arguments, log):
        out = open(self.folder / log, "ab")
        process = subprocess.Popen([self.binaries / program, *map(str, arguments)],
                                   stdout=out, stderr=out)
        out.close()
        self.processes.append(process)
        return process

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()

    def run_tool(self, *arguments, check=True):
        result = subprocess.run([self.binaries / "edgetune", *map(str, arguments)],
                                capture_output=True, text=True, timeout=240, check=False)
        if check and result.returncode != 0:
            raise AssertionError(f"edgetune {arguments}: exit {result.returncode}\n"
                                 f"{result.stdout}\n{result.stderr}\n{self.logs()}")
        return result

    def tool_json(self, *arguments):
        return json.loads(self.run_tool(*arguments, "--format", "json").stdout)["data"]

    def logs(self):
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}"
                         for path in sorted(self.folder.glob("*.log")))

    def log(self, name):
        return (self.folder / name).read_text()

    # --- server

    def start_server(self, port=0):
        """Starts the server; with a port, on that port."""
        config = self.folder / "server.toml"
        config.write_text(f'listen = "127.0.0.1:{port}"\n'
                          f'kit = "{self.folder}/kits/server"\n'
                          f'state = "{self.folder}/server-state"\n')
        port_file = self.folder / "port"
        port_file.unlink(missing_ok=True)
        server = self.start("edgetune-server", "serve", "--config", config,
                            "--port-file", port_file, log="server.log")
        self.wait_for(lambda: port_file.exists() or server.poll() is not None)
        if server.poll() is not None:
            return server
        self.port = int(port_file.read_text())
        return server

    # --- clients

    def start_client(self, device, data, population="default", kit=None, verb="run",
                     train=""):
        """`train`: more lines of client.toml's [train]."""
        config = self.folder / f"{device}.toml"
        config.write_text(
            f'server = "localhost:{self.port}"\n'
            f'kit = "{kit or self.folder / "kits/devices" / device}"\n'
            f'state = "{self.folder}/{device}-state"\n'
            f'population = "{population}"\n'
            f'[data]\ntrain = "{data}"\n[train]\nthreads = 1\n{train}')
        return self.start("edgetune-client", verb, "--config", config,
                          log=f"{device}.log")

    def start_clients(self, devices, population="default"):
        """One process a device, each with data of its own."""
        return {d: self.start_client(
            d, self.write_data(d, 12 + 6 * i, seed=i), population)
            for i, d in enumerate(devices)}

    def write_data(self, name, examples, seed):
        """Chat examples of a topic of its own, `examples` lines."""
        words = random.Random(seed)
        path = self.folder / f"{name}.jsonl"
        with open(path, "w", encoding="utf-8") as out:
            for _ in range(examples):
                word = "".join(words.choices("abcdefgh", k=4))
                out.write(json.dumps({"messages": [
                    {"role": "user", "content": f"Say {word}"},
                    {"role": "assistant", "content": f"{word} {name}"}]}) + "\n")
        return path

    # --- runs

    def write_run(self, name, text):
        path = self.folder / f"{name}.toml"
        path.write_text(f'schema = 1\n[model]\nbase = "{self.model}"\nprecision = "fp32"\n{text}')
        return path

    def operator(self):
        return ("--kit", self.folder / "kits/operator", "--server", f"localhost:{self.port}")

    def submit(self, run_file):
        data = self.tool_json("run", "submit", run_file, *self.operator(), "--release-key",
                              self.folder / "kits/operator/release.key.pem")
        return data["run_id"]

    def show(self, run_id):
        return self.tool_json("run", "show", run_id, *self.operator())

    def wait_for_run(self, run_id, condition, seconds=200):
        """The first status that meets the condition."""
        status = None

        def reached():
            nonlocal status
            status = self.show(run_id)
            return condition(status)
        try:
            self.wait_for(reached, seconds, pause=0.2)
        except TimeoutError:
            raise AssertionError(f"run never got there: {status}\n{self.logs()}") from None
        return status

    def wait_ended(self, run_id):
        return self.wait_for_run(run_id, lambda s: s["state"] in ("finished", "failed", "stopped"))

    @staticmethod
    def wait_for(condition, seconds=60, pause=0.05):
        limit = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > limit:
                raise TimeoutError
            time.sleep(pause)


def stop(process, how=signal.SIGTERM):
    process.send_signal(how)
    return process.wait(timeout=60)


def freeze(process):
    """The process does nothing more until `thaw`; its connections stay."""
    process.send_signal(signal.SIGSTOP)
    # Signals take their time.
    now = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    assert now.si_code == os.CLD_STOPPED, f"it has ended: {now}"


def thaw(process):
    process.send_signal(signal.SIGCONT)


class FleetTestCase(unittest.TestCase):
    """Gives each test a fleet on the two-layer test model, nothing started."""

    device_count = 7

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        model = f"{folder.name}/tiny.gguf"
        subprocess.run([OPTIONS.model_maker, model], check=True)
        self.devices = [f"device-{i + 1}" for i in range(self.device_count)]
        self.fleet = Fleet(folder.name, OPTIONS.bin, model, self.devices)
        self.addCleanup(self.fleet.close)

    def assert_finished(self, status, rounds):
        self.assertEqual(status["state"], "finished", f"{status}\n{self.fleet.logs()}")
        self.assertEqual(status["rounds_done"], rounds)
        self.assertEqual(len(status["perplexity"]), rounds + 1)
        self.assertLess(status["perplexity"][-1], status["perplexity"][0])


def main(doc):
    """Runs the tests of the file that calls it."""
    global OPTIONS
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--model-maker", required=True)
    OPTIONS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest])
