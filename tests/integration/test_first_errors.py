"""Every mistake that a new user makes is answered by one sentence that says what to do, with the right exit code.

All of them go through the real command line, in a folder of their own, as a process.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nanobatch.clock import SystemClock
from nanobatch.folder import locked
from tests.sandbox_process import sandbox
from tests.tiny_server import Shell

KEY = {"GEMINI_API_KEY": "some-key"}
FILES = {
    "p.csv": "prompt\na fox\n",
    "empty.csv": "",
    "header.csv": "prompt\n",
    "blank.csv": "prompt,sku\n,1\n",
    "wrong-column.csv": "words,sku\na fox,1\n",
    "bad-size.csv": "prompt,size\na fox,3K\n",
    "bad-model.csv": "prompt,model\na fox,nano-banna-pro\n",
    "bad-provider.csv": "prompt,provider\na fox,gogle\n",
    "twice.csv": "id,prompt\na,fox\na,dog\n",
    "workbook.xlsx": "PK\x03\x04rest",
    "workbook.csv": "PK\x03\x04rest",
    "broken.jsonl": '{"prompt": "a"\n',
    "prompts.docx": "words",
    "typo.yaml": "run:\n  retires: 3\n",
    "broken.yaml": "run: [\n",
    "value.yaml": "run:\n  retries: many\n",
    "unset.yaml": "providers:\n  mine: {protocol: gemini, base_url: 'http://127.0.0.1:9/v1beta', api_key: '${MY_KEY}'}\n",
    "tab.yaml": "defaults:\n\tsize: 1K\n",
    "flat.yaml": "size: 2K\n",
    "tier.yaml": "providers:\n  google: {teir: 2}\n",
    "list.json": '[{"prompt": "a fox"}]\n',
    "list.jsonl": '[{"prompt": "a fox"}]\n',
    "reference.csv": "prompt,references\na fox,gone.png\n",
    "protocol.yaml": "providers:\n  mine: {protocol: gemmini, base_url: 'http://127.0.0.1:9', api_key: k}\n",
}  # fmt: skip


@dataclass(frozen=True)
class Mistake:
    """What somebody types, and what must be in the answer."""

    line: str
    words: str  # a regular expression
    code: int = 2
    env: dict[str, str] = field(default_factory=lambda: dict(KEY))


MISTAKES = {
    "no key at all": Mistake("run p.csv", r"set one of GEMINI_API_KEY, .*add --sandbox", 3, {}),
    "no key of the one that is wanted": Mistake("run p.csv -p openai", r"openai has no key; set OPENAI_API_KEY", 3),
    "a key that is not set": Mistake("run p.csv -c unset.yaml", r"mine has no key; set MY_KEY"),
    "no prompts named": Mistake("run", r"needs PROMPTS, such as: nanobatch run prompts\.csv"),
    "the command forgotten": Mistake("p.csv", r"did you mean: nanobatch run p\.csv"),
    "the command mistyped": Mistake("rnu p.csv", r"did you mean 'run'"),
    "an unknown command": Mistake("zzz", r"see nanobatch --help"),
    "an option mistyped": Mistake("run p.csv --sise 1K", r"did you mean --size"),
    "an option of another program": Mistake("run p.csv --zzzzzz", r"see nanobatch run --help"),
    "an option without its value": Mistake("run p.csv --limit", r"--limit needs a value"),
    "a switch with a value": Mistake("run p.csv --sandbox=3", r"--sandbox takes no value"),
    "one word too many": Mistake("status a b", r"b is more than this command takes"),
    "a file that is not there": Mistake("run nowhere.txt", r"there is no such file"),
    "a file name mistyped": Mistake("run heeder.csv", r"there is no such file; did you mean 'header\.csv'"),
    "a folder as a file": Mistake("run folder", r"folder is a folder; name the prompt files in it"),
    "an empty file": Mistake("run empty.csv", r"empty\.csv is empty; write `prompt` in its first line"),
    "only a header": Mistake("run header.csv", r"no prompts in header\.csv; write each in a row"),
    "an empty prompt": Mistake("run blank.csv", r"correct them, or leave them out with --skip-invalid"),
    "a column of another name": Mistake("run wrong-column.csv", r"no column 'prompt' .*words, sku.*--prompt-column"),
    "a column that is not there": Mistake("run p.csv --prompt-column text", r"no column 'text' \(columns: prompt\)"),
    "a template's column": Mistake("run p.csv -t 'a {colour} fox'", r"--template: no column 'colour' \(columns: prompt\)"),
    "a name's column": Mistake("run p.csv --name '{sku}'", r"--name: no column 'sku' \(columns: prompt\)"),
    "an id twice": Mistake("run twice.csv", r"1 id or file name is wanted twice"),
    "a workbook": Mistake("run workbook.xlsx", r"spreadsheet; save it as CSV UTF-8"),
    "a workbook called CSV": Mistake("run workbook.csv", r"a workbook or an archive, not text; save the sheet as CSV"),
    "another kind of file": Mistake("run prompts.docx", r"prompts are read from \.csv \.tsv"),
    "broken JSON": Mistake("run broken.jsonl", r"correct them, or leave them out"),
    "nothing on standard input": Mistake("run -", r"standard input is empty; pipe prompts into it"),
    "a size that nobody draws": Mistake("run p.csv --size 3K", r"--size: .*one of 512, 1K, 2K, 4K, not '3K'"),
    "a size in a row": Mistake("run bad-size.csv", r"(?s)correct them.*bad-size\.csv:2: size '3K' is not one of"),
    "a shape": Mistake("run p.csv --aspect-ratio 16x9", r"must be width:height, such as 16:9"),
    "a model": Mistake("run p.csv -m nano-banna-pro", r"did you mean 'nano-banana-pro'"),
    "a model in a row": Mistake("run bad-model.csv", r"(?s)correct them.*:2: .*did you mean 'nano-banana-pro'"),
    "a provider": Mistake("run p.csv -p gogle", r"did you mean 'google'"),
    "a provider in a row": Mistake("run bad-provider.csv", r"(?s)correct them.*:2: .*gogle"),
    "a strategy": Mistake("run p.csv --strategy cheap", r"--strategy: 'cheap' is not one of 'priority'"),
    "a format": Mistake("run p.csv -O xml", r"--output: 'xml' is not one of 'text'"),
    "no number": Mistake("run p.csv --budget ten", r"--budget: must be a number|--budget: 'ten' is not a valid"),
    "a negative budget": Mistake("run p.csv --budget -1", r"--budget: .* must be a number of 0 or more"),
    "no images": Mistake("run p.csv -n 0", r"--images-per-prompt: .* must be a number from 1 to 100"),
    "no prompts": Mistake("run p.csv --limit 0", r"--limit: (must be 1 or more|0 is not in the range)"),
    "nothing chosen": Mistake("run p.csv --only zebra", r"none of 1 prompts is chosen by --only and --limit"),
    "a key of the configuration": Mistake("run p.csv -c typo.yaml", r"typo\.yaml:2: unknown key 'retires' .*did you mean 'retries'"),
    "a value of the configuration": Mistake("run p.csv -c value.yaml", r"value\.yaml:2: run\.retries must be a number"),
    "YAML that is none": Mistake("run p.csv -c broken.yaml", r"broken\.yaml:\d: this is not valid YAML"),
    "no such configuration": Mistake("run p.csv -c none.yaml", r"there is no such file; `nanobatch init` writes one"),
    "a folder as configuration": Mistake("run p.csv -c folder", r"folder is a folder; name a YAML file"),
    "a wire format": Mistake("run p.csv -c protocol.yaml", r"gemmini.*did you mean 'gemini'"),
    "a variable mistyped": Mistake("run p.csv", r"did you mean 'NANOBATCH_RUN_RETRIES'", env=KEY | {"NANOBATCH_RUN_RETIRES": "3"}),
    "a file as output": Mistake("run p.csv -o p.csv", r"p\.csv is a file; choose a folder with --out"),
    "a file above the output": Mistake("run p.csv -o p.csv/x", r"not a directory; nothing was sent: name another place"),
    "an output that cannot be made": Mistake("run p.csv -o /proc/x", r"nothing was sent: name another place"),
    "events that cannot be written": Mistake("run p.csv --events nowhere/e", r"nothing was sent: name another place"),
    "a log that cannot be written": Mistake("run p.csv --log-file folder", r"nothing was sent: name another place"),
    "a command that is not there": Mistake("run p.csv --exec 'nope {file}'", r"--exec: there is no command 'nope'; install it"),
    "a placeholder mistyped": Mistake("run p.csv --exec 'cp {fiel}'", r"\{fiel\} is none of \{file\} \{id\}"),
    "an address that is none": Mistake("run p.csv --notify example.com", r"--notify: give an address that begins with http"),
    "figures that cannot be written": Mistake("run p.csv --metrics no/x.prom", r"--metrics: no/x\.prom cannot be written; name"),
    "the status of nothing": Mistake("status nowhere", r"there is no such folder; name the output folder of a run"),
    "the status of any folder": Mistake("status folder", r"folder is not the output of a run"),
    "the status of a file": Mistake("status p.csv", r"p\.csv is a file; name the output folder"),
    "no folder to verify": Mistake("verify", r"needs DIR, such as: nanobatch verify prompts-images"),
    "a start in a file": Mistake("init p.csv", r"p\.csv is a file; name a folder"),
    "a provider that is asked for": Mistake("providers gogle", r"did you mean 'google'"),
    "nothing to estimate": Mistake("estimate-cost", r"name prompt files, or say how many images with --count"),
    "a tier": Mistake("estimate-cost --count 3 --tier x", r"written PROVIDER=TIER, such as google=2"),
    "a profile": Mistake("estimate-cost --profile shop", r"unknown profile 'shop'|shop"),
    "a tab in the configuration": Mistake("run p.csv -c tab.yaml", r"tab\.yaml:2: .*a tab stands where YAML wants blanks"),
    "a key outside of its section": Mistake("run p.csv -c flat.yaml", r"flat\.yaml:1: unknown key 'size'; it belongs under defaults"),
    "a key of a provider": Mistake("run p.csv -c tier.yaml", r"unknown key 'teir' under providers\.google; did you mean 'tier'"),
    "a list of JSON": Mistake("run list.json", r"write JSON as one object a line, in a file that ends in \.jsonl"),
    "a list in JSON lines": Mistake("run list.jsonl", r"list\.jsonl:1: not a JSON object but a list; write one \{\.\.\.\} a line"),
    "an address as a file": Mistake("run https://example.com/p.csv", r"is no file; fetch it first: curl"),
    "help as a command": Mistake("help", r"type: nanobatch --help"),
    "the version as a command": Mistake("version", r"type: nanobatch --version"),
    "the version of other programs": Mistake("-V", r"did you mean --version"),
    "a seed": Mistake("run p.csv --seed -1", r"--seed: .* must be a number from 0 to 2147483647, not -1"),
    "something to embed": Mistake("run p.csv --embed promt", r"--embed: .* must be prompt or params"),
    "batches without --batch": Mistake("run p.csv --spill sync", r"^nanobatch: --spill belongs to --batch"),
    "a reference that is gone": Mistake("run reference.csv", r"reference\.csv:2: the reference 'gone\.png' is no file in"),
    "another encoding": Mistake("run $(printf 'prompt\\n\\351t\\351\\n' >latin.csv; echo latin.csv)", r"latin\.csv:2: not UTF-8 text; save"),
    "a port": Mistake("sandbox --port 99999", r"--port: (must be 65535 or less|99999 is not in the range)"),
}  # fmt: skip


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path / "work")
    for name, text in FILES.items():
        shell.write(name, text)
    (shell.cwd / "folder").mkdir()
    yield shell
    images = [path for path in shell.cwd.rglob("*") if path.suffix in (".png", ".jpg")]
    assert images == [], "something was sent"


def answer(shell: Shell, mistake: Mistake) -> str:
    shell.env.update(mistake.env)
    done = shell.bash(f"nanobatch {mistake.line} </dev/null")
    assert (done.returncode, done.stdout) == (mistake.code, "")
    return done.stderr


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_answered_by_a_sentence_that_helps(shell: Shell, name: str) -> None:
    """One line that begins with the program's name; below it at most the rows in question, indented."""
    mistake = MISTAKES[name]
    told = answer(shell, mistake)
    first, *others = told.splitlines()
    assert first.startswith("nanobatch: ")
    assert all(line.startswith("  ") for line in others), told
    assert re.search(mistake.words, told), told
    assert "Traceback" not in told
    assert "some-key" not in told


