#!/usr/bin/env python3
"""Makes `nudging-reference.json` and `tiny-other-vocabulary-f32.gguf`: nudging, step by step, by `transformers`.

    pip install -r requirements.txt regex && python make_nudging_reference.py

The control flow is that of the paper's code (github.com/fywalter/nudging, `utils.py`): every question to a model is a
completion of a whole text, which is cut into tokens anew and computed from its beginning in float32. Texts are bytes;
the tokenizer is `tokenizers`' BPE behind the GPT-2 rules, in which a byte that is no UTF-8 is a character of its own.
Where this record departs from the paper's code:

* the bound is on tokens that the two models drew, not on those of a third tokenizer, and cuts completions short; a
  completion that it cuts short is not looked at for being a repetition;
* a completion that would end within a character takes up to three tokens more, and what is still incomplete is left out;
* where the base's best token is its end, it takes over if that is probable enough, and then writes nothing;
* the same nudge a fourth time in a row ends the answer, also if it is empty;
* the repeated end that is taken off is the longest there is (the paper's code searches by halving, and misses most);
  white space at the ends stays.

`cases`: `rounds` has for each round the nudger's draft, `checks` (at which byte the base was asked, its best token and
its probability), the nudge that was taken, and the run of the base. `pieces` are the answer's parts, true for the
nudger's. `text` lacks a repeated end. Every decision in a case has a margin of at least MARGIN, so that another order
of additions decides the same. `tiny-other-vocabulary-f32.gguf` is `tiny-other-vocabulary.gguf`, dequantised.
"""

import codecs
import functools
import json
import random
from pathlib import Path

import gguf
import numpy as np
import regex
import torch
from gguf.quants import dequantize
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM

HERE = Path(__file__).parent
OTHER = "tiny-other-vocabulary-f32.gguf"
MARGIN = 2e-3  # of logits between the best two tokens, and of probabilities from the threshold
CASES = 36
GPT2 = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")


class TooClose(Exception):
    """A decision that another order of additions may turn."""


# Models


def dequantise(source: Path, target: Path) -> None:
    """Writes a GGUF file again, in F32."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "llama")
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        kind = field.types[0]
        if kind == gguf.GGUFValueType.ARRAY:
            writer.add_key_value(name, field.contents(), kind, field.types[-1])
        else:
            value = int(gguf.LlamaFileType.ALL_F32) if name == "general.file_type" else field.contents()
            writer.add_key_value(name, value, kind)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def byte_alphabet() -> dict[str, int]:
    """The letters that stand for bytes in byte-level vocabularies."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    letters = {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}
    assert sorted(letters) == sorted(pre_tokenizers.ByteLevel.alphabet())
    return letters


LETTERS = byte_alphabet()
BYTES = {byte: letter for letter, byte in LETTERS.items()}


class Completion:
    """What a question gave: the text and the probability of each token, and whether an end token came next."""

    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self.probabilities: list[float] = []
        self.ended: float | None = None  # the end token's probability

    @property
    def text(self) -> bytes:
        return b"".join(self.texts)

    def length(self, count: int) -> int:
        """Bytes of the first tokens, without an incomplete end."""
        return whole(b"".join(self.texts[:count]))


