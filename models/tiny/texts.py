"""Texts for the tiny model: entries of WordNet, a few of one topic together.

A text is a paragraph of entries ("terrier, n. any of several usually small
short-bodied breeds ..."), with their examples. The topics that `./dev demo` gives
to its clients are left out, so that they are new to the model there.
"""

import json
import pathlib
import random

DICTIONARY = pathlib.Path("/usr/share/wordnet")
PARTS = {"noun": "n.", "verb": "v.", "adj": "adj.", "adv": "adv."}
# noun.animal, noun.artifact, noun.food, verb.motion: lexnames(5WN).
DEMO_TOPICS = {5, 6, 13, 38}
WORDS_A_TEXT = 110
HELD_OUT = 50  # every so manieth text


def entries():
    """(topic, text) of each synset outside the demo's topics."""
    for part, name in PARTS.items():
        for line in (DICTIONARY / f"data.{part}").read_text(encoding="ascii").splitlines():
            if line.startswith("  "):
                continue  # the licence
            head, gloss = line.split("|", 1)
            fields = head.split()
            topic, count = int(fields[1]), int(fields[3], 16)
            if topic in DEMO_TOPICS:
                continue
            words = [word.partition("(")[0].replace("_", " ") for word in
                     fields[4:4 + 2 * count:2]]
            yield topic, f"{', '.join(words[:3])}, {name} {gloss.strip()}."


def texts(seed):
    """Paragraphs of shuffled entries, topic by topic, then shuffled themselves."""
    drawn = random.Random(seed)
    by_topic = {}
    for topic, text in entries():
        by_topic.setdefault(topic, []).append(text)
    out = []
    for topic in sorted(by_topic):
        drawn.shuffle(by_topic[topic])
        paragraph = []
        for entry in by_topic[topic]:
            paragraph.append(entry)
            if sum(len(line.split()) for line in paragraph) >= WORDS_A_TEXT:
                out.append("\n".join(paragraph))
                paragraph = []
        if paragraph:
            out.append("\n".join(paragraph))
    drawn.shuffle(out)
    return out


def write(folder, seed, share):
    """train.jsonl and heldout.jsonl of that share of all texts."""
    every = texts(seed)
    every = every[:max(2 * HELD_OUT, round(share * len(every)))]
    held_out = every[::HELD_OUT]
    train = [text for i, text in enumerate(every) if i % HELD_OUT]
    for name, lines in (("train", train), ("heldout", held_out)):
        (folder / f"{name}.jsonl").write_text(
            "".join(json.dumps({"text": line}) + "\n" for line in lines), encoding="ascii")
    return len(train), len(held_out)
