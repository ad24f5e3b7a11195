"""Normalizes a request: lower case, plain punctuation, simplified Chinese characters."""

from __future__ import annotations

import re
import unicodedata

_SIMPLIFIED = str.maketrans(
    "關閉參數訓練進單請禁還這個應該啟開換執優動網貝葉經運為來們萬過時嗎麼無須沒棄絕後識習搜尋讓對"
    "會於處題務產實驗話電腦樣與從兩幾讀寫麻煩幫調節選擇測試圖種類別標籤內點結構當將",
    "关闭参数训练进单请禁还这个应该启开换执优动网贝叶经运为来们万过时吗么无须没弃绝后识习搜寻让对"
    "会于处题务产实验话电脑样与从两几读写麻烦帮调节选择测试图种类别标签内点结构当将",
)
_APOSTROPHES = "\u2019\u02bc"
_DASHES = "-\u2010\u2011\u2012\u2013\u2212"
_BRACKETS_AND_QUOTES = re.compile(
    '["`*_\u2018\u201c\u201d\u300c\u300d\u300e\u300f\u00ab\u00bb<>\u300a\u300b{}\u3010\u3011\\[\\]]'
)
_QUOTED = "[\"'`\u201c\u2018][^\"'`\u201d\u2019]*[\"'`\u201d\u2019]"
_NAMES = re.compile(
    r"[\w.~-]*(?:[/\\][\w.~-]*[a-z_.~-][\w.~-]*)+"  # paths
    r"|(?<!\S)(?!\S*(?:auto_?ml|hpo|search|tun|sweep))[\w.-]+=[^\s,;]+"  # flags and assignments
    r"|\w+\.(?:ya?ml|json|toml|csv|py|md|txt|tar\.gz|zip)\b"
    r"|\b(?:named|called|titled|tagged|labell?ed|name it|call it|name:)\s+"
    rf"(?:{_QUOTED}|[\w-]*[-_][\w-]*)"
    rf"|\b(?:the|a|our|my) (?:run|study|experiment|folder|file|job|tag|branch)\s+{_QUOTED}"
)
_BOTH = re.compile(r"(?:on/off|with/without|w/o|w/out|and/or|automl/hpo|hpo/automl|yes/no)\b")
_OUT = re.compile(
    r"\b((?:leav|cut|tak|count|keep|kept|left|rul)\w*(?: +(?!out\b)\w+){1,5}? +)out\b(?! of)"
)


def normalize(request: str) -> str:
    """Write a request in one way; every sign keeps its place.

    Paths, flags, assignments and given names ask for nothing, whatever they are made of, and become
    one unknown word; `leave AutoML out` is written `leave AutoML off`.
    """
    text = "".join(_plain(sign) for sign in request).translate(_SIMPLIFIED)
    text = _BOTH.sub(lambda match: match[0].replace("/", "\0"), text)
    text = _NAMES.sub(lambda match: "\u00a4" * len(match[0]), text).replace("\0", "/")
    text = re.sub(r"[-=]>|\u2192", lambda match: ":" * len(match[0]), text)
    text = re.sub(r"(?<=\s)-(?=\s+(?:off|on|no)\b)", ":", text)
    text = re.sub(r"(?<!\w)'|'(?!\w)", " ", text)
    text = _BRACKETS_AND_QUOTES.sub(" ", text)
    text = re.sub(r"(?<=\w)-(?=\w)|(?:^|(?<=\s))--?(?=\w)", lambda m: " " * len(m[0]), text)
    text = re.sub(r"(?:^|(?<=\s))[-\u2014]+(?=\s)|\u2014", lambda m: ";" * len(m[0]), text)
    return _OUT.sub(r"\1off", re.sub(r"\s", " ", text))


def _plain(sign: str) -> str:
    if sign in _DASHES:
        return "-"
    if sign in _APOSTROPHES:
        return "'"
    plain = unicodedata.normalize("NFKC", sign).lower()
    return plain if len(plain) == 1 else sign
