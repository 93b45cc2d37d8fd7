"""Windows of tokens: a pure function of seed and index, starting where time steps start."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlora.data.dataset import Dataset, Series
from lvlora.text.codec import Codec, TokenAlphabet
from lvlora.text.scaling import Scale
from lvlora.text.windows import IGNORED, Windows, tokenize_series

ALPHABET = TokenAlphabet(tuple(range(100, 115)), start=99)
NO_START = TokenAlphabet(tuple(range(100, 115)))
CODEC = Codec(2, 2)
SCALE = Scale((2.0, 2.0), "dataset")


def dataset(lengths, seed=0):
    rng = np.random.default_rng(seed)
    output = tuple(
        Series(f"s{i}", np.arange(n, dtype=float), rng.gamma(2, 4, (n, 2)))
        for i, n in enumerate(lengths)
    )
    return Dataset(output, ("prey", "predator"), "test data")


def windows(lengths=(30, 20, 40), alphabet=ALPHABET, **options):
    options = {"seq_len": 64, "batch_size": 2, "seed": 0, **options}
    return Windows(dataset(lengths), SCALE, CODEC, alphabet, **options)


def rows(batch):
    """(inputs, targets) of every row without its padding."""
    for inputs, targets in zip(batch.inputs, batch.targets, strict=True):
        n = int((targets != IGNORED).sum())
        yield inputs[:n], targets[:n]


def texts(source, n_rows, alphabet=ALPHABET):
    """The texts of the first rows, without the start token."""
    batches = map(source.batch, range(n_rows // source.batch_size))
    return [
        alphabet.decode([*inputs, targets[-1]][len(alphabet.beginning) :])
        for batch in batches
        for inputs, targets in rows(batch)
    ]


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


def place_of(text, whole_texts):
    """The one series that a text is of, and where it begins in it."""
    (series,) = [i for i, reference in enumerate(whole_texts) if text in reference]
    return series, whole_texts[series].index(text)


@pytest.mark.parametrize("alphabet", [ALPHABET, NO_START])
def test_rows_are_windows_of_the_text_from_a_step_with_targets_one_ahead(alphabet):
    source = windows(alphabet=alphabet)
    for index in range(40):
        for inputs, targets in rows(source.batch(index)):
            assert np.array_equal(inputs[1:], targets[:-1])
            assert (*inputs[: len(alphabet.beginning)],) == alphabet.beginning
            assert len(inputs) == 64  # every series is longer
    whole_texts = [CODEC.encode(s.values / 2) for s in dataset((30, 20, 40))]
    places = {place_of(text, whole_texts) for text in texts(source, 80, alphabet)}
    assert all(at == 0 or whole_texts[series][at - 1] == ";" for series, at in places)
    assert len(places) > 30  # windows move


def test_every_epoch_visits_each_series_once_in_a_new_order():
    lengths = tuple(range(20, 27))
    whole_texts = [CODEC.encode(s.values / 2) for s in dataset(lengths)]
    rows_of_epochs = texts(windows(lengths, batch_size=1, seq_len=16), 42)
    visited = [place_of(text, whole_texts)[0] for text in rows_of_epochs]
    epochs = {tuple(visited[i : i + 7]) for i in range(0, 42, 7)}
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len(epochs) > 3


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


def part_of(numbers, data):
    """The part of a series that the numbers of a text are, and what they are multiplied by."""
    n = len(numbers)
    parts = [s.values[begin : begin + n] for s in data for begin in range(len(s) - n + 1)]
    factors = [numbers.sum() / part.sum() for part in parts]
    errors = [np.abs(numbers - f * part).max() for f, part in zip(factors, parts, strict=True)]
    best = int(np.argmin(errors))
    assert errors[best] < 0.03
    return parts[best], factors[best]


def test_jittered_rows_are_the_series_at_another_scale():
    jittered = texts(windows(scale_jitter=0.5), 24)
    factors = [part_of(whole_steps(text), dataset((30, 20, 40)))[1] for text in jittered]
    spread = np.log(2 * np.array(factors))
    assert abs(spread.mean()) < 0.4
    assert 0.25 < spread.std() < 0.8


def test_jitter_multiplies_the_numbers_of_the_text_whatever_is_taken_off():
    """An offset is in the data's units: a jittered level must not leave the text."""
    data = dataset((12,))
    moved = replace(data, series=tuple(replace(s, values=s.values + 30) for s in data))
    plain, shifted = (
        Windows(of, scale, CODEC, ALPHABET, seq_len=40, batch_size=2, seed=3, scale_jitter=0.5)
        for of, scale in ((data, SCALE), (moved, replace(SCALE, offsets=(30.0, 30.0))))
    )
    for one, other in zip(texts(plain, 8), texts(shifted, 8), strict=True):
        ours, theirs = whole_steps(one), whole_steps(other)
        assert np.abs(ours[: len(theirs)] - theirs[: len(ours)]).max() <= 0.011


