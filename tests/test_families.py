"""Families of large nets, as others wrote them: known totals, ties, FLOPs, findings and pictures.

They are built from their configurations on the meta device: no values, nothing downloaded.
"""

import pytest
import torch
from pinned import is_pinned

import d2lcompute as d2c

T = pytest.importorskip("transformers", reason="comes with the extra `test`")
pytestmark = [
    pytest.mark.skipif(
        not is_pinned("torch", "transformers"), reason="other releases make other nets of a family"
    ),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

A4 = 8.27, 11.69  # inches
TOKENS = torch.zeros(1, 8, dtype=torch.long)
TEXT = {"input_ids": TOKENS}
BOTH = {"input_ids": TOKENS, "decoder_input_ids": TOKENS}
# Of each family: what makes the net, its inputs, how many parameters the published net of this
# configuration has, its tied groups, and the FLOPs of one pass, as torch counts them.
FAMILIES = {
    "BERT base": (
        lambda: T.BertForMaskedLM(T.BertConfig()), TEXT, 109_514_298,
        [("bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"),
         ("cls.predictions.bias", "cls.predictions.decoder.bias")], 1_745_805_312,
    ),
    "GPT-2": (
        lambda: T.GPT2LMHeadModel(T.GPT2Config()), TEXT, 124_439_808,
        [("transformer.wte.weight", "lm_head.weight")], 1_978_871_808,
    ),
    "T5 small": (
        lambda: T.T5ForConditionalGeneration(T.T5Config()), BOTH, 60_506_624,
        [("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight",
          "lm_head.weight")], 970_194_944,
    ),
    "Llama 3.2 1B, with grouped queries": (
        lambda: T.LlamaForCausalLM(T.LlamaConfig(
            vocab_size=128_256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16,
            num_attention_heads=32, num_key_value_heads=8, tie_word_embeddings=True,
        )), TEXT, 1_235_814_400,
        [("model.embed_tokens.weight", "lm_head.weight")], 19_780_337_664,
    ),
    # torch counts no grouped products: 23,622,320,128. In each of 32 layers each of 8 tokens goes
    # to 2 experts of 3 matrices, 4096 x 14336.
    "Mixtral 8x7B": (
        lambda: T.MixtralForCausalLM(T.MixtralConfig()).bfloat16(), TEXT, 46_702_792_704,
        [], 23_622_320_128 + 32 * 8 * 2 * 3 * 2 * 4096 * 14_336,
    ),
    "Whisper tiny": (
        lambda: T.WhisperForConditionalGeneration(T.WhisperConfig()),
        {"input_features": torch.zeros(1, 80, 3000), "decoder_input_ids": TOKENS}, 37_760_640,
        [("model.decoder.embed_tokens.weight", "proj_out.weight")], 41_001_572_352,
    ),
    "ViT base": (
        lambda: T.ViTForImageClassification(T.ViTConfig(num_labels=1000)),
        {"pixel_values": torch.zeros(1, 3, 224, 224)}, 86_567_656,
        [], 35_126_123_520 + 2 * 768 * 998,
    ),
    "Mamba 130M": (
        lambda: T.MambaForCausalLM(T.MambaConfig(num_hidden_layers=24, vocab_size=50_280)), TEXT,
        129_135_360, [("backbone.embeddings.weight", "lm_head.weight")], 2_064_973_824,
    ),
    # As it is trained: to predict it writes to its state, through which no gradient comes.
    "RWKV 4 169M": (
        lambda: T.RwkvForCausalLM(T.RwkvConfig(hidden_size=768, num_hidden_layers=12)).train(),
        TEXT, 169_342_464, [], 2_090_004_480,
    ),
}  # fmt: skip

SMALL = {"vocab_size": 100, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
WIDE = {"hidden_size": 64, "num_hidden_layers": 3}
HEADS = {**WIDE, "num_attention_heads": 4, "intermediate_size": 128}
IDS = {"input_ids": torch.arange(12).reshape(2, 6)}
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
# The same families, and others, so small that they compute.
COMPUTED = {
    "BERT": (lambda: T.BertForMaskedLM(T.BertConfig(**SMALL, **HEADS)), IDS),
    "ELECTRA": (lambda: T.ElectraForMaskedLM(T.ElectraConfig(**SMALL, **HEADS)), IDS),
    "ConvBERT": (lambda: T.ConvBertForMaskedLM(T.ConvBertConfig(**SMALL, **HEADS)), IDS),
    "GPT-2": (
        lambda: T.GPT2LMHeadModel(T.GPT2Config(**SMALL, n_embd=64, n_layer=3, n_head=4)), IDS,
    ),
    "T5": (
        lambda: T.T5ForConditionalGeneration(T.T5Config(**SMALL, d_model=64, num_layers=2)),
        {**IDS, "decoder_input_ids": IDS["input_ids"]},
    ),
    "Llama": (
        lambda: T.LlamaForCausalLM(T.LlamaConfig(**SMALL, **HEADS, num_key_value_heads=2)), IDS,
    ),
    "Mixtral": (
        lambda: T.MixtralForCausalLM(T.MixtralConfig(**SMALL, **HEADS, num_key_value_heads=2)), IDS,
    ),
    "ViT": (
        lambda: T.ViTForImageClassification(T.ViTConfig(**HEADS, image_size=32, patch_size=8)),
        {"pixel_values": IMAGES},
    ),
    "Mamba": (lambda: T.MambaForCausalLM(T.MambaConfig(**SMALL, **WIDE)), IDS),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPUTED)
def test_a_small_net_of_a_family_has_no_finding_as_it_starts(name):
    torch.manual_seed(0)
    make, inputs = COMPUTED[name]
    assert d2c.diagnose(make(), **inputs).findings == ()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_of_large_nets_is_seen_as_it_is(name):
    make, inputs, total, ties, flops = FAMILIES[name]
    with torch.device("meta"):
        net = make()
    inputs = {key: value.to("meta") for key, value in inputs.items()}
    assert d2c.describe(net).total == total
    assert d2c.tied_groups(net) == ties
    report = d2c.trace(net, **inputs)
    assert report.error is None
    assert report.calls[0].flops == flops
    assert "not counted" not in repr(report)
    assert d2c.diagnose(net, **inputs).findings == ()
    short, long = sorted(d2c.draw(net, depth=2, **inputs).figure.get_size_inches())
    assert short <= A4[0]
    assert long <= A4[1]
