"""How fast documents are annotated: `transformers.pipeline`, `predict`, and ONNX Runtime.

Four kinds of text: sentences, abstracts, notes of about 3,000 words (abstracts one after another)
and made-up notes. Where no tagger is given, two are trained here: on sentences and abstracts of
NCBI-disease, and on made-up notes for those. Sentences are those of the test set; abstracts and long
notes those of the development set, by whose sentences the epoch of the tagger was chosen.

- *pipeline* has its best batch size, whole words (`aggregation_strategy="first"`), and a stride
  where a text may be longer than the encoder's limit; *pipeline-default* has its default batch size.
- *one-window* is transformers' own network on one window at a time, its words decoded as `predict`
  does: what `predict` in float32 must agree with, span for span.

Systems take turns on the same documents, and ratios are medians over turns. Of the made-up notes
each turn has a part of its own (`--part` of `--notes`); `annotate` then reads all of them. The peak
of memory of each system is that of a process of its own. Then: how many spans stay the same where
documents of 400 to 512 pieces are cut at 256, and time and memory of `annotate` on few and many
notes, and on one of 200,000 words. What was measured is kept under `benchmarks/runs/annotate`;
started again, the script does only what is missing. The table goes to
`benchmarks/results/annotate.json`.

    python benchmarks/annotate.py --data DATA/ncbi_disease
    python benchmarks/annotate.py --data DATA/ncbi_disease --device cuda --shape gatortron-base
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from hardware import describe_hardware, forward_flops, peak_bytes, peak_flops

from clinical_ner.core import Document, Span, open_atomic, write_jsonl
from clinical_ner.encoders import has_bfloat16, packaged_encoder
from clinical_ner.formats import read_conll, read_pubtator
from clinical_ner.inference import spans_from_scores, word_scores
from clinical_ner.metrics import evaluate
from clinical_ner.onnx_export import export_onnx, load_onnx, span_agreement
from clinical_ner.samples import iter_sample_notes, sample_notes
from clinical_ner.tagger import Tagger, predict
from clinical_ner.windows import make_windows

HERE = Path(__file__).parent
KINDS = ["sentences", "abstracts", "long notes", "made-up notes"]
SYSTEMS = [
    "pipeline",
    "pipeline-default",
    "one-window",
    "predict-float32",
    "predict-bfloat16",
    "onnx-float32",
    "onnx-int8",
]
BATCH_SIZES = (1, 8, 32, 64)


# texts


def join_documents(docs: list[Document], words: int, count: int) -> list[Document]:
    """`count` notes of about `words` words, made of documents one after another, with their spans."""
    notes, source = [], cycle(docs)
    while len(notes) < count:
        text, spans = "", []
        while len(text.split()) < words:
            doc = next(source)
            spans += [Span(len(text) + s.start, len(text) + s.end, s.label) for s in doc.spans]
            text = f"{text}{doc.text}\n\n"
        notes.append(Document(f"note-{len(notes)}", text, spans))
    return notes


def read_abstracts(data: Path, part: str) -> list[Document]:
    """Abstracts of NCBI-disease, their mentions as diseases."""
    found = {"Disease", "SpecificDisease", "DiseaseClass", "CompositeMention", "Modifier"}
    [path] = data.glob(f"pubtator/*{part}*")
    docs = []
    for doc in read_pubtator(path):
        spans = {Span(s.start, s.end, "Disease") for s in doc.spans if s.label in found}
        docs.append(Document(doc.id, doc.text, sorted(spans)))
    return docs


def read_train(data: Path) -> list[Document]:
    """Training documents: sentences, and the abstracts they are from."""
    return read_conll(data / "iob" / "train.tsv") + read_abstracts(data, "train")


def make_turns(kind: str, args: argparse.Namespace) -> list[list[Document]]:
    """The documents of each turn: the same ones but for made-up notes."""
    if kind == "made-up notes":
        notes = iter_sample_notes(args.part * args.turns, seed=1)
        return [list(islice(notes, args.part)) for _ in range(args.turns)]
    if kind == "sentences":
        docs = read_conll(args.data / "iob" / "test.tsv")
    else:
        docs = read_abstracts(args.data, "devel")
        if kind == "long notes":
            docs = join_documents(docs, 3000, 10)
    return [docs[: args.limit]] * args.turns


# systems: each is made, and then takes documents


def make_pipeline(args: argparse.Namespace, kind: str, batch_size: int = 1):
    """The pipeline of transformers."""
    from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

    tokenizer = AutoTokenizer.from_pretrained(args.model)
    tokenizer.model_max_length = min(tokenizer.model_max_length, 512)
    run = pipeline(
        "token-classification",
        AutoModelForTokenClassification.from_pretrained(args.model, dtype="float32"),
        tokenizer=tokenizer,
        aggregation_strategy="first",
        device=args.device,
        **({} if kind == "sentences" else {"stride": args.stride}),
    )

    def annotate(docs: list[Document]) -> list[Document]:
        rows = run([doc.text for doc in docs], batch_size=batch_size)
        return [
            Document(doc.id, doc.text, [Span(s["start"], s["end"], s["entity_group"]) for s in row])
            for doc, row in zip(docs, rows)
        ]

    return annotate


def make_one_window(args: argparse.Namespace):
    """transformers' network on one window at a time; each word has the tags of its first piece."""
    import torch
    from transformers import AutoModelForTokenClassification

    net = AutoModelForTokenClassification.from_pretrained(args.model, dtype="float32")
    net = net.to(args.device).eval()
    tagger = Tagger.load(args.model, device="cpu")

    def annotate(docs: list[Document]) -> list[Document]:
        rows: list[list] = [[np.zeros((0, len(tagger.tags)), np.float32)] for _ in docs]
        for window in make_windows(docs, tagger.tokenizer):
            with torch.inference_mode():
                logits = net(torch.tensor([window.input_ids], device=args.device)).logits[0]
            scores = torch.log_softmax(logits[window.starts].float(), -1)
            rows[window.doc].append(scores.cpu().numpy())
        spans = spans_from_scores(docs, [*map(np.concatenate, rows)], tagger.tags)
        return [Document(doc.id, doc.text, own) for doc, own in zip(docs, spans)]

    return annotate


