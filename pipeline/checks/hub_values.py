"""The values that the Hub knows in a card: licences, languages, task categories and the tasks below them.

Licences: huggingface/hub-docs, docs/hub/repositories-licenses.md, of 2026-08-22. Tasks: huggingface/huggingface.js,
packages/tasks/src/pipelines.ts, of 2026-08-21, and those that stood there once. Languages: what the Hub says when it
refuses one, "ISO 639-1, 639-2 or 639-3 code (two/three letters), or a special value"; the codes of two letters are
those of `datasets` 5.2, utils/resources/languages.json. Of three letters nearly every second one is a language, and
more are added each year, so that any is taken.
"""

from __future__ import annotations

import difflib
import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LICENCES = _words(
    """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
    afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0
    cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0
    cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0
    cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl
    gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl apple-ascl apple-amlr
    mpl-2.0 odc-by odbl openmdw-1.0 openmdw-1.1 openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl
    lgpl-lr deepfloyd-if-license fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4
    grok2-community gemma unknown other
    """
)
"""Identifiers for `license`."""

TASK_CATEGORIES = _words(
    """
    text-classification token-classification table-question-answering question-answering zero-shot-classification
    translation summarization feature-extraction text-generation fill-mask sentence-similarity text-to-speech
    text-to-audio automatic-speech-recognition audio-to-audio audio-classification audio-text-to-text
    voice-activity-detection depth-estimation image-classification object-detection image-segmentation text-to-image
    image-to-text image-to-image image-to-video unconditional-image-generation video-classification
    reinforcement-learning robotics tabular-classification tabular-regression tabular-to-text table-to-text
    multiple-choice text-ranking text-retrieval time-series-forecasting text-to-video image-text-to-text
    image-text-to-image image-text-to-video visual-question-answering document-question-answering
    zero-shot-image-classification graph-ml mask-generation zero-shot-object-detection text-to-3d image-to-3d
    image-feature-extraction video-text-to-text keypoint-detection visual-document-retrieval any-to-any
    video-to-video other
    conversational text2text-generation biology
    """
)
"""Values of `task_categories`; the last three stood in the Hub's list once."""

TASK_IDS = _words(
    """
    acceptability-classification entity-linking-classification fact-checking intent-classification
    language-identification multi-class-classification multi-label-classification multi-input-text-classification
    natural-language-inference semantic-similarity-classification sentiment-classification topic-classification
    semantic-similarity-scoring sentiment-scoring sentiment-analysis hate-speech-detection text-scoring
    named-entity-recognition part-of-speech parsing lemmatization word-sense-disambiguation coreference-resolution
    extractive-qa open-domain-qa closed-domain-qa news-articles-summarization news-articles-headline-generation
    dialogue-modeling dialogue-generation conversational language-modeling text-simplification
    explanation-generation abstractive-qa open-domain-abstractive-qa open-book-qa closed-book-qa
    text2text-generation slot-filling masked-language-modeling keyword-spotting speaker-identification
    audio-intent-classification audio-emotion-recognition audio-language-identification
    multi-label-image-classification multi-class-image-classification face-detection vehicle-detection
    instance-segmentation semantic-segmentation panoptic-segmentation image-captioning image-inpainting
    image-colorization super-resolution grasping task-planning tabular-multi-class-classification
    tabular-multi-label-classification tabular-single-column-regression rdf-to-text multiple-choice-qa
    multiple-choice-coreference-resolution document-retrieval utterance-retrieval entity-linking-retrieval
    fact-checking-retrieval univariate-time-series-forecasting multivariate-time-series-forecasting
    visual-question-answering document-question-answering pose-estimation
    """
)
"""Values of `task_ids`."""

LANGUAGES = _words(
    """
    aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el
    en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu
    ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na
    nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg sh si sk sl sm sn
    so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
    """
)
"""Languages of two letters: ISO 639-1, and `bh` and `sh`, which it had once."""
SPECIAL_LANGUAGES = frozenset({"code", "multilingual"})

MEANT_LANGUAGES = dict(
    pair.split("=")
    for pair in _words(
        """
        arabic=ar bengali=bn bulgarian=bg catalan=ca chinese=zh czech=cs danish=da dutch=nl english=en farsi=fa
        finnish=fi french=fr german=de greek=el hebrew=he hindi=hi hungarian=hu indonesian=id italian=it japanese=ja
        korean=ko malay=ms norwegian=no persian=fa polish=pl portuguese=pt romanian=ro russian=ru spanish=es
        swedish=sv tamil=ta telugu=te thai=th turkish=tr ukrainian=uk urdu=ur vietnamese=vi cn=zh cz=cs dk=da gb=en
        gr=el iw=he jp=ja ua=uk us=en vn=vi
        """
    )
)
"""What people write for a language -> its code."""
_THREE_LETTERS = re.compile(r"[a-z]{3}\Z")


def is_language(code: str) -> bool:
    """Tell whether the Hub takes this for a language."""
    return code in LANGUAGES or code in SPECIAL_LANGUAGES or _THREE_LETTERS.match(code) is not None


def meant_languages(text: str) -> list[str]:
    """Return the codes that somebody meant, or none; `en-de` may mean two."""
    plain = text.strip().lower()
    parts = re.split(r"[-_ ]", plain[:100])
    codes = [MEANT_LANGUAGES.get(part, part) for part in ([plain] if plain in MEANT_LANGUAGES else parts)]
    pair = len(set(codes)) == 2 == len(codes) and all(map(is_language, codes)) and text == plain
    return codes if pair else [code for code in codes[:1] if is_language(code)]


def meant(text: str, known: frozenset[str]) -> str:
    """Return the known value that is nearest to a text, or nothing."""
    plain = re.sub(r"[\s_]+", "-", text.strip().lower())
    return next(iter(difflib.get_close_matches(plain[:100], sorted(known), n=1, cutoff=0.85)), "")