def test_a_folder_in_use_names_its_holder(shell: Shell) -> None:
    """Who has it, and what to do."""
    with locked(shell.cwd / "out", SystemClock()):
        for line in ("run p.csv -o out", "verify out --repair"):
            told = answer(shell, Mistake(line, ""))
            assert re.fullmatch(
                rf"nanobatch: out is in use by another run \(process {os.getpid()} on .*\); "
                r"wait for it or choose another --out\n",
                told,
            )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
@pytest.mark.parametrize(
    ("name", "line"), [("p.csv", "run p.csv"), ("folder", "run p.csv -o folder/x"), ("folder", "status folder")]
)
def test_missing_rights_are_a_sentence(shell: Shell, name: str, line: str) -> None:
    """A file that may not be read, and a folder that may not be entered."""
    (shell.cwd / name).chmod(0)
    try:
        told = answer(shell, Mistake(line, ""))
    finally:
        (shell.cwd / name).chmod(0o755)
    assert told.count("\n") == 1
    assert "permission" in told.lower()


def test_a_wrong_key_is_one_sentence_too(tmp_path: Path) -> None:
    """It can only be found out by asking: exit code 3, and which provider did not take it."""
    shell = Shell(tmp_path / "work")
    shell.write("p.csv", FILES["p.csv"])
    with sandbox() as vendor:
        provider = f"{{protocol: gemini, base_url: '{vendor.gemini}', api_key: invalid-key, prices: {{1K: 0.1}}}}"
        shell.write("nanobatch.yaml", f"providers:\n  mine: {provider}\n")
        done = shell.run("run", "p.csv", "-q")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("nanobatch: ")
    assert "invalid-key" not in done.stderr