def make_system(name: str, kind: str, args: argparse.Namespace):
    """What annotates documents, by its name."""
    if name == "pipeline":
        return make_pipeline(args, kind, args.batch_size)
    if name == "pipeline-default":
        return make_pipeline(args, kind)
    if name == "one-window":
        return make_one_window(args)
    runtime, _, precision = name.partition("-")
    if runtime == "onnx":
        tagger = load_onnx(onnx_folder(kind, precision, args), device=args.device)
        precision = "float32"
    else:
        tagger = Tagger.load(args.model, device=args.device)
    return partial(predict, tagger, precision=precision, progress=False)


def onnx_folder(kind: str, precision: str, args: argparse.Namespace) -> Path:
    """The exported tagger, calibrated on training documents; made by the first who needs it."""
    folder = args.kept / f"onnx-{precision}"
    if not (folder / "done").exists():
        tagger = Tagger.load(args.model, device="cpu")
        export_onnx(tagger, folder)
        if precision == "int8":
            from quantize import quantize

            quantize(folder / "model.onnx", tagger, read_corpus(kind, args)["train"][::7])
        (folder / "done").touch()
    return folder


# measurements


def seconds_of(run, docs: list[Document]) -> tuple[float, list[Document]]:
    """How long a system takes, and what it finds."""
    start = time.perf_counter()
    found = run(docs)
    return time.perf_counter() - start, found


def best_batch_size(kind: str, docs: list[Document], args: argparse.Namespace) -> int:
    """The batch size at which the pipeline is fastest on some of the texts."""
    seconds = {}
    for size in BATCH_SIZES:
        run = make_pipeline(args, kind, size)
        run(docs[:2])
        seconds[size], _ = seconds_of(run, docs[:64])
    return min(seconds, key=seconds.get)


