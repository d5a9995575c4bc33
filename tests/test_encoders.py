"""Packs and fast attention give the numbers of transformers' own code."""

import weakref
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from accelerate import FullyShardedDataParallelPlugin
from accelerate.utils.fsdp_utils import fsdp2_prepare_auto_wrap_policy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import (
    AutoModelForTokenClassification,
    BertConfig,
    DebertaV2Config,
    ElectraConfig,
    MegatronBertConfig,
    RobertaConfig,
    XLMRobertaConfig,
)
from transformers.models.megatron_bert import modeling_megatron_bert as megatron

from clinical_ner import encoders
from clinical_ner.encoders import (
    FastLinear,
    MegatronBertForTokenClassification,
    MegatronBertModel,
    _layer_bytes,
    can_pack,
    choose_precision,
    first_position,
    memory_plan,
    network_class,
    new_network,
    speed_up,
)
from clinical_ner.train import add_lora, word_loss
from clinical_ner.windows import IGNORED, pack_windows, split_pack

SIZES = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "num_labels": 5,
    "pad_token_id": 1,
}
CONFIGS = [BertConfig, ElectraConfig, RobertaConfig, XLMRobertaConfig, MegatronBertConfig]


def make_rows(seed=0, count=7, longest=30):
    """Windows of random tokens and labels, some of the same length."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for length in [longest, 5, 5, *torch.randint(2, longest, (count - 3,), generator=generator)]:
        ids = torch.randint(4, 60, (int(length),), generator=generator)
        labels = torch.randint(0, 5, (int(length),), generator=generator)
        labels[torch.rand(int(length), generator=generator) < 0.3] = IGNORED
        rows.append({"input_ids": ids.tolist(), "labels": labels.tolist()})
    return sorted(rows, key=lambda row: -len(row["input_ids"]))


def pad(rows):
    """The same windows as transformers takes them."""

    def rectangle(name, padding):
        tensors = [torch.tensor(row[name]) for row in rows]
        return torch.nn.utils.rnn.pad_sequence(tensors, True, padding)

    ids = rectangle("input_ids", 1)
    mask = rectangle("input_ids", -1) != -1
    return {"input_ids": ids, "attention_mask": mask.long()}, rectangle("labels", IGNORED)


def make_pair(config_class):
    """transformers' network with eager attention, and ours with the same weights."""
    torch.manual_seed(0)
    plain = AutoModelForTokenClassification.from_config(
        config_class(**SIZES), attn_implementation="eager"
    )
    config = config_class(**SIZES)
    kind = network_class(config)
    made = kind._from_config(config) if hasattr(kind, "_from_config") else kind.from_config(config)
    made.load_state_dict(plain.state_dict())
    return plain, speed_up(made)


def gradients(net):
    return {name: weight.grad.clone() for name, weight in net.named_parameters()}


@pytest.mark.parametrize("config_class", CONFIGS)
@pytest.mark.parametrize("token_budget", [None, 20])
def test_packs_have_the_loss_and_the_gradients_of_padded_batches(config_class, token_budget):
    plain, ours = make_pair(config_class)
    rows = make_rows()
    batch, labels = pad(rows)
    expected = word_loss(plain(**batch), labels)
    expected.backward()
    assert can_pack(ours)
    pack = pack_windows(rows, first_position=first_position(ours))
    count = int((pack["labels"] != IGNORED).sum())
    total = torch.zeros(())
    for part in split_pack(pack, token_budget):
        part_labels = part.pop("labels")
        loss = word_loss(ours(**part), part_labels, count)
        loss.backward()
        total += loss.detach()
    torch.testing.assert_close(total, expected.detach(), atol=1e-5, rtol=1e-5)
    after = gradients(ours)
    for name, gradient in gradients(plain).items():
        torch.testing.assert_close(after[name], gradient, atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_megatron_bert_is_that_of_transformers(attention, checkpointing):
    plain, ours = make_pair(MegatronBertConfig)
    ours.set_attn_implementation(attention)
    assert ours.config._attn_implementation == attention
    for net in (plain, ours):
        net.train()
        if checkpointing:
            net.gradient_checkpointing_enable()
        batch, labels = pad(make_rows())
        word_loss(net(**batch), labels).backward()
    after = gradients(ours)
    for name, gradient in gradients(plain).items():
        torch.testing.assert_close(after[name], gradient, atol=1e-5, rtol=1e-5, msg=name)


def test_checkpointed_packs_have_the_same_gradients():
    _, ours = make_pair(MegatronBertConfig)
    pack = pack_windows(make_rows())
    labels = pack.pop("labels")
    word_loss(ours.train()(**pack), labels).backward()
    expected = gradients(ours)
    ours.zero_grad()
    ours.gradient_checkpointing_enable()
    word_loss(ours(**pack), labels).backward()
    for name, gradient in gradients(ours).items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-6, rtol=1e-5, msg=name)


