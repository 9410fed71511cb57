"""The Deep Learning Computation chapter of Dive into Deep Learning, to import and to poke."""

from typing import TYPE_CHECKING

from .blocks import MLP as MLP
from .blocks import FancyMLP as FancyMLP
from .blocks import FixedHiddenMLP as FixedHiddenMLP
from .blocks import MySequential as MySequential
from .blocks import NestMLP as NestMLP
from .blocks import dense as dense
from .blocks import mlp as mlp
from .description import describe as describe
from .devices import as_in_context as as_in_context
from .devices import copyto as copyto
from .devices import cpu as cpu
from .devices import device_of as device_of
from .devices import gpu as gpu
from .devices import num_gpus as num_gpus
from .devices import try_all_gpus as try_all_gpus
from .devices import try_gpu as try_gpu
from .diagnosis import diagnose as diagnose
from .drawing import draw as draw
from .exercises import check as check
from .exercises import list_exercises as list_exercises
from .exercises import progress as progress
from .files import compare as compare
from .files import load as load
from .files import load_parameters as load_parameters
from .files import save as save
from .files import save_parameters as save_parameters
from .files import verify as verify
from .initializing.initialization import initialize as initialize
from .layers import CenteredLayer as CenteredLayer
from .layers import MyDense as MyDense
from .layers import MyLinear as MyLinear
from .lazy import apply_init as apply_init
from .lazy import infer_shapes as infer_shapes
from .lazy import materialize as materialize
from .lazy import pending as pending
from .metriclog import MetricLog as MetricLog
from .parameters import collect_params as collect_params
from .parameters import set_data as set_data
from .plotting import plot_gradients as plot_gradients
from .plotting import plot_parameters as plot_parameters
from .practice import practice_gpus as practice_gpus
from .ties.uses import gradients_by_use as gradients_by_use
from .tracing import trace as trace
from .transfers import watch_transfers as watch_transfers
from .tying import keep_ties as keep_ties
from .tying import tie as tie
from .tying import tied_groups as tied_groups
from .tying import untie as untie

if TYPE_CHECKING:
    from . import grading as grading


def __getattr__(name: str) -> object:
    if name != "grading":  # imported where it is used: nothing else needs it
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return import_module(f"{__name__}.grading")
