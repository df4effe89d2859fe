"""flower_mean.py WAY [OPTION...]: the weighted mean of serialized updates. Prints
one JSON object.

numpy: float32 bytes, one vector after the other times its weight into a sum.
aggregate, aggregate_inplace: Flower's functions over Parameters of .npy bytes,
deserialized first, as its FedAvg of clients does. array_record: Flower's
messages, inflated from the contents of their objects, then its
aggregate_arrayrecords. Of the updates so many are different, and come again."""

import argparse
import ctypes
import json
import os
import pathlib
import time

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")

import flwr
import numpy as np
from flwr.app import ArrayRecord, MetricRecord, RecordDict
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server.strategy.aggregate import aggregate, aggregate_inplace
from flwr.serverapp.strategy.strategy_utils import aggregate_arrayrecords
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=list(WAYS))
    parser.add_argument("--coordinates", type=int, default=921_600)
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--different", type=int, default=100)
    parser.add_argument("--tensors", type=int, default=240)
    return parser.parse_args()


class Numpy:
    def __init__(self, arrays):
        self.wires = [np.concatenate(update).tobytes() for update in arrays]

    def mean(self, order, weights):
        total = np.zeros(len(self.wires[0]) // 4, np.float32)
        term = np.empty_like(total)
        for which, weight in zip(order, weights):
            np.multiply(np.frombuffer(self.wires[which], np.float32), np.float32(weight), out=term)
            total += term
        return total / np.float32(sum(weights))


class Aggregate:
    def __init__(self, arrays):
        self.wires = [ndarrays_to_parameters(update) for update in arrays]

    def mean(self, order, weights):
        return np.concatenate(aggregate([(parameters_to_ndarrays(self.wires[which]), weight)
                                         for which, weight in zip(order, weights)]))


class AggregateInplace(Aggregate):
    def mean(self, order, weights):
        status = Status(Code.OK, "")
        return np.concatenate(aggregate_inplace(
            [(None, FitRes(status, self.wires[which], weight, {}))
             for which, weight in zip(order, weights)]))


class ArrayRecords:
    def __init__(self, arrays):
        self.wires = []
        for update in arrays:
            record = RecordDict({"arrays": ArrayRecord(update)})
            objects = get_all_nested_objects(record)
            self.wires.append((record.object_id,
                               {name: part.deflate() for name, part in objects.items()}))

    def mean(self, order, weights):
        records = []
        for which, weight in zip(order, weights):
            name, contents = self.wires[which]
            record = inflate_object_from_contents(name, contents, keep_object_contents=True)
            record["metrics"] = MetricRecord({"num-examples": weight})
            records.append(record)
        mean = aggregate_arrayrecords(records, "num-examples")
        return np.concatenate([array.ravel() for array in mean.to_numpy_ndarrays()])


WAYS = {"numpy": Numpy, "aggregate": Aggregate, "aggregate_inplace": AggregateInplace,
        "array_record": ArrayRecords}


def memory_mb(key):
    for line in open("/proc/self/status", encoding="ascii"):
        if line.startswith(key):
            return int(line.split()[1]) * 1024 / 1e6
    return 0


def main():
    args = options()
    random = np.random.default_rng(1)
    tensors = args.tensors if args.coordinates % args.tensors == 0 else 1
    vectors = [(random.random(args.coordinates, dtype=np.float32) - np.float32(0.5)) / 512
               for _ in range(min(args.updates, args.different))]
    work = WAYS[args.way]([np.split(vector, tensors) for vector in vectors])
    weights = [1 + k % 7 for k in range(args.updates)]
    order = [k % len(vectors) for k in range(args.updates)]
    each = np.bincount(order, weights)
    probed = slice(None, None, 1 + args.coordinates // 97)
    wanted = sum(w * v[probed].astype(np.float64) for w, v in zip(each, vectors)) / sum(weights)
    del vectors
    ctypes.CDLL(None).malloc_trim(0)  # what was freed does not count
    pathlib.Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = memory_mb("VmRSS:")
    start = time.perf_counter()
    mean = work.mean(order, weights)
    seconds = time.perf_counter() - start
    if not np.allclose(mean[probed], wanted, rtol=1e-4, atol=1e-7):
        raise SystemExit("the mean is wrong")
    print(json.dumps({"flower": flwr.__version__, "numpy": np.__version__, "tensors": tensors,
                      "gb_per_s": [4e-9 * args.coordinates * args.updates / seconds],
                      "peak_beyond_updates_mb": memory_mb("VmHWM:") - before}))


if __name__ == "__main__":
    main()