def simulated(index, n_steps=35):
    rng = np.random.default_rng((77, index))
    return Series(str(index), np.arange(float(n_steps)), rng.gamma(2, 400, (n_steps, 2)))


@pytest.mark.parametrize("mix", [0.1, 0.25, 0.5, 0.9])
def test_simulated_windows_are_evenly_among_the_others(mix):
    taken = []

    def constant(index):
        taken.append(index)
        return Series(str(index), np.arange(35.0), np.full((35, 2), 400.0))

    mixed = texts(windows(mix=mix, simulated=constant, batch_size=5, seq_len=4000), 200)
    is_simulated = [text.startswith("10.00,10.00;10.00,10.00;") for text in mixed]
    for n in range(201):
        assert sum(is_simulated[:n]) == int(n * mix)
    # each is another one, and the data's own come in the order that they have without
    assert taken == list(range(sum(is_simulated)))
    of_data = [text for text, of_other in zip(mixed, is_simulated, strict=True) if not of_other]
    assert of_data == texts(windows(batch_size=5, seq_len=4000), 200)[: len(of_data)]


def test_a_simulated_window_is_at_the_scale_of_a_data_set_of_its_own():
    text = texts(windows(mix=0.5, simulated=simulated, seq_len=4000), 2)[1]
    numbers, values = whole_steps(text), simulated(0).values
    divisor = np.percentile(np.abs(values), 99.7) / 10
    assert np.abs(numbers - values[: len(numbers)] / divisor).max() < 0.006


def test_without_a_share_nothing_is_simulated():
    def never(index):
        raise AssertionError(index)

    plain, mixed = windows(), windows(mix=0.0, simulated=never)
    for i in range(8):
        assert np.array_equal(plain.batch(i).inputs, mixed.batch(i).inputs)


def gappy():
    """Of both series three single values are missing, and nine in a row of the first."""
    series = dataset((30, 40)).series
    for each in series:
        each.values[[3, 7, 28], [0, 1, 0]] = np.nan
    series[0].values[10:19, 0] = np.nan
    return Dataset(series, ("prey", "predator"), "test data")


def gappy_windows(**options):
    options = {"seq_len": 2000, "batch_size": 2, "seed": 0, **options}
    return Windows(gappy(), SCALE, CODEC, NO_START, **options)


def unknown(rows):
    return sorted(NO_START.decode(row.tolist()).count("?") for row in rows)


def test_short_gaps_are_filled_in_all_that_is_read():
    filled = gappy_windows()
    assert filled.n_filled == 6
    assert unknown(t.ids for t in filled.series) == [0, 9]
    assert unknown(t.ids for t in filled.of_others(gappy()).series) == [0, 9]
    (ends,) = filled.ends_of(gappy(), 4)
    assert unknown(ends.inputs) == [0, 9]
    # of numbers between their neighbours
    text = NO_START.decode(filled.series[1].ids.tolist())
    reference, read = dataset((30, 40)).series[1].values, SCALE.invert(CODEC.decode(text))
    lower, upper = sorted((reference[2, 0], reference[4, 0]))
    assert lower - 0.02 <= read[3, 0] <= upper + 0.02


