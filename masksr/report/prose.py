"""The sections of the page that no notebook writes: method, limits, how to run it, how to cite. All markdown."""

from __future__ import annotations

import pandas as pd

from masksr import __version__
from masksr.documents import read_yaml
from masksr.params import Model, Params
from masksr.paths import Paths
from masksr.report.summary import Findings
from masksr.report.words import counted, listed
from masksr.results import evidence, paper
from masksr.results.scores import pi_label, weights_used
from masksr.results.typeset import to_markdown


def method(params: Params) -> str:
    """What was trained, how it was scored and how differences were judged, with the values of this profile."""
    named = [name for name in params.table1.masks if name != "none"] or [params.sweep.mask]
    shown = "paper" if "paper" in named else named[0]
    mask = params.masks[shown]
    others = ""
    if len(named) > 1:
        table = pd.DataFrame([{"mask": name} | params.masks[name].model_dump() for name in named])
        others = "These are the settings of the mask *" + shown + "*; each of Table 1, with its own $k$ and $b$ and "
        others += "what it is applied to (`both`: as above):\n\n" + to_markdown(table) + "\n"
    colours = "with a mask for each colour" if mask.per_channel else "as the mean over the colours"
    gradient = "No gradient" if mask.detach else "The gradient"
    rows = [_recipe(params.models[name], params.train.steps_per_epoch) for name in params.table1.models]
    return f"""# Method

The derivation of the mask stands in [the idea](00_idea.ipynb). This is how it was run; the values are those of
`params.yaml` in the profile **{params.profile}**.

## Training

Each model first learns without a discriminator, and without knowing a mask: its start, once per seed. Every mask then
trains on from the same start and sees the same patches, so that variants differ in the mask alone. One step of that:

$$m = \\operatorname{{clip}}\\big(k\\,(S - H)^2 + b,\\; 0,\\; 1\\big) \\tag{{8}}$$

$$L = w_V L_{{\\mathrm{{VGG}}}} + w_G L_{{\\mathrm{{GAN}}}}\\big(D(mS),\\, D(mH)\\big) + w_1 L_1
+ w_T L_{{\\mathrm{{TV}}}}$$

for the SR image $S$ and the HR image $H$, with $k = {mask.k:g}$ and $b = {mask.b:g}$. The weights, equations 10 to 12
of the paper, and the lengths:

{to_markdown(pd.DataFrame(rows))}
The mask's error is {_range(mask.error_range)}, per pixel, {colours}.
{gradient} goes through it. {others}[What the paper leaves open](20_questions.ipynb) lists every such choice beside the
others.

## Scores

LR images are made from HR by MATLAB's bicubic, bit for bit. Every variant enlarges every test image as a whole; scored
is the luma of BT.601 in 8 bits without a border of 4 pixels:

$$\\mathrm{{PI}} = \\tfrac{{1}}{{2}}\\big((10 - \\mathrm{{Ma}}) + \\mathrm{{NIQE}}\\big), \\tag{{9}}$$

lower is better, per image and then as the mean of the set. [Eyes and yardsticks](02_weights.ipynb) tells which weights
of Ma and NIQE that was; PSNR and SSIM say how faithful the same images are.

## How differences are judged

Mask minus plain is taken seed by seed and image by image. Its interval comes from a crossed random-effects model, in
which both another seed and another image may differ (with a single seed it is over images alone); all intervals of
the table hold together with {evidence.LEVEL:.0%} (Bonferroni). A cell is *better* or *worse* where its interval
excludes zero, else *undecided*, and with a single seed, or where an image has no score, it is always that.
[How sure are we?](11_evidence.ipynb) has the intervals, and how many seeds would do.
"""