def f1(gold: list[Document], found: list[Document], labels: tuple[str, ...]) -> float | None:
    """Strict micro F1; None for texts whose gold has other types than the tagger."""
    is_gold = set(labels) == {span.label for doc in gold for span in doc.spans}
    return evaluate(gold, found)["micro", "strict_f1"] if is_gold else None


def measure_speed(kind: str, args: argparse.Namespace) -> dict:
    """Every system on one kind of text, in turns."""
    turns = make_turns(kind, args)
    args.batch_size = best_batch_size(kind, turns[0], args)
    systems = {name: make_system(name, kind, args) for name in args.systems}
    seconds, found = {name: [] for name in systems}, {}
    for turn, docs in enumerate(turns):
        order = [*systems][turn % len(systems) :] + [*systems][: turn % len(systems)]
        for name in order:
            if not turn:
                systems[name](docs[:2])  # warms up
            took, spans = seconds_of(systems[name], docs)
            seconds[name].append(took)
            found.setdefault(name, spans)
    labels = Tagger.load(args.model, device="cpu").labels
    rows = {
        name: {
            "seconds": seconds[name],
            "f1": f1(turns[0], found[name], labels),
            "same_spans_as_one_window": span_agreement(found["one-window"], found[name]),
        }
        for name in systems
    }
    return {"pipeline_batch_size": args.batch_size, **count(turns, args), "systems": rows}


def count(turns: list[list[Document]], args: argparse.Namespace) -> dict:
    """Documents, pieces and operations of each turn."""
    tagger = Tagger.load(args.model, device="cpu")
    made: dict = {"documents": [len(docs) for docs in turns], "pieces": [], "flops": []}
    for docs in turns:
        lengths = [len(window.input_ids) for window in make_windows(docs, tagger.tokenizer)]
        made["pieces"].append(sum(lengths))
        made["flops"].append(forward_flops(tagger.net.config, lengths))
    return made


def measure_peak(kind: str, system: str, batch_size: int, args: argparse.Namespace) -> dict:
    """The peak of memory of one system, in this process."""
    args.batch_size = batch_size
    make_system(system, kind, args)(make_turns(kind, args)[0])
    return {"peak_mb": peak_bytes() / 1e6}