def test_what_is_held_out_is_in_no_filled_value_before_it():
    histories = []
    for after in (1.0, 50.0):
        holed = gappy()
        for series in holed:
            series.values[-7:-3] = np.nan  # up to the first of the steps that are held out
            series.values[-3:] = after
        (ends,) = gappy_windows().ends_of(holed, 4)
        first = [int(np.flatnonzero(t != IGNORED)[0]) for t in ends.targets]
        histories.append([row[: n + 1].tolist() for row, n in zip(ends.inputs, first, strict=True)])
    assert histories[0] == histories[1]


def test_simulated_series_are_taken_with_the_gaps_that_they_have():
    mixed = gappy_windows(batch_size=4, mix=0.5, simulated=lambda index: gappy().series[1])
    assert unknown(mixed.batch(0).inputs) == [0, 3, 3, 9]


@pytest.mark.parametrize("alphabet", [ALPHABET, NO_START])
@pytest.mark.parametrize("seq_len", [40, 64, 2000])
def test_ends_have_the_last_steps_as_their_only_targets(alphabet, seq_len):
    source = windows(alphabet=alphabet, seq_len=seq_len, batch_size=2)
    longer = dataset((34, 25, 44), seed=1)
    batches = source.ends_of(longer, 4)
    assert [len(b.inputs) for b in batches] == [2, 1]
    result = []
    for batch in batches:
        for inputs, targets in zip(batch.inputs, batch.targets, strict=True):
            scored = targets != IGNORED
            places = np.flatnonzero(scored)
            assert np.array_equal(places, np.arange(places[0], places[-1] + 1))
            result.append(alphabet.decode(targets[scored].tolist()))
            assert len(inputs) <= source.width
            # each target is the token after its input
            assert np.array_equal(inputs[places[1:]], targets[places[:-1]])
    for text, series in zip(result, longer, strict=True):
        reference = CODEC.encode(SCALE.apply(series.values[-4:]))
        assert reference.endswith(text)
        assert text == reference or seq_len == 40


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
    data, source = dataset((30, 20, 40)), by_themselves(scale_jitter=jitter)
    lengths, tops, begins = [], [], set()
    for index in range(40):
        batch = source.batch(index)
        for inputs, targets in zip(batch.inputs, batch.targets, strict=True):
            numbers, n = read_back(inputs, targets)
            part, _ = part_of(numbers, data)
            begins.add(float(part[0, 0]))
            lengths.append(n)
            tops.append(float(numbers[:n].max()))
            assert n <= 0.75 * (len(numbers) + 1)
    assert min(lengths) == 8
    assert len(set(lengths)) > 4
    assert len(begins) > 10
    if jitter:
        assert 0.2 < np.std(np.log(tops)) < 0.4
    else:
        assert np.abs(np.array(tops) - 5).max() < 0.011


def test_rows_to_validate_with_have_the_scale_of_their_first_half():
    others = by_themselves(seq_len=4000, scale_jitter=0.5).of_others(dataset((34, 25, 44), seed=1))
    for index in range(3):
        batch = others.batch(index)
        for inputs, targets in zip(batch.inputs, batch.targets, strict=True):
            result, n = read_back(inputs, targets)
            assert n in (17, 13, 22)
            assert abs(result[:n].max() - 5) < 0.011


def test_ends_have_the_scale_of_what_comes_before_them():
    source = by_themselves()
    output = dataset((30,), seed=1)
    (series,) = output
    larger = series.values.copy()
    larger[-4:] *= 3
    for values in (series.values, larger):
        end = source.ends_of(replace(output, series=(replace(series, values=values),)), 4)[0]
        places = np.flatnonzero(end.targets[0] != IGNORED)
        scale = 5 / series.values[:-4].max()
        text = ALPHABET.decode(end.targets[0][places].tolist())
        assert text == CODEC.encode(values[-4:] * scale)


def test_simulated_rows_and_known_columns_have_scales_of_their_own_too():
    source = by_themselves(mix=0.5, simulated=simulated)
    for index in range(6):
        for inputs, targets in zip(*vars(source.batch(index)).values(), strict=True):
            result, n = read_back(inputs, targets)
            assert abs(result[:n].max() - 5) < 0.011
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
