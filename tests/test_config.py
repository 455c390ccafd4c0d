"""Settings: typed, checked, from the environment, and restored."""

import os
import subprocess
import sys

import pytest

import kroton
import kroton.tensor as T
from kroton.config import _pairs_of_flags, config


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_flags_come_from_the_environment():
    code = "import kroton; print(kroton.config.floatX, kroton.config.DebugMode.patience)"
    done = run(code, KROTON_FLAGS="floatX=float32,DebugMode.patience=3")
    assert done.stdout.split() == ["float32", "3"], done.stderr


def test_a_file_gives_settings_and_the_environment_overrides_it(tmp_path):
    path = tmp_path / "rc"
    path.write_text("[global]\nfloatX = float32\nallow_gc = no\n[DebugMode]\npatience = 4\n")
    code = (
        "from kroton.config import config; "
        "print(config.floatX, config.allow_gc, config.DebugMode.patience)"
    )
    done = run(code, KROTONRC=str(path), KROTON_FLAGS="floatX=float64")
    assert done.stdout.split() == ["float64", "False", "4"], done.stderr


def test_an_unknown_flag_is_refused_with_the_nearest_name():
    done = run("import kroton", KROTON_FLAGS="floatx=float32")
    assert done.returncode != 0
    assert "did you mean 'floatX'?" in done.stderr


def test_unknown_settings_cannot_be_read_or_written():
    with pytest.raises(AttributeError, match="did you mean 'profile'"):
        config.profil  # noqa: B018
    with pytest.raises(AttributeError, match=r"no setting 'DebugMode.patienc'"):
        config.DebugMode.patienc = 3
    with pytest.raises(AttributeError, match=r"no setting 'zzz'; there are .*linker.*optimizer"):
        config.change_flags(zzz=1).__enter__()


def test_bad_values_are_refused_and_the_old_one_stays():
    before = config.floatX
    with pytest.raises(ValueError, match=r"config.floatX: expected one of float32, float64"):
        config.floatX = "float16"
    with pytest.raises(ValueError, match="not negative"):
        config.threads = -1
    with pytest.raises(ValueError, match="boolean"):
        config.profile = "maybe"
    assert config.floatX == before


def test_change_flags_restores_even_after_an_error():
    before = (config.floatX, config.traceback.limit)
    inside = []

    def fail():
        with config.change_flags(floatX="float32", traceback__limit=2):
            inside.append((config.floatX, config.traceback.limit))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert inside == [("float32", 2)]
    assert (config.floatX, config.traceback.limit) == before


def test_printing_lists_every_setting_with_its_meaning():
    text = str(config)
    assert "floatX = " in text
    assert "DebugMode.patience = " in text
    assert "patience = " in str(config.DebugMode)


@pytest.mark.parametrize(
    ("setting", "known"),
    [("mode", "FAST_RUN, DEBUG_MODE"), ("linker", "'c|py', 'c&py'"), ("optimizer", "fast_run")],
)
def test_a_wrong_mode_linker_or_optimizer_is_refused_where_it_is_set(setting, known):
    before = getattr(config, setting)
    with pytest.raises(ValueError, match=f"config.{setting}: there is no.* 'nosuch'.*"):
        setattr(config, setting, "nosuch")
    with pytest.raises(ValueError) as error, config.change_flags(**{setting: "nosuch"}):
        pass
    assert known in str(error.value)
    assert getattr(config, setting) == before
    done = run("import kroton", KROTON_FLAGS=f"{setting}=nosuch")
    assert f"ValueError: KROTON_FLAGS: config.{setting}: there is no" in done.stderr
    assert known in done.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("floatX=float16", "ValueError: {}: config.floatX: expected one of float32, float64"),
        ("floatx=float32", "AttributeError: {}: there is no setting 'floatx'"),
        ("threads=few", "ValueError: {}: config.threads: "),
        ("mode=nosuch", "ValueError: {}: config.mode: there is no mode 'nosuch'; use one of FAST_"),
    ],
)
def test_a_wrong_setting_names_the_file_or_the_variable_it_came_from(tmp_path, line, message):
    done = run("import kroton", KROTON_FLAGS=line)
    assert message.format("KROTON_FLAGS") in done.stderr
    path = tmp_path / "rc"
    path.write_text(f"[global]\n{line}\n")
    done = run("import kroton", KROTONRC=str(path), KROTON_FLAGS="")
    assert message.format(path) in done.stderr
    done = run("import kroton", KROTONRC=str(path), KROTON_FLAGS="mode=FAST_COMPILE,floatX=float32")
    assert (done.returncode == 0) is (line in ("mode=nosuch",)), done.stderr


