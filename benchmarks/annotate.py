"""How fast documents are annotated: `transformers.pipeline`, `predict`, and ONNX Runtime.

One trained tagger, four kinds of text: sentences, abstracts, notes of about 3,000 words (abstracts
one after another) and made-up notes. Abstracts and notes are those of the development set, by which
the epoch of the tagger was chosen. Every measurement is a process of its own, so that its peak of
memory is its own; systems take turns, and ratios are of runs side by side. The pipeline gets its
best batch size, whole words (`aggregation_strategy="first"`), and a stride where a text may be
longer than the encoder's limit. Measurements are kept under `benchmarks/runs/annotate`; started
again, the script does only what is missing. The table goes to `benchmarks/results/annotate.json`.

    python benchmarks/annotate.py --data DATA/ncbi_disease --model MODELS/ncbi
    python benchmarks/annotate.py --data DATA/ncbi_disease --model MODELS/ncbi --limit 20 --repeats 1
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from clinical_ner.core import Document, Span, open_atomic, read_jsonl, write_jsonl
from clinical_ner.formats import read_conll, read_pubtator
from clinical_ner.samples import iter_sample_notes

HERE = Path(__file__).parent
SYSTEMS = ["pipeline", "predict-float32", "predict-bfloat16", "onnx-float32", "onnx-int8"]
BATCH_SIZES = (1, 8, 32, 64)


# texts


def join_documents(docs: list[Document], words: int, count: int) -> list[Document]:
    """`count` notes of about `words` words, made of documents one after another, with their spans."""
    notes, number = [], 0
    while len(notes) < count:
        text, spans = "", []
        while len(text.split()) < words:
            doc = docs[number % len(docs)]
            spans += [Span(len(text) + s.start, len(text) + s.end, s.label) for s in doc.spans]
            text, number = f"{text}{doc.text}\n\n", number + 1
        notes.append(Document(f"note-{len(notes)}", text, spans))
    return notes


def make_texts(name: str, args: argparse.Namespace) -> list[Document]:
    """The documents of one kind, with gold spans where the tagger's types are in them."""
    limit = args.limit
    if name == "sentences":
        return read_conll(Path(args.data, "iob/test.tsv"))[:limit]
    if name == "made-up notes":
        return list(iter_sample_notes(limit or args.notes, seed=1))
    found = {"Disease", "SpecificDisease", "DiseaseClass", "CompositeMention", "Modifier"}
    [path] = Path(args.data, "pubtator").glob("*devel*")
    docs = [
        Document(
            doc.id,
            doc.text,
            {Span(s.start, s.end, "Disease") for s in doc.spans if s.label in found},
        )
        for doc in read_pubtator(path)
    ]
    docs = [Document(doc.id, doc.text, sorted(doc.spans)) for doc in docs]
    return docs[:limit] if name == "abstracts" else join_documents(docs, 3000, limit or 20)


# systems: each is made, and then takes documents


def make_pipeline(args: argparse.Namespace):
    """The pipeline of transformers; it takes its best batch size from the first call."""
    from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

    tokenizer = AutoTokenizer.from_pretrained(args.model)
    net = AutoModelForTokenClassification.from_pretrained(args.model, dtype="float32")
    tokenizer.model_max_length = min(tokenizer.model_max_length, 512)
    run = pipeline(
        "token-classification",
        net,
        tokenizer=tokenizer,
        aggregation_strategy="first",
        device=args.device,
        **({} if args.texts == "sentences" else {"stride": 128}),
    )

    def annotate(docs: list[Document], batch_size: int = args.batch_size) -> list[Document]:
        rows = run([doc.text for doc in docs], batch_size=batch_size)
        return [
            Document(doc.id, doc.text, [Span(s["start"], s["end"], s["entity_group"]) for s in row])
            for doc, row in zip(docs, rows)
        ]

    return annotate


def make_predict(args: argparse.Namespace):
    """`predict` on torch or ONNX Runtime."""
    from clinical_ner.onnx_export import load_onnx
    from clinical_ner.tagger import Tagger, predict

    runtime, _, precision = args.system.partition("-")
    if runtime == "onnx":
        tagger, precision = load_onnx(onnx_folder(args, precision), device=args.device), "float32"
    else:
        tagger = Tagger.load(args.model, device=args.device)
    return lambda docs: predict(tagger, docs, precision=precision, progress=False)


