#!/usr/bin/env python3
"""Our tokenizer beside PyPI `tokenizers` and transformers, token for token.

Small byte-level BPE vocabularies are trained under each of the four
pre-tokenizers, saved as people save them and read by ours; so is the real
SmolLM2 vocabulary, from the GGUF and from the directory that transformers makes
of it. On about 13,000 texts (tokenizer_texts.py):

  ours                          = tokenizers
  ours, written as files, read by tokenizers, by transformers = tokenizers
  bytes that are no text come back from decode(encode(x))
  a lost Digits stage, GPT-2's scanner for Llama 3's, NFC dropped and merges
  reversed are each SEEN

Exit code 1 and a line for each comparison that does not hold.
"""

import json

import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, processors, trainers
from tokenizers import pre_tokenizers as pre

import oracle
from tokenizer_texts import Texts

VOCABULARY, SEED = 3000, 11
BOS = "<|endoftext|>"
SPECIAL = [BOS, "<|im_start|>", "<|im_end|>"]
# The expressions, as formats design section 4 spells them.
LLAMA = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
         r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA.replace("{1,3}", "")


def split(regex):
    return pre.Sequence([pre.Split(Regex(regex), behavior="isolated"),
                         pre.ByteLevel(add_prefix_space=False, use_regex=False)])


def gpt2():
    return pre.ByteLevel(add_prefix_space=False, use_regex=True)


def smollm():
    return pre.Sequence([pre.Digits(individual_digits=True), gpt2()])


STAGES = {"gpt-2": gpt2, "smollm": smollm, "llama-bpe": lambda: split(LLAMA),
          "qwen2": lambda: split(QWEN2)}


def train(name, lines):
    tokenizer = Tokenizer(models.BPE(ignore_merges=name == "llama-bpe"))
    tokenizer.pre_tokenizer = STAGES[name]()
    tokenizer.decoder = decoders.ByteLevel()
    if name == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=SPECIAL, show_progress=False,
        initial_alphabet=pre.ByteLevel.alphabet()))
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False), AddedToken("Ünï", normalized=True)])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    if name == "llama-bpe":
        tokenizer.post_processor = processors.Sequence([
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B:1",
                                          special_tokens=[(BOS, 0)])])
    return tokenizer


class TokenizerOracle(oracle.Oracle):
    PROGRAMS = ("dump",)

    def __init__(self, options, folder):
        super().__init__(options, folder)
        texts = Texts(SEED)
        self.kinds = texts.lines()
        self.lines = [line for lines in self.kinds.values() for line in lines]
        self.bytes = texts.bytes(2000)

    def dump(self, *arguments, texts=()):
        return self.call(self.options.dump, *arguments,
                         given="".join(text.hex() + "\n" for text in texts))

    def tokens(self, model, texts):
        """[(ids, bytes that they stand for)]"""
        rows = [line.split("\t") for line in self.dump("ids", model, texts=texts).splitlines()]
        return [([int(i) for i in ids.split()], bytes.fromhex(text)) for ids, text in rows]

    def differing(self, model, wanted):
        ours = self.tokens(model, [line.encode() for line in self.lines])
        return [(line, ids, want) for line, (ids, _), want in zip(self.lines, ours, wanted)
                if ids != want]

    def compare(self, name, model, tokenizer):
        wanted = ids_of(tokenizer, self.lines)
        wrong = self.differing(model, wanted)
        self.expect(not wrong, f"{name}: {sum(map(len, wanted))} tokens of {len(self.lines)} texts "
                    f"equal ours, {len(wrong)} texts differ")
        for line, ids, want in wrong[:5]:
            print(f"        {line!r}\n          ours {ids}\n          want {want}")
        out = self.folder / f"{name.replace(' ', '-')}-written"
        out.mkdir()
        self.dump("files", model, out)
        again = Tokenizer.from_file(str(out / "tokenizer.json"))
        self.expect(ids_of(again, self.lines) == wanted, f"{name}: our files mean the same to tokenizers")
        auto = transformers.AutoTokenizer.from_pretrained(out)
        self.expect(auto(self.lines)["input_ids"] == wanted,
                    f"{name}: our files mean the same to transformers")
        self.expect(not self.differing(out, wanted), f"{name}: our files mean the same to ours")
        return wanted

    def saved(self, name, tokenizer):
        """A directory as transformers saves it."""
        path = self.folder / name.replace(" ", "-")
        transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=SPECIAL[2],
                                             pad_token=SPECIAL[2]).save_pretrained(path)
        return path

    def seed_fault(self, what, model, wanted, change):
        """The same files with `change` made to tokenizer.json must not pass."""
        path = self.folder / what.replace(" ", "-")
        path.mkdir()
        root = json.loads((model / "tokenizer.json").read_text("utf-8"))
        change(root)
        (path / "tokenizer.json").write_text(json.dumps(root), "utf-8")
        wrong = self.differing(path, wanted)
        self.expect(len(wrong) > 0, f"seeded fault, {what}, is seen in {len(wrong)} texts")

    def run(self):
        transformers.logging.set_verbosity_error()
        print(", ".join(f"{len(lines)} {kind}" for kind, lines in self.kinds.items()))
        self.run_trained()
        self.run_smollm2()

    def run_trained(self):
        for name in STAGES:
            tokenizer = train(name, self.lines)
            model = self.saved(name, tokenizer)
            wanted = self.compare(name, model, tokenizer)
            if name != "qwen2":  # NFC changes texts, and these are none
                back = [text for _, text in self.tokens(model, self.bytes)]
                if name == "llama-bpe":
                    back = [text.removeprefix(BOS.encode()) for text in back]
                self.expect(back == self.bytes, f"{name}: any bytes come back from their tokens")
            for what, change in FAULTS[name]:
                self.seed_fault(f"{what} ({name})", model, wanted, change)

    def run_smollm2(self):
        """transformers drops the Digits stage of a GGUF; ours trusts `pre`."""
        gguf = self.options.model
        converted = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        lost = self.folder / "smollm2-resaved"
        converted.save_pretrained(lost)
        tokenizer = converted.backend_tokenizer
        kept = tokenizer.pre_tokenizer
        self.compare("SmolLM2 without Digits", lost, tokenizer)
        tokenizer.pre_tokenizer = smollm()
        wanted = self.compare("SmolLM2 GGUF", gguf, tokenizer)
        wrong = self.differing(lost, wanted)
        self.expect(len(wrong) > 0, f"seeded fault, Digits lost by transformers ({type(kept).__name__}), "
                    f"is seen in {len(wrong)} texts")


def ids_of(tokenizer, lines):
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(lines)]


def lose_digits(root):
    root["pre_tokenizer"] = root["pre_tokenizer"]["pretokenizers"][-1]


def scan_as_gpt2(root):
    root["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                             "use_regex": True}


def drop_nfc(root):
    root["normalizer"] = None


def reverse_merges(root):
    root["model"]["merges"].reverse()


FAULTS = {
    "gpt-2": [("merges reversed", reverse_merges)],
    "smollm": [("Digits lost", lose_digits)],
    "llama-bpe": [("GPT-2's scanner", scan_as_gpt2)],
    "qwen2": [("NFC dropped", drop_nfc), ("GPT-2's scanner", scan_as_gpt2)],
}


if __name__ == "__main__":
    oracle.main(TokenizerOracle, __doc__)
