#!/usr/bin/env python3
"""Writes the tokenizer vectors beside this file, from PyPI `tokenizers`.

usage: make_tokenizer_vectors.py MODEL.gguf

pieces.tsv:  pre, text (hex UTF-8), ends of its pieces in bytes.
smollm2.tsv: text (hex UTF-8), ids; vocabulary and merges from MODEL.gguf
             (SmolLM2-135M-Instruct), stages as its tokenizer.json has them.
"""
import pathlib
import random
import sys

import gguf
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models
from tokenizers import pre_tokenizers as pre

HERE = pathlib.Path(__file__).parent
LLAMA = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
         r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
STAGES = {
    "gpt-2": pre.ByteLevel(add_prefix_space=False, use_regex=True),
    "smollm": pre.Sequence([
        pre.Digits(individual_digits=True),
        pre.ByteLevel(add_prefix_space=False, use_regex=True)]),
    "llama-bpe": pre.Sequence([
        pre.Split(Regex(LLAMA), behavior="isolated"),
        pre.ByteLevel(add_prefix_space=False, use_regex=False)]),
}
ATOMS = ["a", "I", "the", "don", "'s", "'S", "'ll", "'Re", "'v", "'", "''", " ",
         "  ", "   ", "\n", "\r\n", "\t", "\n\n", "1", "42", "1234", "½", "Ⅷ",
         "٣", "é", "e\u0301", "ß", "中文", "日", "한", "🙂", "👩‍💻", ".", ",",
         "!?", "--", "_", "$", "\u00a0", "\u2003", "\u3000", "\u0085",
         "\u001c", "\u200b", "\u180e", "\u2028", "ſ", "'ſ", "नमस्ते", "שלום",
         "\u0378", "\ufeff", "x=1;", "{", "\x04", "\x7f"]


def texts(count, seed):
    rng = random.Random(seed)
    for _ in range(count):
        yield "".join(rng.choice(ATOMS) for _ in range(rng.randint(1, 14)))


def ends(stage, text):
    return [len(text[:end].encode())
            for _, (_, end) in stage.pre_tokenize_str(text)]


def smollm2(path):
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = fields["tokenizer.ggml.merges"].contents()
    tokenizer = Tokenizer(models.BPE(
        vocab={t: i for i, t in enumerate(tokens)},
        merges=[tuple(m.split(" ")) for m in merges]))
    tokenizer.pre_tokenizer = STAGES["smollm"]
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False)
         for t, kind in zip(tokens, types) if kind == 3])
    return tokenizer


def main():
    with open(HERE / "pieces.tsv", "w") as out:
        for name, stage in STAGES.items():
            for text in texts(150, name):
                row = ",".join(map(str, ends(stage, text)))
                out.write(f"{name}\t{text.encode().hex()}\t{row}\n")
    tokenizer = smollm2(sys.argv[1])
    specials = ["<|im_start|>", "<|im_end|>", "<|im_", "<repo_name>"]
    rng = random.Random(7)
    with open(HERE / "smollm2.tsv", "w") as out:
        for text in texts(200, "smollm2"):
            if rng.random() < 0.3:
                text = text[:3] + rng.choice(specials) + text[3:]
            ids = ",".join(map(str, tokenizer.encode(text).ids))
            out.write(f"{text.encode().hex()}\t{ids}\n")


if __name__ == "__main__":
    main()
