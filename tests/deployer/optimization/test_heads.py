"""A transformer loses whole heads and inner channels: smaller matrices, and exactly what their silence would cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from deployer.errors import InputError
from deployer.optimization.heads import groups
from deployer.optimization.prune import prune

pytestmark = pytest.mark.optimize
WIDTH, HEADS, INNER, LENGTH = 32, 4, 64, 6
nn: Any = torch.nn


class Attention(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.num_attention_heads = HEADS
        self.attention_head_size = WIDTH // HEADS
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, x: Any) -> Any:
        shape = (*x.shape[:-1], -1, self.attention_head_size)
        q, k, v = (f(x).view(shape).transpose(1, 2) for f in (self.query, self.key, self.value))
        answer = nn.functional.scaled_dot_product_attention(q, k, v)
        return answer.transpose(1, 2).reshape(*x.shape[:-1], -1)


class Block(nn.Module):  # type: ignore[misc]
    """One encoder block; ``shortcut`` lets the answer see the inner channels by another way as well."""

    def __init__(self, *, gated: bool = False, shortcut: bool = False) -> None:
        super().__init__()
        self.attention, self.dense = Attention(), nn.Linear(WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.gate = nn.Linear(WIDTH, INNER) if gated else None
        self.up, self.down = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)
        self.shortcut = shortcut

    def forward(self, x: Any) -> Any:
        x = self.norm(x + self.dense(self.attention(x)))
        gate = torch.sigmoid(self.gate(x)) if self.gate is not None else 1
        inner = torch.relu(self.up(x)) * gate
        answer = x + self.down(inner)
        return answer * (1 + inner.mean()) if self.shortcut else answer


def model(**kind: bool) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(Block(**kind), Block(**kind)).eval()


@pytest.fixture
def example() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(96, LENGTH, WIDTH)).astype(np.float32)}


@pytest.mark.parametrize("gated", [False, True])
def test_heads_and_inner_channels_are_gone_and_the_width_stays(gated: bool, example: Any) -> None:
    whole = model(gated=gated)
    small = prune(whole, example, remove=0.5)
    for block in small:
        assert block.attention.num_attention_heads == HEADS // 2
        assert block.attention.query.weight.shape == (WIDTH // 2, WIDTH)
        assert block.dense.weight.shape == (WIDTH, WIDTH // 2)
        assert block.up.weight.shape == (INNER // 2, WIDTH)
        assert block.down.weight.shape == (WIDTH, INNER // 2)
    assert whole[0].up.weight.shape == (INNER, WIDTH)  # the model that was given is left alone
    assert small(torch.from_numpy(example["x"])).shape == (96, LENGTH, WIDTH)


def test_the_weakest_head_goes_first(example: Any) -> None:
    whole = model()
    with torch.no_grad():
        whole[0].attention.value.weight[8:16] = 0
        whole[0].dense.weight[:, 8:16] = 0
    small = prune(whole, example, remove=0.25, keep=["1", "0.up"])
    stay = [*range(8), *range(16, WIDTH)]
    assert torch.equal(small[0].attention.query.weight, whole[0].attention.query.weight[stay])
    assert small[1].attention.num_attention_heads == HEADS  # kept, as asked


def test_tuning_brings_the_answers_back(example: Any) -> None:
    whole, rows = model(), torch.from_numpy(example["x"])
    cut, tuned = (
        prune(whole, example, remove=0.25, training=training, epochs=15)
        for training in (None, example)
    )
    with torch.no_grad():
        before, after = (float((m(rows) - whole(rows)).square().mean()) for m in (cut, tuned))
    assert after < 0.5 * before


def test_channels_that_are_seen_by_another_way_are_not_cut_in_silence(example: Any) -> None:
    with pytest.raises(InputError, match="cannot be cut: its answer would be off by"):
        prune(model(shortcut=True), example, remove=0.5)


def test_model_without_attention_has_no_heads(example: Any) -> None:
    plain = nn.Sequential(nn.Linear(WIDTH, INNER), nn.ReLU(), nn.Linear(INNER, WIDTH))
    assert groups(plain, (torch.from_numpy(example["x"]),)) == ()


def test_model_that_cannot_be_followed_is_a_plain_error(example: Any) -> None:
    class Folded(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(WIDTH, WIDTH), nn.Linear(8, 8)

        def forward(self, x: Any) -> Any:
            return self.last(self.first(x).view(len(x), -1, 4, 8)).flatten(1)

    with pytest.raises(InputError, match=r"cannot be cut|changed the answer's shape"):
        prune(Folded(), example, remove=0.5)
