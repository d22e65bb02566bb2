"""Bad models: folders and traced files."""

import os
import pickle

import torch

from tests.e2e.bad_inputs.case import (
    HUGE,
    TRAIN,
    Case,
    Hostile,
    and_then,
    config,
    cut,
    edited,
    member,
    nothing,
    removed,
    text,
)

EVALUATE = "evaluate -M DQN -C config.json"
TRACED = "evaluate -M traced_DQN_model.pt -C config.json"
LOAD = config(load_model="DQN")

MODELS = [
    Case(what, command, spoil, says)
    for what, command, spoil, says in (
        ("no such folder", TRAIN, config(load_model="nowhere"), "'load_model': \"nowhere\" is not a folder"),
        ("empty folder", TRAIN, config(load_model="empty"), "empty: not a model folder"),
        (
            "model of another agent",
            TRAIN,
            config(load_model="SAC"),
            "belongs to a model of type SAC, not DQN",
        ),
        (
            "model of another agent",
            "train_rl_agents -C config.json",
            config(load_model="IQN"),
            "belongs to a model of type IQN, not DQN",
        ),
        ("weights torn", TRAIN, and_then(LOAD, cut("DQN/network_params.pth")), "cannot be read as weights"),
        ("no such model", "evaluate -M nowhere -C config.json", nothing, "nowhere: no such file"),
        ("empty folder", "evaluate -M empty -C config.json", nothing, "empty: not a model folder"),
        (
            "a config in place of a model",
            "evaluate -M config.json -C config.json",
            nothing,
            "not a readable T",
        ),
        ("another type asked for", f"{EVALUATE} --agent-type IQN", nothing, "belongs to a model of type DQN"),
        (
            "weights missing",
            EVALUATE,
            removed("DQN/network_params.pth"),
            "DQN/network_params.pth: No such file",
        ),
        ("parameters missing", EVALUATE, removed("DQN/constructor_params.json"), "No such file"),
        ("parameters torn", EVALUATE, cut("DQN/constructor_params.json"), "not valid JSON"),
        (
            "parameters a list",
            EVALUATE,
            text("DQN/constructor_params.json", "[1]"),
            "must hold a JSON object",
        ),
        (
            "parameter of another size",
            EVALUATE,
            edited("DQN/constructor_params.json", lambda content: content.update(hidden_dimension=64)),
            "DQN/network_params.pth: hidden_layer",
        ),
        (
            "parameter beyond reason",
            EVALUATE,
            edited("DQN/constructor_params.json", lambda content: content.update(hidden_dimension=HUGE)),
            "no network can be built from it",
        ),
        ("weights empty", EVALUATE, text("DQN/network_params.pth", ""), "cannot be read as weights"),
        ("weights torn", EVALUATE, cut("DQN/network_params.pth"), "cannot be read as weights"),
        (
            "weights that run code",
            EVALUATE,
            lambda: torch.save(Hostile(), "DQN/network_params.pth"),
            "cannot be read as weights (UnpicklingError)",
        ),
        (
            "weights of something else",
            EVALUATE,
            lambda: torch.save({"a": torch.zeros(2)}, "DQN/network_params.pth"),
            "not the weights of",
        ),
        (
            "weights that are numbers",
            EVALUATE,
            lambda: torch.save({"a": 1}, "DQN/network_params.pth"),
            "must hold a dictionary of named floating-point tensors",
        ),
        (
            "traced file torn",
            TRACED,
            cut("traced_DQN_model.pt"),
            "not a readable TorchScript file",
        ),
        (
            "traced file that runs code",
            TRACED,
            member("traced_DQN_model.pt", "/data.pkl", pickle.dumps(Hostile(), protocol=2)),
            "mkdir, which no traced network needs",
        ),
        (
            "traced file under another name",
            "evaluate -M traced_SAC_model.pt -C config.json",
            lambda: os.replace("traced_DQN_model.pt", "traced_SAC_model.pt"),
            "not the weights of SAC",
        ),
        (
            "a file in place of a folder",
            "export -M config.json",
            nothing,
            "is not a model folder",
        ),
        ("empty folder", "export -M empty", nothing, "empty: not a model folder"),
        (
            "weights torn",
            "export -M DQN",
            cut("DQN/network_params.pth"),
            "cannot be read as weights",
        ),
        ("no such folder", "view_episode trial -m nowhere", nothing, "nowhere: no such folder"),
        ("empty folder", "view_episode trial -m empty", nothing, "empty: not a model folder"),
        (
            "agent without quantiles",
            "view_episode trial -m SAC",
            nothing,
            "a SAC model has no return quantiles",
        ),
        ("agent of other actions", "view_episode trial -m IQN", nothing, "whose actions are discrete"),
    )
]
