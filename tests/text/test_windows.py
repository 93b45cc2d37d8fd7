"""Windows of tokens: a pure function of seed and index, starting where time steps start."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlora.data.dataset import Dataset, Series
from lvlora.text.alphabet import TokenAlphabet
from lvlora.text.codec import Codec
from lvlora.text.scaling import Scale
from lvlora.text.windows import IGNORED, Windows, tokenize_series

ALPHABET = TokenAlphabet(tuple(range(100, 115)), start=99)
NO_START = TokenAlphabet(tuple(range(100, 115)))
CODEC = Codec(2, 2)
SCALE = Scale((2.0, 2.0), "dataset")


def dataset(lengths, seed=0):
    rng = np.random.default_rng(seed)
    made = tuple(
        Series(f"s{i}", np.arange(n, dtype=float), rng.gamma(2, 4, (n, 2)))
        for i, n in enumerate(lengths)
    )
    return Dataset(made, ("prey", "predator"), "test data")


def windows(lengths=(30, 20, 40), alphabet=ALPHABET, **options):
    options = {"seq_len": 64, "batch_size": 2, "seed": 0, **options}
    return Windows(dataset(lengths), SCALE, CODEC, alphabet, **options)


def rows(batch):
    """(inputs, targets) of every row without its padding."""
    for inputs, targets in zip(batch.inputs, batch.targets, strict=True):
        n = int((targets != IGNORED).sum())
        yield inputs[:n], targets[:n]


def whole_steps(text, codec=CODEC):
    """The numbers of a text that may be cut within its last step."""
    return codec.decode(text[: text.rindex(";") + 1])


def test_tokens_of_a_series_and_where_steps_begin():
    (one,) = dataset([5])
    tokens = tokenize_series(one, SCALE, CODEC, ALPHABET)
    text = CODEC.encode(one.values / 2)
    assert ALPHABET.decode(tokens.ids.tolist()) == text
    assert len(tokens.starts) == 6
    steps = [text[a:b] for a, b in zip(tokens.starts[:-1], tokens.starts[1:], strict=True)]
    assert "".join(steps) == text
    assert all(s.endswith(";") and s.count(";") == 1 for s in steps)


@pytest.mark.parametrize("alphabet", [ALPHABET, NO_START])
def test_rows_are_windows_of_the_text_from_a_step_with_targets_one_ahead(alphabet):
    source = windows(alphabet=alphabet)
    texts = [CODEC.encode(s.values / 2) for s in dataset((30, 20, 40))]
    seen = set()
    for index in range(40):
        for inputs, targets in rows(source.batch(index)):
            assert np.array_equal(inputs[1:], targets[:-1])
            ids = np.append(inputs, targets[-1])
            if alphabet.start is not None:
                assert ids[0] == 99
                ids = ids[1:]
            assert len(inputs) == 64  # every series is longer
            text = alphabet.decode(ids.tolist())
            (found,) = [i for i, t in enumerate(texts) if text in t]
            at = texts[found].index(text)
            assert at == 0 or texts[found][at - 1] == ";"
            seen.add((found, at))
    assert len(seen) > 30  # windows move


def test_every_epoch_visits_each_series_once_in_a_new_order():
    lengths = tuple(range(20, 27))
    source = windows(lengths, batch_size=1, seq_len=16)
    texts = [CODEC.encode(s.values / 2) for s in dataset(lengths)]

    def visited(index):
        (row,) = source.batch(index).inputs
        text = ALPHABET.decode(row[1:].tolist())
        (found,) = [i for i, t in enumerate(texts) if text in t]
        return found

    epochs = [tuple(visited(7 * e + i) for i in range(7)) for e in range(6)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len(set(epochs)) > 3


ANY_WINDOWS = st.fixed_dictionaries(
    {
        "scale": st.sampled_from([SCALE, None]),
        "alphabet": st.sampled_from([ALPHABET, NO_START]),
        "seq_len": st.integers(8, 300),
        "batch_size": st.integers(1, 3),
        "seed": st.integers(0, 2**63 - 1),
        "scale_jitter": st.just(0.0) | st.floats(0, 2),
        "mix": st.just(0.0) | st.floats(0.01, 0.9),
    }
)


@given(ANY_WINDOWS, st.lists(st.integers(0, 60), min_size=1, max_size=5))
def test_a_batch_is_a_pure_function_of_seed_and_index(options, indices):
    """And none is wider than planned, and no row is without a target."""
    empty = Series("empty", np.arange(9.0), np.full((9, 2), np.nan))
    data = replace(dataset((30, 12, 9, 2)), series=(*dataset((30, 12, 9, 2)), empty))
    scale, alphabet = options.pop("scale"), options.pop("alphabet")
    one, other = (
        Windows(data, scale, CODEC, alphabet, simulated=simulated, **options) for _ in range(2)
    )
    batches = {index: one.batch(index) for index in indices}
    for index in reversed(indices):
        again = other.batch(index)
        assert np.array_equal(again.inputs, batches[index].inputs)
        assert np.array_equal(again.targets, batches[index].targets)
        assert again.inputs.shape[1] <= one.width
        assert (again.targets != IGNORED).any(axis=1).all()


def test_the_batch_size_only_cuts_the_same_sequence_of_rows():
    ones, threes = windows(batch_size=1), windows(batch_size=3)
    for i in range(5):
        expected = np.concatenate([ones.batch(3 * i + k).inputs for k in range(3)])
        assert np.array_equal(threes.batch(i).inputs, expected)


@pytest.mark.parametrize("alphabet", [ALPHABET, NO_START])
def test_a_series_shorter_than_a_window_is_padded_and_padding_is_no_target(alphabet):
    source = windows((3, 50), alphabet=alphabet, seq_len=100)
    short = source.series[0].ids
    extra = 0 if alphabet.start is None else 1
    for index in range(4):
        batch = source.batch(index)
        assert batch.inputs.shape == batch.targets.shape
        lengths = (batch.targets != IGNORED).sum(axis=1)
        assert sorted(lengths) == [len(short) - 1 + extra, 100]
        assert batch.n_targets == lengths.sum()
        row = int(lengths.argmin())
        n = lengths[row]
        assert np.array_equal(batch.targets[row, :n], short[1 - extra :])
        assert (batch.targets[row, n:] == IGNORED).all()
        # what fills the inputs is a token of the vocabulary, and comes last
        assert set(batch.inputs[row, n:]) <= {*alphabet.ids}


def test_the_last_window_reaches_the_end():
    """Starts go up to the last step from which a whole window fits, not beyond."""
    source = windows((12,), batch_size=64, seq_len=64, alphabet=NO_START)
    tokens = source.series[0]
    begins = set()
    for inputs, targets in rows(source.batch(0)):
        assert len(inputs) == 64
        ids = np.append(inputs, targets[-1])
        (begin,) = [b for b in tokens.starts if np.array_equal(tokens.ids[b : b + 65], ids)]
        begins.add(int(begin))
    fitting = {int(b) for b in tokens.starts if b + 65 <= len(tokens.ids)}
    assert begins == fitting


def test_jittered_rows_are_the_series_at_another_scale():
    plain = {s.id: s.values / 2 for s in dataset((30, 20, 40))}
    source = windows(scale_jitter=0.5, seq_len=4000)
    factors = []
    for index in range(12):
        for (name, step), (inputs, targets) in zip(
            source.origins(index), rows(source.batch(index)), strict=True
        ):
            text = ALPHABET.decode([*inputs[1:].tolist(), int(targets[-1])])
            found = whole_steps(text)
            given = plain[name][step : step + len(found)]
            factor = float((found / given)[given > 1].mean())
            assert np.abs(found - factor * given).max() < 0.02 + 0.02 * factor
            factors.append(factor)
    spread = np.log(factors)
    assert abs(spread.mean()) < 0.4
    assert 0.25 < spread.std() < 0.8


def test_jitter_multiplies_the_numbers_of_the_text_whatever_is_taken_off():
    """An offset is in the data's units: a jittered level must not leave the text."""
    data = dataset((12,))
    made = {}
    for offset in (0.0, 30.0):
        moved = replace(data, series=tuple(replace(s, values=s.values + offset) for s in data))
        scale = Scale((2.0, 2.0), "dataset", (offset, offset))
        source = Windows(
            moved, scale, CODEC, ALPHABET, seq_len=40, batch_size=2, seed=3, scale_jitter=0.5
        )
        made[offset] = [
            ALPHABET.decode(row.tolist()[1:]) for i in range(4) for row in source.batch(i).inputs
        ]
    for plain, moved in zip(made[0.0], made[30.0], strict=True):
        ours, theirs = whole_steps(plain), whole_steps(moved)
        assert np.abs(ours[: len(theirs)] - theirs[: len(ours)]).max() <= 0.011


