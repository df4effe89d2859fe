"""flower_fleet.py null|lora [OPTION...]: a fleet in Flower's simulation on Ray,
with its FedAvg. Prints one JSON object: results a second from the second round
on, for in the first Ray starts its processes.

null: a client writes a vector of random numbers of its own, one array. lora:
what lora_client.py does, on --model; a core is a client's."""

import argparse
import json
import os
import pathlib
import sys
import time

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# On a busy machine its workers, nice by default, would get nothing.
os.environ.setdefault("RAY_worker_niceness", "0")
# Ray's processes unpickle the functions of this file.
HERE = str(pathlib.Path(__file__).resolve().parent)
os.environ["PYTHONPATH"] = HERE + os.pathsep + os.environ.get("PYTHONPATH", "")
sys.path.insert(0, HERE)

import flwr
import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

COORDINATES = 921_600


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("work", choices=["null", "lora"])
    parser.add_argument("--model")
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--cohort", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    return parser.parse_args()


class TimedFedAvg(FedAvg):
    """Notes when a round begins and how many replied."""

    def __init__(self, cohort, clients):
        super().__init__(fraction_train=cohort / clients, min_train_nodes=cohort,
                         min_available_nodes=clients, fraction_evaluate=0.0,
                         min_evaluate_nodes=0)
        self.begun, self.replied = [], []

    def configure_train(self, server_round, arrays, config, grid):
        self.begun.append(time.perf_counter())
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(self, server_round, replies):
        replies = list(replies)
        self.replied.append(sum(not reply.has_error() for reply in replies))
        return super().aggregate_train(server_round, replies)


def reply_to(message, arrays, examples):
    content = {"arrays": arrays, "metrics": MetricRecord({"num-examples": examples})}
    return Message(RecordDict(content), reply_to=message)


def null_client():
    app = ClientApp()

    @app.train()
    def train(message, context):
        random = np.random.default_rng(context.node_id % 2**32)
        return reply_to(message, ArrayRecord([random.random(COORDINATES, dtype=np.float32)]), 1)
    return app, lambda: ArrayRecord([np.zeros(COORDINATES, np.float32)])


def lora_client(path):
    app = ClientApp()

    @app.train()
    def train(message, context):
        import lora_client as local
        import torch
        torch.set_num_threads(1)
        state, _ = local.train(local.model_of(path), message.content["arrays"].to_torch_state_dict(),
                               context.node_id % 2**32)
        return reply_to(message, ArrayRecord(state), local.SEQUENCES)

    def initial():
        import lora_client as local
        return ArrayRecord({name: value.detach().clone()
                            for name, value in local.trained(local.model_of(path)).items()})
    return app, initial


def main():
    args = options()
    client, initial = null_client() if args.work == "null" else lora_client(args.model)
    strategy, ended = TimedFedAvg(args.cohort, args.clients), []
    server = ServerApp()

    @server.main()
    def run(grid, context):
        strategy.start(grid, initial(), num_rounds=args.rounds)
        ended.append(time.perf_counter())

    run_simulation(server, client, num_supernodes=args.clients, backend_config={
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        "init_args": {"num_cpus": args.cores, "include_dashboard": False}})
    seconds, results = ended[0] - strategy.begun[1], sum(strategy.replied[1:])
    if results != args.cohort * (args.rounds - 1):
        sys.exit(f"{results} results of {args.cohort * (args.rounds - 1)}")
    print(json.dumps({"flower": flwr.__version__, "clients": args.clients, "cohort": args.cohort,
                      "rounds": args.rounds, "results": results, "seconds": seconds,
                      "results_per_s": results / seconds}))


if __name__ == "__main__":
    main()
