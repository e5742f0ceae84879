"""The door to open_clip, through a very small model with random weights."""

from pathlib import Path

import open_clip
import pytest
import torch
from tiny_clip import write_towers

from pcc.models.clip import INNER_FULL_STOP, Clip, most_words, word_width
from pcc.runtime.errors import InputError


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_towers(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def clip(towers: str) -> Clip:
    torch.manual_seed(0)
    return Clip(towers, "random")


@pytest.mark.parametrize("name", ["cat", "potted plant", "tv monitor"])
def test_slots_filled_with_a_name_s_own_tokens_are_the_ordinary_text(clip: Clip, name: str) -> None:
    learned = clip.encode_prompts(clip.words(name)[None])
    torch.testing.assert_close(learned, clip.encode_texts([f"a photo of {name}."]), atol=1e-5, rtol=0)
    other = clip.encode_prompts(clip.words(name).flip(-1)[None])
    assert (other - learned).abs().max() > 1e-3


def test_several_prompts_at_once_are_as_each_alone(clip: Clip) -> None:
    prompts = torch.rand(3, 4, 24)
    alone = torch.cat([clip.encode_prompts(prompt[None]) for prompt in prompts])
    torch.testing.assert_close(clip.encode_prompts(prompts), alone, atol=1e-6, rtol=0)


def test_gradients_reach_the_words_and_nothing_else(clip: Clip) -> None:
    prompts = torch.rand(2, 3, 24, requires_grad=True)
    clip.encode_prompts(prompts)[:, 0].sum().backward()
    assert prompts.grad is not None and (prompts.grad.abs().sum(dim=2) > 0).all()
    images = torch.rand(2, 3, 32, 32, requires_grad=True)
    clip.encode_images(images)[:, 0].sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in clip.model.parameters())


def test_an_error_leaves_the_model_as_it_was(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(clip.model, "encode_text", lambda tokens: clip._embedding(tokens[:, :2])[0, 99])
        clip.encode_prompts(torch.rand(1, 3, 7))
    assert not clip._embedding._forward_hooks
    assert torch.isfinite(clip.encode_texts(["a photo of a hook."])).all()


def test_features_have_unit_length_and_texts_are_encoded_once(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a photo of cat.", "a photo of dog.", "a photo of cat."]
    first = clip.encode_texts(texts)
    monkeypatch.setattr(clip.model, "encode_text", None)
    again = clip.encode_texts(texts[:2])
    torch.testing.assert_close(first[:2], again)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(3))
    images = clip.encode_images(torch.rand(2, 3, 32, 32))
    torch.testing.assert_close(images.norm(dim=1), torch.ones(2))


def test_the_full_stop_within_a_word(towers: str) -> None:
    """Both tokens are a full stop; the released code's is the one that words end with inside a sentence."""
    torch.manual_seed(0)
    inner = Clip(towers, "random", full_stop="inner")
    tokenizer = open_clip.SimpleTokenizer()
    assert tokenizer.decode([INNER_FULL_STOP]).strip() == tokenizer.decode(tokenizer.encode(".")).strip() == "."
    torch.manual_seed(0)
    word = Clip(towers, "random")
    prompt = torch.rand(1, 2, 24)
    assert (inner.encode_prompts(prompt) - word.encode_prompts(prompt)).abs().max() > 1e-4


def test_weights_from_a_file(towers: str, clip: Clip, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(clip.model.state_dict(), tmp_path / "w.safetensors")
    again = Clip(towers, str(tmp_path / "w.safetensors"))
    torch.testing.assert_close(again.encode_texts(["a cat"]), clip.encode_texts(["a cat"]))
    save_file({"logit_scale": torch.ones(())}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"clip\.weights: weights of .* not available"):
        Clip(towers, str(tmp_path / "other.safetensors"))
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:5000])
    for faulty in ("missing", "cut"):
        with pytest.raises(InputError, match=rf"{faulty}\.safetensors: weights cannot be read"):
            Clip(towers, str(tmp_path / f"{faulty}.safetensors"))


def test_how_much_fits(clip: Clip, towers: str) -> None:
    assert (word_width(towers), most_words(towers)) == (24, 16 - 6)
    assert clip.encode_prompts(torch.rand(1, 10, 24)).shape == (1, 16)
    assert (word_width("ViT-B-32"), most_words("ViT-B-32")) == (512, 71)
    with pytest.raises(InputError, match=r"clip\.name: '' has no CLIP text tower"):
        word_width("")


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="open_clip has no 'ViT-B-33'"):
        Clip("ViT-B-33", "random")
    with pytest.raises(InputError, match=r"no .opanai. for ViT-B-32; allowed: random, a \.safetensors file, openai"):
        Clip("ViT-B-32", "opanai")
    with pytest.raises(InputError, match="not found"):
        Clip(str(tmp_path / "none.json"), "random")
