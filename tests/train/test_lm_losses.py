"""Losses, masks and attention supervision against computations by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from formats.checkpoint.tokenizer import SpeechTokens, build_phoneme_tokenizer, read_speech_tokens
from formats.streams import Streams
from tests.tiny_models import CHARACTERS, tiny_config
from train.language_model.backbone import set_attention
from train.language_model.checkpoint import make_model
from train.language_model.fused_loss import linear_cross_entropy
from train.language_model.mtp import LossWeights, MtpModel
from train.language_model.ntp import NtpModel
from train.language_model_training.corruption import corrupt_history
from train.language_model_training.guided_attention import (
    ATTENTION_NAME,
    AttentionProbe,
    guided_attention_loss,
)


def tokens_for(mtp: bool) -> SpeechTokens:
    return read_speech_tokens(build_phoneme_tokenizer([CHARACTERS], mtp=mtp), "test")


def tiny_mtp(heads: int, kind: str = "linear", speaker_aware: bool = False) -> MtpModel:
    torch.manual_seed(0)
    model = make_model(tiny_config(heads, kind, speaker_aware), tokens_for(True))
    assert isinstance(model, MtpModel)
    return model.eval()


def speech_batch(tokens: SpeechTokens, heads: int) -> dict[str, torch.Tensor]:
    """Two sequences of 9 and 7 positions: text, `<sosp>`, steps, `<eosp>`, eos, padding."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(1, 50, (2, 9, 1), generator=generator).repeat(1, 1, heads)
    speech = torch.zeros(2, 9, dtype=torch.bool)
    loss = torch.zeros(2, 9, dtype=torch.bool)
    for row, (start, steps, length) in enumerate([(3, 3, 9), (2, 2, 7)]):
        ids[row, start] = tokens.start
        for step in range(steps):
            for head in range(heads):
                code = int(torch.randint(1024, (1,), generator=generator))
                ids[row, start + 1 + step, head] = tokens.codes[head % 3][code]
        ids[row, start + 1 + steps] = tokens.end
        ids[row, length - 1 :] = tokens.eos
        speech[row, start + 1 : start + 2 + steps] = True
        loss[row, start:length] = True
    return {"token_ids": ids, "speech_mask": speech, "loss_mask": loss}


@pytest.mark.parametrize(("heads", "kind"), [(3, "linear"), (6, "mlp"), (6, "transformer")])
def test_mtp_loss_is_the_published_formula(heads: int, kind: str) -> None:
    """0.2 text + 0.8 mean over heads, full scores, labels shifted, -100 where masked."""
    model = tiny_mtp(heads, kind)
    batch = speech_batch(model.tokens, heads)
    ids, speech = batch["token_ids"], batch["speech_mask"]
    embedded = model.embedding(ids)
    mixed = torch.where(speech[..., None], embedded.mean(2), embedded[:, :, 0])
    hidden = model.lm_model.model(inputs_embeds=mixed).last_hidden_state
    labels = torch.where(batch["loss_mask"][..., None], ids, -100)[:, 1:]
    text_labels = torch.where(speech[:, 1:], -100, labels[..., 0])
    text = F.cross_entropy(
        model.lm_model.lm_head(hidden)[:, :-1].flatten(0, 1), text_labels.flatten()
    )
    per_head = []
    for index, scores in enumerate(model.head_scores(hidden)):
        local = {token: i for i, token in enumerate(model.tokens.head_ids(index))}
        wanted = torch.where(speech[:, 1:], labels[..., index], -100)
        wanted = torch.tensor([local.get(int(token), -100) for token in wanted.flatten()])
        per_head.append(F.cross_entropy(scores[:, :-1].flatten(0, 1), wanted))
    report = model(**batch)
    expected = 0.2 * text + 0.8 * torch.stack(per_head).mean()
    torch.testing.assert_close(report.total, expected)
    torch.testing.assert_close(report.heads, torch.stack(per_head).detach())
    assert (report.positions, report.text_positions) == (7, 4)


