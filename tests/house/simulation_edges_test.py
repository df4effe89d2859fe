"""A simulated fleet decides nothing: who averages, masks and moves a round on is
the code that is deployed, whatever simulations/ does around it.

Three rules for every file under simulations/:
1. Of the rooms that decide (server/, client/, aggregation/, privacy/) it includes
   only what ALLOWED lists, each for a reason.
2. It names no type that a header of aggregation/, privacy/secagg/ or server/
   declares, unless that header is allowed: a type that comes in by a detour is
   none the less used.
3. It declares and calls nothing that is named after averaging or masking.

What the rules cannot see is arithmetic under another name; that a simulated run
gives the deployed fleet's adapter, bit for bit, is what tests/simulations_fleet
shows. Needs nothing but Python's standard library.
"""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DECIDING = ("server/", "client/", "aggregation/", "privacy/")
# Whose types rule 2 is about.
GUARDED = ("aggregation", "privacy/secagg", "server")

ALLOWED = {
    "server/coordinator.h": "the whole coordinator: messages in, messages out",
    "client/client.h": "the whole client",
    "client/transport.h": "the edge that a simulation replaces",
    "client/base_models.h": "the edge behind which all devices share one model",
    "client/local_data.h": "the edge through which a client gets its examples",
    "client/assignment.h": "reads which session an assignment begins, to log it",
    "client/own_teacher.h": "what a teacher says, asked once of all clients' examples",
    "client/memory_budget.h": "what training takes, to predict a fleet's memory",
    "client/train_plan.h": "reads a plan's data options and how long training is",
    "privacy/crypto/hash.h": "digests of blobs and runs",
    "privacy/crypto/secure_random.h": "the seeded source that devices draw from",
    "privacy/crypto/signature.h": "keys of coordinator and devices",
    "privacy/crypto/signature_memo.h": "what one device verified, others need not compute",
    "privacy/identity/envelope.h": "signs the plan, as an operator does",
    "privacy/identity/party.h": "ids of devices from their names",
    "privacy/identity/roster.h": "the roster, as enrolment makes it",
    "privacy/identity/roster_file.h": "publishes the roster",
}

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
DECLARED = re.compile(r"^(?:class|struct|enum class) (\w+)[^;{]*\{", re.MULTILINE)
# Of any class, also one within another.
OWN = re.compile(r"^ *(?:class|struct|enum class) (\w+)[^;{]*\{", re.MULTILINE)
# "Mask(", "MaskUpdate(", not "Masked...(": what was done may be told.
ACTS = re.compile(r"\b((?:Accumulate|Aggregate|Average|Combine|Fold|Mask|Unmask)"
                  r"(?![a-z])\w*)\s*\(")


def code_of(text):
    """C++ without comments and without what stands in quotes."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)
    return re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)


def guarded_types():
    """{type: header} of what only the deciding rooms may name."""
    types = {}
    for room in GUARDED:
        for path in sorted((ROOT / room).glob("*.h")):
            name = str(path.relative_to(ROOT))
            if name not in ALLOWED:
                types.update({t: name for t in DECLARED.findall(path.read_text())})
    return types


def faults_of(path, text, types):
    faults = []
    for name in INCLUDE.findall(text):
        if name.startswith(DECIDING) and name not in ALLOWED:
            faults.append(f"{path}: includes {name}, which decides; "
                          "simulations/ is edges alone")
    code = code_of(text)
    own = set(OWN.findall(code))
    # A function may be called as a type is: Run().
    for word in sorted(set(re.findall(r"\b[A-Z]\w*\b(?!\()", code))):
        if word in types and word not in own:
            faults.append(f"{path}: names {word} of {types[word]}")
    for word in ACTS.findall(code):
        faults.append(f"{path}: {word} is the coordinator's or the client's to do")
    return faults


class SimulationEdgesTest(unittest.TestCase):
    def test_simulations_decides_nothing(self):
        types = guarded_types()
        self.assertGreater(len(types), 30)
        faults, seen = [], 0
        for path in sorted((ROOT / "simulations").rglob("*")):
            if path.suffix in (".h", ".cc"):
                seen += 1
                faults += faults_of(str(path.relative_to(ROOT)), path.read_text(), types)
        self.assertGreater(seen, 20)
        self.assertEqual(faults, [], "\n" + "\n".join(faults))

    def test_every_allowed_header_is_there_and_used(self):
        included = {name for path in (ROOT / "simulations").rglob("*.*")
                    if path.suffix in (".h", ".cc")
                    for name in INCLUDE.findall(path.read_text())}
        for name in ALLOWED:
            self.assertTrue((ROOT / name).is_file(), name)
            self.assertIn(name, included, "no longer needed: take it off the list")

    def test_finds_what_is_planted(self):
        types = guarded_types()
        for line in ['#include "aggregation/aggregator.h"',
                     '#include "server/round.h"', '#include "server/run.h"',
                     '#include "privacy/secagg/client.h"',
                     '#include "client/client_session.h"',
                     "std::unique_ptr<Aggregator> mean;",
                     "Round round(options);", "MaskedRound round;",
                     "class FleetRounds : public Round {", "Round::Make(options);",
                     "ParameterVector AverageOf(const Updates& updates);",
                     "MaskUpdate(update);", "Fold(update, weight);"]:
            self.assertNotEqual(faults_of("simulations/a.cc", line + "\n", types), [], line)

    def test_lets_edges_and_words_pass(self):
        types = guarded_types()
        for line in ['#include "server/coordinator.h"', '#include "base/random.h"',
                     '#include "simulations/fleet/fleet.h"',
                     "// The Round is over: Average(x).", 'Say("Average(x) of a Round");',
                     "coordinator_->Step();"]:
            self.assertEqual(faults_of("simulations/a.cc", line + "\n", types), [], line)


if __name__ == "__main__":
    unittest.main()