def simulated(index, n_steps=35):
    rng = np.random.default_rng((77, index))
    return Series(str(index), np.arange(float(n_steps)), rng.gamma(2, 400, (n_steps, 2)))


def names_of(source, n_rows):
    return [name for i in range(n_rows // source.batch_size) for name, _ in source.origins(i)]


@pytest.mark.parametrize("mix", [0.1, 0.25, 0.5, 0.9])
def test_simulated_windows_are_evenly_among_the_others(mix):
    mixed = names_of(windows(mix=mix, simulated=simulated, batch_size=5), 200)
    for n in range(201):
        count = sum(name.startswith("simulated") for name in mixed[:n])
        assert count == int(n * mix)
    # each is another one, and the data's own come in the order that they have without
    made = [name for name in mixed if name.startswith("simulated")]
    assert made == [f"simulated {i}" for i in range(len(made))]
    own = [name for name in mixed if not name.startswith("simulated")]
    assert own == names_of(windows(batch_size=5), 200)[: len(own)]


def test_a_simulated_window_is_at_the_scale_of_a_data_set_of_its_own():
    source = windows(mix=0.5, simulated=simulated, batch_size=2, seq_len=4000)
    (own, made) = source.origins(0)
    assert (own[0][0], made) == ("s", ("simulated 0", 0))
    (_, (inputs, targets)) = rows(source.batch(0))
    found = whole_steps(ALPHABET.decode([*inputs[1:].tolist(), int(targets[-1])]))
    given = simulated(0).values[: len(found)]
    divisor = np.percentile(np.abs(simulated(0).values), 99.7) / 10
    assert np.abs(found - given / divisor).max() < 0.006


def test_without_a_share_nothing_is_simulated():
    def never(index):
        raise AssertionError(index)

    plain, mixed = windows(), windows(mix=0.0, simulated=never)
    for i in range(8):
        assert np.array_equal(plain.batch(i).inputs, mixed.batch(i).inputs)
    with pytest.raises(ValueError, match="nothing to mix in"):
        windows(mix=0.5)


def gappy():
    """Of both series three single values are missing, and nine in a row of the first."""
    series = dataset((30, 40)).series
    for each in series:
        each.values[[3, 7, 28], [0, 1, 0]] = np.nan
    series[0].values[10:19, 0] = np.nan
    return Dataset(series, ("prey", "predator"), "test data")


def unknown(rows):
    return sorted(NO_START.decode(row.tolist()).count("?") for row in rows)


def test_short_gaps_are_filled_in_all_that_is_read():
    options = {"seq_len": 2000, "batch_size": 2, "seed": 0}
    filled = Windows(gappy(), SCALE, CODEC, NO_START, **options)
    assert filled.n_filled == 6
    assert unknown(t.ids for t in filled.series) == [0, 9]
    assert unknown(t.ids for t in filled.of_others(gappy()).series) == [0, 9]
    (ends,) = filled.ends_of(gappy(), 4)
    assert unknown(ends.inputs) == [0, 9]
    # of numbers between their neighbours
    whole, read = dataset((30, 40)).series[1].values, _values_of(filled.series[1])
    lower, upper = sorted((whole[2, 0], whole[4, 0]))
    assert lower - 0.02 <= read[3, 0] <= upper + 0.02


def _values_of(tokens):
    return SCALE.invert(CODEC.decode(NO_START.decode(tokens.ids.tolist())))


def test_what_is_held_out_is_in_no_filled_value_before_it():
    options = {"seq_len": 2000, "batch_size": 2, "seed": 0}
    given = []
    for after in (1.0, 50.0):
        holed = gappy()
        for series in holed:
            series.values[-7:-3] = np.nan  # up to the first of the steps that are held out
            series.values[-3:] = after
        source = Windows(gappy(), SCALE, CODEC, NO_START, **options)
        (ends,) = source.ends_of(holed, 4)
        first = [int(np.flatnonzero(t != IGNORED)[0]) for t in ends.targets]
        given.append([row[: n + 1].tolist() for row, n in zip(ends.inputs, first, strict=True)])
    assert given[0] == given[1]


def test_simulated_series_are_taken_with_the_gaps_that_they_have():
    options = {"seq_len": 2000, "batch_size": 4, "seed": 0, "mix": 0.5}
    made = gappy().series[1]
    mixed = Windows(
        gappy(),
        SCALE,
        CODEC,
        NO_START,
        simulated=lambda index: replace(made, id=str(index)),
        **options,
    )
    names = [name for name, _ in mixed.origins(0)]
    assert sum(name.startswith("simulated") for name in names) == 2
    for inputs, name in zip(mixed.batch(0).inputs, names, strict=True):
        assert ("?" in NO_START.decode(inputs.tolist())) == (name != "s1")


@pytest.mark.parametrize("alphabet", [ALPHABET, NO_START])
@pytest.mark.parametrize("seq_len", [40, 64, 2000])
def test_ends_have_the_last_steps_as_their_only_targets(alphabet, seq_len):
    source = windows(alphabet=alphabet, seq_len=seq_len, batch_size=2)
    longer = dataset((34, 25, 44), seed=1)
    batches = source.ends_of(longer, 4)
    assert [len(b.inputs) for b in batches] == [2, 1]
    found = []
    for batch in batches:
        for inputs, targets in zip(batch.inputs, batch.targets, strict=True):
            scored = targets != IGNORED
            places = np.flatnonzero(scored)
            assert np.array_equal(places, np.arange(places[0], places[-1] + 1))
            found.append(alphabet.decode(targets[scored].tolist()))
            assert len(inputs) <= source.width
            # each target is the token after its input
            assert np.array_equal(inputs[places[1:]], targets[places[:-1]])
    for text, series in zip(found, longer, strict=True):
        whole = CODEC.encode(SCALE.apply(series.values[-4:]))
        assert whole.endswith(text)
        assert text == whole or seq_len == 40


def by_themselves(lengths=(30, 20, 40), data=None, **options):
    options = {"seq_len": 200, "batch_size": 2, "seed": 0, **options}
    return Windows(data or dataset(lengths), None, CODEC, ALPHABET, **options)


def read_back(inputs, targets):
    """Numbers of a row's whole steps, and how many of these are no targets."""
    places = np.flatnonzero(targets != IGNORED)
    ids = [*inputs[1 : places[-1] + 1].tolist(), int(targets[places[-1]])]
    text = ALPHABET.decode(ids)
    history = ALPHABET.decode(ids[: places[0]])
    assert history == "" or history.endswith(";")
    return whole_steps(text), history.count(";")


@pytest.mark.parametrize("jitter", [0.0, 0.3])
def test_without_a_scale_a_row_has_that_of_its_beginning_which_is_no_target(jitter):
    values = {s.id: s.values for s in dataset((30, 20, 40))}
    source = by_themselves(scale_jitter=jitter)
    lengths, tops = [], []
    for index in range(40):
        batch = source.batch(index)
        for (name, step), inputs, targets in zip(
            source.origins(index), batch.inputs, batch.targets, strict=True
        ):
            found, n = read_back(inputs, targets)
            given = values[name][step : step + len(found)]
            divisor = np.median(given[given > 1] / found[given > 1])
            assert np.abs(found - given / divisor).max() < 0.03
            lengths.append(n)
            tops.append(float(found[:n].max()))
            assert n <= 0.75 * (len(found) + 1)
    assert min(lengths) == 8
    assert len(set(lengths)) > 4
    if jitter:
        assert 0.2 < np.std(np.log(tops)) < 0.4
    else:
        assert np.abs(np.array(tops) - 5).max() < 0.011


def test_rows_to_validate_with_have_the_scale_of_their_first_half():
    others = by_themselves(seq_len=4000, scale_jitter=0.5).of_others(dataset((34, 25, 44), seed=1))
    for index in range(3):
        batch = others.batch(index)
        for inputs, targets in zip(batch.inputs, batch.targets, strict=True):
            found, n = read_back(inputs, targets)
            assert n in (17, 13, 22)
            assert abs(found[:n].max() - 5) < 0.011


def test_ends_have_the_scale_of_what_comes_before_them():
    source = by_themselves()
    made = dataset((30,), seed=1)
    (series,) = made
    larger = series.values.copy()
    larger[-4:] *= 3
    for values in (series.values, larger):
        end = source.ends_of(replace(made, series=(replace(series, values=values),)), 4)[0]
        places = np.flatnonzero(end.targets[0] != IGNORED)
        scale = 5 / series.values[:-4].max()
        text = ALPHABET.decode(end.targets[0][places].tolist())
        assert text == CODEC.encode(values[-4:] * scale)


def test_simulated_rows_and_known_columns_have_scales_of_their_own_too():
    source = by_themselves(mix=0.5, simulated=simulated)
    for index in range(6):
        for inputs, targets in zip(*vars(source.batch(index)).values(), strict=True):
            found, n = read_back(inputs, targets)
            assert abs(found[:n].max() - 5) < 0.011
    data = dataset((30, 20))
    seasons = [np.sin(np.arange(len(s)))[:, None] * 70 for s in data]
    data = replace(
        data,
        series=tuple(replace(s, known=k) for s, k in zip(data, seasons, strict=True)),
        known=("season",),
    )
    codec = Codec(2, 3)
    source = Windows(
        data, None, codec, ALPHABET, seq_len=300, batch_size=2, seed=0, scale_jitter=0.4
    )
    batch = source.batch(0)
    for inputs, targets in zip(batch.inputs, batch.targets, strict=True):
        text = ALPHABET.decode(inputs[1:].tolist())
        numbers = whole_steps(text, codec)
        n = int(np.flatnonzero(targets != IGNORED)[0])
        history = numbers[: ALPHABET.decode(inputs[1 : n + 1].tolist()).count(";")]
        assert abs(np.abs(history[:, 0]).max() - 5) < 0.011  # what is known is not jittered
        assert abs(history[:, 1:].max() - 5) > 0.02
