"""tokenizer_hf.py MODEL.gguf TEXT [RUNS]: what tokenizer_bench does, by PyPI
`tokenizers` on one thread, with the same vocabulary. Prints one JSON object."""

import json
import sys
import time

import gguf
from tokenizers import AddedToken, Tokenizer, models
from tokenizers import pre_tokenizers as pre


def smollm2(path):
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    tokenizer = Tokenizer(models.BPE(
        vocab={token: i for i, token in enumerate(tokens)},
        merges=[tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]))
    tokenizer.pre_tokenizer = pre.Sequence([
        pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False, use_regex=True)])
    types = fields["tokenizer.ggml.token_type"].contents()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False)
                                  for token, kind in zip(tokens, types) if kind == 3])
    return tokenizer


def main():
    tokenizer = smollm2(sys.argv[1])
    text = open(sys.argv[2], encoding="utf-8", newline="").read()
    lines = text.splitlines(keepends=True)
    megabytes, rates, tokens = len(text.encode()) / 1e6, [], 0
    for run in range(int(sys.argv[3] if len(sys.argv) > 3 else 10) + 1):
        start = time.process_time()
        # The quickest of its calls: no offsets, one crossing into the library.
        tokens = sum(len(e.ids) for e in tokenizer.encode_batch_fast(lines))
        if run > 0:  # the first warms up
            rates.append(megabytes / (time.process_time() - start))
    print(json.dumps({"mb_per_s": rates, "tokens": tokens}))


if __name__ == "__main__":
    main()