def onnx_folder(args: argparse.Namespace, precision: str) -> Path:
    """The exported tagger; made by the first who needs it."""
    folder = HERE / "runs" / "annotate" / f"onnx-{precision}-{Path(args.model).name}"
    if not (folder / "done").exists():
        from clinical_ner.onnx_export import export_onnx
        from clinical_ner.tagger import Tagger

        train = read_conll(Path(args.data, "iob/train.tsv"))[::21]
        int8 = {"quantize": "int8", "calibration": train} if precision == "int8" else {}
        export_onnx(Tagger.load(args.model, device="cpu"), folder, **int8)
        (folder / "done").touch()
    return folder


def best_batch_size(args: argparse.Namespace, docs: list[Document]) -> int:
    """The batch size at which the pipeline is fastest on some of the texts."""
    run, seconds = make_pipeline(args), {}
    run(docs[:2], 1)
    for size in BATCH_SIZES:
        start = time.perf_counter()
        run(docs, size)
        seconds[size] = time.perf_counter() - start
    return min(seconds, key=seconds.get)


def measure(args: argparse.Namespace) -> dict:
    """One measurement, in this process."""
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.set_num_threads(args.threads)
    docs = read_jsonl(args.file)
    if args.system == "batch size":
        return {"batch_size": best_batch_size(args, docs[: args.trial])}
    if args.system == "annotate":
        return measure_memory(args)
    run = make_pipeline(args) if args.system == "pipeline" else make_predict(args)
    run(docs[:2])
    start = time.perf_counter()
    found = run(docs)
    seconds = time.perf_counter() - start
    spans = [[[s.start, s.end, s.label] for s in doc.spans] for doc in found]
    return {"seconds": seconds, "peak_mb": peak_mb(), "spans": spans}


def measure_memory(args: argparse.Namespace) -> dict:
    """Time and memory of `annotate` from a file of JSON lines."""
    from clinical_ner.bulk import annotate

    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        told = annotate(args.file, out, args.model, device=args.device, progress=False)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak_mb": peak_mb(), "documents": told["counts"]["documents"]}


def peak_mb() -> float:
    """The most memory that this process has had, without that of the process that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    [peak] = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return round(int(peak) / 1024, 1)


# the table


def in_process(args: argparse.Namespace, kept: Path, **settings) -> dict:
    """A measurement in a process of its own, or the one that was kept."""
    if not kept.exists():
        flags = [
            f"--{name}={value}"
            for name, value in (vars(args) | settings).items()
            if value is not None
        ]
        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder, "result.json")
            command = [sys.executable, __file__, *flags, f"--result={result}"]
            subprocess.run(
                command, check=True, env={**os.environ, "OMP_NUM_THREADS": str(args.threads)}
            )
            made = result.read_text()
        with open_atomic(kept) as file:
            file.write(made)
    return json.loads(kept.read_text())


def count_tokens(docs: list[Document], model: str) -> int:
    """Word pieces of all texts."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = tokenizer([doc.text for doc in docs], add_special_tokens=False, verbose=False)[
        "input_ids"
    ]
    return sum(map(len, rows))


def score(docs: list[Document], spans: list, first: list) -> dict:
    """F1 against gold (None without gold), and the share of spans that the first system finds too."""
    from clinical_ner.metrics import evaluate
    from clinical_ner.onnx_export import span_agreement

    found, before = (
        [Document(doc.id, doc.text, [Span(*s) for s in row]) for doc, row in zip(docs, rows)]
        for rows in (spans, first)
    )
    is_gold = {"Disease"} == {span.label for doc in docs for span in doc.spans}
    f1 = evaluate(docs, found)["micro", "strict_f1"] if is_gold else None
    return {"f1": f1, "spans_as_predict_float32": span_agreement(before, found)}


