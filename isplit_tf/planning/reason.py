"""The reason for an option, or against it, in words: what else there is, and how long that takes."""

from collections.abc import Sequence

from .choice import TIE, surely_less
from .option import PARTS, Option

_KIND_NAMES = {
    "local": "the whole model on the device",
    "remote": "sending the image",
    "split": "a split",
}
_PART_NAMES = {
    "preprocessing": "preprocessing",
    "head": "computing on the device",
    "coding": "coding",
    "up": "sending",
    "server": "the server's work",
    "down": "the link's delay and the answer",
}


def reason(option: Option, options: Sequence[Option]) -> str:
    """Return why an option is fast or slow beside the others that keep about its accuracy, in words."""
    sentences = [f"{_subject(option)} takes {_ms(option.latency_s)} ms, {_most(option)}."]
    if option.accuracy is not None:
        sentences[0] = f"{sentences[0][:-1]}, and keeps an accuracy of {option.accuracy:.4f}."
    for kind in _KIND_NAMES:
        rivals = [one for one in options if one.kind == kind and one is not option]
        kept = [one for one in rivals if one.accuracy is not None and not surely_less(one, option)]
        if kept:
            sentences.append(_compared(option, min(kept, key=lambda one: one.latency_s)))
        elif rivals:
            sentences.append(f"No other option of the kind '{kind}' is known to keep as much accuracy.")
        elif kind != option.kind:
            sentences.append(f"There is no option of the kind '{kind}' to compare with.")
    return " ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)


def _compared(option: Option, rival: Option) -> str:
    subject, own, other = _subject(rival), _ms(option.latency_s), _ms(rival.latency_s)
    if rival.kind == option.kind:
        subject = f"of the other options like it the fastest, {subject},"
    if rival.latency_s > (1 + TIE) * option.latency_s:
        return f"{subject} is slower: {other} ms against {own}."
    if option.latency_s > (1 + TIE) * rival.latency_s:
        return f"{subject} is faster: {other} ms against {own}."
    return f"{subject} is about as fast: {other} ms against {own}."


def _subject(option: Option) -> str:
    if option.kind == "local":
        return _KIND_NAMES["local"]
    if option.kind == "remote":
        return f"sending the {option.name}"
    return f"the {option.name}"


def _most(option: Option) -> str:
    part = max(PARTS, key=lambda one: option.parts_s[one])
    return f"most of it {_PART_NAMES[part]} ({_ms(option.parts_s[part])} ms)"


def _ms(seconds: float) -> str:
    milliseconds = 1000 * seconds
    return f"{milliseconds:,.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"