def test_padding_changes_nothing() -> None:
    model = tiny_mtp(3)
    batch = speech_batch(model.tokens, 3)
    longer = {
        "token_ids": F.pad(batch["token_ids"], (0, 0, 0, 4), value=5),
        "speech_mask": F.pad(batch["speech_mask"], (0, 4)),
        "loss_mask": F.pad(batch["loss_mask"], (0, 4)),
    }
    torch.testing.assert_close(model(**batch).total, model(**longer).total)


def test_ntp_loss_is_cross_entropy_of_the_answer() -> None:
    torch.manual_seed(0)
    model = make_model(tiny_config(1), tokens_for(False)).eval()
    assert isinstance(model, NtpModel)
    batch = speech_batch(model.tokens, 1)
    ids = batch["token_ids"][..., 0]
    scores = model.lm_model(input_ids=ids).logits
    labels = torch.where(batch["loss_mask"], ids, -100)[:, 1:]
    expected = F.cross_entropy(scores[:, :-1].flatten(0, 1), labels.flatten())
    torch.testing.assert_close(model(**batch).total, expected)
    speech_only = model(**batch, weights=LossWeights(text=0.0, speech=1.0))
    assert speech_only.positions == 7


def test_batches_without_speech_or_text_have_a_loss() -> None:
    model = tiny_mtp(3)
    batch = speech_batch(model.tokens, 3)
    no_speech = batch | {"speech_mask": torch.zeros_like(batch["speech_mask"])}
    assert torch.isfinite(model(**no_speech).total)
    no_text = batch | {"loss_mask": batch["speech_mask"]}
    report = model(**no_text)
    torch.testing.assert_close(report.total, 0.8 * report.heads.mean())


def test_speaker_stands_at_the_placeholder() -> None:
    model = tiny_mtp(3, speaker_aware=True)
    assert model.spk_emb_proj is not None
    placeholder = model.tokens.placeholder
    assert placeholder is not None
    ids = torch.tensor([[4, placeholder, 6], [placeholder, 5, 6]])
    speaker = torch.randn(2, 256)
    embedded = model.embed_text(ids, speaker)
    projected = model.spk_emb_proj(speaker)
    torch.testing.assert_close(embedded[0, 1], projected[0])
    torch.testing.assert_close(embedded[1, 0], projected[1])
    torch.testing.assert_close(embedded[0, 2], model.embedding.weight[6])
    with pytest.raises(ValueError, match="speaker embedding"):
        model.embed_text(ids, None)


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("rows", [1, 11])
def test_fused_loss_equals_torch(
    with_bias: bool, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "train.language_model.fused_loss._BLOCK_ELEMENTS", {"cpu": 4 * 37}
    )  # 4 rows a block
    torch.manual_seed(1)
    features = torch.randn(rows, 13, requires_grad=True)
    weight = torch.randn(37, 13, requires_grad=True)
    bias = torch.randn(37, requires_grad=True) if with_bias else None
    labels = torch.randint(37, (rows,))
    inputs = [tensor for tensor in (features, weight, bias) if tensor is not None]
    loss, correct = linear_cross_entropy(features, weight, bias, labels)
    scores = F.linear(features, weight, bias)
    expected = F.cross_entropy(scores, labels)
    torch.testing.assert_close(loss, expected)
    assert int(correct) == int((scores.argmax(1) == labels).sum())
    ours = torch.autograd.grad(3.0 * loss, inputs)
    theirs = torch.autograd.grad(3.0 * expected, inputs)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_probe_sees_the_probabilities_and_changes_nothing() -> None:
    model = tiny_mtp(3)
    embeddings = torch.randn(2, 7, 64)
    plain = model.hidden_states(embeddings)
    set_attention(model, ATTENTION_NAME)
    probe = AttentionProbe(layers=(0, 2), heads=2)
    torch.testing.assert_close(model.hidden_states(embeddings, probe=probe), plain)
    torch.testing.assert_close(model.hidden_states(embeddings), plain)
    set_attention(model, "eager")
    weights = model.lm_model.model(inputs_embeds=embeddings, output_attentions=True).attentions
    assert len(probe.probabilities) == 2
    for seen, expected in zip(probe.probabilities, (weights[0], weights[2]), strict=True):
        assert seen.shape == (2, 2, 7, 7)
        torch.testing.assert_close(seen.sum(-1), torch.ones(2, 2, 7))
        assert seen.triu(1).abs().max() == 0
        torch.testing.assert_close(seen, expected[:, :2])


