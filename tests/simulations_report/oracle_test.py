"""Reports read by other programs' eyes, and computed again from their logs.

Tables and report.json against sums made here from docs/reference/report.md;
pages by Python's parsers of XML and HTML; the event file by struct. Needs
Python's standard library only.
"""

import argparse
import csv
import html.parser
import io
import json
import math
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

import make_events
import make_tensorboard_vectors as vectors

ARGS = None
SVG = "{http://www.w3.org/2000/svg}"
FATES = ["reported", "refused", "late", "dropped", "declined"]
# Sums of a few thousand doubles in another order.
NEAR = 1e-9

HOSTILE = ["</title><script>alert(1)</script>", "=HYPERLINK(\"http://x\",\"y\")",
           "a,\"b\"\r\nc", "' onload='x", "\x1b[31mred", "\u202egnp.exe",
           "<!--", "]]>", "&amp;", "x" * 500, "漢字 é 😀", "{0} %s", "-1+1", ""]


def perplexity(pairs):
    tokens = sum(p[1] for p in pairs)
    return math.exp(sum(p[0] for p in pairs) / tokens) if tokens else None


def of(events, *names):
    return [e for e in events if e["event"] in names]


class Oracle:
    """The definitions of the reference, event list in, figures out."""

    def __init__(self, events):
        self.events, self.header = events[1:], events[0]
        self.numbers = sorted({e["round"] for e in self.events if "round" in e
                               and e["event"] != "client_measure"})

    def unanswered(self, number):
        """Selections that no outcome of the same attempt and client follows."""
        key = lambda e: (e["attempt"], e["client"])
        mine = [e for e in self.events if e.get("round") == number]
        answered = {key(e) for e in of(mine, *FATES)}
        return len({key(e) for e in of(mine, "selected")} - answered)

    def round(self, number):
        mine = [e for e in self.events if e.get("round") == number]
        committed, reports = of(mine, "round_committed"), of(mine, "reported")
        started = of(mine, "round_started")
        losses = [e["train_loss"] for e in reports if "train_loss" in e]
        ends = of(mine, "round_committed", "round_abandoned")
        bytes_of = committed[-1:] or reports
        row = {"round": number, "attempts": len(started),
               "asked": sum(e["asked"] for e in started),
               "selected": len(of(mine, "selected")),
               "unanswered": self.unanswered(number),
               "updates": committed[-1]["updates"] if committed else None,
               "weight_sum": committed[-1]["weight_sum"] if committed else None,
               "bytes_down": sum(e["bytes_down"] for e in bytes_of),
               "bytes_up": sum(e["bytes_up"] for e in bytes_of),
               "perplexity": perplexity([(e["nll_sum"], e["tokens"])
                                         for e in of(mine, "measure")]),
               "train_loss": sum(losses) / len(losses) if losses else None,
               "start_s": min((e["t"] for e in started), default=None),
               "end_s": max((e["t"] for e in ends), default=None),
               "train_s": sum(e["train_s"] for e in reports)}
        row.update({fate: len(of(mine, fate)) for fate in FATES})
        return row

    def contributions(self, name):
        """Reports that a commit follows before the round's next end."""
        count, pending = 0, {}
        for e in self.events:
            if e["event"] == "reported" and e["client"] == name:
                pending[e["round"]] = pending.get(e["round"], 0) + 1
            if e["event"] in ("round_committed", "round_abandoned"):
                ended = pending.pop(e["round"], 0)
                count += ended if e["event"] == "round_committed" else 0
        return count

    def client(self, name):
        mine = [e for e in self.events if e.get("client") == name]
        measured = of(mine, "client_measure")
        version = max((e["round"] for e in measured), default=None)
        last = [(e["nll_sum"], e["tokens"]) for e in measured
                if e["round"] == version]
        reports = of(mine, "reported")
        return {"client": name, "group": mine[-1]["group"],
                "sessions": len(of(mine, "selected")),
                "contributions": self.contributions(name),
                "bytes_down": sum(e["bytes_down"] for e in reports),
                "bytes_up": sum(e["bytes_up"] for e in reports),
                "last_version": version, "measure": last,
                "perplexity": perplexity(last)}

    def clients(self):
        names = {e["client"] for e in self.events if "client" in e}
        return [self.client(n)
                for n in sorted(names, key=lambda n: n.encode())]

    def group(self, name, clients):
        newest = max((c["last_version"] for c in clients
                      if c["last_version"] is not None), default=None)
        mine = [c for c in clients if c["group"] == name]
        measured = [c for c in mine if c["last_version"] == newest
                    and c["perplexity"] is not None]
        row = {"group": name, "clients": len(mine),
               "contributions": sum(c["contributions"] for c in mine)}
        if not measured:
            return row
        return {**row, "version": newest, **spread(
            [c["perplexity"] for c in measured]), "perplexity": perplexity(
                [p for c in measured for p in c["measure"]])}

    def bins(self):
        """Of the last event's span; a second by itself would be too coarse."""
        end = self.events[-1]
        span, clients = end["span_s"], self.header["clients"]
        edges = [i * span / 60 for i in range(61)]
        out = []
        for low, high in zip(edges, edges[1:]):
            busy = sum(max(0, min(high, e["t"]) - max(low, e["t"]
                                                      - e["train_s"]))
                       for e in of(self.events, "reported"))
            out.append(busy / (clients * (high - low)))
        return out


