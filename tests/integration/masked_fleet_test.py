#!/usr/bin/env python3
"""Masked rounds between real processes, some of which are killed.

Every phase of a masked round waits for each of its members, and a stopped
process (SIGSTOP) answers nothing: so a test keeps a phase open for as long as
it likes, and no program knows of it. Nothing here asserts a duration.
"""

import collections
import json
import re
import signal
import sqlite3

from fleet import FleetTestCase, freeze, main, stop, thaw

PHASES = [f"masking: {name}" for name in ("shares", "acks", "input", "survivors", "unmask")]
SHARES, ACKS, INPUT, SURVIVORS, UNMASK = PHASES

# Of six members five must sign, of five or four: four and three.
RUN = """
[lora]
rank = 4
[train]
lr = 1e-2
steps = 3
batch = 4
[rounds]
count = 2
cohort = 6
quorum = 5
deadline = "20m"
reconnect_grace = "2s"
select_timeout = "1m"
attempts = 10
[secagg]
n_min = 4
"""


class OpenPhase:
    """Keeps the open phase of a run open: one of two of its clients is stopped.

    Life: `stopped` is frozen and has not answered in the open phase. One test.
    """

    def __init__(self, fleet, clients, run, stopped, other):
        self.fleet = fleet
        self.clients = clients
        self.run = run
        self.stopped = stopped
        self.other = other

    def wait_for_the_rest(self):
        """Until all but the stopped client have answered; the status then."""
        return self.fleet.wait_for_run(
            self.run, lambda s: {c["device_id"] for c in s["clients"]
                                 if c["state"] not in ("reported", "lost")} == {self.stopped})

    def go_to(self, phase):
        """Ends the open phase and keeps the next one, `phase`, open."""
        self.wait_for_the_rest()
        freeze(self.clients[self.other])
        thaw(self.clients[self.stopped])
        self.stopped, self.other = self.other, self.stopped
        self.fleet.wait_for_run(self.run, lambda s: s["phase"] == phase)
        return self.wait_for_the_rest()