def test_guided_attention_loss_by_hand() -> None:
    probabilities = torch.zeros(1, 2, 4, 4)
    probabilities[0, 0, 2, 1], probabilities[0, 1, 2, 2] = 0.5, 0.25
    probabilities[0, 0, 3, 2], probabilities[0, 1, 3, 3] = 1.0, 0.125
    guide = torch.tensor([[-1, -1, 1, 2]])
    p = torch.tensor([[0.5, 1.0], [0.25, 0.125]]) + 1e-4
    expected = -p.log().mean(1).sum()
    torch.testing.assert_close(guided_attention_loss([probabilities], guide), expected)
    assert guided_attention_loss([probabilities], torch.full((1, 4), -1)) == 0
    both = guided_attention_loss([probabilities, torch.full((1, 2, 4, 4), 1.0)], guide)
    torch.testing.assert_close(both, expected - 2 * torch.tensor(1.0 + 1e-4).log())


@pytest.mark.parametrize("heads", [1, 6])
def test_corruption_keeps_codebooks_and_the_rest(heads: int) -> None:
    tokens = tokens_for(heads > 1)
    batch = speech_batch(tokens, heads)
    ids, speech = batch["token_ids"], batch["speech_mask"]
    generator = torch.Generator().manual_seed(0)
    books = [torch.tensor(book) for book in tokens.codes]
    changed = 0
    for _ in range(20):
        noisy = corrupt_history(ids, speech, tokens, 1.0, generator)
        changed += int((noisy != ids).sum())
        assert torch.equal(noisy[~speech], ids[~speech])
        assert torch.equal(noisy == tokens.end, ids == tokens.end)
        for book in books:
            assert torch.equal(torch.isin(noisy, book), torch.isin(ids, book))
    share = changed / (20 * 5 * heads)  # 5 steps of codes; the mean probability is 1/2
    assert 0.3 < share < 0.7
    assert torch.equal(corrupt_history(ids, speech, tokens, 0.0, generator), ids)


def test_corruption_can_be_what_a_model_predicted() -> None:
    tokens = tokens_for(True)
    batch = speech_batch(tokens, 6)
    ids, speech = batch["token_ids"], batch["speech_mask"]
    generator = torch.Generator().manual_seed(0)
    predicted = torch.randint(1024, ids.shape, generator=generator)
    codes = torch.tensor(tokens.codes)[torch.arange(6) % 3]  # (6, 1024)
    wanted = torch.stack([codes[i][predicted[..., i]] for i in range(6)], dim=-1)
    noisy = corrupt_history(ids, speech, tokens, 1.0, generator, predicted)
    changed = (noisy != ids).any(-1)
    assert 0 < changed.sum() < speech.sum()
    assert torch.equal(noisy[changed], wanted[changed])
    assert not (changed & ~speech).any()


@pytest.mark.parametrize("heads", [1, 4])
def test_random_codes_of_small_streams_are_equally_likely(heads: int) -> None:
    streams = Streams((48, 20), 62.5)
    tokenizer = build_phoneme_tokenizer(["a"], mtp=heads > 1, streams=streams)
    tokens = read_speech_tokens(tokenizer, "test", streams)
    clean = torch.tensor(tokens.codes[0][:1] + tokens.codes[1][:1])
    ids = clean.repeat(8, 6000)[..., None] if heads == 1 else clean.repeat(8, 6000, heads // 2)
    speech = torch.ones(ids.shape[:2], dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    noisy = corrupt_history(ids, speech, tokens, 1.0, generator)
    for stream, codes in enumerate(tokens.codes):
        of_stream = noisy[:, stream::2] if heads == 1 else noisy[..., stream::2]
        counts = torch.bincount(of_stream.flatten(), minlength=max(codes) + 1)[list(codes)]
        assert counts.sum() == of_stream.numel()  # no code of another stream
        rare, often = counts[1:].min(), counts[1:].max()  # code 0 is also what was there before
        assert often < 1.4 * rare