def test_bfloat16_stays_near():
    plain, ours = make_pair(MegatronBertConfig)
    rows = make_rows()
    pack = pack_windows(rows)
    pack.pop("labels")
    batch, _ = pad(rows)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected = plain(**batch).logits[batch["attention_mask"] > 0]
        found = ours(**pack).logits[0]
    torch.testing.assert_close(found.float(), expected.float(), atol=1e-2, rtol=1e-2)


GATORTRON = {
    "base": (1024, 24, 16, 4096),
    "medium": (2560, 48, 40, 10240),
    "large": (3584, 56, 56, 14336),
}


@pytest.mark.parametrize("size", GATORTRON)
def test_gatortron_weights_have_the_names_and_shapes_of_transformers(size):
    hidden, layers, heads, inner = GATORTRON[size]
    config = MegatronBertConfig(
        vocab_size=50176,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        num_labels=19,
    )
    with torch.device("meta"):
        plain = megatron.MegatronBertForTokenClassification(MegatronBertConfig(**config.to_dict()))
        ours = MegatronBertForTokenClassification(config)
    shapes = [{k: v.shape for k, v in net.state_dict().items()} for net in (plain, ours)]
    assert shapes[0] == shapes[1]
    assert not any(weight.is_meta is False for weight in ours.parameters())


def test_what_is_saved_is_read_by_plain_transformers(tmp_path):
    _, ours = make_pair(MegatronBertConfig)
    ours.save_pretrained(tmp_path)
    again = AutoModelForTokenClassification.from_pretrained(tmp_path)
    assert type(again) is megatron.MegatronBertForTokenClassification
    batch, _ = pad(make_rows())
    mask = batch["attention_mask"] > 0
    with torch.no_grad():
        logits = [net.eval()(**batch).logits[mask] for net in (again, ours)]
    torch.testing.assert_close(*logits, atol=1e-5, rtol=1e-5)


def test_accelerate_finds_the_layers_to_shard():
    _, net = make_pair(MegatronBertConfig)
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2, auto_wrap_policy="transformer_based_wrap"
    )
    chosen = fsdp2_prepare_auto_wrap_policy(plugin, net)
    assert [part for part in net.modules() if chosen(part)] == list(net.bert.encoder.layer)
    bare = MegatronBertModel(net.config)
    assert [part for part in bare.modules() if chosen(part)] == list(bare.encoder.layer)
    assert bare._no_split_modules == net._no_split_modules


def varlen_stub(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale=None):
    """As torch 2.11 has it: every window attends to all of itself."""
    parts = []
    for first, past in zip(cu_seq_q.tolist(), cu_seq_k.tolist()[1:]):
        rows = (x[first:past].transpose(0, 1)[None] for x in (query, key, value))
        part = torch.nn.functional.scaled_dot_product_attention(*rows, scale=scale)
        parts.append(part[0].transpose(0, 1))
    return torch.cat(parts)


def old_varlen_stub(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, is_causal=False):
    """As torch 2.10 has it: without `scale`."""
    raise AssertionError("this kernel takes no scale")


