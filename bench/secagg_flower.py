"""Flower's SecAgg+ functions beside B8: what its client and its server do with
vectors, keys and shares, in the order of secaggplus_mod.py and
secaggplus_workflow.py, without messages. Prints one JSON object.

usage: secagg_flower.py COORDINATES CLIENTS NEIGHBOURS LOST

Work that repeats is timed for some streams and secrets and multiplied; the
numbers timed stand in the result. Its mask generator is NumPy's Mersenne
Twister from 32 bits of the agreed key, which is no cryptography.
"""

import json
import os
import sys
import time

import flwr
import numpy
from flwr.common import ndarray_to_bytes
from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
from flwr.common.secure_aggregation.crypto.symmetric_encryption import generate_shared_key
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    factor_combine, factor_extract, get_parameters_shape, parameters_addition, parameters_mod,
    parameters_multiply, parameters_subtraction)
from flwr.common.secure_aggregation.quantization import dequantize, quantize
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
from flwr.supercore.primitives.asymmetric import (
    bytes_to_private_key, bytes_to_public_key, generate_key_pairs, private_key_to_bytes,
    public_key_to_bytes)

CLIP, TARGET, MODULUS = 8.0, 1 << 22, 1 << 32  # the defaults of SecAggPlusWorkflow
TIMED_STREAMS, TIMED_SECRETS = 200, 3


def seconds(work, *arguments):
    """Wall and processor seconds of a call, and its result."""
    start = numpy.array([time.perf_counter(), time.process_time()])
    result = work(*arguments)
    return numpy.array([time.perf_counter(), time.process_time()]) - start, result


def key_of(secret, public):
    return generate_shared_key(bytes_to_private_key(secret), bytes_to_public_key(public))


def client(update, private_seed, secret, publics):
    """One masked upload: its parts, and the integers they hold."""
    vector = factor_combine(1, quantize(parameters_multiply([update], 1.0), CLIP, TARGET))
    shapes = [array.shape for array in vector]
    vector = parameters_addition(vector, pseudo_rand_gen(private_seed, MODULUS, shapes))
    for number, public in enumerate(publics):
        mask = pseudo_rand_gen(key_of(secret, public), MODULUS, shapes)
        vector = (parameters_addition if number % 2 else parameters_subtraction)(vector, mask)
    vector = parameters_mod(vector, MODULUS)
    return [ndarray_to_bytes(array) for array in vector], vector


def fold(vector, survivors):
    total = vector
    for _ in range(survivors - 1):
        total = parameters_addition(total, vector)
    return parameters_mod(total, MODULUS)


def private_masks(total, seeds):
    for seed in seeds:
        mask = pseudo_rand_gen(seed, MODULUS, get_parameters_shape(total))
        total = parameters_subtraction(total, mask)
    return total


def pair_masks(total, secret, publics):
    for number, public in enumerate(publics):
        mask = pseudo_rand_gen(key_of(secret, public), MODULUS, get_parameters_shape(total))
        total = (parameters_addition if number % 2 else parameters_subtraction)(total, mask)
    return total


def decode(total):
    _, quantized = factor_extract(parameters_mod(total, MODULUS))
    return dequantize(parameters_multiply(quantized, 1), CLIP, TARGET)


def reconstruction(secret, holders, answers, secrets):
    """Seconds for so many secrets, each from the shares of all who answer."""
    shares = create_shares(secret, 2 * holders // 3 + 1, holders)[:answers]
    return secrets / TIMED_SECRETS * sum(seconds(combine_shares, shares)[0]
                                         for _ in range(TIMED_SECRETS))


def main():
    coordinates, clients, neighbours, lost = (int(word) for word in sys.argv[1:5])
    survivors = clients - lost
    update = numpy.random.default_rng(1).normal(0, 0.02, coordinates)
    secret = private_key_to_bytes(generate_key_pairs()[0])
    publics = [public_key_to_bytes(generate_key_pairs()[1]) for _ in range(neighbours)]
    client_s, (upload, masked) = seconds(client, update, os.urandom(32), secret, publics)
    fold_s, total = seconds(fold, masked, survivors)

    answers = round((neighbours + 1) * survivors / clients)
    shares_s = (reconstruction(os.urandom(32), neighbours + 1, answers, survivors) +
                reconstruction(secret, neighbours + 1, answers, lost))
    # A lost client has masks with those of its neighbours that are left.
    pairs = lost * round(neighbours * survivors / (clients - 1))
    timed = {"private": min(survivors, TIMED_STREAMS), "pair": min(pairs, TIMED_STREAMS)}
    masks_s, total = seconds(private_masks, total,
                             [os.urandom(32) for _ in range(timed["private"])])
    masks_s *= survivors / timed["private"]
    if pairs:
        some = [publics[number % neighbours] for number in range(timed["pair"])]
        pairs_s, total = seconds(pair_masks, total, secret, some)
        masks_s += pairs_s * pairs / timed["pair"]
    decode_s, _ = seconds(decode, total)

    server_s = shares_s + masks_s + decode_s
    print(json.dumps({
        "flower": flwr.__version__, "numpy": numpy.__version__, "coordinates": coordinates,
        "clients": clients, "neighbours": neighbours, "lost": lost,
        "client_ms": round(1e3 * client_s[0], 1), "client_cpu_ms": round(1e3 * client_s[1], 1),
        "server_s": round(server_s[0], 3), "server_cpu_s": round(server_s[1], 3),
        "fold_s": round(fold_s[0], 3), "shares_s": round(shares_s[0], 3),
        "masks_s": round(masks_s[0], 3), "mask_streams": survivors + pairs,
        "mask_streams_timed": sum(timed.values()), "secrets_timed": 2 * TIMED_SECRETS,
        "upload_bytes": sum(len(part) for part in upload)}))


if __name__ == "__main__":
    main()
