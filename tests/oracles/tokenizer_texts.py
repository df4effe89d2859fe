"""Texts to compare tokenizers on: what people write, and what they do not.

Everything is drawn with one seed. Characters that Python's own table does not
know are left out: the libraries compared follow different editions of Unicode.
"""

import pathlib
import random
import unicodedata

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORDNET = pathlib.Path("/usr/share/wordnet")

SPACES = [" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\r", " \n ", "\u00a0", "\u2003", "\u3000",
          "\u0085", "\u2028", "\u1680", "\u001c", "\u200b", "\u180e", "\ufeff"]
BITS = ["'s", "'S", "'t", "'ll", "'LL", "'Re", "'ve", "'VE", "'m", "'D", "'", "''", "'ſ", "ſ", "don't",
        "I'm", "we'Ll", "1", "42", "123", "1234", "1234567", "½", "Ⅷ", "٣٤", "๓", "³", "①", ".", "...",
        ",", "!?", "--", "_", "$", "x=1;", "{", "}\n", "\x00", "\x04", "\x7f", "a", "the", "Word", "ß",
        "<|im_start|>", "<|im_end|>", "<|im_", "<tool>", "<tool", "Ünï", "U\u0308nï"]
EMOJI = ["🙂", "👍🏽", "👩‍💻", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "❤️", "✈", "1️⃣", "🤷🏿‍♀️"]
MARKS = ([chr(c) for c in range(0x300, 0x34f)] + [chr(c) for c in range(0x591, 0x5b0)] +
         ["\u093c", "\u09bc", "\u0b3e", "\u0bd7", "\u3099", "\u309a", "\u1161", "\u11a8", "\u0338"])
# First and last characters of scripts.
SCRIPTS = {"latin": (0xc0, 0x24f), "greek": (0x370, 0x3ff), "cyrillic": (0x400, 0x4ff),
           "arabic": (0x620, 0x6d3), "hebrew": (0x5d0, 0x5ea), "devanagari": (0x905, 0x939),
           "bengali": (0x985, 0x9e3), "tamil": (0xb85, 0xbff), "thai": (0xe01, 0xe5b),
           "hangul": (0xac00, 0xd7a3), "jamo": (0x1100, 0x11ff), "kana": (0x3041, 0x30ff),
           "han": (0x4e00, 0x9fa5), "han_compatible": (0xf900, 0xfa6d),
           "letterlike": (0x2100, 0x214f), "greek_extended": (0x1f00, 0x1fff)}


def known(code):
    return not 0xd800 <= code < 0xe000 and unicodedata.category(chr(code)) != "Cn"


class Texts:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.alphabets = {name: [chr(c) for c in range(first, last + 1) if known(c)]
                          for name, (first, last) in SCRIPTS.items()}
        self.everything = [chr(c) for c in range(0x110000) if known(c) and not 0xe000 <= c < 0xf900]

    def pick(self, choices, most):
        return "".join(self.rng.choice(choices) for _ in range(self.rng.randint(1, most)))

    def words(self, alphabet, most):
        """Words of one script, as sentences have them."""
        return "".join(self.pick(alphabet, 8) + self.rng.choice([" ", " ", " ", ", ", ". ", "\n", ""])
                       for _ in range(self.rng.randint(1, most)))

    def english(self, count):
        lines = []
        for part in ("noun", "verb", "adj", "adv"):
            for line in (WORDNET / f"data.{part}").read_text("ascii").splitlines():
                if not line.startswith("  "):
                    lines.append(line.split("|", 1)[1].strip())
        return self.rng.sample(lines, count)

    def code(self, count):
        """Some lines of our own sources, with their line breaks."""
        files = sorted(path for pattern in ("models/**/*.cc", "tests/**/*.py", "docs/**/*.md")
                       for path in ROOT.glob(pattern))
        lines = [line for path in files
                 for line in path.read_text("utf-8").splitlines(keepends=True)]
        starts = [self.rng.randrange(len(lines)) for _ in range(count)]
        return ["".join(lines[s:s + self.rng.randint(1, 4)]) for s in starts]

    def scripts(self, count):
        names = list(self.alphabets)
        return [self.words(self.alphabets[names[i % len(names)]], 6) for i in range(count)]

    def emoji(self, count):
        return [self.pick(EMOJI + ["a", " ", " b", "1", "!", "\n"], 10) for _ in range(count)]

    def combining(self, count):
        """Marks in any order, on letters that may or may not take them."""
        bases = list("aeioucnsEAOU ") + ["\u00e9", "\u1e69", "\u30ab", "\u0915", "\u09c7", "\uac00",
                                         "\u1100", "\u212b", "\ufb1d", "<", "="]
        return ["".join(self.rng.choice(bases) + self.pick(MARKS, 4)
                        for _ in range(self.rng.randint(1, 8))) for _ in range(count)]

    def broken(self, count):
        return [self.rng.randbytes(self.rng.randint(1, 40)).decode("utf-8", errors="replace")
                for _ in range(count)]

    def any_character(self, count):
        return [self.pick(self.everything, 12) for _ in range(count)]

    def bits(self, count):
        return [self.pick(BITS + SPACES, 14) for _ in range(count)]

    def lines(self):
        """About 13,000, by kind."""
        return {"English": self.english(3000), "code": self.code(1500), "scripts": self.scripts(3200),
                "emoji": self.emoji(700), "combining marks": self.combining(1200),
                "random bytes": self.broken(800), "any character": self.any_character(1200),
                "bits": self.bits(2500)}

    def bytes(self, count):
        """No UTF-8 at all."""
        return [self.rng.randbytes(self.rng.randint(1, 60)) for _ in range(count)]
