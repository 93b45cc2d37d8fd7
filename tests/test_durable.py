"""JSON that is read whole or refused."""

import pytest

from lvlora import durable
from lvlora.errors import DataError, ModelError


def test_a_json_file_is_read_whole_or_refused_by_name(tmp_path):
    path = tmp_path / "facts.json"
    path.write_text('{"a": [1]}')
    assert durable.read_json_object(path, 10) == {"a": [1]}
    with pytest.raises(DataError, match=r"facts\.json: .* larger than 9 B"):
        durable.read_json_object(path, 9)
    for content in (b"", b"{", b"[1]", b"\xff", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"facts\.json: .*JSON") as caught:
            durable.read_json_object(path, hint="Write it again.")
        assert caught.value.hint == "Write it again."
    path.unlink()
    with pytest.raises(ModelError, match="No such file"):
        durable.read_json_object(path, wrong=ModelError)


@pytest.mark.parametrize("digits", [1, 300, 308])
def test_whole_numbers_of_json_can_be_computed_with(digits):
    (number,) = durable.parse_json(f"[{'9' * digits}]")
    assert number == int("9" * digits)
    assert float(number) > 0


@pytest.mark.parametrize("digits", [309, 400, 100_000])
def test_whole_numbers_beyond_floats_are_no_json_of_ours(digits):
    with pytest.raises(ValueError, match="digits"):
        durable.parse_json(f'{{"loss": -{"9" * digits}}}')