@pytest.mark.parametrize("kernel, used", [(varlen_stub, True), (old_varlen_stub, False)])
@pytest.mark.parametrize("scaling", [None, 0.3])
def test_a_kernel_without_scale_is_left_alone(monkeypatch, kernel, used, scaling):
    encoders._varlen_kernel.cache_clear()
    varlen = pytest.importorskip("torch.nn.attention.varlen")
    with monkeypatch.context() as patch:
        patch.setattr(varlen, "varlen_attn", kernel)
        patch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
        on_gpu = SimpleNamespace(
            is_cuda=True, dtype=torch.float16, device="cuda", shape=[1, 2, 8, 64]
        )
        assert encoders._varlen_attention(on_gpu, 0.0) is (kernel if used else None)
        for size in (26, 264):  # which the kernel does not take
            on_gpu.shape = [1, 2, 8, size]
            assert encoders._varlen_attention(on_gpu, 0.0) is None
        chosen = encoders._varlen_kernel()
        patch.setattr(encoders, "_varlen_attention", lambda query, dropout: chosen)
        rows = torch.randn(3, 1, 2, 8, 4)
        found = encoders.attend_windows(*rows, torch.tensor([0, 5, 8]), scaling=scaling)
    encoders._varlen_kernel.cache_clear()
    expected = encoders.attend_windows(*rows, torch.tensor([0, 5, 8]), scaling=scaling)
    torch.testing.assert_close(found, expected)


