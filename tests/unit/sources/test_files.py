"""Tests of the whole input: checked in one pass, then read again."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nanobatch.errors import InputError
from nanobatch.model import Prompt
from nanobatch.sources import Checked, PromptFiles, ReadOptions
from nanobatch.sources.files import LISTED, numbered

Files = Callable[..., PromptFiles]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    monkeypatch.chdir(tmp_path)

    def build(*contents: str, accept: Callable[[Prompt], str | None] | None = None, **options: Any) -> PromptFiles:
        names = []
        for number, content in enumerate(contents):
            names.append(f"{'abc'[number]}.csv")
            Path(names[-1]).write_text(content)
        return PromptFiles(names, ReadOptions(**options), accept=accept)

    return build


def ids(files: PromptFiles) -> list[str]:
    return [prompt.id for prompt in files.prompts()]


def refusal(files: PromptFiles) -> InputError:
    with pytest.raises(InputError) as caught:
        files.check()
    return caught.value


def test_check_counts_and_prompts_stream_again(files: Files) -> None:
    """The check reads everything once; the prompts can be read as often as wanted."""
    several = files("prompt\nfox\nowl\n", "prompt,n\nhen,3\n", images_per_prompt=2)
    assert several.check() == Checked(prompts=3, images=7, skipped=(), skipped_count=0)
    assert ids(several) == ids(several) == ["0001-fox", "0002-owl", "0003-hen"]
    assert [str(prompt.origin) for prompt in several.prompts()] == ["a.csv:2", "a.csv:3", "b.csv:2"]


def test_the_index_counts_bad_rows_too(files: Files) -> None:
    """Numbers do not depend on --skip-invalid, so mending a row renames no other."""
    bad = files("prompt,size\nfox,1K\nowl,9K\n\nhen,1K\n", skip_invalid=True)
    checked = bad.check()
    assert ids(bad) == ["0001-fox", "0003-hen"]
    assert (checked.prompts, checked.skipped_count, str(checked.skipped[0])[:8]) == (2, 1, "a.csv:3:")


def test_bad_rows_are_listed_and_counted(files: Files) -> None:
    """The first twenty are named, the message has the total, and nothing else is raised before all are read."""
    error = refusal(files("prompt,size\n" + "fox,1K\n" * 1_000 + "owl,9K\n" * 1_500))
    assert error.message.startswith("1,500 of 2,500 rows cannot be used")
    assert len(error.problems) == LISTED
    assert error.problems[0] == "a.csv:1002: size '9K' is not one of 512, 1K, 2K, 4K"


def test_skipped_rows_are_capped(files: Files) -> None:
    """A million skipped rows are a number and a few examples."""
    checked = files("prompt,size\nfox,1K\n" + "owl,9K\n" * 100, skip_invalid=True).check()
    assert (checked.skipped_count, len(checked.skipped)) == (100, LISTED)


def test_broken_files_fail_even_when_rows_may_be_skipped(files: Files) -> None:
    """--skip-invalid forgives rows, not files."""
    assert "no column 'prompt'" in refusal(files("foo\nbar\n", skip_invalid=True)).message
    assert "never closed" in refusal(files('prompt,a\nfox,1\n"owl,2\n', skip_invalid=True)).message


def test_a_file_without_a_usable_row_fails(files: Files) -> None:
    """A file that gives nothing is a mistake, even beside a good one; its bad rows are shown."""
    error = refusal(files("prompt\nfox\n", "prompt,size\nowl,9K\n", skip_invalid=True))
    assert error.message.startswith("no prompts in b.csv; write each")
    assert len(error.problems) == 1
    assert refusal(files("prompt\n")).message == "no prompts in a.csv; write each in a row of its own below the header"


def test_no_files_and_missing_files(files: Files) -> None:
    """Both are one sentence."""
    assert "name a file" in refusal(PromptFiles([])).message
    assert "there is no such file" in refusal(PromptFiles(["nofile.csv"])).message


def test_standard_input(tmp_path: Path) -> None:
    """Prompts come through a pipe, are read twice, and stand at lines of "-"."""
    piped = PromptFiles(["-"], stdin=io.BytesIO(b'{"prompt": "fox"}\n'))
    piped.check()
    assert [(prompt.text, str(prompt.origin)) for prompt in piped.prompts()] == [("fox", "-:1")]
    assert "only once" in refusal(PromptFiles(["-", "-"], stdin=io.BytesIO(b"x"))).message


def test_double_ids_name_both_rows(files: Files) -> None:
    """Equal ids are an error over all files, and both places are named."""
    error = refusal(files("id,prompt\na,x\nb,y\n", "id,prompt\n a ,z\n", skip_invalid=True))
    assert error.message == "1 id or file name is wanted twice"
    assert error.problems == ("b.csv:2: the id 'a' is already that of a.csv:2",)


def test_a_given_id_may_clash_with_a_made_one(files: Files) -> None:
    """Made ids are ids like any other."""
    error = refusal(files("id,prompt\n0002-fox,owl\n,fox\n"))
    assert error.problems == ("a.csv:3: the id '0002-fox' is already that of a.csv:2",)


@pytest.mark.parametrize(("one", "two"), [("Fox", "fox"), ("a/b", "a-b"), ("é", "e\u0301")])
def test_names_that_are_one_file_clash(files: Files, one: str, two: str) -> None:
    """Different ids whose files would be one on some system are refused, naming both."""
    (problem,) = refusal(files(f"id,prompt\n{one},x\n{two},y\n")).problems
    assert problem.startswith("a.csv:3: its file ")
    assert "already that of a.csv:2" in problem


def test_further_images_clash_too(files: Files) -> None:
    """The second image of a row called a is a-2, which must not be another row's name."""
    (problem,) = refusal(files("id,prompt\na,x\na-2,y\n", images_per_prompt=2)).problems
    assert problem.startswith("a.csv:3: its file 'a-2' is already that of a.csv:2")
    (problem,) = refusal(files("id,prompt,n\na-3,y,1\na,x,3\n")).problems
    assert problem.startswith("a.csv:3: its file 'a-3'")
    assert files("id,prompt\na,x\na-2,y\n").check().prompts == 2