def spread(values):
    values, n = sorted(values), len(values)
    mean = sum(values) / n
    worst = values[n - math.ceil(n / 10):]
    shares = [1 / v for v in values]
    return {"measured_clients": n, "mean": mean,
            "deviation": math.sqrt(sum((v - mean) ** 2 for v in values) / n),
            "worst_decile": sum(worst) / len(worst),
            "jain": sum(shares) ** 2 / (n * sum(s * s for s in shares))}


class Words(html.parser.HTMLParser):
    """Which elements, attributes and words a browser would find."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words = set(), set(), []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.words.append(data)


def records(data):
    """(wall time, step, tag, value) of an event file, checksums compared."""
    out, at = [], 0
    while at < len(data):
        length, crc = struct.unpack_from("<QI", data, at)
        assert crc == vectors.masked(data[at:at + 8])
        body = data[at + 12:at + 12 + length]
        assert struct.unpack_from("<I", data, at + 12 + length)[0] == \
            vectors.masked(body)
        at += 16 + length
        out.append(fields(body))
    return out


def fields(data):
    """Protocol buffer bytes as {field: value}."""
    out, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            out[key >> 3] = varint()
        elif key & 7 == 2:
            size = varint()
            out[key >> 3] = data[at:at + size]
            at += size
        else:
            code, size = {1: ("<d", 8), 5: ("<f", 4)}[key & 7]
            out[key >> 3] = struct.unpack_from(code, data, at)[0]
            at += size
    return out


class OracleTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = pathlib.Path(self.folder.name)

    def report(self, *runs):
        """The report of these runs (lists of events); its directory."""
        for i, events in enumerate(runs):
            (self.root / f"run{i}").mkdir()
            make_events.write(events, self.root / f"run{i}" / "events.jsonl")
        out = self.root / "out"
        subprocess.run([ARGS.write_report,
                        *(str(self.root / f"run{i}")
                          for i in range(len(runs))), str(out)], check=True)
        return out

    def assertSame(self, got, wanted):
        """A cell and a figure; an absent one is an empty cell."""
        if wanted is None:
            self.assertEqual(got, "")
        elif isinstance(wanted, str):
            self.assertEqual(got, wanted)
        else:
            self.assertTrue(math.isclose(float(got), wanted, rel_tol=NEAR),
                            f"{got} for {wanted}")

    def assertTable(self, path, wanted):
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, strict=True))
        self.assertEqual(len(rows), len(wanted))
        for row, figures in zip(rows, wanted):
            for name, figure in figures.items():
                if name in row:
                    with self.subTest(path=path.name, row=row, column=name):
                        self.assertSame(row[name], figure)

    def check(self, events):
        out, oracle = self.report(events), Oracle(events)
        clients = oracle.clients()
        groups = sorted({e["group"] for e in events if "group" in e},
                        key=lambda name: name.encode())
        self.assertTable(out / "rounds.csv",
                         [oracle.round(n) for n in oracle.numbers])
        self.assertTable(out / "clients.csv", clients)
        self.assertTable(out / "groups.csv",
                         [oracle.group(g, clients) for g in groups])
        run = json.loads((out / "report.json").read_text())["runs"][0]
        for got, wanted in zip(run["utilisation_over_time"], oracle.bins()):
            self.assertAlmostEqual(got, wanted, delta=NEAR)
        given = [c["contributions"] for c in clients]
        given += [0] * (events[0]["clients"] - len(given))
        self.assertAlmostEqual(
            run["participation"],
            sum(given) ** 2 / (len(given) * sum(g * g for g in given)),
            delta=NEAR)
        self.check_curves(out, oracle)

    def check_curves(self, out, oracle):
        found, version = {}, None
        for record in records(
                (out / "tb/events.out.tfevents.0.edgetune").read_bytes()):
            if version is None:
                version = record[3]
                continue
            point = fields(fields(record[5])[1])
            found.setdefault(point[1].decode(), {})[record.get(2, 0)] = (
                point[2], record.get(1, 0))
        self.assertEqual(version, b"brain.Event:2")
        for tag in ("perplexity", "train_loss", "updates", "bytes_down"):
            wanted = {n: oracle.round(n)[tag] for n in oracle.numbers}
            wanted = {n: v for n, v in wanted.items() if v is not None and (
                oracle.round(n)["attempts"] or tag == "perplexity")}
            self.assertEqual(found.get(tag, {}).keys(), wanted.keys(), tag)
            for n, value in wanted.items():  # float32 on the other side
                self.assertTrue(math.isclose(found[tag][n][0], value,
                                             rel_tol=1e-6), (tag, n))
                self.assertEqual(found[tag][n][1],
                                 oracle.round(n)["end_s"] or 0)

    def test_RandomRunsAreWhatTheReferenceSays(self):
        for seed in range(2, 5):
            with self.subTest(seed=seed):
                self.check(make_events.Run(seed, 40, 6, False).run())
                self.folder.cleanup()
                self.root.mkdir()

    def test_AMaskedRunIsWhatTheReferenceSays(self):
        events = make_events.Run(9, 40, 6, True).run()
        self.check(events)
        page = (self.root / "out/index.html").read_text()
        self.assertIn("not known under masking", page)

    def test_TheSampleIsWhatItsScriptMakes(self):
        sample = pathlib.Path(__file__).parent / "sample/events.jsonl"
        made = io.StringIO()
        for event in make_events.Run(1, 100, 12, False).run():
            made.write(json.dumps(event, ensure_ascii=False,
                                  separators=(",", ":")) + "\n")
        self.assertEqual(sample.read_text(), made.getvalue())

    def hostile(self, seed):
        """A run whose every text is one that wants to be something else."""
        events = make_events.Run(seed, 60, 3, False).run()
        names = {}
        events[0]["name"] = HOSTILE[0]
        events[0]["settings"] = {h or "none": h for h in HOSTILE}
        for event in events:
            for key in ("client", "group", "reason"):
                if key in event:
                    text = event[key]
                    names.setdefault(text, HOSTILE[len(names) % len(HOSTILE)]
                                     + ("" if key == "group" else text))
                    event[key] = names[text]
            if event["event"] == "baseline":
                event["name"] = HOSTILE[0] + event["name"]
        return events

    def check_page(self, path, allowed):
        text = path.read_text(encoding="utf-8")
        root = ElementTree.fromstring(text)  # well-formed, to begin with
        found = Words(text)
        self.assertLessEqual(found.tags, allowed)
        self.assertFalse({a for a in found.attributes if a.startswith("on")})
        self.assertFalse(found.attributes & {"href", "src", "srcset", "style"})
        self.assertNotRegex(re.sub(r'xmlns="[^"]*"', "", text),
                            r"url\(|@import|https?://(?!x\W)")
        self.assertFalse(re.findall("[\x00-\x09\x0b-\x1f\x7f\u202e]", text))
        return root, found

    TAGS = set("html head meta title style body main header h1 h2 p dl div dt "
               "dd details summary table caption thead tbody tr th td section "
               "ul li figure figcaption b span svg desc text line rect circle "
               "polyline polygon".split())

    def test_PagesAreWellFormedWhateverStandsInTheLog(self):
        root, found = self.check_page(
            self.report(self.hostile(5)) / "index.html", self.TAGS)
        self.assertEqual(root.find("head/title").text, HOSTILE[0])
        self.assertIn(HOSTILE[0], found.words)
        ids = [e.get("id") for e in root.iter() if e.get("id")]
        self.assertEqual(len(ids), len(set(ids)))
        charts = root.findall(f".//{SVG}svg")
        self.assertEqual(len(charts), 5)
        for chart in charts:
            self.assertEqual(chart.get("role"), "img")
            for name in chart.get("aria-labelledby").split():
                self.assertIn(name, ids)
            self.assertTrue(chart.find(f"{SVG}title").text)
            self.assertTrue(chart.find(f"{SVG}desc").text)
            self.check_inside(chart)

    def check_inside(self, chart):
        """Nothing is drawn outside the picture, and nothing is no number."""
        width, height = map(float, chart.get("viewBox").split()[2:])
        for element in chart.iter():
            for name in ("x", "x1", "x2", "cx"):
                if name in element.attrib:
                    self.assertTrue(0 <= float(element.get(name)) <= width)
            for name in ("y", "y1", "y2", "cy"):
                if name in element.attrib:
                    self.assertTrue(0 <= float(element.get(name)) <= height)

    def test_TablesOfHostileNamesComeBack(self):
        events = self.hostile(6)
        out = self.report(events)
        with open(out / "clients.csv", newline="", encoding="utf-8") as file:
            got = {row["client"] for row in csv.DictReader(file, strict=True)}
        guarded = lambda t: "'" + t if re.match(" *[=+@\t\r-]", t) else t
        self.assertEqual(got, {guarded(e["client"]) for e in events
                               if "client" in e})

    def test_ComparedRunsAreOnOnePage(self):
        runs = [make_events.Run(1, 40, 5, False).run(),
                make_events.Run(1, 40, 5, True).run(), self.hostile(7)]
        out = self.report(*runs)
        root, _ = self.check_page(out / "index.html", self.TAGS)
        charts = root.findall(f".//{SVG}svg")
        self.assertEqual(len(charts), 3)
        for chart in charts:
            self.assertEqual(len(chart.findall(f"{SVG}polyline")), 3)
            self.check_inside(chart)
        finals = [Oracle(events).round(events[0]["rounds"])["perplexity"]
                  for events in runs]
        with open(out / "comparison.csv", newline="",
                  encoding="utf-8") as file:
            for row, final in zip(csv.DictReader(file, strict=True), finals):
                self.assertSame(row["final_perplexity"], final)

    def test_BothThemesNameTheSameColours(self):
        page = (self.report(make_events.Run(1, 20, 2, False).run())
                / "index.html").read_text()
        themes = [dict(re.findall(r"--(\w+): (#\w+)", block)) for block in
                  re.findall(r":root \{(.*?)\}", page, re.DOTALL)]
        self.assertEqual(len(themes), 2)
        self.assertEqual(themes[0].keys(), themes[1].keys())
        used = set(re.findall(r"var\(--(\w+)\)", page))
        self.assertLessEqual(used, themes[0].keys())
        for theme in themes:
            for name, colour in theme.items():
                if re.match(r"c\d|ink|soft", name):
                    # WCAG 2.1, 1.4.3: names stand in the colours of lines.
                    self.assertGreaterEqual(
                        contrast(colour, theme["card"]), 4.5, name)


def luminance(colour):
    """WCAG 2.1, relative luminance."""
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4
              for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear))


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--write-report", required=True)
    ARGS, rest = parser.parse_known_args()
    unittest.main(argv=sys.argv[:1] + rest)