class Side:
    """A model with its tokenizer."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.model = AutoModelForCausalLM.from_pretrained(HERE, gguf_file=name, dtype=torch.float32).eval()
        fields = gguf.GGUFReader(HERE / name).fields
        tokens = fields["tokenizer.ggml.tokens"].contents()
        merges = [tuple(pair.split(" ")) for pair in fields["tokenizer.ggml.merges"].contents()]
        assert fields["tokenizer.ggml.pre"].contents() == "smollm"
        kinds = fields["tokenizer.ggml.token_type"].contents()
        self.control = {i for i, kind in enumerate(kinds) if kind == 3}
        self.ends = {0, 2}  # <|endoftext|>, <|im_end|>
        self.begins = bool(fields["tokenizer.ggml.add_bos_token"].contents()) if (
            "tokenizer.ggml.add_bos_token" in fields) else False
        self.begin = fields["tokenizer.ggml.bos_token_id"].contents()
        self.bytes = [
            b"" if i in self.control else bytes(LETTERS[c] for c in text) for i, text in enumerate(tokens)]
        self.merging = Tokenizer(models.BPE({text: i for i, text in enumerate(tokens)}, merges))
        self.next = functools.cache(self._next)

    def encode(self, text: bytes) -> list[int]:
        """Digits alone, the GPT-2 rules, merges."""
        found: list[int] = []
        for piece in regex.findall(r"\p{N}|\P{N}+", text.decode("utf-8", "surrogateescape")):
            for word in GPT2.findall(piece):
                letters = "".join(BYTES[byte] for byte in word.encode("utf-8", "surrogateescape"))
                found += self.merging.encode(letters).ids
        return found

    def _next(self, tokens: tuple[int, ...]) -> tuple[int, float]:
        with torch.no_grad():
            logits = self.model(torch.tensor([tokens])).logits[0, -1].double()
        best, second = torch.topk(logits, 2).values.tolist()
        if best - second < MARGIN:
            raise TooClose
        return int(logits.argmax()), float(torch.softmax(logits, 0).max())

    def complete(self, prompt: bytes, text: bytes, count: int, bound: int) -> Completion:
        """Up to `count` tokens after an answer; three more within a character; never more than `bound`."""
        tokens = self.encode(prompt)
        if self.begins or not tokens:
            tokens.insert(0, self.begin)
        tokens += self.encode(text)
        completion = Completion()
        while len(completion.texts) < bound:
            drawn = len(completion.texts)
            if drawn >= count and (whole(completion.text) == len(completion.text) or drawn >= count + 3):
                break
            token, probability = self.next(tuple(tokens))
            if token in self.ends:
                completion.ended = probability
                break
            tokens.append(token)
            completion.texts.append(self.bytes[token])
            completion.probabilities.append(probability)
        return completion


def whole(text: bytes) -> int:
    """Bytes that do not end within a character: what an incremental decoder has no need to hold back."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    length = 0
    for position, byte in enumerate(text, 1):
        decoder.decode(bytes([byte]))
        if not decoder.getstate()[0]:
            length = position
    return length


# Nudging


def unspaced(character: str) -> bool:
    """Whether a script without spaces has it."""
    value = ord(character)
    ranges = [(0x0E00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x19E0, 0x19FF), (0x2E80, 0x312F),
              (0x3190, 0xA4CF), (0xF900, 0xFAFF), (0xFE30, 0xFE4F), (0xFF00, 0xFFEF), (0x1B000, 0x1B16F),
              (0x20000, 0x3FFFF)]
    return any(low <= value <= high for low, high in ranges)


def borders(text: bytes) -> list[int]:
    """Spaces, and the places around characters without them; none behind an incomplete character."""
    found, position, last = [], 0, ""
    for character in text.decode("utf-8", "surrogateescape"):
        between = last not in ("", " ") and (unspaced(last) or unspaced(character))
        if (character == " " or between) and whole(text[:position]) == position:
            found.append(position)
        last = character
        position += len(character.encode("utf-8", "surrogateescape"))
    return found


def is_sure(probability: float, threshold: float) -> bool:
    if abs(probability - threshold) < MARGIN:
        raise TooClose
    return probability >= threshold


class Answer:
    """An answer in the making."""

    def __init__(self, base: Side, nudger: Side, case: dict) -> None:
        self.base, self.nudger, self.case = base, nudger, case
        self.prompts = {side: case[f"{side}_template"].replace("{prompt}", case["prompt"]).encode()
                        for side in ("base", "nudger")}
        self.pieces: list[tuple[bool, bytes]] = []
        self.tokens = self.nudged = 0
        self.rounds: list[dict] = []

    @property
    def text(self) -> bytes:
        return b"".join(text for _, text in self.pieces)

    @property
    def left(self) -> int:
        return self.case["max_tokens"] - self.tokens

    def take(self, completion: Completion, length: int, nudged: bool) -> None:
        """Adds some bytes of a completion, and counts the tokens that begin in them."""
        start = 0
        for text in completion.texts:
            if start < length:
                self.tokens += 1
                self.nudged += nudged
            start += len(text)
        self.pieces.append((nudged, completion.text[:length]))

    def nudge(self) -> str:
        """The rounds; returns why there is no further."""
        last, repeats = None, 0
        for _ in range(self.case["max_rounds"]):
            if self.left == 0:
                return "length"
            draft = self.nudger.complete(self.prompts["nudger"], self.text, self.case["burst"], self.left)
            if draft.ended is not None:
                self.take(draft, len(draft.text), True)
                self.tokens += 1
                self.nudged += 1
                return "end"
            text = draft.text[: whole(draft.text)]
            if not text and len(draft.texts) >= self.left:
                return "length"
            record = {"draft": text.decode("utf-8", "replace"), "checks": []}
            length, takes_over = self.hand_over(text, record["checks"])
            repeats = repeats + 1 if text[:length] == last else 0
            last = text[:length]
            if repeats == 3:
                return "repeat"
            self.take(draft, length, True)
            before = len(self.text)
            if takes_over and self.left:
                self.run()
            self.rounds.append(record | {
                "nudge": last.decode("utf-8", "replace"), "run": self.text[before:].decode("utf-8", "replace")})
        return "rounds"

    def hand_over(self, text: bytes, checks: list[dict]) -> tuple[int, bool]:
        """How much of a draft is taken, and whether the base goes on."""
        leading = len(text) - len(text.lstrip(b" "))
        places = [place for place in borders(text) if place > leading]
        if not places:
            return len(text), False
        for place in places:
            word = text[place : place + 1] + text[place + 1 :].split(b" ")[0]
            if word == b" ":
                continue
            answer = self.base.complete(self.prompts["base"], self.text + text[:place], 1, 1)
            probability = answer.ended if answer.ended is not None else answer.probabilities[0]
            checks.append({"position": place, "token": answer.text.decode("utf-8", "replace"),
                           "probability": probability})
            sure = is_sure(probability, self.case["threshold"])
            if answer.ended is not None:
                if sure:
                    return place, False
            elif sure or answer.text and word.startswith(answer.text):
                return place, True
        return places[-1], False

    def run(self) -> None:
        """The base's completions, one after the other, as long as all of one stays."""
        said, head, threshold = b"", 1, self.case["threshold"]
        while self.left:
            left = self.left
            answer = self.base.complete(self.prompts["base"], self.text, self.case["burst"], left)
            count = len(answer.texts)
            kept = next((i for i in range(head, count) if not is_sure(answer.probabilities[i], threshold)), count)
            start = len(b"".join(answer.texts[:head]))
            completion = answer.text[start : max(start, whole(answer.text))]
            new = answer.text[start : max(start, answer.length(kept))]
            said += answer.text[:start]
            is_known = count > head and left >= self.case["burst"] and completion in said
            is_long = len(borders(new)) + 1 > 5 and new in self.text + answer.text[:start]
            if is_known or is_long:
                self.take(answer, answer.length(head), False)
                return
            length = answer.length(kept)
            self.take(answer, length, False)
            said += new
            if kept < count or answer.ended is not None or length == 0:
                return
            head = 0