def some_notes(kind: str, count: int) -> Iterator[Document]:
    """So many made-up notes, short or whole; or one of so many words, made of them."""
    if kind == "words in one note":
        return iter(join_documents([*iter_sample_notes(count // 500, seed=2)], count, 1))
    size = 250 if kind == "short notes" else None
    return (Document(note.id, note.text[:size]) for note in iter_sample_notes(count, seed=2))


def measure_annotate(kind: str, count: int, args: argparse.Namespace) -> dict:
    """Time and memory of `annotate` from a file of JSON lines."""
    from clinical_ner.bulk import annotate

    docs = some_notes(kind, count)
    with tempfile.TemporaryDirectory() as folder:
        write_jsonl(docs, Path(folder, "notes.jsonl"))
        start = time.perf_counter()
        found = Path(folder, "found")
        source = Path(folder, "notes.jsonl")
        annotate(source, found, args.model, device=args.device, progress=False)
        return {"seconds": time.perf_counter() - start, "peak_mb": peak_bytes() / 1e6}


def measure_windows(args: argparse.Namespace) -> dict:
    """Spans of documents of 400 to 512 pieces: read whole, and in windows of 256 that share tokens."""
    tagger = Tagger.load(args.model, device=args.device)
    docs = [doc for part in ("train", "devel") for doc in read_abstracts(args.data, part)]
    sizes: dict[int, list[int]] = {}
    for window in make_windows(docs, tagger.tokenizer):
        sizes.setdefault(window.doc, []).append(len(window.input_ids))
    docs = [docs[i] for i, size in sizes.items() if len(size) == 1 and size[0] >= 400]

    def read(**options) -> list[Document]:
        windows = make_windows(docs, tagger.tokenizer, **options)
        scores = word_scores(tagger.net, windows, docs, precision="float32")
        found = spans_from_scores(docs, scores, tagger.tags)
        return [Document(doc.id, doc.text, spans) for doc, spans in zip(docs, found)]

    whole, cut = read(), {}
    for overlap in (0.5, 0.25, 0.125, 0.0625, 0.0):
        found = read(max_length=256, overlap=overlap)
        score = f1(docs, found, tagger.labels)
        cut[overlap] = {"same_spans": span_agreement(whole, found), "f1": score}
    return {"documents": len(docs), "f1_whole": f1(docs, whole, tagger.labels), "cut": cut}


# one process for each measurement

MEASUREMENTS = {
    "speed": measure_speed,
    "peak": measure_peak,
    "annotate": measure_annotate,
    "windows": measure_windows,
    "flops": lambda half, args: {"flops": peak_flops(args.device, half)},
}


def in_process(args: argparse.Namespace, *what) -> dict:
    """A measurement in a process of its own, or the one that was kept."""
    kept = args.kept / ("-".join(map(str, what)).replace(" ", "_") + ".json")
    if not kept.exists():
        settings = {name: value for name, value in vars(args).items() if name != "what"}
        command = [sys.executable, __file__, "--what", json.dumps([what, settings], default=str)]
        made = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        with open_atomic(kept) as file:
            file.write(made.splitlines()[-1])
    return json.loads(kept.read_text())


def run_process(text: str):
    """Make one measurement and print it as the last line."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    (name, *what), settings = json.loads(text)
    args = argparse.Namespace(**settings)
    args.data, args.kept = Path(args.data), Path(args.kept)
    print(json.dumps(MEASUREMENTS[name](*what, args)))


# the table


def summarise(kind: str, made: dict, args: argparse.Namespace) -> dict:
    """Medians of one kind of text, with the peak of memory and the share of what hardware can do."""
    base, rows = made["systems"]["pipeline"]["seconds"], {}
    size = made["pipeline_batch_size"]
    for name, row in made["systems"].items():
        half = name == "predict-bfloat16"
        peak = in_process(args, "flops", half)["flops"]
        per_second = {
            unit: statistics.median(n / s for n, s in zip(made[unit], row["seconds"]))
            for unit in ("documents", "pieces", "flops")
        }
        rows[name] = {
            "documents_per_second": per_second["documents"],
            "tokens_per_second": per_second["pieces"],
            "times_the_pipeline": statistics.median(a / b for a, b in zip(base, row["seconds"])),
            "share_of_peak": per_second["flops"] / peak,
            "peak_mb": in_process(args, "peak", kind, name, size)["peak_mb"],
            **row,
        }
    return made | {"systems": rows}


def print_table(kind: str, made: dict):
    """One kind of text as a table."""
    turns = f"{len(made['documents'])} turns of {made['documents'][0]:,} documents"
    print(f"\n{kind}: {turns}; the pipeline's best batch size is {made['pipeline_batch_size']}")
    print(
        f"{'':18}{'docs/s':>9}{'tokens/s':>10}{'times':>7}{'peak':>6}{'MB':>7}{'F1':>8}{'same':>9}"
    )
    for system, row in made["systems"].items():
        score = "" if row["f1"] is None else f"{100 * row['f1']:.2f}"
        print(
            f"{system:18}{row['documents_per_second']:9.1f}{row['tokens_per_second']:10,.0f}"
            f"{row['times_the_pipeline']:7.2f}{row['share_of_peak']:6.0%}{row['peak_mb']:7.0f}"
            f"{score:>8}{100 * row['same_spans_as_one_window']:8.2f}%",
            flush=True,
        )


def read_corpus(kind: str, args: argparse.Namespace) -> dict[str, list[Document]]:
    """What the tagger of one kind of text is trained on."""
    if kind == "made-up notes":
        return {"train": sample_notes(120, seed=3), "validation": sample_notes(30, seed=4)}
    return {"train": read_train(args.data), "validation": read_conll(args.data / "iob/devel.tsv")}


def make_model(kind: str, args: argparse.Namespace) -> str:
    """A tagger, trained here; with `--shape`, one of that shape with random weights."""
    name = args.shape or ("minilm-notes" if kind == "made-up notes" else "minilm")
    folder = HERE / "runs" / "annotate" / name
    if not (folder / "scores.json").exists() and not args.shape:
        from clinical_ner.train import fine_tune

        corpus = read_corpus(kind, args)
        fine_tune(corpus, packaged_encoder(), epochs=3, output=folder, resume=True)
    if not (folder / "config.json").exists():
        from train import gatortron_tagger

        gatortron_tagger().save(folder)
    return str(folder)


def with_model(kind: str, args: argparse.Namespace) -> argparse.Namespace:
    """The settings for one kind of text: with its tagger, and where its measurements are kept."""
    model = args.model or make_model(kind, args)
    kept = f"{Path(model).name}-{args.device}-{args.limit}-{args.stride}"
    own = argparse.Namespace(**vars(args) | {"model": model})
    own.kept = HERE / "runs" / "annotate" / kept
    own.kept.mkdir(parents=True, exist_ok=True)
    return own


def parse_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="folder with iob and pubtator")
    parser.add_argument("--model", help="folder of a tagger of diseases; default: trained here")
    parser.add_argument("--shape", choices=["gatortron-base"], help="random weights of this shape")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--turns", type=int, default=5)
    stride = "tokens that the pipeline's windows share"
    parser.add_argument("--stride", type=int, default=128, help=stride)
    parser.add_argument("--limit", type=int, help="documents of a turn, for a quick look")
    parser.add_argument("--notes", type=int, default=10_000, help="made-up notes in all")
    parser.add_argument("--part", type=int, default=200, help="made-up notes of a turn")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    systems = "pipeline and one-window, which the others are compared with, among them"
    parser.add_argument("--systems", nargs="+", default=SYSTEMS, choices=SYSTEMS, help=systems)
    parser.add_argument("--what", help=argparse.SUPPRESS)  # for its own processes
    return parser.parse_args()


def print_annotate(kind: str, count: int, args: argparse.Namespace) -> dict:
    """Time and memory of `annotate` on so many notes, or words, and how many words they have."""
    made = in_process(args, "annotate", kind, count)
    words = sum(len(doc.text.split()) for doc in some_notes(kind, count))
    print(
        f"annotate, {count:,} {kind}: {made['seconds']:.0f} s, {words / made['seconds']:,.0f} words"
        f" a second, {made['peak_mb']:.0f} MB",
        flush=True,
    )
    return made | {"words": words}


def main():
    args = parse_flags()
    if args.what:
        return run_process(args.what)
    if not has_bfloat16(args.device):
        print("this machine has no bfloat16 arithmetic: predict-bfloat16 is left out")
        args.systems = [name for name in args.systems if name != "predict-bfloat16"]
    results = {"machine": describe_hardware("onnxruntime"), "texts": {}, "annotate": {}}
    for kind in args.kinds:
        own = with_model(kind, args)
        made = summarise(kind, in_process(own, "speed", kind), own)
        results["texts"][kind] = made
        print_table(kind, made)
    args = with_model("sentences", args)
    results["windows"] = in_process(args, "windows")
    print(f"\nwindows of 256: {results['windows']}", flush=True)
    counts = {"short notes": [1000, 20_000], "made-up notes": [1000, args.notes]}
    counts["words in one note"] = [200_000]
    for kind, sizes in counts.items():
        results["annotate"][kind] = {notes: print_annotate(kind, notes, args) for notes in sizes}
    if not args.limit and args.stride == 128 and args.kinds == KINDS:
        kind = "" if args.device == "cpu" else "_gpu"
        with open_atomic(HERE / "results" / f"annotate{kind}.json") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
