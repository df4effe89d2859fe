#!/usr/bin/env python3
"""`edgetune eval` on multiple-choice questions against transformers.

Everything here is made again from the GGUF: the tokenizer by `tokenizers`, the
ChatML text by hand, the log-probabilities by transformers. Compared are the sum
for every choice, of the base and with a random adapter, and the counts of right
answers by each norm. Two seeded faults must be seen: the end of the turn in the
sums, and a tokenizer without its Digits stage. Exit code 1 and a line for what
does not hold.
"""

import json

import gguf
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

import hf_llama
import oracle

SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
QUESTIONS = [
    {"question": "What is the capital of France?",
     "choices": ["Paris", "London", "The city of Berlin in Germany"], "answer": 0},
    {"question": "Which of these is a fruit?", "choices": ["hammer", "apple", "cloud 9"],
     "answer": "B"},
    {"messages": [{"role": "system", "content": "Answer in one word."},
                  {"role": "user", "content": "Say yes."},
                  {"role": "assistant", "content": "yes"},
                  {"role": "user", "content": "Now say no."}],
     "choices": ["yes", "no", "\n no"], "answer": 1},
    {"prompt": "Water is a compound of hydrogen and",
     "choices": [" oxygen.", " gold.", "  12 other metals."], "answer": "a"},
    {"prompt": "Caf\u00e9 ol\u00e9: the", "choices": ["re is", " coffee \u2615"], "answer": 1},
]


class Reference:
    def __init__(self, path, digits=True, end_of_turn=False):
        self.end_of_turn = end_of_turn
        field = gguf.GGUFReader(path).get_field
        tokens = field("tokenizer.ggml.tokens").contents()
        merges = [tuple(m.split(" ")) for m in field("tokenizer.ggml.merges").contents()]
        self.special = {t: tokens.index(t) for t in ("<|im_start|>", "<|im_end|>")}
        bpe = models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges)
        self.tokenizer = tokenizers.Tokenizer(bpe)
        stages = [pre_tokenizers.Digits(individual_digits=True)] if digits else []
        self.tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [*stages, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
        self.tokenizer.decoder = decoders.ByteLevel()

    def encode(self, text, start):
        """Ids, and whether each overlaps the text from character `start` on."""
        encoding = self.tokenizer.encode(text)
        return encoding.ids, [end > start for _, end in encoding.offsets]

    def case(self, question, choice):
        if isinstance(question.get("prompt"), str):
            return self.encode(question["prompt"] + choice, len(question["prompt"]))
        messages = question.get("messages") or [
            {"role": "user", "content": question["question"]}]
        if messages[0]["role"] != "system":
            messages = [{"role": "system", "content": SYSTEM}, *messages]
        ids = []
        for message in messages:
            ids += [self.special["<|im_start|>"],
                    *self.encode(f'{message["role"]}\n{message["content"]}', 0)[0],
                    self.special["<|im_end|>"], *self.encode("\n", 0)[0]]
        head = "assistant\n"
        last, marks = self.encode(head + choice, len(head))
        ids.append(self.special["<|im_start|>"])
        if self.end_of_turn:
            last, marks = last + [self.special["<|im_end|>"]], marks + [True]
        return ids + last, [False] * len(ids) + marks


def sums(reference, model, question):
    values, counts = [], []
    for choice in question["choices"]:
        ids, marks = reference.case(question, choice)
        scores = hf_llama.log_probs(model, ids).tolist()
        values.append(sum(s for s, mark in zip(scores, marks[1:], strict=True) if mark))
        counts.append(sum(marks[1:]))
    return values, counts


def right_of(question):
    answer = question["answer"]
    return answer if isinstance(answer, int) else "abc".index(answer.lower())


def count_right(all_values, divisors):
    right = 0
    for question, values, by in zip(QUESTIONS, all_values, divisors, strict=True):
        scaled = [v / d for v, d in zip(values, by, strict=True)]
        right += scaled.index(max(scaled)) == right_of(question)
    return right


def distance(left, right):
    return max(abs(a - b) for x, y in zip(left, right, strict=True)
               for a, b in zip(x, y, strict=True))


class ChoicesOracle(oracle.Oracle):
    def scores(self, name, ours, theirs):
        error = distance(ours, theirs)
        self.expect(error < 1e-3, f"{name}: sums equal transformers' ({error:.1e} < 1e-3)")

    def counts(self, name, accuracy, theirs, divisors):
        for norm, by in divisors.items():
            wanted = count_right(theirs, by)
            self.expect(accuracy[norm]["right"] == wanted,
                        f"{name}: {wanted} right, {norm}")

    def evaluate(self):
        """The report of `eval`, and its line for each question."""
        data, out = self.folder / "questions.jsonl", self.folder / "scores.jsonl"
        data.write_text("".join(json.dumps(q) + "\n" for q in QUESTIONS))
        report = self.edgetune("eval", "--model", self.options.model, "--adapter",
                               self.folder / "adapter", "--precision", "fp32", "--data", data,
                               "--per-question", out, "--format", "json", "--quiet")
        return json.loads(report)["data"], [json.loads(line) for line in out.read_text().splitlines()]

    def run(self):
        path = self.options.model
        reference = Reference(path)
        model = hf_llama.load_model(path)
        base = [sums(reference, model, q) for q in QUESTIONS]
        wrong = {name: [sums(Reference(path, **fault), model, q)[0] for q in QUESTIONS]
                 for name, fault in (("the end of the turn counted", {"end_of_turn": True}),
                                     ("no Digits stage", {"digits": False}))}
        model = hf_llama.add_adapter(model, 8, 32, hf_llama.TARGETS)
        hf_llama.set_flat(model, hf_llama.random_adapter(model, 8, seed=5))
        model.save_pretrained(self.folder / "adapter")
        tuned = [sums(reference, model, q)[0] for q in QUESTIONS]
        self.compare(base, tuned, wrong)

    def compare(self, base, tuned, wrong):
        report, ours = self.evaluate()
        base_sums, token_counts = [list(part) for part in zip(*base)]
        self.scores("base", [o["base_logprobs"] for o in ours], base_sums)
        self.scores("tuned", [o["logprobs"] for o in ours], tuned)
        self.expect([o["tokens"] for o in ours] == token_counts,
                    "tokens of every choice are counted alike")
        divisors = {
            "sum": [[1] * len(q["choices"]) for q in QUESTIONS],
            "per_token": token_counts,
            "per_byte": [[len(c.encode()) for c in q["choices"]] for q in QUESTIONS]}
        self.counts("base", report["base_accuracy"], base_sums, divisors)
        self.counts("tuned", report["accuracy"], tuned, divisors)
        for name, values in wrong.items():
            error = distance([o["base_logprobs"] for o in ours], values)
            self.expect(error > 1e-2, f"seeded fault, {name}, is seen ({error:.2f})")
        change = distance(base_sums, tuned)
        self.expect(change > 0.1, f"the adapter changes the sums (by {change:.2f})")


if __name__ == "__main__":
    oracle.main(ChoicesOracle, __doc__)