def limits(found: Findings) -> str:
    """What this page cannot show, as a list."""
    params, quality = found.params, found.quality
    cuts = paper.cuts(params)
    changed = {
        note: sorted(set(part["setting"]), key=list(cuts["setting"]).index) for note, part in cuts.groupby("note")
    }
    label, seeds = pi_label(quality), len(params.table1.seeds)
    images = quality[["set", "image"]].drop_duplicates().groupby("set").size()
    lines = [
        f"**{counted(seeds, 'seed')} for each variant.** The paper gives no spread; without one nobody can tell a "
        "mask's effect from the luck of a training.",
        f"**{images.min()} to {images.max()} images in a test set**" + "; the paper has 100 in each."
        if images.min() != images.max()
        else f"**{counted(int(images.min()), 'image')} in each test set**; the paper has 100.",
    ]
    if label != "PI":
        halves = {"niqe": "NIQE", "ma": "Ma"}
        fitted = [halves[half] for half, kind in weights_used(quality).items() if kind != "official"]
        lines.append(
            f"**{label} is not PI.** The weights of {listed(fitted)} were fitted here; it may rank images in another "
            "order."
        )
    if params.weights.vgg == "random":
        lines.append("**VGG19 has random weights**: the perceptual loss is not the paper's.")
    if cut := changed.get("cut"):
        lines.append(f"**Smaller than in the paper:** {listed(cut)}.")
    if differs := changed.get("differs"):
        lines.append(f"**Another value than in the paper:** {listed(differs)}.")
    points, seeds = len(params.sweep.k) * len(params.sweep.b), len(params.sweep.seeds)
    lines.append(
        f"**Figure 5 tries {counted(points, 'pair')} of k and b**, chosen by us, with {counted(seeds, 'seed')}."
    )
    if not_run := list(found.claims[found.claims.verdict == "not run"].claim):
        lines.append(f"**Not run:** {'; '.join(f'“{claim}”' for claim in not_run)}.")
    lines.append("**PI stands for eyes.** Nobody was asked which picture looks better.")
    return "# Limits\n\n" + "\n".join(f"- {line}" for line in lines) + "\n"


def how_to_run(params: Params, paths: Paths) -> str:
    """The commands for this profile."""
    known = (paths.root / "profiles" / f"{params.profile}.yaml").is_file()
    commands = [(f"make profile-{params.profile}", "its parameters become params.yaml")] if known else []
    commands.append(("make repro", "everything on this page; what is done already is not done again"))
    commands.append(("python -m masksr verify", "whether page, tables and weights belong together"))
    return f"""# How to run it yourself

In a copy of the project, on Linux or macOS with Python 3.11 to 3.13:

```sh
{chr(10).join(f"{command:<26}# {what}" for command, what in commands)}
```

To change something, edit `params.yaml` (k and b, a mask of another kind, seeds, photographs of your own) and say
`make repro` again: only what depends on it runs. `python -m masksr cost` tells beforehand what the trainings would
take. The notebooks run cell by cell in JupyterLab too (`make lab`).
"""


def how_to_cite(paths: Paths) -> str:
    """The paper and this software, as lines and as BibTeX; the software from CITATION.cff, where that is here."""
    c = paper.citation_fields()
    entry = f"""@article{{jiang{c["year"]}mask,
  author  = {{{" and ".join(c["authors"])}{" and others" if c["and_others"] else ""}}},
  title   = {{{c["title"]}}},
  journal = {{{c["journal"]}}},
  volume  = {{{c["volume"]}}},
  number  = {{{c["issue"]}}},
  year    = {{{c["year"]}}},
  doi     = {{{c["doi"]}}}
}}"""
    lines = [f"# How to cite\n\nThe paper: {paper.citation()}."]
    file = paths.root / "CITATION.cff"
    if file.is_file():
        own = read_yaml(file)
        lines.append(
            f"This software: {own['authors'][0]['name']}, “{own['title']}”, version {__version__}, {own['license']}."
        )
        entry += f"""

@software{{masksr,
  author  = {{{own["authors"][0]["name"]}}},
  title   = {{{own["title"]}}},
  version = {{{__version__}}}
}}"""
    return "\n\n".join([*lines, f"```bibtex\n{entry}\n```"]) + "\n"


def _recipe(model: Model, steps_per_epoch: int) -> dict[str, str | int]:
    terms = [(model.loss.vgg54, "VGG54"), (model.loss.gan, "GAN"), (model.loss.l1, "L1"), (model.loss.tv, "TV")]
    return {
        "model": model.title,
        "loss": " + ".join(f"{weight:g}\N{NO-BREAK SPACE}{name}" for weight, name in terms if weight),
        "GAN loss": model.loss.gan_type.replace("_", " "),
        "steps before the GAN": sum(phase.epochs for phase in model.start.phases) * steps_per_epoch,
        "steps with it": model.gan.epochs * steps_per_epoch,
        "batch": model.batch,
        "LR patch": f"{model.lr_patch} × {model.lr_patch}",  # noqa: RUF001
    }


def _range(error_range: str) -> str:
    known = {
        "native": "counted in the range of pixel values in which each model works",
        "relative": "divided by its mean",
    }
    return known.get(error_range, f"counted in the range [0, {error_range}]")
