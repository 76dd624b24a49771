"""Candidates do not affect each other, and fast paths are left out one by one."""

import torch

from fcnexp.benching import nets
from fcnexp.benching.fast_paths import TAKEN, left_out
from fcnexp.benching.nets import passes
from fcnexp.benching.train_candidates import learner
from fcnexp.nn.fast import packed, winograd
from fcnexp.nn.fast.switches import FAST_PATHS, enabled

CPU = torch.device("cpu")
BF16 = f"{nets.OURS}, {nets.APPROXIMATE}"


def test_candidates_in_turn_prepare_their_weights_once(monkeypatch):
    prepared = []
    for module, name in ((winograd, "transform_weights"), (packed, "pack")):
        real = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *given, real=real, name=name: prepared.append(name) or real(*given)
        )
    wanted = [nets.PLAIN, nets.OURS, BF16]
    scores = [passes(one, [[16, 16]]) for one in nets.candidates(wanted, "fcn32s", 4, CPU)]
    for score in scores:
        score()
    halves = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert len(prepared) > 10 * (1 + halves)  # about 15 layers in each precision
    prepared.clear()
    for score in scores:
        score()
    assert prepared == []


def test_learners_have_equal_weights_and_share_nothing():
    one, other = (learner(name, "fcn32s", 4, CPU) for name in (nets.OURS, BF16))
    pairs = list(zip(one.candidate.net.parameters(), other.candidate.net.parameters(), strict=True))
    assert all(torch.equal(a, b) and a.data_ptr() != b.data_ptr() for a, b in pairs)
    assert one.optimizer is not other.optimizer


def test_each_fast_path_is_left_out_alone_after_a_preparing_pass():
    done, prepared = [], []

    def missing():
        return tuple(path for path in FAST_PATHS if not enabled(path))

    table = left_out(
        "", lambda: done.append(missing()), 2, CPU, prepare=lambda: prepared.append(missing())
    )
    assert done == 2 * [(), *((path,) for path in FAST_PATHS), tuple(FAST_PATHS)] == prepared
    assert [row.name for row in table.rows][:2] == [TAKEN, "without border"]


def test_effect_of_a_fast_path_is_the_time_without_it(monkeypatch):
    clock = iter(range(100))
    spans = {0: 1.0, 1: 3.0}  # with all, then without the first; the others do not matter

    def now(device):
        tick = next(clock)
        return spans.get(tick // 2, 1.0) if tick % 2 else 0.0

    monkeypatch.setattr("fcnexp.benching.fast_paths.now", now)
    rows = left_out("", lambda: None, 1, CPU).rows
    assert [row.facts["takes"] for row in rows[:2]] == ["1.00 times as long", "3.00 times as long"]


def test_plain_candidate_computes_what_the_textbook_net_does_in_channels_last():
    device = torch.device("cpu")
    (plain,) = nets.candidates([nets.PLAIN], "fcn32s", 4, device)
    textbook = nets.build(nets.TEXTBOOK, "fcn32s", 4).to(memory_format=torch.channels_last)
    image = nets.image([16, 16])
    with torch.inference_mode(), plain.around():
        scores = plain.score(plain.place(image))
        wanted = textbook(image.to(memory_format=torch.channels_last))
    assert torch.equal(scores, wanted)