def test_precision_is_that_of_the_device_in_use(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    assert [choose_precision("auto", device) for device in (None, "cuda", "cpu")] == [
        "bfloat16",
        "bfloat16",
        "float32",
    ]


def test_a_family_without_packs_gets_padding():
    config = DebertaV2Config(**SIZES, max_position_embeddings=40)
    net = speed_up(AutoModelForTokenClassification.from_config(config))
    assert not can_pack(net)


def test_transformers_own_megatron_bert_is_left_padded():
    net = megatron.MegatronBertForTokenClassification(MegatronBertConfig(**SIZES))
    assert not can_pack(speed_up(net))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_planned_activations_are_those_that_are_kept(precision):
    """Bytes that autograd keeps for the backward pass, each storage counted once."""
    sizes = {"hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4}
    config = MegatronBertConfig(
        **(SIZES | sizes | {"intermediate_size": 1024, "max_position_embeddings": 512})
    )
    net = new_network(config).train()
    weights = {weight.untyped_storage().data_ptr() for weight in net.parameters()}
    pack = pack_windows(make_rows(count=12, longest=300))
    labels, tokens = pack.pop("labels"), pack["input_ids"].numel()
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        is_weight = tensor.dim() == 2 and tensor.shape[0] != tokens and tensor.shape[1] != tokens
        if storage.data_ptr() not in weights and not is_weight:
            kept[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"),
    ):
        word_loss(net(**pack), labels)
    measured = sum(size for size, _ in kept.values())
    each = 6 * _layer_bytes(config, precision == "bfloat16", on_cpu=True) + 2 * 4 * 256
    assert abs(tokens * each / measured - 1) < 0.15


class LiveTensors(TorchDispatchMode):
    """Bytes of the tensors that exist, and the most that there were at a time."""

    def __init__(self):
        super().__init__()
        self.now, self.peak, self.known = 0, 0, set()

    def add(self, tensor):
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self.known:
            self.known.add(key)
            weakref.finalize(storage, self.drop, key, size)
            self.now += size
            self.peak = max(self.peak, self.now)

    def drop(self, key, size):
        self.known.discard(key)
        self.now -= size

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, torch.Tensor):
                self.add(leaf)
        return made


def measure_peak(net, pack, half: bool, parts: int) -> int:
    """Bytes of all tensors at the peak of a step, the second, of so many equal parts."""
    learn = [weight for weight in net.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(learn, lr=1e-6, fused=True)  # as transformers' default is
    inputs = {name: row for name, row in pack.items() if name != "labels"}

    def step():
        for _ in range(parts):
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                loss = word_loss(net(**inputs), pack["labels"])
            loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    step()
    with LiveTensors() as live:
        states = [value for state in optimiser.state.values() for value in state.values()]
        for tensor in [*net.parameters(), *states]:
            live.add(tensor.data)
        step()
    return live.peak


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("lora", [None, 8])
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("count", [3, 12])  # few tokens: gradients decide; many: activations
def test_the_plan_is_the_peak(tmp_path, monkeypatch, precision, checkpointing, lora, parts, count):
    sizes = {"hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4}
    config = MegatronBertConfig(**(SIZES | sizes | {"intermediate_size": 1024}))
    config.save_pretrained(tmp_path)
    net = new_network(config).train()
    if lora:
        pytest.importorskip("peft")
        net = add_lora(net, lora)
    if checkpointing:
        net.gradient_checkpointing_enable()
        net.enable_input_require_grads()  # as transformers' Trainer does for adapters
    pack = pack_windows(make_rows(count=count, longest=300))
    peak = measure_peak(net, pack, precision == "bfloat16", parts)
    monkeypatch.setattr(encoders, "_layer_bytes", partial(_layer_bytes, on_cpu=True))
    options = {"tokens": pack["input_ids"].numel(), "precision": precision, "lora": lora}
    options |= {"checkpointing": checkpointing, "whole": parts == 1}
    plan = memory_plan(str(tmp_path), **options)
    assert 0.9 < plan.total * 1e9 / peak < 1.1


def test_planned_moments_of_8_bits_are_those_of_the_library(tmp_path):
    optim = pytest.importorskip("torchao.optim")
    net = new_network(
        MegatronBertConfig(**(SIZES | {"hidden_size": 256, "intermediate_size": 512}))
    )
    net.config.save_pretrained(tmp_path)
    moments = optim.AdamW8bit(net.parameters())
    new = [moments._new_buffer(weight, signed) for weight in net.parameters() for signed in (0, 1)]
    parts = [(m.codes, m.scale) if hasattr(m, "codes") else (m,) for m in new]
    measured = sum(part.nbytes for some in parts for part in some)
    plan = memory_plan(str(tmp_path), optim="adamw_torch_8bit")
    assert abs(plan.optimiser * 1e9 / measured - 1) < 0.15


def test_planned_weights_are_those_of_the_network(tmp_path):
    net = MegatronBertForTokenClassification._from_config(MegatronBertConfig(**SIZES))
    net.config.save_pretrained(tmp_path)
    plan = memory_plan(str(tmp_path), precision="float32")
    count = sum(weight.numel() for weight in net.parameters())
    assert abs(plan.weights * 1e9 / (4 * count) - 1) < 0.01
    assert abs(plan.optimiser * 1e9 / (8 * count) - 1) < 0.01


@pytest.mark.parametrize("shape", [(24,), (1, 24), (7, 24), (2, 5, 24), (0, 24), (3, 1, 2, 24)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_as_a_convolution_is_the_layer(shape, bias, monkeypatch):
    monkeypatch.setattr(encoders, "_convolves", lambda: True)
    torch.manual_seed(0)
    layer, x = FastLinear(24, 40, bias=bias), torch.randn(shape)
    expected = torch.nn.functional.linear(x, layer.weight, layer.bias).detach()
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)
        rows = x.expand(3, *shape).transpose(0, -2) if x.dim() > 1 else x[::2].repeat_interleave(2)
        same = torch.nn.functional.linear(rows, layer.weight, layer.bias)  # not contiguous
        torch.testing.assert_close(layer(rows), same, rtol=1e-5, atol=1e-5)


def test_a_layer_keeps_other_precisions_and_its_gradients():
    torch.manual_seed(0)
    layer, x = FastLinear(24, 40), torch.randn(7, 24)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    with torch.no_grad():
        assert layer.to(torch.bfloat16)(x.bfloat16()).dtype == torch.bfloat16
    layer.float()(x).sum().backward()
    assert layer.weight.grad.shape == (40, 24)