def test_functions_without_a_mode_are_linked_and_optimized_as_the_settings_say():
    x = T.dscalar("x")

    def implementations(mode=None):
        listing = str(kroton.function([x], T.log(1 + T.exp(x)), mode=mode).program)
        return listing.count("[c]"), listing.count("[py]")

    assert implementations() == (1, 0)
    with config.change_flags(linker="py"):
        assert implementations() == (0, 1)
        assert implementations("FAST_RUN") == (1, 0)
    with config.change_flags(optimizer=None):
        assert implementations() == (3, 0)
    with config.change_flags(optimizer="None", linker="py"):
        assert implementations() == (0, 3)
    with config.change_flags(linker="py", mode="FAST_COMPILE"):
        assert implementations()[1] == 0
    done = run(
        "import kroton, kroton.tensor as T; x = T.dscalar(); "
        "print(kroton.function([x], T.exp(x)).program)",
        KROTON_FLAGS="linker=py",
    )
    assert "[py]" in done.stdout, done.stderr


def test_settings_may_name_every_pass_and_rule_of_the_package_at_the_start(tmp_path):
    names = (
        "canonicalize:stabilize:specialize:blas:BlasOpt:arrange:fusion:inplace:merge:"
        "log(1 + x) -> log1p(x):accumulate_dot:switch(x, y, y) -> y:x % 1 -> 0"
    )
    code = "import kroton; print(kroton.config.optimizer_excluding, kroton.config.floatX)"
    wanted = f"{names} float32"
    for quote in "\"'":
        flags = f"optimizer_excluding={quote}{names}{quote}, floatX=float32"
        done = run(code, KROTON_FLAGS=flags)
        assert done.stdout.strip() == wanted, done.stderr
    path = tmp_path / "rc"
    for line in (names, f"'{names}'"):
        path.write_text(f"[global]\noptimizer_excluding = {line}\nfloatX = float32\n")
        done = run(code, KROTONRC=str(path), KROTON_FLAGS="")
        assert done.stdout.strip() == wanted, done.stderr


def test_a_rule_that_the_environment_excludes_does_not_fire():
    code = (
        "import kroton, kroton.tensor as T; x = T.dvector(); "
        "print(kroton.function([x], T.log(1 + x))([1e-20]))"
    )
    for flags, value in (("", "[1.e-20]"), ("optimizer_excluding=log(1 + x) -> log1p(x)", "[0.]")):
        done = run(code, KROTON_FLAGS=flags)
        assert done.stdout.strip() == value, done.stderr


@pytest.mark.parametrize("how", ["including", "excluding", "requiring"])
def test_a_name_that_nothing_has_is_refused_at_the_start_with_where_it_came_from(tmp_path, how):
    setting = f"optimizer_{how}"
    message = "ValueError: {}: config." + setting + ": there is no pass, rule or tag 'stabilise'"
    done = run("import kroton", KROTON_FLAGS=f"{setting}=stabilise")
    assert message.format("KROTON_FLAGS") in done.stderr
    assert "did you mean 'stabilize'" in done.stderr
    path = tmp_path / "rc"
    path.write_text(f"[global]\n{setting} = fusion:stabilise\n")
    done = run("import kroton", KROTONRC=str(path), KROTON_FLAGS="")
    assert message.format(path) in done.stderr


def test_flags_are_pairs_with_quotes_around_values_with_commas():
    def pairs(flags):
        return list(_pairs_of_flags(flags))

    assert pairs("a = 1,, b=x=y , ") == [("a", "1"), ("b", "x=y")]
    assert pairs("a='f(x, y)', b=\"it's\",c=") == [("a", "f(x, y)"), ("b", "it's"), ("c", "")]
    for wrong in ("a", "a=1,b", "a=f(x, y)"):
        with pytest.raises(ValueError, match=r"not of the form name=value.*stands in quotes"):
            pairs(wrong)
