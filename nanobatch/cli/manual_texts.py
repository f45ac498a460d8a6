"""The parts of docs/cli.md that no command can tell of itself: exit codes, files, environment."""

# ruff: noqa: E501 - a row of a table is one line

BEFORE = """\
# nanobatch(1)

<!-- Written by the program: python -m nanobatch.cli.manual > docs/cli.md -->

A file of prompts in, the images out: through whichever provider's quota allows it.

```
nanobatch COMMAND [OPTIONS] [ARGUMENTS]
nanobatch --version
nanobatch COMMAND --help
```

Standard output carries data only; progress, warnings and errors go to standard error. Where a command has `-O json`,
it writes one object whose keys stay what they are. An error is one sentence that begins with `nanobatch: `; where rows
of a prompt file are wrong, they follow below it, indented.
"""

AFTER = """\
## Exit codes

| code | meaning | what a script should do |
|---|---|---|
| 0 | all that was asked for is there | nothing |
| 1 | ended, but something is wrong for good: prompts without an image (`run`), files that are not as recorded (`verify`) | look at failed.jsonl, at the list |
| 2 | usage, configuration or input error; nothing was sent | fix it |
| 3 | no provider accepted the credentials or the account | fix it |
| 4 | stopped by a limit of yours, such as `--budget` | raise it |
| 5 | unfinished, and running again will help; `resume_after` in run.json says when | run the same command again |
| 70 | a bug | report it |
| 130, 143 | interrupted by Ctrl-C, or by SIGTERM; everything finished is on disk | run the same command again |

## Files

| file | what it is |
|---|---|
| `./nanobatch.yaml` | the configuration, unless `--config` names another; `nanobatch init` writes one |
| `~/.config/nanobatch/config.yaml` | the user's own configuration, beneath that one |
| `DIR/images/` | the images, in the provider's own bytes |
| `DIR/manifest.jsonl` | one line for each image wanted |
| `DIR/failed.jsonl` | the rows without an image, as rows that `run` accepts |
| `DIR/run.json` | the summary of the last run that ended |
| `DIR/.nanobatch/started.json` | what the last run was when it started: its command, how many images it wants |
| `DIR/.nanobatch/attempts.jsonl` | every request that may cost money, before it is sent and after |
| `DIR/.nanobatch/lock` | held by the run that is at work |
| `DIR/.nanobatch/replaced/` | images in whose place another came |
| `DIR/.nanobatch/set-aside/` | files that `verify --repair` found wrong |
| `~/.local/state/nanobatch/` | what all runs of a user take of each account's quota, and what they spend in a day |
| `~/.cache/nanobatch/` | what the [cache](configuration.md#the-cache) remembers of earlier runs |

`DIR` is the output folder: `--out`, or the name of the first prompt file with `-images` behind it.

## Environment

| variable | what it does |
|---|---|
{variables}
| `NANOBATCH_<SECTION>_<KEY>` | any setting of [configuration.md](configuration.md), such as `NANOBATCH_RUN_BUDGET_USD=25`; an option wins over it |
| `NANOBATCH_CONFIG` | the configuration file, as `--config` |
| `XDG_CONFIG_HOME`, `XDG_STATE_HOME`, `XDG_CACHE_HOME` | instead of `~/.config`, `~/.local/state` and `~/.cache` |
| `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, `SSL_CERT_FILE` | the way to the providers, as other programs take it |
| `NO_COLOR`, `TERM=dumb`, `COLUMNS` | no colour; no progress bar; the width of tables |

## Completion

`nanobatch --install-completion` sets up the shell at hand (bash, zsh, fish, PowerShell); `nanobatch --show-completion`
prints what it would add. Commands, options and their values are completed, and the names of providers, models, sizes
and shapes from the catalog.
"""
