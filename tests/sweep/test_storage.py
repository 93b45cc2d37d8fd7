"""Where a study is kept: torn files, wrong files, other people's studies."""

import pytest
from sweeping import claim, facts_of

from lvlora.errors import DataError, LvloraError, SettingsError
from lvlora.sweep import storage
from lvlora.sweep.plan import stages_of
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.study import compared


@pytest.fixture
def settings(tmp_path):
    return SweepSettings(runs=tmp_path, rank=3)


def made(settings, data="abc"):
    return storage.make(settings, facts_of(settings, data=data))


def test_a_study_is_found_again_with_its_facts(settings):
    assert storage.find(settings) is None
    study = made(settings)
    again = storage.find(settings)
    assert again.facts == study.facts
    stored = again.facts.settings_as(SweepSettings(runs=settings.runs))
    assert (stored.rank, stored.preset) == (3, "quick")


@pytest.mark.parametrize(
    "changes", [{"stages": []}, {"stages": "a"}, {"stages": [{"name": 3}]}, {"x": 1}]
)
def test_a_plan_that_cannot_be_is_damage(settings, changes):
    study = made(settings).study
    facts = study.user_attrs["lvlora"]
    study.set_user_attr("lvlora", {**facts, "plan": {**facts["plan"], **changes}})
    if "x" in changes:
        study.set_user_attr("lvlora", {**facts, **changes})
    with pytest.raises(DataError, match="damaged"):
        storage.find(settings)


def test_of_two_that_make_a_study_at_once_both_get_one_plan(settings, monkeypatch):
    """The one that comes second waits for what the first has yet to write."""
    import optuna

    storage.folder_of(settings).mkdir(parents=True)
    theirs = optuna.create_study(
        study_name="sweep", storage=storage._open(settings, storage.folder_of(settings))
    )
    first = facts_of(settings)
    first = first.model_copy(update={"max_flops": 10**20})

    def meanwhile(seconds: float) -> None:
        theirs.set_user_attr("lvlora", first.model_dump(mode="json"))

    monkeypatch.setattr("lvlora.sweep.storage.time.sleep", meanwhile)
    assert made(settings).facts == first != facts_of(settings)
    with pytest.raises(SettingsError, match="the data"):
        made(settings, data="other")


def test_a_database_serves_as_well(settings, tmp_path):
    there = settings.model_copy(update={"storage": f"sqlite:///{tmp_path / 'studies.db'}"})
    assert storage.find(there) is None
    made(there)
    study = storage.find(there)
    assert claim(study).params == study.plan.stages[0].points[0]
    assert storage.find(settings) is None  # the journal is another place


def test_a_line_that_was_never_finished_is_no_obstacle(settings):
    claim(made(settings))
    journal = settings.runs / "sweep" / storage.JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code":8,"trial_i')
    board = storage.find(settings)
    assert journal.read_bytes() == whole
    assert claim(board).user_attrs["slot"] == 1
    assert list(storage.find(settings).by_slot()) == [0, 1]


def test_a_file_that_is_no_journal_is_named(settings):
    made(settings)
    journal = settings.runs / "sweep" / storage.JOURNAL
    journal.write_text("hello\nworld\n")
    with pytest.raises(DataError, match="journal is damaged"):
        storage.find(settings)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "latest", "ledger.sqlite", ".hidden"])
def test_names_that_cannot_be_folders_are_refused(tmp_path, name):
    with pytest.raises(SettingsError, match="no name for a study"):
        storage.folder_of(SweepSettings(runs=tmp_path, study=name))


def test_a_run_is_no_study(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "metrics.jsonl").touch()
    with pytest.raises(SettingsError, match="is a run of lvlora train"):
        storage.folder_of(SweepSettings(runs=tmp_path, study="mine"))


def test_a_study_of_something_else_is_refused(settings, tmp_path):
    import optuna

    url = f"sqlite:///{tmp_path / 'theirs.db'}"
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    optuna.create_study(study_name="sweep", storage=url)
    optuna.load_study(study_name="sweep", storage=url).add_trial(optuna.create_trial(value=1.0))
    with pytest.raises(SettingsError, match="was not made by lvlora sweep"):
        storage.find(settings.model_copy(update={"storage": url}))


@pytest.mark.parametrize(
    ("url", "kind", "words"),
    [
        ("nonsense", SettingsError, "is not the URL of a database"),
        ("nothing://host/name", SettingsError, "is not the URL of a database"),
        ("sqlite:////nowhere/at/all.db", LvloraError, "cannot be used"),
        ("postgresql+nodriver://me:secret@host/db", LvloraError, "driver|cannot be used"),
    ],
)
def test_a_storage_that_cannot_be_used_is_one_sentence(settings, url, kind, words):
    with pytest.raises(kind, match=words) as caught:
        storage.find(settings.model_copy(update={"storage": url}))
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"dropout": 0.5}, r"dropout \(was 0.0, not 0.5\)"),
        ({"preset": "coursework"}, "what is searched"),
        ({"workers": 4, "threads": 2, "max_memory": 10**9}, None),
        ({"max_flops": 10**18, "budget": 10**18}, None),
        ({"save_every": 3, "tracker": ("tensorboard",)}, None),
    ],
)
def test_a_study_goes_on_with_its_subject_wherever_it_runs(settings, changes, named):
    facts = made(settings).facts
    changed = settings.model_copy(update=changes)
    subject = ("sweep", compared(changed), stages_of(changed, None), "abc")
    if named is None:
        facts.check(*subject)
    else:
        with pytest.raises(SettingsError, match=named):
            facts.check(*subject)
