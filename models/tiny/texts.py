"""What the tiny model reads: entries of WordNet, a few of one topic together.

Three of five texts are conversations as the data of `./dev demo` are ("Define:
terrier", and the definition), several turns long; the others are one answer that
holds a list of entries with their examples. The topics that the demo gives to its
clients are left out, so that they are new to the model there.
"""

import json
import pathlib
import random

DICTIONARY = pathlib.Path("/usr/share/wordnet")
PARTS = {"noun": "nouns", "verb": "verbs", "adj": "adjectives", "adv": "adverbs"}
# noun.animal, noun.artifact, noun.food, verb.motion: lexnames(5WN).
DEMO_TOPICS = {5, 6, 13, 38}
WORDS_A_TEXT = 100
HELD_OUT = 50  # every so manieth text


class Entry:
    """A synset: its part of speech, words, definition and the whole gloss."""

    def __init__(self, part, line):
        head, gloss = line.split("|", 1)
        fields = head.split()
        self.part, self.topic = part, int(fields[1])
        self.words = [word.partition("(")[0].replace("_", " ")
                      for word in fields[4:4 + 2 * int(fields[3], 16):2]]
        self.gloss = gloss.strip()
        self.definition = self.gloss.partition('; "')[0]

    def __len__(self):
        return len(self.gloss.split())


def entries():
    """All synsets outside the demo's topics, in the order of the files."""
    for part in PARTS:
        for line in (DICTIONARY / f"data.{part}").read_text(encoding="ascii").splitlines():
            if not line.startswith("  "):  # the licence
                entry = Entry(part, line)
                if entry.topic not in DEMO_TOPICS:
                    yield entry


def message(role, text):
    return {"role": role, "content": text}


def conversation(group):
    return [message(*turn) for entry in group for turn in (
        ("user", f"Define: {entry.words[0]}"), ("assistant", entry.definition))]


def list_of(group):
    lines = [f"{', '.join(entry.words[:3])}: {entry.gloss}." for entry in group]
    return [message("user", f"List some {PARTS[group[0].part]} with what they mean."),
            message("assistant", "\n".join(lines))]


def texts(seed):
    """Groups of shuffled entries, topic by topic, then shuffled themselves."""
    drawn = random.Random(seed)
    by_topic = {}
    for entry in entries():
        by_topic.setdefault(entry.topic, []).append(entry)
    groups = []
    for topic in sorted(by_topic):
        drawn.shuffle(by_topic[topic])
        groups.append([])
        for entry in by_topic[topic]:
            if sum(map(len, groups[-1])) >= WORDS_A_TEXT:
                groups.append([])
            groups[-1].append(entry)
    drawn.shuffle(groups)
    return [conversation(group) if i % 5 < 3 else list_of(group)
            for i, group in enumerate(groups)]


def write(folder, seed, share):
    """train.jsonl and heldout.jsonl of that share of all texts; how many."""
    every = texts(seed)
    every = every[:max(2 * HELD_OUT, round(share * len(every)))]
    parts = {"train": [text for i, text in enumerate(every) if i % HELD_OUT],
             "heldout": every[::HELD_OUT]}
    for name, some in parts.items():
        (folder / f"{name}.jsonl").write_text(
            "".join(json.dumps({"messages": text}) + "\n" for text in some), encoding="ascii")
    return len(parts["train"]), len(parts["heldout"])
