#!/usr/bin/env python3
"""Enrolment with the real programs: tokens, rosters, revocation.

One provisioning with an invitation, `edgetune-server enroll` and `serve` as two
processes that meet in one file, `edgetune-client enroll` on the device's side.
"""

import argparse
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

OPTIONS = None
CHAT = '{"messages":[{"role":"user","content":"Say a"},{"role":"assistant","content":"a"}]}\n'


class EnrollmentTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.kits = self.folder / "kits"
        self.published = self.folder / "roster.pb"
        self.deny = self.folder / "deny"
        self.deny.write_text("")
        self.processes = []
        self.addCleanup(self.stop_all)
        self.run_program("edgetune", "provision", "--devices", 1, "--tokens", "phone,tablet",
                         "--out", self.kits, code=0)

    def stop_all(self):
        for process in self.processes:
            process.kill()
            process.wait()

    def run_program(self, program, *arguments, code):
        result = subprocess.run([pathlib.Path(OPTIONS.binaries) / program, *map(str, arguments)],
                                capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result

    def device(self, *arguments, code=0):
        return self.run_program("edgetune", "device", *arguments, "--enroll-kit",
                                self.kits / "enroll", code=code)

    def start(self, verb, config):
        """Starts a server; its process and port."""
        path = self.folder / f"{verb}.toml"
        path.write_text(config)
        port_file = self.folder / f"{verb}.port"
        port_file.unlink(missing_ok=True)
        with open(self.folder / f"{verb}.log", "ab") as log:
            process = subprocess.Popen(
                [pathlib.Path(OPTIONS.binaries) / "edgetune-server", verb, "--config", path,
                 "--port-file", port_file], stdout=log, stderr=log)
        self.processes.append(process)
        self.wait_for(lambda: port_file.exists() or process.poll() is not None)
        self.assertTrue(port_file.exists(), (self.folder / f"{verb}.log").read_text())
        return process, int(port_file.read_text())

    def start_enroll(self):
        return self.start("enroll", f'listen = "127.0.0.1:0"\nkit = "{self.kits}/enroll"\n'
                          f'state = "{self.folder}/enroll-state"\npublish = "{self.published}"\n')

    def start_serve(self):
        return self.start("serve", f'listen = "127.0.0.1:0"\nkit = "{self.kits}/server"\n'
                          f'state = "{self.folder}/server-state"\nroster = "{self.published}"\n'
                          f'deny = "{self.deny}"\n')

    def wait_for(self, done, seconds=60):
        end = time.monotonic() + seconds
        while not done():
            self.assertLess(time.monotonic(), end, "waited in vain")
            time.sleep(0.05)

    def enroll(self, invitation, out, port, code=0):
        return self.run_program("edgetune-client", "enroll", "--bundle", invitation, "--out", out,
                                "--enroll", f"localhost:{port}", code=code)

    def take_part(self, kit, port, code):
        """`edgetune-client once`, which has nothing to do or is refused."""
        data = self.folder / "data.jsonl"
        data.write_text(CHAT)
        config = self.folder / "client.toml"
        config.write_text(f'kit = "{kit}"\nstate = "{self.folder}/state-{kit.name}"\n'
                          f'[data]\ntrain = "{data}"\n')
        return self.run_program("edgetune-client", "once", "--config", config, "--server",
                                f"localhost:{port}", code=code)

    def test_ADeviceEnrolsTakesPartAndIsRevoked(self):
        _, enroll_port = self.start_enroll()
        kit = self.folder / "phone"
        self.enroll(self.kits / "invitations/phone", kit, enroll_port)
        self.wait_for(lambda: b"phone" in self.published.read_bytes())
        _, port = self.start_serve()
        self.take_part(kit, port, code=0)
        result = self.device("revoke", "phone")
        self.assertIn("phone is revoked in version 3", result.stdout)
        log = self.folder / "serve.log"
        self.wait_for(lambda: "version 3" in log.read_text())
        self.assertIn("revoked", self.take_part(kit, port, code=2).stderr)
        # The others are not concerned; the enrolment service need not be there.
        self.take_part(self.kits / "devices/device-1", port, code=0)

    def test_AnInvitationIsGoodOnce(self):
        _, port = self.start_enroll()
        invitation = self.kits / "invitations/phone"
        self.enroll(invitation, self.folder / "phone", port)
        self.assertIn("exists already",
                      self.enroll(invitation, self.folder / "phone", port, code=4).stderr)
        self.assertIn("used before",
                      self.enroll(invitation, self.folder / "thief", port, code=2).stderr)
        self.assertFalse((self.folder / "thief").exists())

    def test_EnrolmentMayBeKilledAtAnyTime(self):
        process, port = self.start_enroll()
        self.enroll(self.kits / "invitations/phone", self.folder / "phone", port)
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.enroll(self.kits / "invitations/tablet", self.folder / "tablet", port, code=2)
        _, port = self.start_enroll()
        self.enroll(self.kits / "invitations/tablet", self.folder / "tablet", port)
        devices = json.loads(self.device("list", "--format", "json").stdout)["data"]
        self.assertEqual({d["name"] for d in devices["devices"]}, {"device-1", "phone", "tablet"})

    def test_ADeviceIsInvitedWhileTheServiceRuns(self):
        _, port = self.start_enroll()
        invitation = self.folder / "invitation"
        self.device("invite", "watch", "--out", invitation)
        self.assertEqual((invitation / "invitation.json").stat().st_mode & 0o077, 0)
        end = time.monotonic() + 60
        # Taken in within a second or so.
        while True:
            result = subprocess.run(
                [pathlib.Path(OPTIONS.binaries) / "edgetune-client", "enroll", "--bundle",
                 invitation, "--out", self.folder / "watch", "--enroll", f"localhost:{port}"],
                capture_output=True, text=True, timeout=60, check=False)
            if result.returncode == 0:
                break
            self.assertLess(time.monotonic(), end, result.stderr)
            time.sleep(0.5)
        self.assertIn("watch", self.device("list").stdout)

    def test_ADenyListEntryHoldsWithoutTheRoster(self):
        self.published.write_bytes((self.kits / "server/roster.pb").read_bytes())
        _, port = self.start_serve()
        kit = self.kits / "devices/device-1"
        self.take_part(kit, port, code=0)
        self.device("revoke", "device-1", "--deny", self.deny)
        self.assertEqual(self.deny.read_text(), "device-1\n")
        log = self.folder / "serve.log"
        self.wait_for(lambda: "deny list: 1 devices" in log.read_text())
        self.assertIn("deny list", self.take_part(kit, port, code=2).stderr)
        self.device("revoke", "device-1", "--deny", self.deny)
        self.assertEqual(self.deny.read_text(), "device-1\n")

    def kit(self, verb, kit, *arguments, code=0):
        return self.run_program("edgetune", "kit", verb, kit, *arguments, code=code)

    def expiry(self, kit):
        shown = self.kit("show", kit, "--format", "json")
        return json.loads(shown.stdout)["data"]["certificate_expires_ms"]

    def test_KitsAndRosterAreRenewedWhileTheServerRuns(self):
        self.device("publish", "--to", self.published)
        _, port = self.start_serve()
        enroll = ("--enroll-kit", self.kits / "enroll")
        (self.kits / "operator/tls.pem").write_text("damaged")
        self.kit("show", self.kits / "operator", code=2)
        self.kit("renew", self.kits / "operator", *enroll)
        for name in ("enroll", "server", "operator", "devices/device-1"):
            before = self.expiry(self.kits / name)
            self.kit("renew", self.kits / name, *enroll, "--days", 400)
            self.assertGreater(self.expiry(self.kits / name), before)
        self.device("publish", "--to", self.published)
        log = self.folder / "serve.log"
        self.wait_for(lambda: "roster: version 3" in log.read_text())
        self.take_part(self.kits / "devices/device-1", port, code=0)
        self.run_program("edgetune", "run", "list", "--kit", self.kits / "operator",
                         "--server", f"localhost:{port}", code=0)
        self.device("revoke", "device-1")
        self.assertIn("revoked", self.kit("renew", self.kits / "devices/device-1", *enroll,
                                          code=2).stderr)
        self.assertIn("kit.json", self.kit("show", self.folder, code=2).stderr)

    def test_DeviceVerbsNameWhatIsWrong(self):
        self.assertIn("did you mean device-1", self.device("revoke", "device-l", code=4).stderr)
        self.assertIn("in the roster",
                      self.device("invite", "device-1", "--out", self.folder / "x",
                                  code=4).stderr)
        self.assertFalse((self.folder / "x").exists())
        result = self.run_program("edgetune", "device", "list", "--enroll-kit",
                                  self.kits / "server", code=2)
        self.assertIn("wanted an enrollment kit", result.stderr)

    def test_TokensByNumber(self):
        out = self.folder / "numbered"
        self.run_program("edgetune", "provision", "--devices", 1, "--tokens", 2, "--out", out,
                         code=0)
        self.assertEqual({p.name for p in (out / "invitations").iterdir()},
                         {"device-2", "device-3"})
        self.run_program("edgetune", "provision", "--tokens", 0, "--out", self.folder / "none",
                         code=4)
        self.run_program("edgetune", "provision", "--out", self.folder / "none", code=4)


def main():
    global OPTIONS
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binaries", required=True)
    OPTIONS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
