"""The library on nets that others wrote: a tied language model, a residual and a masked one.

They are built from a configuration, with random weights: nothing is downloaded.
"""

import pytest
import torch
from fingerprint import unchanged
from pinned import is_pinned
from torch.testing import assert_close

import d2lcompute as d2c
from d2lcompute import initializers as init

transformers = pytest.importorskip("transformers", reason="comes with the extra `test`")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

IDS = torch.arange(16).reshape(2, 8)


def gpt():
    small = {"n_layer": 2, "n_head": 2, "n_embd": 32, "vocab_size": 100, "n_positions": 32}
    tokens = {"bos_token_id": 0, "eos_token_id": 0}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**small, **tokens)).eval()


def bert():
    config = transformers.BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        vocab_size=100,
    )  # fmt: skip
    return transformers.BertForMaskedLM(config).eval()


def resnet():
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    return transformers.ResNetForImageClassification(config).eval()


NETS = {"gpt": (gpt, IDS), "bert": (bert, IDS), "resnet": (resnet, torch.rand(1, 3, 32, 32))}
every_net = pytest.mark.parametrize(("make", "X"), NETS.values(), ids=NETS)


@every_net
def test_describe_counts_what_torch_counts(make, X):
    net = make()
    with unchanged(net):
        report = d2c.describe(net)
    assert report.total == sum(p.numel() for p in net.parameters())


@every_net
def test_trace_reports_the_pass_and_leaves_the_net(make, X):
    net = make()
    with unchanged(net):
        report = d2c.trace(net, X)
    assert report.calls[0].name == ""
    assert len(report.calls) > 20


@every_net
@pytest.mark.skipif(not is_pinned("transformers"), reason="some releases read values on the way")
def test_shapes_are_inferred_without_values(make, X):
    net = make()
    with unchanged(net):
        report = d2c.infer_shapes(net, X)
    assert report.output[0] == tuple(net(X).logits.shape)


@every_net
def test_parameters_survive_a_file(make, X, tmp_path):
    net, fresh = make(), make()
    d2c.save_parameters(net, tmp_path / "net.safetensors")
    d2c.load_parameters(fresh, tmp_path / "net.safetensors")
    assert_close(fresh(X).logits, net(X).logits, rtol=0, atol=0)
    assert d2c.tied_groups(fresh) == d2c.tied_groups(make())


@pytest.mark.parametrize("make", [gpt, bert])
def test_a_file_of_theirs_in_which_the_tied_copy_is_missing_fits(make, tmp_path):
    net, fresh = make(), make()
    net.save_pretrained(tmp_path)
    report = d2c.load_parameters(fresh, tmp_path / "model.safetensors")
    assert report.misfits == ()
    assert_close(fresh(IDS).logits, net(IDS).logits, rtol=0, atol=0)


@every_net
def test_seeded_initialization_gives_the_same_net_twice(make, X):
    nets = make(), make()
    for net in nets:
        d2c.initialize(net, init.Normal(0.02), seed=0)
    assert_close(nets[0](X).logits, nets[1](X).logits, rtol=0, atol=0)


def test_the_two_uses_of_a_tied_embedding_add_up():
    net = gpt()
    tied = ("transformer.wte.weight", "lm_head.weight")
    assert tied in d2c.tied_groups(net)
    with unchanged(net):
        uses = d2c.gradients_by_use(net, lambda net: net(IDS).logits.square().mean())
    assert len(uses["lm_head.weight"].uses) == 2
    assert uses["lm_head.weight"].difference < 1e-6


def test_a_tie_survives_the_meta_device():
    net = gpt()
    before = d2c.tied_groups(net)
    with d2c.keep_ties(net):
        net.to("meta").to_empty(device="cpu")
    assert d2c.tied_groups(net) == before


@every_net
def test_nets_run_on_a_practice_accelerator(make, X, practice):
    net = make()
    expected = net(X).logits
    net.to(practice[1])
    assert_close(net(X.to(practice[1])).logits.cpu(), expected)
    assert d2c.device_of(net) == practice[1]
