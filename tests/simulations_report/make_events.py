"""Makes logs of runs that never were: random, but shaped like real ones.

    make_events.py OUT.jsonl [--seed N] [--clients N] [--rounds N] [--masked]

The sample beside this script is `make_events.py sample/events.jsonl`. Written
from docs/reference/report.md alone; needs Python's standard library only.
"""

import argparse
import hashlib
import json
import math
import random

TOPICS = ["noun.animal", "noun.food", "noun.artifact", "verb.motion",
          "noun.plant", "noun.body", "verb.social", "noun.time"]
REASONS = ["battery 18 % is below 25 %", "no unmetered network",
           "outside its window 22:00-06:00"]


class Run:
    """Draws one run, event after event, in order of virtual time."""

    def __init__(self, seed, clients, rounds, masked):
        self.random = random.Random(seed)
        self.rounds, self.masked = rounds, masked
        self.cohort = max(4, clients // 10)
        draw = self.random
        self.fleet = [
            {"name": f"device-{i:04d}", "group": draw.choice(TOPICS),
             "speed": math.exp(draw.gauss(0, 0.5)), "offset": draw.gauss(0, .2)}
            for i in range(clients)]
        self.hardness = {t: draw.gauss(0, 0.15) for t in TOPICS}
        self.later, self.busy, self.now = [], 0.0, 0.0
        self.events = [{
            "event": "run", "schema": 1,
            "run": hashlib.sha256(str(seed).encode()).hexdigest(),
            "name": "sample: 8 topics", "seed": seed, "clients": clients,
            "rounds": rounds, "cohort": self.cohort, "masked": masked,
            "settings": {"aggregation.rule": "mean", "lora.rank": "8",
                         "model.base": "smollm2-135m", "train.lr": "0.001",
                         "train.steps": "6"}}]

    def add(self, event, t, **fields):
        self.events.append({"event": event, "t": round(t, 3), **fields})

    def nll(self, version, client):
        level = 3.35 + 1.3 * math.exp(-version / 4)
        return (level + self.hardness[client["group"]] + client["offset"]
                + self.random.gauss(0, 0.02))

    def measure(self, version, t):
        """All clients at the ends, a tenth of them in between."""
        whole = version in (0, self.rounds)
        chosen = self.fleet if whole else self.random.sample(
            self.fleet, self.cohort)
        total, tokens = 0.0, 0
        for client in chosen:
            count = self.random.randint(200, 2000)
            nll = self.nll(version, client) * count
            total, tokens = total + nll, tokens + count
            if not self.masked and whole:
                self.add("client_measure", t, round=version,
                         client=client["name"], group=client["group"],
                         nll_sum=nll, tokens=count)
        self.add("measure", t, round=version, nll_sum=total, tokens=tokens)

    def outcome(self, number, attempt, client, start, deadline):
        """What becomes of one that was selected: (t, event, fields)."""
        who = {"round": number, "attempt": attempt, "client": client["name"],
               "group": client["group"]}
        train = self.random.uniform(40, 90) / client["speed"]
        end = start + self.random.uniform(2, 10) + train
        fate = self.random.random()
        if fate < 0.04:
            return end, "dropped", dict(who, reason="connection lost")
        if fate < 0.05:
            return end, "refused", dict(who, reason="update is not finite")
        if fate < 0.07:
            return None
        if end > deadline:
            self.busy += train
            return end, "late", who
        self.busy += train
        fields = dict(who, examples=self.random.randint(20, 200),
                      bytes_down=4_900_000, bytes_up=2_450_000, train_s=train)
        if not self.masked:
            fields["train_loss"] = self.nll(number - 1, client) - 0.05
        return end, "reported", fields

    def attempt(self, number, attempt):
        start, deadline = self.now, self.now + 150
        asked = math.ceil(self.cohort * 1.3)
        self.add("round_started", start, round=number, attempt=attempt,
                 asked=asked)
        pending, reported = [], []
        for client in self.random.sample(self.fleet, asked):
            at = start + self.random.uniform(0, 5)
            who = {"round": number, "attempt": attempt,
                   "client": client["name"], "group": client["group"]}
            if self.random.random() < 0.05:
                pending.append((at, "declined", dict(
                    who, reason=self.random.choice(REASONS))))
                continue
            pending.append((at, "selected", who))
            outcome = self.outcome(number, attempt, client, at, deadline)
            if outcome:
                pending.append(outcome)
        self.later += [p for p in pending if p[0] > deadline]
        self.flush(start, [p for p in pending if p[0] <= deadline])
        reported = [p[2] for p in pending if p[1] == "reported"]
        self.now = deadline
        return reported

    def flush(self, until, more=()):
        due = sorted([*more, *(p for p in self.later)], key=lambda p: p[0])
        self.later = []
        for t, event, fields in due:
            self.add(event, t, **fields)
        self.events[1:] = sorted(self.events[1:], key=lambda e: e["t"])

    def round(self, number):
        attempt, reported = 0, self.attempt(number, 0)
        if self.random.random() < 0.08:
            self.add("round_abandoned", self.now, round=number, attempt=0,
                     reason="quorum not met")
            self.now += 30
            attempt, reported = 1, self.attempt(number, 1)
        self.add("round_committed", self.now, round=number,
                 attempt=attempt, updates=len(reported),
                 weight_sum=float(sum(r["examples"] for r in reported)),
                 adapter=hashlib.sha256(str(number).encode()).hexdigest(),
                 bytes_down=sum(r["bytes_down"] for r in reported) + 9_800_000,
                 bytes_up=sum(r["bytes_up"] for r in reported))
        self.measure(number, self.now)
        self.now += 20

    def run(self):
        self.measure(0, 0)
        for number in range(1, self.rounds + 1):
            self.round(number)
        self.flush(self.now)
        for name, nll in (("local", 3.62), ("central", 3.28)):
            for topic in TOPICS:
                self.add("baseline", self.now, name=name, group=topic,
                         nll_sum=(nll + self.hardness[topic]) * 12345,
                         tokens=12345)
        self.add("run_finished", self.now, state="finished",
                 adapter=hashlib.sha256(b"last").hexdigest(),
                 busy_s=self.busy, span_s=self.now)
        return self.events


def write(events, path):
    with open(path, "w", encoding="utf-8") as file:
        for event in events:
            file.write(json.dumps(event, ensure_ascii=False,
                                  separators=(",", ":")) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--masked", action="store_true")
    args = parser.parse_args()
    write(Run(args.seed, args.clients, args.rounds, args.masked).run(),
          args.out)


if __name__ == "__main__":
    main()
