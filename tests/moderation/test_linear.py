"""The embedded classifier: the same features however batched, bounded, and never a file that was changed."""

import hashlib
import itertools
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.linear import (
    MODELS,
    RISK,
    TOXICITY,
    BadModel,
    Linear,
    Table,
    features,
    load_model,
    save_model,
)
from moderation.verdict import Role, Submission

texts = st.lists(st.text(max_size=60), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def linear():
    return load_model()


def said(*words, role=Role.PUPIL):
    return [Submission(text=text, role=role) for text in words]


def scores(linear, text, role=Role.PUPIL):
    (row,) = linear.probabilities(said(text, role=role))
    return dict(zip(linear.labels, row.tolist(), strict=True))


@given(texts)
def test_features_do_not_depend_on_the_batch(some):
    """A message's features are its own: no n-gram reaches over into a neighbour."""
    together = features(some, [False] * len(some))
    for at, text in enumerate(some):
        alone = features([text], [False])
        own = together.hashes[together.starts[at] : together.starts[at + 1]]
        assert own.tolist() == alone.hashes.tolist()
        assert len(own) > 0 or not text


def test_a_mentors_words_are_read_as_a_mentors_too():
    """The shared features are the same; a mentor's text has more."""
    pupil = set(features(["what time is it"], [False]).hashes.tolist())
    mentor = set(features(["what time is it"], [True]).hashes.tolist())
    assert pupil < mentor


@given(texts)
@settings(max_examples=50)
def test_a_sum_is_of_its_features_weights_by_their_rarity(some):
    """Added up one by one, a message comes to what the table says of it in a batch."""
    found = features(some, [False] * len(some))
    for table in load_model().tables:
        for row, (start, end) in zip(table.sums(found), itertools.pairwise(found.starts), strict=True):
            places = [int(one) >> (64 - table.bits) for one in found.hashes[start:end]]
            weights = sum((table.weights[place].astype(float) for place in places), np.zeros(len(row)))
            length = sum((float(table.rarity[place]) / 16) ** 2 for place in places) ** 0.5
            assert np.allclose(row, weights * table.scale / max(length, 1e-6), rtol=1e-5, atol=1e-5)


@given(texts)
@settings(max_examples=50)
def test_any_text_has_scores_from_0_to_1(some):
    """And the same ones alone and in a batch."""
    linear = load_model()
    together = linear.probabilities(said(*some))
    assert together.shape == (len(some), len(linear.labels))
    assert np.isfinite(together).all()
    assert ((together >= 0) & (together <= 1)).all()
    assert np.allclose(linear.probabilities(said(some[-1]))[0], together[-1], atol=1e-6)


def test_it_tells_apart_what_is_plain(linear):
    """Not that it is good, but that weights, labels and calibration belong together."""
    kind = scores(linear, "thank you for helping me with my maths homework")
    assert max(kind[label] for label in (*TOXICITY, *RISK)) < 0.4
    rude = scores(linear, "you are a stupid ugly idiot, shut up")
    assert rude["toxicity:insult"] > 0.8
    assert rude["toxicity:insult"] > rude["toxicity:threat"]
    sad = scores(linear, "i want to kill myself and i have the tablets ready for tonight")
    assert max(RISK[:13], key=lambda label: sad[label]) == "self_harm"
    assert min(sad["level:concern"], sad["level:high"]) > 0.5
    disguised = scores(linear, "i w4nt 2 k1ll my\u200bself and i have the t4blets ready for 2nite")
    assert disguised["self_harm"] > 0.5


def test_signals_come_strongest_first_and_small_ones_not_at_all(linear):
    """What stands beside a message is what matters."""
    (row,) = linear.read(said("you are a stupid ugly idiot, shut up"))
    values = [signal.score for signal in row]
    assert values == sorted(values, reverse=True)
    assert min(values) >= linear.least_score
    (every,) = Linear(linear.tables, least_score=0.0).read(said("hello"))
    assert {signal.label for signal in every} == set(linear.labels)
    assert linear.read([]) == []


def test_the_longest_text_is_read_within_bounds(linear):
    """2,000 code points of anything, and beyond."""
    for text in ("a", "😂" * 2_000, "kill yourself " * 1_000, "\u200b", "ﷺ" * 2_000):
        assert np.isfinite(linear.probabilities(said(text))).all()


def small_table(labels, bits=4):
    random = np.random.default_rng(1)
    return Table(
        labels,
        bits,
        random.integers(-127, 127, (1 << bits, len(labels)), dtype=np.int8),
        np.full(1 << bits, 16, np.uint8),
        *(np.full(len(labels), 0.01, np.float32) for _ in range(3)),
    )


def test_what_is_saved_is_what_is_loaded(tmp_path):
    """Scores included."""
    linear = Linear([small_table(TOXICITY), small_table(RISK)])
    save_model(linear, tmp_path, {"made_by": "a test"})
    again = load_model(tmp_path)
    batch = said("hello there", "good night")
    assert np.array_equal(linear.probabilities(batch), again.probabilities(batch))


def test_a_changed_file_is_refused(tmp_path):
    """One byte is enough: the hash in linear.toml is of the file that was measured."""
    for file in MODELS.glob("linear.*"):
        shutil.copy(file, tmp_path)
    model = tmp_path / "linear.npz"
    raw = bytearray(model.read_bytes())
    raw[len(raw) // 2] ^= 1
    model.write_bytes(raw)
    with pytest.raises(BadModel, match=r"is not the file that linear.toml names"):
        load_model(tmp_path)


def test_a_missing_or_strange_file_is_refused(tmp_path):
    """Absent, no archive, or with other labels: a plain error, and never an unpickled object."""
    with pytest.raises(BadModel, match="cannot be read"):
        load_model(tmp_path)

    def name_it(raw):
        (tmp_path / "linear.npz").write_bytes(raw)
        (tmp_path / "linear.toml").write_text(f'sha256 = "{hashlib.sha256(raw).hexdigest()}"\n')

    name_it(b"nothing of the kind")
    with pytest.raises(BadModel, match="cannot be read"):
        load_model(tmp_path)
    save_model(Linear([small_table(RISK), small_table(TOXICITY)]), tmp_path, {})
    with pytest.raises(BadModel, match="other labels"):
        load_model(tmp_path)


@pytest.mark.parametrize("field", ["weights", "rarity", "scale"])
def test_a_table_of_the_wrong_shape_is_refused(field):
    """Before it scores anything."""
    good = small_table(TOXICITY)
    arrays = {name: getattr(good, name) for name in ("weights", "rarity", "scale", "slope", "intercept")}
    arrays[field] = arrays[field][:-1]
    with pytest.raises(BadModel, match="wrong type"):
        Table(TOXICITY, 4, **arrays)
    arrays[field] = getattr(good, field).astype(np.float64)
    with pytest.raises(BadModel, match="wrong type"):
        Table(TOXICITY, 4, **arrays)


def test_the_model_has_its_card_and_its_size():
    """1 to 5 MB, and a card that names data, licences, figures and limits."""
    assert 500_000 < (MODELS / "linear.npz").stat().st_size < 5_000_000
    card = (MODELS / "linear.md").read_text(encoding="utf-8")
    for word in ("CC0", "Apache-2.0", "CC BY 4.0", "MIT", "Limits", "AUC"):
        assert word in card