def compare_on(texts: str, systems: list[str], args: argparse.Namespace, folder: Path) -> dict:
    """Measure all systems on one kind of text, in turns."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "texts.jsonl"
    if not file.exists():
        write_jsonl(make_texts(texts, args), file)
    docs = read_jsonl(file)
    shared = {"file": file, "texts": texts}
    size = in_process(args, folder / "batch_size.json", system="batch size", **shared)["batch_size"]
    runs: dict[str, list] = {system: [] for system in systems}
    for repeat in range(args.repeats):
        for system in systems[repeat % len(systems) :] + systems[: repeat % len(systems)]:
            kept = folder / f"{system}-{repeat}.json"
            runs[system].append(in_process(args, kept, system=system, batch_size=size, **shared))
    tokens, rows = count_tokens(docs, args.model), {}
    for system, made in runs.items():
        seconds = [run["seconds"] for run in made]
        ratios = [base["seconds"] / run["seconds"] for base, run in zip(runs["pipeline"], made)]
        middle = statistics.median(seconds)
        rows[system] = {
            "documents_per_second": len(docs) / middle,
            "tokens_per_second": tokens / middle,
            "times_the_pipeline": statistics.median(ratios),
            "peak_mb": max(run["peak_mb"] for run in made),
            **score(docs, made[0]["spans"], runs["predict-float32"][0]["spans"]),
            "seconds": seconds,
        }
    return {"documents": len(docs), "tokens": tokens, "pipeline_batch_size": size, "systems": rows}


def print_table(texts: str, made: dict):
    """One kind of text as a table."""
    print(f"\n{texts}: {made['documents']:,} documents, {made['tokens']:,} word pieces;", end=" ")
    print(f"the pipeline's best batch size is {made['pipeline_batch_size']}")
    print(f"{'':18}{'docs/s':>9}{'tokens/s':>10}{'times':>7}{'MB':>7}{'F1':>8}{'same spans':>12}")
    for system, row in made["systems"].items():
        f1 = "" if row["f1"] is None else f"{100 * row['f1']:.2f}"
        print(
            f"{system:18}{row['documents_per_second']:9.1f}{row['tokens_per_second']:10,.0f}"
            f"{row['times_the_pipeline']:7.2f}{row['peak_mb']:7.0f}{f1:>8}"
            f"{100 * row['spans_as_predict_float32']:11.2f}%",
            flush=True,
        )


def memory_of(count: int, args: argparse.Namespace, folder: Path) -> dict:
    """Peak memory of `annotate` on `count` short notes, read from a file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"notes-{count}.jsonl"
    if not file.exists():
        notes = (Document(note.id, note.text[:250]) for note in iter_sample_notes(count, seed=2))
        write_jsonl(notes, file)
    made = in_process(args, folder / f"memory-{count}.json", system="annotate", file=file)
    print(
        f"annotate, {count:,} short notes: {made['peak_mb']:.0f} MB, {made['seconds']:.0f} s",
        flush=True,
    )
    return made


def describe_machine(args: argparse.Namespace) -> dict:
    """What the figures were measured on."""
    import torch

    cpu = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(": ")[1] for line in lines if line.startswith("model name")), cpu)
    gpu = torch.cuda.get_device_name() if args.device.startswith("cuda") else None
    return {"cpu": cpu, "threads": args.threads, "gpu": gpu, "torch": torch.__version__}


def parse_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder with iob and pubtator")
    parser.add_argument("--model", required=True, help="folder of a tagger of diseases")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--limit", type=int, help="documents of each kind, for a quick look")
    parser.add_argument("--notes", type=int, default=10_000, help="made-up notes")
    parser.add_argument("--trial", type=int, default=64, help="documents to find the batch size on")
    parser.add_argument("--only", help="kinds of text, with commas between")
    for name in ("result", "system", "texts", "file"):  # for its own processes
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    parser.add_argument("--batch_size", type=int, default=8, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    args = parse_flags()
    if args.result:
        with open_atomic(args.result) as file:
            json.dump(measure(args), file)
        return
    from clinical_ner.encoders import has_bfloat16

    for precision in ("float32", "int8"):
        onnx_folder(args, precision)
    name = f"{Path(args.model).name}-{args.device}-{args.limit or 'all'}"
    folder, systems = HERE / "runs" / "annotate" / name, list(SYSTEMS)
    if not has_bfloat16():
        print("this machine has no bfloat16 arithmetic: predict-bfloat16 is left out")
        systems.remove("predict-bfloat16")
    kinds = (
        args.only.split(",")
        if args.only
        else ["sentences", "abstracts", "long notes", "made-up notes"]
    )
    results = {"machine": describe_machine(args), "texts": {}, "memory": {}}
    for texts in kinds:
        made = compare_on(texts, systems, args, folder / texts.replace(" ", "_"))
        results["texts"][texts] = made
        print_table(texts, made)
    for count in (10, 200) if args.limit else (1000, 20_000):
        results["memory"][count] = memory_of(count, args, folder / "memory")
    if not args.limit and not args.only:
        kind = "" if args.device == "cpu" else "_gpu"
        with open_atomic(HERE / "results" / f"annotate{kind}.json") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
