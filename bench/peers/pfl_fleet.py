"""pfl_fleet.py null|lora|cnn [OPTION...]: a fleet in pfl-research's simulation
(one process, PyTorch), with its FederatedAveraging. Prints one JSON object:
results a second from the second round on.

null: a client writes a vector of random numbers of its own. lora: what
lora_client.py does, on --model. cnn: the set-up of pfl-research's benchmark on
CIFAR10 (1,000 users of 50 images, an epoch in batches of 10, its CNN of
1,626,442 parameters) with random images."""

import argparse
import json
import os
import statistics
import time

import numpy as np
import pfl
import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Metrics
from pfl.model.pytorch import PyTorchModel
from pfl.stats import MappedVectorStatistics
from torch import nn

COORDINATES = 921_600
IMAGES, BATCH, CLASSES = 50, 10, 10


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("work", choices=["null", "lora", "cnn"])
    parser.add_argument("--model")
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--cohort", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    return parser.parse_args()


class Module(nn.Module):
    """What PyTorchModel asks for beside a loss."""

    def metrics(self, *_data, **_options):
        return {}


class NullModule(Module):
    def __init__(self):
        super().__init__()
        self.update = nn.Parameter(torch.zeros(COORDINATES))

    def loss(self, *_data):
        raise NotImplementedError("it is never trained")


class NullAveraging(FederatedAveraging):
    def train_one_user(self, initial_model_state, model, user_dataset, central_context):
        update = torch.empty(COORDINATES).uniform_(-1e-3, 1e-3)
        return MappedVectorStatistics({"update": update}, weight=1), Metrics()


class LoraModule(Module):
    def __init__(self, path):
        super().__init__()
        import lora_client
        self.model = lora_client.model_of(path)

    def loss(self, ids):
        return self.model(input_ids=ids, labels=ids).loss


class Cnn(Module):
    """pfl-research, benchmarks/model/pytorch/cnn.py: simple_cnn."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Dropout(0.25), nn.Flatten(), nn.Linear(64 * 14 * 14, 128), nn.ReLU(),
            nn.Dropout(0.5), nn.Linear(128, CLASSES))

    def loss(self, images, labels):
        return nn.functional.cross_entropy(self.layers(images), labels)


def images_of(user):
    random = np.random.default_rng(user)
    images = random.standard_normal((IMAGES, 3, 32, 32), dtype=np.float32)
    labels = random.integers(0, CLASSES, IMAGES)
    return Dataset([torch.from_numpy(images), torch.from_numpy(labels)], user_id=user)


def work_of(args):
    """Module, algorithm, a user's data, how it trains, its optimiser."""
    once = {"local_num_epochs": None, "local_num_steps": 1}
    if args.work == "null":
        return (NullModule(), NullAveraging(), lambda user: Dataset([torch.zeros(1)], user_id=user),
                NNTrainHyperParams(local_learning_rate=1.0, local_batch_size=1, **once),
                torch.optim.SGD)
    if args.work == "lora":
        import lora_client

        def adamw(parameters, lr):
            return torch.optim.AdamW([p for p in parameters if p.requires_grad], lr=lr,
                                     weight_decay=0.0)
        return (LoraModule(args.model), FederatedAveraging(),
                lambda user: Dataset([lora_client.sequences_of(user)], user_id=user),
                NNTrainHyperParams(local_learning_rate=lora_client.RATE, local_max_grad_norm=1.0,
                                   local_batch_size=lora_client.SEQUENCES, **once), adamw)
    users = [images_of(user) for user in range(args.clients)]
    return (Cnn(), FederatedAveraging(), users.__getitem__,
            NNTrainHyperParams(local_learning_rate=0.1, local_batch_size=BATCH,
                               local_num_epochs=1), torch.optim.SGD)


class Rounds(TrainingProcessCallback):
    def __init__(self):
        self.ended = []

    def after_central_iteration(self, aggregate_metrics, model, *, central_iteration):
        self.ended.append(time.perf_counter())
        return False, Metrics()


def main():
    args = options()
    torch.set_num_threads(args.threads)
    module, algorithm, data_of, train, optimizer = work_of(args)
    trained = [p for p in module.parameters() if p.requires_grad]
    model = PyTorchModel(module, optimizer, torch.optim.SGD(trained, lr=1.0))
    users = FederatedDataset(data_of, get_user_sampler("random", list(range(args.clients))))
    rounds = Rounds()
    algorithm.run(
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=args.rounds, evaluation_frequency=10**9,
            train_cohort_size=args.cohort, val_cohort_size=0),
        backend=SimulatedBackend(training_data=users, val_data=users), model=model,
        model_train_params=train, model_eval_params=NNEvalHyperParams(local_batch_size=None),
        callbacks=[rounds])
    took = np.diff(rounds.ended)
    results, seconds = args.cohort * len(took), float(took.sum())
    print(json.dumps({
        "pfl": pfl.__version__, "torch": torch.__version__, "clients": args.clients,
        "cohort": args.cohort, "rounds": args.rounds, "threads": args.threads,
        "parameters": sum(p.numel() for p in trained), "results": results, "seconds": seconds,
        "s_per_round": statistics.median(took), "results_per_s": results / seconds}))


if __name__ == "__main__":
    main()