def without_repeated_end(text: str) -> str:
    """As long as the text ends with 30 or more characters twice, without the longest such end."""
    while True:
        for length in range(len(text) // 2, 29, -1):
            if text[-length:] == text[-2 * length : -length]:
                text = text[:-length]
                break
        else:
            return text


def solved(base: Side, nudger: Side, case: dict) -> dict:
    answer = Answer(base, nudger, case)
    finish = answer.nudge()
    pieces: list[list] = []
    joined: list[list] = []
    for nudged, text in answer.pieces:
        if joined and joined[-1][0] == nudged:
            joined[-1][1] += text
        elif text:
            joined.append([nudged, text])
    pieces = [[nudged, text.decode("utf-8", "replace")] for nudged, text in joined]
    return case | {
        "rounds": answer.rounds, "pieces": pieces, "finish_reason": finish,
        "text": without_repeated_end("".join(text for _, text in pieces)),
        "token_count": answer.tokens, "nudged_share": answer.nudged / answer.tokens}


def main() -> None:
    dequantise(HERE / "tiny-other-vocabulary.gguf", HERE / OTHER)
    sides = {name: Side(name) for name in ("tiny-llama.gguf", OTHER)}
    pairs = [("tiny-llama.gguf", "tiny-llama.gguf"), ("tiny-llama.gguf", OTHER), (OTHER, "tiny-llama.gguf")]
    words = ["The", "value", "of", "a text", "fichier", "42", "東京", "🙂", "naïve", "guide", "x"]
    draw = random.Random(5)
    cases: list[dict] = []
    tried = 0
    while len(cases) < CASES:
        tried += 1
        base, nudger = pairs[len(cases) % len(pairs)]
        case = {
            "name": len(cases), "base": base, "nudger": nudger,
            "base_template": draw.choice(["{prompt}", "Be kind.\n{prompt}\n"]),
            "nudger_template": draw.choice(["Q: {prompt} A:", "Say it, {prompt}"]),
            "prompt": " ".join(draw.choices(words, k=draw.randint(1, 4))),
            "threshold": draw.choice([0.0, 0.02, 0.05, 0.1, 0.3, 1.5]), "burst": draw.choice([1, 2, 5, 16]),
            "max_rounds": draw.choice([3, 150]), "max_tokens": draw.choice([7, 24, 40])}
        try:
            cases.append(solved(sides[base], sides[nudger], case))
        except TooClose:
            continue
    reasons = {case["finish_reason"] for case in cases}
    print(f"{len(cases)} of {tried} cases; {sum(len(case['rounds']) for case in cases)} rounds; ends: {sorted(reasons)}")
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (HERE / "nudging-reference.json").write_text('{"cases": [\n' + lines + "\n]}\n")


if __name__ == "__main__":
    main()
