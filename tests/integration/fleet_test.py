#!/usr/bin/env python3
"""Rounds between real processes: server, clients, operator.

Nothing here asserts a duration; limits only keep a hang from lasting.
"""

import re
import signal
import socket

from fleet import FleetTestCase, main, stop

SMALL = """
[lora]
rank = 4
[train]
lr = 1e-2
steps = 3
batch = 4
[rounds]
count = 3
cohort = 4
deadline = "2m"
reconnect_grace = "20s"
[secagg]
enabled = false
"""

# Another shape: three clients, every target, another server step.
OTHER = """
[lora]
rank = 4
alpha = 8
targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
[train]
lr = 5e-3
steps = 4
batch = 4
schedule = "cosine"
[fleet]
population = "others"
[rounds]
count = 4
cohort = 3
deadline = "2m"
reconnect_grace = "20s"
server_optimizer = "adam"
server_lr = 0.01
[secagg]
enabled = false
"""


# The default: masked. Four of the cohort are enough.
MASKED = SMALL.replace("enabled = false", "n_min = 4")


class FleetTest(FleetTestCase):
    def test_TwoRunsAtOnceSurviveAKilledServer(self):
        fleet = self.fleet
        server = fleet.start_server()
        fleet.start_clients(self.devices[:4])
        fleet.start_clients(self.devices[4:], "others")
        small = fleet.submit(fleet.write_run("small", MASKED))
        other = fleet.submit(fleet.write_run("other", OTHER))
        for run in (small, other):
            fleet.wait_for_run(run, lambda s: s["rounds_done"] >= 1 or s["phase"] == "training")
        stop(server, signal.SIGKILL)
        fleet.start_server(fleet.port)
        self.assert_finished(fleet.wait_ended(small), 3)
        self.assert_finished(fleet.wait_ended(other), 4)

    def test_LostClientLeavesAQuorum(self):
        fleet = self.fleet
        fleet.start_server()
        clients = fleet.start_clients(self.devices[:4])
        run = fleet.submit(fleet.write_run(
            "run", SMALL.replace("cohort = 4", "cohort = 4\nquorum = 3\nselect_timeout = \"5s\"")
            .replace('"20s"', '"1s"').replace("steps = 3", "steps = 600")
            .replace("count = 3", "count = 1")))
        fleet.wait_for_run(run, lambda s: any(
            c["device_id"] == "device-2" and c["step"] > 0 for c in s["clients"]))
        stop(clients["device-2"], signal.SIGKILL)
        status = fleet.wait_ended(run)
        self.assert_finished(status, 1)
        lost = [line for line in fleet.log("server.log").splitlines()
                if "device-2" in line and "lost" in line]
        self.assertTrue(lost, fleet.logs())

    def test_StoppedServerContinuesBetweenRounds(self):
        fleet = self.fleet
        server = fleet.start_server()
        fleet.start_clients(self.devices[:4])
        run = fleet.submit(fleet.write_run("run", SMALL))
        fleet.wait_for_run(run, lambda s: s["rounds_done"] >= 1)
        self.assertEqual(stop(server), 0, fleet.logs())
        fleet.start_server(fleet.port)
        self.assert_finished(fleet.wait_ended(run), 3)

    def test_SecondRunMovesNoBaseModel(self):
        fleet = self.fleet
        fleet.start_server()
        fleet.start_clients(self.devices[:4])
        run_file = fleet.write_run("run", SMALL)
        first = fleet.wait_ended(fleet.submit(run_file))
        second = fleet.wait_ended(fleet.submit(run_file))
        self.assert_finished(first, 3)
        self.assert_finished(second, 3)
        self.assertGreater(first["base_bytes_down"], 0)
        self.assertEqual(second["base_bytes_down"], 0)
        # Same plan but for its nonce, same data: the same result.
        self.assertEqual(first["perplexity"], second["perplexity"])

    def test_OneClientEqualsLocalTraining(self):
        fleet = self.fleet
        fleet.start_server()
        data = fleet.write_data("device-1", 30, seed=1)
        fleet.start_client("device-1", data)
        for rule in ("fedit", "ffa", "rolora"):
            run_file = fleet.write_run(rule, SMALL.replace("cohort = 4", "cohort = 1").replace(
                "[lora]", f'[lora]\nrule = "{rule}"'))
            run = fleet.submit(run_file)
            self.assert_finished(fleet.wait_ended(run), 3)
            deployed, local = (fleet.folder / f"{rule}-{where}" for where in ("deployed", "local"))
            fleet.run_tool("run", "download", run, *fleet.operator(), "--out", deployed)
            fleet.run_tool("train", run_file, "--data", data, "--threads", "1", "--out", local)
            files = [next(where.rglob("adapter_model.safetensors")) for where in (deployed, local)]
            self.assertEqual(files[0].read_bytes(), files[1].read_bytes(), rule)

    def test_AClientLearnsFromItsOwnTeacherAsThisMachineDoes(self):
        fleet = self.fleet
        fleet.start_server()
        data = fleet.write_data("device-1", 30, seed=1)
        teacher = fleet.folder / "teacher.gguf"
        fleet.run_tool("prune", fleet.model, "--layers", "1", "--to", "gguf", "--out", teacher)
        fleet.start_client("device-1", data, train=f'teacher = "{teacher}"\n')
        run_file = fleet.write_run("taught", SMALL.replace("cohort = 4", "cohort = 1").replace(
            "[train]", "[train]\nteacher_alpha = 0.5"))
        run = fleet.submit(run_file)
        self.assert_finished(fleet.wait_ended(run), 3)
        deployed, local, alone = (fleet.folder / name for name in ("deployed", "local", "alone"))
        fleet.run_tool("run", "download", run, *fleet.operator(), "--out", deployed)
        for out, more in ((local, ("--teacher", teacher)), (alone, ())):
            fleet.run_tool("train", run_file, "--data", data, "--threads", "1", "--out", out, *more)
        files = [next(where.rglob("adapter_model.safetensors")).read_bytes()
                 for where in (deployed, local, alone)]
        self.assertEqual(files[0], files[1])
        self.assertNotEqual(files[0], files[2])
        self.assertEqual(fleet.log("device-1.log").count("the teacher spoke at"), 1)

    def test_StoppedRunEndsAndFreesItsClients(self):
        fleet = self.fleet
        fleet.start_server()
        fleet.start_clients(self.devices[:4])
        long = fleet.submit(fleet.write_run("long", SMALL.replace("steps = 3", "steps = 5000")))
        fleet.wait_for_run(long, lambda s: s["phase"] == "training")
        fleet.run_tool("run", "stop", long, *fleet.operator())
        self.assertEqual(fleet.wait_ended(long)["state"], "stopped")
        run = fleet.submit(fleet.write_run("run", SMALL))
        watched = fleet.run_tool("run", "watch", run, *fleet.operator())
        self.assertEqual(watched.returncode, 0)
        self.assert_finished(fleet.show(run), 3)
        states = {r["run_id"]: r["state"] for r in fleet.tool_json("run", "list", *fleet.operator())["runs"]}
        self.assertEqual(states, {long: "stopped", run: "finished"})

    def test_TooFewClientsFailsWithItsOwnExitCode(self):
        fleet = self.fleet
        fleet.start_server()
        fleet.start_clients(self.devices[:1])
        run_file = fleet.write_run("run", SMALL.replace(
            "cohort = 4", 'cohort = 4\nselect_timeout = "1s"\nattempts = 2'))
        result = fleet.run_tool("run", "submit", run_file, *fleet.operator(), "--release-key",
                                fleet.folder / "kits/operator/release.key.pem", "--watch",
                                check=False)
        self.assertEqual(result.returncode, 3, result.stderr + fleet.logs())
        self.assertIn("not enough clients", result.stderr)

    def test_WrongIdentityIsRefused(self):
        fleet = self.fleet
        fleet.start_server()
        stranger = fleet.folder / "strangers"
        fleet.run_tool("provision", "--device-ids", "device-1",
                       "--server", f"localhost:{fleet.port}", "--out", stranger)
        client = fleet.start_client("device-1", fleet.write_data("device-1", 8, 1),
                                    kit=stranger / "devices/device-1", verb="once")
        self.assertEqual(client.wait(timeout=120), 2, fleet.logs())
        self.assertIn("error:", fleet.log("device-1.log"))
        # A device's kit opens no operator call.
        result = fleet.run_tool("run", "list", "--kit", fleet.folder / "kits/devices/device-1",
                                "--server", f"localhost:{fleet.port}", check=False)
        self.assertEqual(result.returncode, 2, result.stderr)

    def test_PortInUseIsNamed(self):
        fleet = self.fleet
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            server = fleet.start_server(port)
            self.assertEqual(server.wait(timeout=60), 2, fleet.logs())
            self.assertIn(str(port), fleet.log("server.log"))

    def test_KilledClientTakesPartOnce(self):
        """A client killed while training and started again takes part once."""
        fleet = self.fleet
        fleet.start_server()
        clients = fleet.start_clients(self.devices[:4])
        run = fleet.submit(fleet.write_run(
            "run", SMALL.replace("steps = 3", "steps = 600").replace("count = 3", "count = 1")))
        fleet.wait_for_run(run, lambda s: any(
            c["device_id"] == "device-3" and c["step"] > 0 for c in s["clients"]))
        stop(clients["device-3"], signal.SIGKILL)
        fleet.start_client("device-3", fleet.folder / "device-3.jsonl")
        status = fleet.wait_ended(run)
        self.assert_finished(status, 1)
        self.assertEqual(status["cards"][-1]["updates"], 4, fleet.logs())

    def test_KilledClientGoesOnFromItsCheckpoint(self):
        """And the run ends with the same adapter as one where nobody was killed."""
        fleet = self.fleet
        fleet.start_server()
        text = SMALL.replace("cohort = 4", "cohort = 1").replace("steps = 3", "steps = 600").replace(
            "count = 3", "count = 1")
        data = fleet.write_data("device-1", 30, seed=1)
        often = 'checkpoint_every = "1ms"\n'
        client = fleet.start_client("device-1", data, train=often)
        run = fleet.submit(fleet.write_run("run", text))
        checkpoint = fleet.folder / "device-1-state/training.checkpoint"
        fleet.wait_for_run(run, lambda s: any(c["step"] > 0 for c in s["clients"]))
        fleet.wait_for(checkpoint.exists)
        stop(client, signal.SIGKILL)
        self.assertTrue(checkpoint.exists(), fleet.logs())
        self.assertEqual(checkpoint.stat().st_mode & 0o777, 0o600)
        fleet.start_client("device-1", data, train=often)
        self.assert_finished(fleet.wait_ended(run), 1)
        log = fleet.log("device-1.log")
        resumed = re.search(r"resumed at step (\d+) of 600", log)
        self.assertIsNotNone(resumed, log)
        self.assertIn(f"trained {600 - int(resumed[1])} steps", log)
        self.assertEqual(list(checkpoint.parent.glob("training.checkpoint*")), [])

        trained = fleet.folder / "trained"
        fleet.run_tool("run", "download", run, *fleet.operator(), "--out", trained)
        local = fleet.folder / "local"
        fleet.run_tool("train", fleet.folder / "run.toml", "--data", data, "--threads", "1",
                       "--out", local)
        files = [next(where.rglob("adapter_model.safetensors")) for where in (trained, local)]
        self.assertEqual(files[0].read_bytes(), files[1].read_bytes())


if __name__ == "__main__":
    main(__doc__)
