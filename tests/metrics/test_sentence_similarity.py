"""Embeddings by a tiny MPNet with random weights: means over tokens, cosines, and a model that is not there."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tracer1.errors import ConfigError  # noqa: E402
from tracer1.metrics.answer_lines import make_answer_rule, score_answer_lines  # noqa: E402
from tracer1.metrics.sentence_similarity import LONGEST, mean_of_tokens, sentence_similarity  # noqa: E402

WORDS = ["<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>", "a", "cat", "dog", "is", "it"]


@pytest.fixture(scope="module")
def tiny_mpnet(tmp_path_factory: pytest.TempPathFactory) -> str:
    from transformers import MPNetConfig, MPNetModel, MPNetTokenizer

    folder = tmp_path_factory.mktemp("mpnet")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    MPNetModel(MPNetConfig(vocab_size=len(WORDS), max_position_embeddings=LONGEST + 2, **sizes)).save_pretrained(folder)
    MPNetTokenizer(vocab={word: number for number, word in enumerate(WORDS)}).save_pretrained(folder)
    return str(folder)


def test_the_mean_is_over_the_tokens_that_are_there():
    states = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [100.0, 100.0]]])
    assert mean_of_tokens(states, torch.tensor([[1, 1, 0]])).tolist() == [[2.0, 3.0]]


def test_cosines_of_two_texts(tiny_mpnet: str):
    similarity = sentence_similarity(tiny_mpnet)
    assert similarity("it is a cat", "it is a cat") == pytest.approx(1.0, abs=1e-5)
    unlike = similarity("it is a cat", "dog")
    assert -1.0 <= unlike < 0.999
    assert similarity("dog", "it is a cat") == pytest.approx(unlike, abs=1e-6)
    assert similarity("cat " * 1000, "cat " * 2000) == pytest.approx(1.0, abs=1e-5)  # both cut at the same length


def test_the_official_rule_with_an_embedder(tiny_mpnet: str):
    rule = make_answer_rule("gta_official", tiny_mpnet)
    lines = [
        b'{"prediction": "it is a cat", "gold": ["dog", "it is a cat"]}',
        b'{"prediction": "2", "gold": {"whitelist": [["2"]]}}',
    ]
    sentence, objective = score_answer_lines(lines, rule)
    assert sentence == {"correct": pytest.approx(1.0, abs=1e-5), "counted": True}
    assert objective == {"correct": True, "counted": True}


def test_a_model_that_is_not_there(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be loaded: the folder holds no such model"):
        sentence_similarity(str(tmp_path))
    with pytest.raises(ConfigError, match="cannot be loaded: no such folder, nor found on the hub"):
        sentence_similarity("no/such/model/at-all")