def test_a_name_template_that_tells_nothing_apart(files: Files) -> None:
    """Names without id or index clash, and the message says what to add; the list is capped."""
    error = refusal(files("prompt,kind\n" + "".join(f"p{number},cat\n" for number in range(99)), name="{kind}"))
    assert error.message == "98 ids or file names are wanted twice"
    assert len(error.problems) == LISTED
    assert "add {id} or {index} to --name" in error.problems[0]


def test_limit_takes_the_first(files: Files) -> None:
    """--limit chooses the first so many, and reads no further than it must."""
    three = files("prompt\nfox\nowl\nhen\n", limit=2)
    assert three.check().prompts == 2
    assert ids(three) == ["0001-fox", "0002-owl"]
    assert [chosen for _, chosen in three.walk()] == [True, True]
    assert [chosen for _, chosen in three.walk(everything=True)] == [True, True, False], "the manifest knows them all"


def test_only_is_a_glob_over_ids(files: Files) -> None:
    """--only chooses by id, and --limit counts what is chosen."""
    chosen = files("id,prompt\ncat-1,x\ndog-1,y\ncat-2,z\ncat-3,w\n", only="cat-*", limit=2)
    assert chosen.check().prompts == 2
    assert ids(chosen) == ["cat-1", "cat-2"]
    assert [(prompt.id, ok) for prompt, ok in chosen.walk()] == [("cat-1", True), ("dog-1", False), ("cat-2", True)]


def test_choosing_nothing_is_an_error(files: Files) -> None:
    """A glob that matches nothing is a typing error."""
    assert "none of 1 prompts is chosen" in refusal(files("prompt\nfox\n", only="cat*")).message


def test_the_whole_input_is_checked_whatever_is_chosen(files: Files) -> None:
    """A bad row behind the limit is still a bad row."""
    assert "1 of 2 rows" in refusal(files("prompt,size\nfox,1K\nowl,9K\n", limit=1)).message


def test_refused_prompts_are_problems(files: Files) -> None:
    """What no provider can draw is found in the check, with the reason that the caller gives."""

    def accept(prompt: Prompt) -> str | None:
        return "no provider offers the model 'x'" if prompt.model == "x" else None

    content = "prompt,model\nfox,\nowl,x\nhen,\n"
    assert refusal(files(content, accept=accept)).problems == ("a.csv:3: no provider offers the model 'x'",)
    skipping = files(content, accept=accept, skip_invalid=True, limit=2)
    assert skipping.check().skipped_count == 1
    assert ids(skipping) == ["0001-fox", "0003-hen"]


def test_only_chosen_prompts_are_asked_about(files: Files) -> None:
    """A row that is left out by --only needs no provider."""
    asked: list[str] = []
    files("id,prompt\na,x\nb,y\n", only="b", accept=lambda prompt: asked.append(prompt.id)).check()
    assert asked == ["b"]


def test_a_visitor_sees_every_usable_prompt(files: Files) -> None:
    """Planning looks at the prompts in the same pass."""
    seen: list[tuple[str, bool]] = []

    def visit(prompt: Prompt, *, chosen: bool) -> None:
        seen.append((prompt.id, chosen))

    files("id,prompt,size\na,x,1K\nb,y,9K\nc,z,1K\n", only="c", skip_invalid=True).check(visit)
    assert seen == [("a", False), ("c", True)]


def test_a_file_that_changed_is_noticed(files: Files) -> None:
    """A row that went bad between the check and the run is an error, not a silent gap."""
    changing = files("prompt,size\nfox,1K\n")
    changing.check()
    Path("a.csv").write_text("prompt,size\nfox,9K\n")
    with pytest.raises(InputError, match=r"a\.csv:2: size '9K'.*changed since it was checked"):
        list(changing.prompts())


def test_formats_may_be_mixed(tmp_path: Path) -> None:
    """Files of different formats make one run with one numbering."""
    (tmp_path / "a.txt").write_text("fox\n\nowl\n")
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": "hen", "size": "2k", "extra": [1]}) + "\n")
    mixed = PromptFiles([str(tmp_path / "a.txt"), str(tmp_path / "b.jsonl")])
    mixed.check()
    assert ids(mixed) == ["0001-fox", "0002-owl", "0003-hen"]
    assert list(mixed.prompts())[2].columns == {"extra": [1]}


def test_references_are_found_beside_their_file(tmp_path: Path) -> None:
    """A prompt file may be used from any working directory."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "ref.png").touch()
    (tmp_path / "sub" / "p.csv").write_text("prompt,references\nfox,ref.png\n")
    (prompt,) = PromptFiles([str(tmp_path / "sub" / "p.csv")]).prompts()
    assert prompt.references == (str(tmp_path / "sub" / "ref.png"),)


def test_numbered() -> None:
    """The first image of a row has its plain name."""
    assert [numbered("fox", number) for number in (1, 2, 10)] == ["fox", "fox-2", "fox-10"]
