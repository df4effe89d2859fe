"""A llama GGUF as a Hugging Face model, with a LoRA adapter by PEFT.

Independent of our C++: blocks are decoded by the `gguf` package, the row
permutation of q and k is undone here, and everything is float32.
"""

import json
import pathlib

import gguf
import numpy as np
import peft
import torch
import transformers

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj",
           "gate_proj", "up_proj", "down_proj"]
GGUF_NAMES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


def unpermute(weight, heads):
    """GGUF pairs neighbouring rows of a head; Hugging Face pairs halves."""
    half = weight.shape[0] // heads // 2
    return (weight.reshape(heads, half, 2, -1).swapaxes(1, 2)
            .reshape(weight.shape))


def hf_name(name):
    top = {"token_embd.weight": "model.embed_tokens.weight",
           "output_norm.weight": "model.norm.weight",
           "output.weight": "lm_head.weight"}
    if name in top:
        return top[name]
    _, layer, part, _ = name.split(".")
    return f"model.layers.{layer}.{GGUF_NAMES[part]}.weight"


def load_model(path):
    reader = gguf.GGUFReader(path)
    field = lambda key: reader.get_field("llama." + key).contents()
    heads = int(field("attention.head_count"))
    kv_heads = int(field("attention.head_count_kv"))
    state = {}
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        values = values.astype(np.float32)
        if tensor.name.endswith("attn_q.weight"):
            values = unpermute(values, heads)
        if tensor.name.endswith("attn_k.weight"):
            values = unpermute(values, kv_heads)
        state[hf_name(tensor.name)] = torch.from_numpy(values.copy())
    tied = "lm_head.weight" not in state
    if tied:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    vocab, hidden = state["model.embed_tokens.weight"].shape
    config = transformers.LlamaConfig(
        vocab_size=vocab, hidden_size=hidden,
        intermediate_size=int(field("feed_forward_length")),
        num_hidden_layers=int(field("block_count")),
        num_attention_heads=heads, num_key_value_heads=kv_heads,
        max_position_embeddings=int(field("context_length")),
        rms_norm_eps=float(field("attention.layer_norm_rms_epsilon")),
        rope_theta=float(field("rope.freq_base")),
        rope_parameters={"rope_type": "default",
                         "rope_theta": float(field("rope.freq_base"))},
        # No end token: greedy continuations go on to the length asked for.
        bos_token_id=None, eos_token_id=None,
        tie_word_embeddings=tied, attn_implementation="eager")
    model = transformers.LlamaForCausalLM(config).float().eval()
    model.load_state_dict(state, strict=True)
    return model


def factors(model, sides="AB"):
    """(name, parameter) of the LoRA factors, in edgetune's flat order."""
    named = dict(model.named_parameters())
    for layer in range(model.config.num_hidden_layers):
        for target in TARGETS:
            block = "self_attn" if target[:2] in ("q_", "k_", "v_", "o_") \
                else "mlp"
            for side in sides:
                name = (f"base_model.model.model.layers.{layer}.{block}."
                        f"{target}.lora_{side}.default.weight")
                if name in named:
                    yield name, named[name]


def add_adapter(model, rank, alpha, targets, values=None):
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0,
                             target_modules=list(targets),
                             task_type="CAUSAL_LM")
    model = peft.get_peft_model(model, config).float()
    if values is not None:
        set_flat(model, values)
    return model


def set_flat(model, values):
    at = 0
    with torch.no_grad():
        for _, parameter in factors(model):
            part = values[at:at + parameter.numel()]
            parameter.copy_(torch.from_numpy(part.copy())
                            .reshape(parameter.shape))
            at += parameter.numel()
    assert at == len(values), (at, len(values))


def flat(model, what=lambda parameter: parameter, sides="AB"):
    return np.concatenate([
        what(p).detach().numpy().astype("<f4").ravel()
        for _, p in factors(model, sides)])


def to_float64(model):
    """In float64 throughout: transformers' own norm goes back to float32.

    In float32 transformers' gradients of a 30-layer model differ from these
    by up to 4e-4 of a tensor's largest, more than the limit for ours.
    """
    def norm(self, x):
        scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) +
                            self.variance_epsilon)
        return self.weight * (x * scale)

    for module in model.modules():
        if type(module).__name__ == "LlamaRMSNorm":
            module.forward = norm.__get__(module)
    model.config._attn_implementation = "sdpa"
    return model.double()


def log_probs(model, tokens):
    """log p(token i | before), i = 1.."""
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0, :-1].float()
    rows = torch.log_softmax(logits, -1)
    return rows[torch.arange(len(tokens) - 1), torch.tensor(tokens[1:])]


def batch_loss(model, examples):
    """Mean over the labelled tokens of the whole batch."""
    total, count = 0.0, 0
    for example in examples:
        logits = model(torch.tensor([example["tokens"]])).logits[0, :-1]
        labels = torch.tensor([
            token if mark else -100 for token, mark in
            zip(example["tokens"][1:], example["labelled"][1:])])
        total = total + torch.nn.functional.cross_entropy(
            logits, labels, ignore_index=-100, reduction="sum")
        count += int((labels != -100).sum())
    return total / count


def train(model, examples, settings, sides="AB"):
    """The losses of each step; every step sees all examples."""
    parameters = [p for _, p in factors(model, sides)]
    optimizer = torch.optim.AdamW(
        parameters, lr=settings["lr"], betas=(0.9, 0.999), eps=1e-8,
        weight_decay=settings["weight_decay"])
    losses = []
    for _ in range(settings["steps"]):
        optimizer.zero_grad()
        loss = batch_loss(model, examples)
        loss.backward()
        if settings["grad_clip"] > 0:
            torch.nn.utils.clip_grad_norm_(parameters, settings["grad_clip"])
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def random_adapter(model, rank, seed):
    """A as PEFT starts it, B small but not zero, so that both have gradients."""
    rng = np.random.default_rng(seed)
    parts = []
    for name, parameter in factors(model):
        scale = 0.02 if "lora_B" in name else parameter.shape[1] ** -0.5
        parts.append(rng.uniform(-scale, scale, parameter.numel()))
    return np.concatenate(parts).astype("<f4")


def write_case(directory, case, adapter):
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "case.json").write_text(json.dumps(case) + "\n")
    adapter.astype("<f4").tofile(directory / "adapter.f32")