class MaskedFleetTest(FleetTestCase):
    device_count = 6

    # --- processes

    def start_idle_clients(self, devices):
        """Started, and told by the coordinator that no run wants them yet."""
        clients = self.fleet.start_clients(devices)
        for device in devices:
            self.wait_for_log(f"{device}.log", "no run wants")
        return clients

    def wait_for_log(self, name, text):
        try:
            self.fleet.wait_for(lambda: text in self.fleet.log(name), 200, pause=0.01)
        except TimeoutError:
            self.fail(f"no '{text}' in {name}\n{self.fleet.logs()}")

    # --- receipts

    def download(self, run):
        """Receipt files of a run that has ended, in order."""
        out = self.fleet.folder / "adapter"
        data = self.fleet.tool_json("run", "download", run, *self.fleet.operator(), "--out", out)
        rounds = data["receipts"] - 1
        names = [f"round-{i + 1}.pb" for i in range(rounds)] + ["closing-evaluation.pb"]
        files = [out / "receipts" / name for name in names]
        self.assertEqual(sorted(files), sorted((out / "receipts").iterdir()))
        return files

    def verify(self, run, receipt, device, log=True):
        """`receipt verify` as the device would call it: exit code, data, error."""
        state = ("--state", self.fleet.folder / f"{device}-state") if log else ()
        result = self.fleet.run_tool(
            "receipt", "verify", receipt, "--run", run, "--format", "json",
            "--kit", self.fleet.folder / "kits/devices" / device, *state, check=False)
        data = json.loads(result.stdout)["data"] if result.returncode == 0 else None
        return result.returncode, data, result.stderr

    def assert_holds(self, run, receipt, devices, members, survivors):
        """The receipt is in order, and these devices' own logs agree; session and attempt."""
        for device in devices:
            code, data, error = self.verify(run, receipt, device)
            self.assertEqual(code, 0, f"{device}, {receipt.name}: {error}")
            self.assertTrue(data["device"]["own_log_agrees"], data)
            (group,) = data["groups"]
            self.assertEqual((group["members"], group["survivors"]), (members, survivors), data)
            self.assertGreaterEqual(group["signers"], group["threshold"])
        return group["session"], data["attempt"]

    def assert_refused(self, run, receipt, device, why):
        code, _, error = self.verify(run, receipt, device)
        self.assertNotEqual(code, 0, f"{device}, {receipt.name}")
        self.assertIn(why, error)

    def spent(self, device):
        """What a stopped device wrote down before its vectors left: (adapter, kind), session."""
        database = sqlite3.connect(self.fleet.folder / f"{device}-state" / "client.db")
        try:
            rows = database.execute("SELECT adapter, kind, lower(hex(session)) FROM spent "
                                    "ORDER BY spent_ms").fetchall()
        finally:
            database.close()
        return [((adapter, kind), session) for adapter, kind, session in rows]

    # --- tests

    def test_ReceiptsHoldOnEveryDevice(self):
        fleet = self.fleet
        fleet.start_server()
        clients = self.start_idle_clients(self.devices)
        run = fleet.submit(fleet.write_run("run", RUN))
        self.assert_finished(fleet.wait_ended(run), 2)
        receipts = self.download(run)
        self.assertIn("while its client runs", self.verify(run, receipts[0], "device-1")[2])
        for client in clients.values():
            stop(client)
        for receipt in receipts:
            self.assert_holds(run, receipt, self.devices, members=6, survivors=6)

    def test_OneLostWhileItTrainsAndOneAfterItsInput(self):
        fleet = self.fleet
        early, late, held = "device-1", "device-2", "device-3"
        fleet.start_server()
        clients = self.start_idle_clients(self.devices)
        run = fleet.submit(fleet.write_run(
            "run", RUN.replace("steps = 3", "steps = 60").replace("count = 2", "count = 1")
            .replace('"1m"', '"5s"')))
        self.wait_for_log(f"{early}.log", "training 60 steps")
        freeze(clients[early])
        OpenPhase(fleet, clients, run, stopped=early, other=held).wait_for_the_rest()
        freeze(clients[held])
        stop(clients[early], signal.SIGKILL)
        self.assertNotIn("trained 60 steps", fleet.log(f"{early}.log"))
        fleet.wait_for_run(run, lambda s: s["phase"] == SHARES)
        phase = OpenPhase(fleet, clients, run, stopped=held, other=late)
        for name in (ACKS, INPUT):
            phase.go_to(name)
        self.assertEqual(phase.stopped, held)
        # All but `held` handed in their vectors.
        stop(clients[late], signal.SIGKILL)
        thaw(clients[held])
        fleet.wait_for_run(run, lambda s: len(s["receipts"]) == 1)
        # Back too late for this round, in time for the closing evaluation.
        clients[late] = fleet.start_client(late, fleet.folder / f"{late}.jsonl")
        self.assert_finished(fleet.wait_ended(run), 1)
        server_log = fleet.log("server.log")
        self.assertNotIn(f"{early} sent its keys", server_log)
        self.assertIn(f"{late} sent its keys", server_log)

        stayed = self.devices[2:]
        for device in (late, *stayed):
            stop(clients[device])
        first, closing = self.download(run)
        self.assert_holds(run, first, stayed, members=5, survivors=5)
        self.assert_holds(run, closing, [late, *stayed], members=5, survivors=5)
        # In the first sum, but it never came to sign who else is.
        code, data, error = self.verify(run, first, late, log=False)
        self.assertEqual(code, 0, error)
        self.assertEqual((data["survivors"], data["groups"][0]["signers"]), (5, 4))
        self.assert_refused(run, first, late, "holds no survivor set of this session")
        for receipt in (first, closing):
            self.assert_refused(run, receipt, early, "is in no cohort")
        self.assertEqual(self.spent(early), [])

    def test_ServerKilledBeforeInputIsAskedFor(self):
        self.kill_server_in(["training", SHARES, ACKS])

    def test_ServerKilledOnceInputIsAskedFor(self):
        self.kill_server_in([INPUT, SURVIVORS, UNMASK])

    def kill_server_in(self, phases):
        """Of the first round; keys come while it is "training"."""
        fleet = self.fleet
        server = fleet.start_server()
        clients = self.start_idle_clients(self.devices)
        freeze(clients["device-1"])
        run = fleet.submit(fleet.write_run("run", RUN.replace('"2s"', '"10m"')))
        phase = OpenPhase(fleet, clients, run, stopped="device-1", other="device-2")
        status = phase.wait_for_the_rest()
        killed_in = []
        for following in [*PHASES, None]:
            if status["phase"] in phases:
                killed_in.append(status["phase"])
                server = self.replace(server)
                self.assertEqual(fleet.show(run)["phase"], status["phase"])
            if following is not None:
                status = phase.go_to(following)
        thaw(clients[phase.stopped])
        self.assertEqual(killed_in, phases)
        self.assert_finished(fleet.wait_ended(run), 2)
        for name in PHASES[1:]:
            self.assertIn(f"round 0: {name}\n", fleet.log("server.log"))
        for client in clients.values():
            stop(client)
        self.assert_contributed_once(run)

    def assert_contributed_once(self, run):
        """Each device from each adapter, in the sessions of the receipts."""
        sessions = []
        for receipt in self.download(run):
            session, attempt = self.assert_holds(run, receipt, self.devices, 6, 6)
            self.assertEqual(attempt, 1)
            sessions.append(session)
        self.assertEqual(len(set(sessions)), 3)
        for device in self.devices:
            contributions = self.spent(device)
            self.assertEqual([session for _, session in contributions], sessions, device)
            self.assertEqual(len({adapter for adapter, _ in contributions}), 3, device)

    def replace(self, server):
        """Kills the server and starts another one in its place."""
        stop(server, signal.SIGKILL)
        return self.fleet.start_server(self.fleet.port)

    def test_PausedRunGoesOnWithAnOverrideOfTheReleaseKey(self):
        fleet = self.fleet
        devices = self.devices[:4]
        operator = fleet.folder / "kits/operator"
        fleet.start_server()
        clients = self.start_idle_clients(devices)
        freeze(clients["device-1"])
        run_file = fleet.write_run("run", RUN.replace("cohort = 6", "cohort = 4")
                                   .replace("quorum = 5", "quorum = 4"))
        submitted = fleet.start("edgetune", "run", "submit", run_file, *fleet.operator(),
                                "--watch", log="submit.log")
        run = self.only_run()
        phase = OpenPhase(fleet, clients, run, stopped="device-1", other="device-2")
        for name in (SHARES, ACKS, INPUT):
            phase.go_to(name)
        self.assertEqual(phase.stopped, "device-2")
        # Two of four vectors' owners go: too few are left to sign the set.
        for device in devices[2:]:
            stop(clients[device], signal.SIGKILL)
        thaw(clients["device-2"])
        status = fleet.wait_for_run(run, lambda s: s["state"] == "paused")
        self.assertIn("TOO_FEW_SIGS", status["detail"])
        self.assertEqual(status["receipts"], [])

        watched = fleet.start("edgetune", "run", "watch", run, *fleet.operator(), log="watch.log")
        for log in ("submit.log", "watch.log"):
            self.wait_for_log(log, f"`edgetune run override {run[:12]} --kit KIT`")
            self.assertIn("paused: TOO_FEW_SIGS", fleet.log(log))
        self.assertIn("paused", fleet.run_tool("run", "list", *fleet.operator()).stdout)
        for device in devices[2:]:
            clients[device] = fleet.start_client(device, fleet.folder / f"{device}.jsonl")
        self.assert_strangers_override_is_refused(run)

        # As the advice says.
        advice = re.search(r"`edgetune (run override \w+ --kit) KIT`", fleet.log("submit.log"))
        fleet.run_tool(*advice[1].split(), operator, "--server", f"localhost:{fleet.port}")
        self.assert_finished(fleet.wait_ended(run), 2)
        self.assertEqual([submitted.wait(60), watched.wait(60)], [0, 0], fleet.logs())
        for client in clients.values():
            stop(client)
        sessions = [self.assert_holds(run, receipt, devices, 4, 4)
                    for receipt in self.download(run)]
        self.assertEqual([attempt for _, attempt in sessions], [2, 1, 1])
        for device in devices:
            times = collections.Counter(adapter for adapter, _ in self.spent(device))
            # Once more from the first adapter, as permitted, and from no other.
            self.assertEqual(list(times.values()), [2, 1, 1], device)

    def only_run(self):
        """The id of the only run of the server, once it is there."""
        runs = []

        def there():
            runs[:] = self.fleet.tool_json("run", "list", *self.fleet.operator())["runs"]
            return len(runs) == 1
        self.fleet.wait_for(there, 200, pause=0.1)
        return runs[0]["run_id"]

    def assert_strangers_override_is_refused(self, run):
        """A release key of another operator: refused, named, and nothing moves."""
        fleet = self.fleet
        strangers = fleet.folder / "strangers"
        fleet.run_tool("provision", "--device-ids", "device-1",
                       "--server", f"localhost:{fleet.port}", "--out", strangers)
        before = fleet.show(run)
        result = fleet.run_tool("run", "override", run, *fleet.operator(), "--release-key",
                                strangers / "operator/release.key.pem", check=False)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn("release key", result.stderr)
        self.assertEqual(fleet.show(run), before)
        self.assertEqual(before["state"], "paused")


if __name__ == "__main__":
    main(__doc__)
